"""Locks of the kernel on files: one process holds a lock, and its end releases it, however it ends.

`flock`: Linux keeps it on local disks and, since 2.6.12, on NFS, where the server knows it and so do other machines.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import weakref

from propeller.errors import UserError
from propeller.inputs import open_regular, parse_json

_UNKNOWN = {errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP}
_LONGEST = 1 << 16

_held = weakref.WeakSet()


class FileLock:
    """A file with a lock on it, and a small JSON object in it that tells who holds it.

    Args:
        path: the file; made if it is not there.
        wait: wait for another holder to end, instead of `BlockingIOError`.

    Attributes:
        granted: whether the kernel gave the lock; false where the file system knows no locks.

    Raises:
        BlockingIOError: another process holds the lock.
        OSError: the file cannot be made or opened.
    """

    def __init__(self, path, wait=False):
        self.path = path
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        try:
            self.granted = self._take(fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(self._handle)
            raise
        _held.add(self)

    def _take(self, how):
        try:
            fcntl.flock(self._handle, how)
        except OSError as e:
            if e.errno == errno.EACCES:
                raise BlockingIOError(e.errno, e.strerror) from None
            if e.errno not in _UNKNOWN:
                raise
            return False
        return True

    def is_in_place(self):
        """Whether the file of that name is still the one that is locked: another process may have removed it."""
        try:
            return os.path.samestat(os.fstat(self._handle), os.lstat(self.path))
        except OSError:
            return False

    def read(self):
        """The object in the file; None if there is none or it is damaged."""
        return _parsed(os.pread(self._handle, _LONGEST, 0))

    def is_empty(self):
        """Whether nothing was written yet."""
        return os.fstat(self._handle).st_size == 0

    def write(self, facts):
        """Put a JSON-able dict in the place of what the file holds."""
        content = (json.dumps(facts) + '\n').encode()
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, content, 0)
        os.fsync(self._handle)

    def close(self):
        """Let others have it; the file stays."""
        if self in _held:
            with contextlib.suppress(OSError):
                fcntl.flock(self._handle, fcntl.LOCK_UN)
            self._forget()

    def _forget(self):
        _held.discard(self)
        os.close(self._handle)


def holder_of(path):
    """What stands in a lock file that somebody else holds: a dict; {} if it cannot be told."""
    with contextlib.suppress(OSError, UserError), open_regular(path) as f:
        return _parsed(f.read(_LONGEST)) or {}
    return {}


def this_process():
    """dict: host, its boot and the process, as lock files name them."""
    return {'host': socket.gethostname(), 'boot': _boot(), 'pid': os.getpid()}


def is_of_this_machine(owner):
    """Whether the kernel that runs this process ran, or runs, the one of a lock file: its locks are then certain."""
    boot = _boot()
    return owner.get('host') == socket.gethostname() or bool(boot) and owner.get('boot') == boot


def may_be_alive(owner):
    """Whether the process of a lock file may still run, judged without its lock."""
    if owner.get('host') != socket.gethostname():
        return True
    if owner.get('boot') != _boot():
        return False
    pid = owner.get('pid')
    if type(pid) is not int or pid <= 0:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _boot():
    try:
        with open('/proc/sys/kernel/random/boot_id', encoding='ascii') as f:
            return f.read().strip()
    except OSError:
        return ''


def _parsed(content):
    try:
        value = parse_json(content, 'a lock file')
    except UserError:
        return None
    return value if isinstance(value, dict) else None


def _let_go():
    """In a child: the lock is its parent's, and must not outlive it."""
    for lock in list(_held):
        lock._forget()


os.register_at_fork(after_in_child=_let_go)
