"""Errors that speak to the user. A program prints their text as one line, without a traceback."""

import contextlib
import os
import reprlib
import signal
import sys
import threading

QUOTED = 200
_EXPECTED = 1000
_LONGEST = 20_000


class UserError(ValueError):
    """Something the user can mend: the text says what was found, what was expected and what to do. Exit code 1.

    The text is one line whatever it quotes: control characters are escaped, beyond 20,000 characters it is cut.
    """

    exit_code = 1

    def __init__(self, text=''):
        super().__init__(one_line(text, _LONGEST))


class UsageError(UserError):
    """Flags or settings that cannot be. Exit code 2."""

    exit_code = 2


def one_line(text, limit=None):
    """`text` fit for a message: what is not printable escaped as `repr` does, at most `limit` characters."""
    text = str(text)
    if limit is not None and len(text) > limit:
        text = f'{text[: limit - 3]}...'
    if not text.isprintable():
        text = ''.join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text


def quoted(value, limit=QUOTED):
    """The `repr` of a value from outside, for a message: at most `limit` characters, control characters escaped."""
    if isinstance(value, str | bytes | bytearray):
        # The repr of a long text is four times as long at most: nothing beyond is worth making.
        return one_line(repr(value[: limit + 1]), limit)
    return one_line(_SHORT.repr(value), limit)


class _Short(reprlib.Repr):
    """Neither deep nor long values are written out, nor numbers that Python refuses to write."""

    def __init__(self):
        super().__init__()
        self.maxlevel, self.maxstring = 4, QUOTED
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 20
        self.maxother = QUOTED

    def repr_int(self, value, level):
        return repr(value) if value.bit_length() <= 4 * QUOTED else f'a number of {value.bit_length()} bits'


_SHORT = _Short()


def bad_input(path, found, expected, line=None, advice=''):
    """A `UserError` in the one form all readers use: `FILE:LINE: found X, expected Y. ADVICE`.

    Args:
        path: the file or folder at fault.
        found: what stands there; at most 200 characters of it are shown.
        expected: what should stand there.
        line: 1-based line number, if one line is at fault.
        advice: a sentence that tells what to do, if that is not plain from `expected`.
    Returns:
        the error, whose attribute `found` is the shown part of `found`.
    """
    place = f'{path}:{line}' if line is not None else f'{path}'
    found, expected = one_line(found, QUOTED), one_line(expected, _EXPECTED)
    error = UserError(f'{place}: found {found}, expected {expected}.' + (f' {advice}' if advice else ''))
    error.found = found
    return error


@contextlib.contextmanager
def one_line_errors():
    """Around a program's main(): a `UserError` ends it with its text on one line of stderr and its exit code.

    A reader of standard output that went away (`| head`) ends it without a word, like any other filter.
    """
    try:
        yield
    except UserError as e:
        print(f'error: {e}', file=sys.stderr, flush=True)
        sys.exit(e.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the flush at exit fails once more
        sys.exit(141)  # what a shell reports for SIGPIPE
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr, flush=True)
        sys.exit(130)


@contextlib.contextmanager
def sigterm_interrupts():
    """Inside, SIGTERM ends the program as Ctrl-C does, so that what is half-written vanishes.

    Enter it when paddle is loaded: loading sets a handler that dies on the spot. Python delivers signals to the main
    thread only, so elsewhere nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
