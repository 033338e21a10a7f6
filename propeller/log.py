"""The log lines of all programs: `[LEVEL] date time [     file.py: line]:<TAB>message`, on stderr."""

import logging
import re
import sys

FORMAT = '[%(levelname)s] %(asctime)s [%(filename)12s:%(lineno)5d]:\t%(message)s'

# Control characters but TAB and newline, what ends or turns lines elsewhere, and halves of surrogate pairs.
_HARMFUL = re.compile(r'[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]')


class _Formatter(logging.Formatter):
    """Escapes what text from a user's file could do to a terminal."""

    def formatMessage(self, record):
        record.message = _HARMFUL.sub(lambda match: repr(match.group())[1:-1], record.message)
        return super().formatMessage(record)


class _StderrHandler(logging.StreamHandler):
    """Writes to whatever sys.stderr is at the time of the call, so that a redirected stream is honoured."""

    def __init__(self):
        logging.Handler.__init__(self)

    @property
    def stream(self):
        return sys.stderr


def get_logger(name, level=logging.DEBUG):
    """The logger of a package (`ernie`, `propeller`) or of a module in it; handlers are attached once per package.

    Args:
        name: dotted name; the part before the first dot carries the handler.
        level: level of a package logger that is set up by this call.
    """
    package = logging.getLogger(name.partition('.')[0])
    if not package.handlers:
        handler = _StderrHandler()
        handler.setFormatter(_Formatter(FORMAT))
        package.addHandler(handler)
        package.setLevel(level)
        package.propagate = False
    return logging.getLogger(name)
