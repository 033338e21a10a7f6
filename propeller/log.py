"""What programs say: on stderr lines for a person, in the log file of a run all lines in the form of 2019.

The loggers of the packages take everything. The console shows what its level lets through: at INFO and above plain
text, after `warning: ` or `error: ` where it is one; at the level debug all lines in the form of 2019, which is
`[LEVEL] date time [     file.py: line]:<TAB>message`.
"""

import contextlib
import logging
import os
import re
import sys

from propeller.errors import UsageError, UserError, coloured, one_of, quoted

FORMAT = '[%(levelname)s] %(asctime)s [%(filename)12s:%(lineno)5d]:\t%(message)s'
LEVELS = ('debug', 'info', 'warning', 'error')
VARIABLE = 'ERNIE_LOG_LEVEL'
RUN_LOG = 'run.log'
_REMEMBERED = 10_000  # lines that wait for their file

# Control characters but TAB and newline, what ends or turns lines elsewhere, and halves of surrogate pairs.
_HARMFUL = re.compile(r'[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]')
_WORDS = {logging.WARNING: 'warning: ', logging.ERROR: 'error: ', logging.CRITICAL: 'error: '}


class SafeFormatter(logging.Formatter):
    """Escapes what text from a user's file could do to a terminal."""

    def formatMessage(self, record):
        record.message = _HARMFUL.sub(lambda match: repr(match.group())[1:-1], record.message)
        return super().formatMessage(record)


class _PlainFormatter(SafeFormatter):
    """The message alone, after what it is if it is more than news."""

    def formatMessage(self, record):
        word = _WORDS.get(record.levelno, '')
        return coloured(word, record.levelno >= logging.ERROR, sys.stderr) + super().formatMessage(record)


_OF_2019, _PLAIN = SafeFormatter(FORMAT), _PlainFormatter('%(message)s')


class _LogFile:
    """The lines of one run: kept until their file is known, then on the disk line by line."""

    def __init__(self):
        self.lines, self.file = [], None

    def open(self, path):
        """Raises OSError."""
        # A FIFO that nobody reads is an error, not a wait.
        number = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
        self.file = open(number, 'ab', buffering=0)  # noqa: SIM115 (kept open for the whole run)
        size = os.fstat(number).st_size
        if size and os.pread(number, 1, size - 1) != b'\n':  # a crash has cut the last line
            self.file.write(b'\n')
        lines, self.lines = self.lines, []
        for line in lines:
            self.write(line)

    def write(self, line):
        """Raises OSError."""
        if self.file:
            self.file.write(f'{line}\n'.encode())
        elif len(self.lines) < _REMEMBERED:
            self.lines.append(line)

    def close(self):
        if self.file:
            self.file.close()
        self.file, self.lines = None, []


class _Output(logging.Handler):
    """The one handler of all packages. Looks for sys.stderr at each line, so that a redirected stream is honoured."""

    def __init__(self):
        super().__init__()
        self.console, self.log_file = None, None

    def emit(self, record):
        try:
            if shows(record.levelno):
                self._show(record, _OF_2019 if shows(logging.DEBUG) else _PLAIN)
        except Exception:
            self.handleError(record)
        if self.log_file:
            self._keep(record)

    def _show(self, record, formatter):
        bars = getattr(sys.modules.get('tqdm'), 'tqdm', None)  # lines go above a progress bar
        with bars.external_write_mode(sys.stderr) if bars else contextlib.nullcontext():
            sys.stderr.write(f'{formatter.format(record)}\n')
            sys.stderr.flush()

    def _keep(self, record):
        try:
            self.log_file.write(_OF_2019.format(record))
        except OSError as e:  # a training is not given up for its log
            self.log_file, file = None, self.log_file
            file.close()
            logging.getLogger('propeller').warning('%s cannot be written (%s): it ends here', RUN_LOG, e.strerror)


def level_of(name):
    """The number of a level by its name; None for a name that is none."""
    return getattr(logging, name.upper()) if name in LEVELS else None


_output = _Output()


@contextlib.contextmanager
def console(level=None):
    """For the block, the console shows lines of a level and above, and all lines are kept for `keep_log`.

    Args:
        level: one of `LEVELS`; None: what the environment variable `ERNIE_LOG_LEVEL` says, else info.
    Raises:
        UsageError: it is none of them.
    """
    name = level or os.environ.get(VARIABLE) or 'info'
    if level_of(name) is None:
        place = '--log_level' if level else VARIABLE
        raise UsageError(f'{place} {quoted(name)}: expected {one_of(name, LEVELS)}')
    before = _output.console, _output.log_file
    log_file = _LogFile()
    _output.console, _output.log_file = level_of(name), log_file
    try:
        yield
    finally:
        log_file.close()
        _output.console, _output.log_file = before


def shows(level):
    """Whether the console shows lines of a level, for those who write one for each of thousands. level: a number."""
    return level >= (_output.console or level_of(os.environ.get(VARIABLE)) or logging.INFO)


def keep_log(path):
    """All lines of the block of `console`, those before this call too, go to the end of a file.

    Nothing happens where the standard output or error of the program goes to that very file.

    Raises:
        UserError: it cannot be written.
    """
    log_file = _output.log_file
    if log_file is None or log_file.file or any(_goes_to(stream, path) for stream in (1, 2)):
        return
    try:
        log_file.open(path)
    except OSError as e:
        raise UserError(f'{path}: cannot be written ({e.strerror or e}).') from e


def _goes_to(stream, path):
    try:
        return os.path.samestat(os.fstat(stream), os.stat(path))
    except OSError:
        return False


def get_logger(name, level=logging.DEBUG):
    """The logger of a package (`ernie`, `propeller`) or of a module in it; the handler is attached once per package.

    Args:
        name: dotted name; the part before the first dot carries the handler.
        level: level of a package logger that is set up by this call.
    """
    package = logging.getLogger(name.partition('.')[0])
    if not package.handlers:
        package.addHandler(_output)
        package.setLevel(level)
        package.propagate = False
    return logging.getLogger(name)


def setLevel(level):  # noqa: N802 (the name that loggers have)
    """From here on the console shows lines of `level` (a number or a name of `logging`) and above.

    This module stands for the logger `propeller` too, as `propeller.log` did in 2019: `log.info(...)` writes a line.

    Raises:
        UserError: it is no level.
    """
    number = logging.getLevelNamesMapping().get(level.upper()) if isinstance(level, str) else level
    if isinstance(number, bool) or not isinstance(number, int):
        raise UserError(f'log level: found {quoted(level)}, expected a number or {one_of(level, LEVELS)}')
    _output.console = number


def __getattr__(name):
    if name.startswith('__'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(get_logger('propeller'), name)
