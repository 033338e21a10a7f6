"""Files that programs write: whole or not there; what is no regular file (a device, a FIFO) is written as it stands.

For folders see `propeller.storage.folders`.
"""

import contextlib
import os
import re
import secrets
import shutil
import stat
import tempfile

from propeller.errors import UserError, bad_input
from propeller.inputs import kind_of
from propeller.storage.folders import TEMPORARY, sync

_MOST_LINKS = 40  # as Linux
_LONGEST_NAME = 200  # bytes; with what comes before and behind, a file system takes 255
_EXPECTED = 'a file to write'


@contextlib.contextmanager
def output_file(path, binary=False):
    """Gives an open file, to write what `path` is to hold when the block ends.

    - Nothing there, or a regular file: a file beside it takes its place when the block ends, and vanishes if it fails.
      Links are followed and stay; an existing file keeps its owner and permissions.
    - A device or a FIFO: written as the block goes.
    - `/dev/stdout`, `/dev/fd/N` and links to them: the open file of this process, at its place, never cut or replaced.

    Args:
        path: the file.
        binary: bytes, or text in UTF-8 with `\\n` at line ends.
    Raises:
        UserError: the file cannot be written; the text holds the reason.
        BrokenPipeError: who reads standard output has gone.
    """
    number = _descriptor(path)
    if number is None and _is_regular(path):
        with replacing(path) as partial, _opened(partial, binary) as file:
            yield file
        return
    with _blamed_on(path, is_standard=number is not None):
        if number == 1:
            print(end='', flush=True)  # what was printed comes first; an error if it is closed
        handle = os.open(path, os.O_WRONLY) if number is None else os.dup(number)
        with _opened(handle, binary) as file:
            yield file


def is_stream(path):
    """Whether `path` is written as it stands: a device, a FIFO, an open file of this process."""
    try:
        return _descriptor(path) is not None or not _is_regular(path)
    except UserError:
        return False


def move_file(source, path):
    """Give a file another name as `output_file` would write it: links are followed, devices written."""
    with open(source, 'rb') as content, output_file(path, binary=True) as file:
        shutil.copyfileobj(content, file)
    os.unlink(source)


def _opened(place, binary):
    if binary:
        return open(place, 'wb')
    # A reader at the other end of a pipe gets whole lines.
    buffering = 1 if isinstance(place, int) else -1
    return open(place, 'w', buffering, encoding='utf-8', newline='\n')


@contextlib.contextmanager
def replacing(path):
    """Gives the name of a file to write; it takes the place of `path` when the block ends, and vanishes if it fails.

    For libraries that want a name; all else writes through `output_file`. Links are followed and stay; an existing file
    keeps its owner and permissions.

    Raises:
        UserError: the file cannot be written, or something is there that is no regular file.
    """
    _is_regular(path, refuse=True)
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    name = os.fsdecode(os.fsencode(name)[:_LONGEST_NAME])
    partial = os.path.join(folder, f'{TEMPORARY}{name}-{secrets.token_hex(4)}')
    with _blamed_on(path, partial):
        try:
            with open(partial, 'xb') as f:
                made = os.fstat(f.fileno())
            yield partial
            _take_after(partial, target, made)
            sync(partial)
            os.replace(partial, target)
            sync(folder)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(partial)


def _take_after(partial, target, made):
    """Owner and permissions of the file that is replaced; else those of a new file, as some writers choose others."""
    try:
        old = os.stat(target)
    except FileNotFoundError:
        os.chmod(partial, stat.S_IMODE(made.st_mode))
        return
    if (old.st_uid, old.st_gid) != (made.st_uid, made.st_gid):
        with contextlib.suppress(OSError):
            os.chown(partial, old.st_uid, old.st_gid)
    os.chmod(partial, stat.S_IMODE(old.st_mode))


