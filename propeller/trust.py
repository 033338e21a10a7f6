"""Files that may be run or believed without reading them: those that only this user can have written."""

import hashlib
import os
import stat

CHECKSUM = '.sha256'


class Distrust(Exception):
    """Others could have written it, or it is not what was written; the text says why."""


def fault(status):
    """Why others could change what a status is of, in words; None: they cannot. status: `os.stat_result`."""
    if stat.S_ISLNK(status.st_mode):
        return 'is a link'
    if status.st_uid not in (os.geteuid(), 0):
        return f'belongs to another user (uid {status.st_uid})'
    if status.st_mode & 0o022:
        return f'can be written by others (mode {stat.S_IMODE(status.st_mode):o})'
    return None


def folder_fault(path, follow=False):
    """The same of a folder; also where it is none. follow: whether `path` may be a link."""
    try:
        status = os.stat(path, follow_symlinks=follow)
    except OSError as e:
        return f'cannot be looked at ({e.strerror})'
    return fault(status) or (None if stat.S_ISDIR(status.st_mode) else 'is no folder')


def seal(path):
    """Write the checksum of a file beside it, and take all rights from others."""
    with open(path, 'rb') as f:
        content = f.read()
    with open(f'{path}{CHECKSUM}', 'x', encoding='ascii') as f:
        f.write(f'{hashlib.sha256(content).hexdigest()} {len(content)}\n')
    for name in (path, f'{path}{CHECKSUM}'):
        os.chmod(name, 0o600)


def check_sealed(folder, name):
    """Check a file that `seal` was called for.

    Raises:
        Distrust: folder, file or checksum belongs to others, can be written by them, or is a link; the checksum is
            missing or is that of another content.
    """
    os.close(_open_sealed(folder, name))


def sealed_path(folder, name):
    """The same, and a path that leads to the very file that was checked as long as this process lives, whatever is put
    in its place meanwhile.
    """
    handle = _open_sealed(folder, name)
    path = f'/proc/self/fd/{handle}'
    # The handle stays open: the dynamic linker takes one name for one library.
    return path if os.path.exists(path) else os.path.join(folder, name)


def _open_sealed(folder, name):
    """A handle of the file. Folder and files are opened once, without following links, and then looked at."""
    parent = _open(folder, os.O_DIRECTORY)
    try:
        _refuse(parent)
        handle = _open(name + CHECKSUM, dir_fd=parent)
        try:
            _refuse(handle, name + CHECKSUM)
            expected = os.read(handle, 200).decode('ascii', 'replace').split()
        finally:
            os.close(handle)
        handle = _open(name, dir_fd=parent)
        try:
            _refuse(handle, name)
            _compare(handle, name, expected)
        except BaseException:
            os.close(handle)
            raise
        return handle
    finally:
        os.close(parent)


def _open(name, flags=0, **where):
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | flags, **where)
    except OSError as e:
        raise Distrust(f'{os.path.basename(name)} cannot be opened ({e.strerror})') from None


def _refuse(handle, file=None):
    status = os.fstat(handle)
    why = fault(status)
    if file and not stat.S_ISREG(status.st_mode):
        why = 'is no file'
    if why:
        raise Distrust(f'{file} {why}' if file else why)


def _compare(handle, name, expected):
    size = os.fstat(handle).st_size
    if len(expected) != 2 or expected[1] != str(size):
        raise Distrust(f'{name} has {size} bytes, its checksum says {" ".join(expected[1:]) or "nothing"}')
    with open(handle, 'rb', closefd=False) as f:
        found = hashlib.file_digest(f, 'sha256').hexdigest()
    if found != expected[0]:
        raise Distrust(f'{name} has another content than its checksum says')
