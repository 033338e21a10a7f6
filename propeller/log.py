"""The log lines of all programs: `[LEVEL] date time [     file.py: line]:<TAB>message`, on stderr."""

import logging
import sys

FORMAT = '[%(levelname)s] %(asctime)s [%(filename)12s:%(lineno)5d]:\t%(message)s'


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
        handler.setFormatter(logging.Formatter(FORMAT))
        package.addHandler(handler)
        package.setLevel(level)
        package.propagate = False
    return logging.getLogger(name)
