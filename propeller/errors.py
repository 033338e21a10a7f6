"""Errors that speak to the user. A program prints their text as one line, without a traceback."""

import contextlib
import os
import signal
import sys
import threading


class UserError(ValueError):
    """Something the user can mend: the text says what was found, what was expected and what to do. Exit code 1."""

    exit_code = 1


class UsageError(UserError):
    """Flags or settings that cannot be. Exit code 2."""

    exit_code = 2


def quoted(value, limit=200):
    """The `repr` of a value from outside, for a message: at most `limit` characters, control characters escaped."""
    text = value if isinstance(value, str | bytes) else None
    # The repr of a long text is four times as long at most: nothing beyond is worth making.
    shown = repr(text[: limit + 1]) if text is not None else repr(value)
    return shown if len(shown) <= limit else f'{shown[: limit - 3]}...'


def bad_input(path, found, expected, line=None, advice=''):
    """A `UserError` in the one form all readers use: `FILE:LINE: found X, expected Y. ADVICE`.

    Args:
        path: the file or folder at fault.
        found: what stands there.
        expected: what should stand there.
        line: 1-based line number, if one line is at fault.
        advice: a sentence that tells what to do, if that is not plain from `expected`.
    """
    place = f'{path}:{line}' if line is not None else f'{path}'
    return UserError(f'{place}: found {found}, expected {expected}.' + (f' {advice}' if advice else ''))


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