@contextlib.contextmanager
def _blamed_on(path, partial=None, is_standard=False):
    """What the system refuses inside is said of `path`, unless it was asked for another file."""
    try:
        yield
    except OSError as e:
        if is_standard and isinstance(e, BrokenPipeError):
            raise
        if e.filename not in (None, os.fspath(path), partial):
            raise
        raise unwritable(path, e) from None


def unwritable(path, error):
    """The `UserError` for a file or folder that the system refuses to write. error: OSError."""
    return UserError(f'{path}: cannot be written ({error.strerror or error}).')


def _is_regular(path, refuse=False):
    """Whether nothing or a regular file is at `path`; links are followed.

    Args:
        path: a path.
        refuse: whether devices and FIFOs are an error too.
    Raises:
        UserError: a folder or a socket is there, or the system does not tell.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return True
    except OSError as e:
        raise unwritable(path, e) from None
    except ValueError as e:  # a NUL in the name
        raise UserError(f'{path}: cannot be written ({e}).') from None
    if stat.S_ISREG(mode):
        return True
    if refuse or not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISFIFO(mode)):
        raise bad_input(path, kind_of(mode), _EXPECTED)
    return False


def _descriptor(path):
    """The number of an open file of this process that `path` is a name of (`/dev/stdout`); None for all else."""
    own = f'/proc/{os.getpid()}/fd'
    path = os.path.abspath(os.fsdecode(path))
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(path)
        if re.fullmatch(r'\d{1,6}', name) and os.path.realpath(folder) == own:
            return int(name)
        if not os.path.islink(path):
            return None
        path = os.path.join(folder, os.readlink(path))
    return None


def check_output(path, flag, inputs=()):
    """Prove before the work that `path` can be written and is none of its inputs. The folder of a new file is made.

    Args:
        path: file to be written; `-` is standard output.
        flag: the flag that names it.
        inputs: see `refuse_inputs`.
    Raises:
        UserError: it cannot be written, or is an input.
    """
    if path != '-' and _descriptor(path) is None:
        if _is_regular(path):
            check_writable(os.path.dirname(os.path.realpath(path)), flag)
        elif not os.access(path, os.W_OK):
            raise UserError(f'{path}: cannot be written (Permission denied). Choose another {flag}.')
    refuse_inputs(path, flag, inputs)


def check_writable(folder, flag):
    """Make `folder` and prove that files can be written there; '' is the working directory.

    Raises:
        UserError: they cannot; the text names the flag that asked for the folder.
    """
    try:
        os.makedirs(folder or '.', exist_ok=True)
        with tempfile.TemporaryFile(dir=folder or '.') as f:
            f.write(bytes(4096))  # a disk that is full gives out names still
            f.flush()
    except OSError as e:
        raise UserError(f'{folder}: cannot write there ({e.strerror or e}). Choose another {flag}.') from e


def check_room(folder):
    """Prove that a megabyte can be written in `folder`: asked when what a library wrote turns out to be broken.

    Raises:
        UserError: it cannot; the disk, or the user's share of it, is full.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as f:
            f.write(bytes(1 << 20))
            f.flush()
    except OSError as e:
        raise unwritable(folder, e) from None


def refuse_inputs(path, flag, inputs):
    """Refuse to write over a file that is read, be it by another spelling, a link or a hard link.

    Args:
        path, flag: see `check_output`.
        inputs: paths of files that are read; `-` is standard input. None and '' are none.
    Raises:
        UserError: names both files.
    """
    written = _status(path, 1)
    if written is None or not stat.S_ISREG(written.st_mode):
        return
    for name in filter(None, inputs):
        read = _status(name, 0)
        if read is not None and os.path.samestat(read, written):
            output, source = ('standard output' if path == '-' else path), 'standard input' if name == '-' else name
            raise UserError(f'{output}: the same file as {source}, which is read. Choose another {flag}.')


def _status(path, stream):
    """What the system says of a file, `-` being an open stream; None if nothing is there."""
    try:
        return os.fstat(stream) if path == '-' else os.stat(path)
    except (OSError, ValueError):
        return None
