"""Errors that speak to the user. A program prints their text as one line, without a traceback."""

import contextlib
import difflib
import errno
import io
import os
import reprlib
import select
import signal
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from typing import Any

QUOTED = 200
_EXPECTED = 1000
_LONGEST = 20_000


class UserError(ValueError):
    """Something the user can mend: the text says what was found, what was expected and what to do. Exit code 1.

    The text is one line whatever it quotes: control characters are escaped, beyond 20,000 characters it is cut.
    """

    exit_code = 1
    found: str  # of errors that `bad_input` makes

    def __init__(self, text: object = '') -> None:
        super().__init__(one_line(text, _LONGEST))


class UsageError(UserError):
    """Flags or settings that cannot be. Exit code 2."""

    exit_code = 2


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM ended a run, which has saved what it has and said so. A program ends with 130, in silence."""


def one_line(text: object, limit: int | None = None) -> str:
    """`text` fit for a message: what is not printable escaped as `repr` does, at most `limit` characters."""
    text = str(text)
    if limit is not None and len(text) > limit:
        text = f'{text[: limit - 3]}...'
    if not text.isprintable():
        text = ''.join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text


def quoted(value: object, limit: int = QUOTED) -> str:
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


def bad_input(path: object, found: str, expected: str, line: int | None = None, advice: str = '') -> UserError:
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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean X?` with the one of the `known` names that is nearest to `name`; '' where none is near.

    Upper and lower case are the same to it.
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    if not near:
        folded = {other.lower(): other for other in reversed(names)}
        near = [folded[other] for other in difflib.get_close_matches(name.lower(), folded, 1)]
    near = near or _near_short(name.lower(), names)
    return f' Did you mean {near[0]}?' if near else ''


def _near_short(name, names):
    """Of names of two or three characters that are no ASCII words: one of the same length with one other character.

    Ideographs and syllables say more than letters: of two, one that is the same is a likeness.
    """
    if not 2 <= len(name) <= 3 or name.isascii():
        return []
    same = lambda other: sum(a == b for a, b in zip(name, other.lower(), strict=True))  # noqa: E731
    likely = [other for other in names if len(other) == len(name) and same(other) == len(name) - 1]
    return likely if len(likely) == 1 else []


def one_of(name: object, known: Iterable[str]) -> str:
    """`one of A, B. Did you mean B?`, the end of a message about a `name` that is none of them."""
    return f'one of {", ".join(known)}.{did_you_mean(str(name), known)}'


# ---------------------------------------------------------------- how a program ends


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Around a program's main(): what goes wrong ends it with one line on stderr and an exit code.

    - a `UserError`: its own code; what the system refuses (disk full, memory, too many files): 1;
    - Ctrl-C and SIGTERM, after what is half-written has vanished: 130;
    - a reader of standard output that went away (`| head`): 141 without a word, like any other filter.

    Standard output that cannot be written is an error here, not one of the interpreter at its end. A standard stream
    that is closed stays so for the program, but its number is taken: else the next file that is opened would get what
    a library prints.
    """
    _prepare_streams()
    interruption = _Interruption()
    try:
        with _interruptible() as interruption:
            try:
                yield
            except SystemExit:
                sys.stdout.flush()
                raise
            sys.stdout.flush()
    except KeyboardInterrupt as e:
        _end(None if isinstance(e, Interrupted) else 'interrupted', 130)
    except Exception as e:
        if interruption.came:  # C code that was interrupted says something else, an import that it failed
            _end('interrupted', 130)
        if isinstance(e, BrokenPipeError) and _reader_has_gone():
            _end(None, 141)  # what a shell reports for SIGPIPE
        told = as_user_error(e)
        if told is None:
            raise
        _end(str(told), told.exit_code, 'error: ')


def coloured(word: str, alarming: bool, stream: Any) -> str:
    """`word` in red, or in yellow where it is not alarming; as it is for all but terminals, and with NO_COLOR set."""
    if not word or os.environ.get('NO_COLOR') or os.environ.get('TERM') == 'dumb' or not stream.isatty():
        return word
    return f'\033[{31 if alarming else 33}m{word}\033[0m'


def _end(text, code, word=''):
    if text is not None:
        with contextlib.suppress(OSError, ValueError):
            print(f'{coloured(word, True, sys.stderr)}{text}', file=sys.stderr, flush=True)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            # Else the flush at the end fails once more and changes the exit code.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)


def _reader_has_gone():
    """Whether standard output is a pipe that nobody reads any more."""
    watch = select.poll()
    watch.register(1, 0)
    return any(event & select.POLLERR for _, event in watch.poll(0))


# What Paddle, the C++ library and the loader of libraries say.
_SIGNS_OF_MEMORY = ('ResourceExhausted', 'std::bad_alloc', 'failed to map segment', 'annot allocate memory')
_SIGNS_OF_THREADS = ("can't start new thread", 'Resource temporarily unavailable')


def as_user_error(error: BaseException) -> UserError | None:
    """What the user or the system must mend as a `UserError`; None of a fault of the program."""
    if isinstance(error, UserError):
        return error
    text = _fault_of_the_system(error)
    return None if text is None else UserError(one_line(text, _LONGEST))


def _fault_of_the_system(error):
    """What to say of an error that is neither the user's nor the program's; None for all others."""
    text = str(error)
    if isinstance(error, OSError):
        hint = ' `ulimit -n` raises the number of open files.' if error.errno in (errno.EMFILE, errno.ENFILE) else ''
        return f'{_place_of(error)}: {error.strerror or error}.{hint}'
    if isinstance(error, MemoryError) or any(sign in text for sign in _SIGNS_OF_MEMORY):
        lines = [line.strip() for line in text.splitlines() if 'llocate' in line or 'memory' in line.lower()]
        found = f' ({lines[0][:QUOTED]})' if lines and len(lines[0]) < QUOTED else ''
        return f'not enough memory{found}. Smaller batches and shorter texts need less; `ulimit -v` may set a limit.'
    if isinstance(error, RuntimeError) and text in _SIGNS_OF_THREADS:
        return 'no further thread can be started: memory or the number of processes is limited (ulimit -v, -u).'
    return None


def _place_of(error):
    if error.filename is not None:
        return os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else error.filename
    frames = traceback.extract_tb(error.__traceback__)
    return f'{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}' if frames else type(error).__name__


class _StandardOutput(io.TextIOWrapper):
    """Standard output whose errors say that they are its."""

    def write(self, text):
        with self._named():
            return super().write(text)

    def flush(self):
        with self._named():
            super().flush()

    @contextlib.contextmanager
    def _named(self):
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as e:
            raise UserError(f'standard output: cannot be written ({e.strerror or e}).') from None


class _ClosedStream(io.TextIOBase):
    """A standard stream that was closed when the program began: using it is an error, having it is none."""

    def __init__(self, name, number):
        self._name, self._number = name, number

    def fileno(self):
        return self._number

    def _refuse(self, *_):
        raise UserError(f'{self._name} is closed.')

    read = readline = write = _refuse
    buffer = property(_refuse)


def _prepare_streams():
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stdin is None:
        sys.stdin = _ClosedStream('standard input', 0)
    if sys.stdout is None:
        sys.stdout = _ClosedStream('standard output', 1)
    elif type(sys.stdout) is io.TextIOWrapper and sys.stdout is sys.__stdout__:
        old = sys.stdout
        settings = {name: getattr(old, name) for name in ('encoding', 'errors', 'line_buffering', 'write_through')}
        sys.stdout = _StandardOutput(old.buffer, newline='\n', **settings)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, 'w', encoding='utf-8')  # noqa: SIM115 (to the end of the program)


class _Interruption:
    """The handler of SIGINT and SIGTERM, which remembers that one came."""

    came = False

    def __call__(self, number, frame):
        self.came = True
        raise KeyboardInterrupt


@contextlib.contextmanager
def _interruptible():
    """Inside, SIGTERM ends the program as Ctrl-C does, so that what is half-written vanishes. Yields `_Interruption`.

    Paddle, when it is loaded, puts a handler of its own in the place of this one; `propeller.graph` then calls
    `keep_sigterm`. Python delivers signals to the main thread only, so elsewhere nothing is changed.
    """
    interruption, previous = _Interruption(), {}
    if threading.current_thread() is threading.main_thread():
        numbers = [signal.SIGTERM]
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a shell has it ignored
            numbers.append(signal.SIGINT)
        previous = {number: signal.signal(number, interruption) for number in numbers}
    try:
        yield interruption
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def keep_sigterm() -> None:
    """Have the handler of SIGTERM that Python knows of be the one that the system calls, whatever a library has set."""
    if threading.current_thread() is threading.main_thread() and callable(signal.getsignal(signal.SIGTERM)):
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
