"""The private folder of a server for what it exports: gone with the server, however it ends."""

import contextlib
import os
import re
import shutil
import stat
import tempfile

from propeller.storage.locks import FileLock

_PREFIX, _LOCK = 'ernie-serve-', 'server.lock'
_NAME = re.compile(rf'{_PREFIX}[a-z0-9_]+')


class PrivatePlace:
    """A temporary folder that nobody else may read. Those of servers that were killed are removed when one is made.

    Attributes:
        name: its path.
    """

    def __init__(self):
        _sweep(tempfile.gettempdir())
        self._folder = tempfile.TemporaryDirectory(prefix=_PREFIX)
        self.name = self._folder.name
        self._lock = FileLock(os.path.join(self.name, _LOCK))


def _sweep(parent):
    with contextlib.suppress(OSError):
        for entry in os.scandir(parent):
            if _NAME.fullmatch(entry.name):
                with contextlib.suppress(OSError):  # somebody else's, or of a server that lives
                    _remove(entry.path)


def _remove(place):
    """Remove a folder of ours whose server has ended. Raises OSError: it has not, or it is no such folder."""
    found, path = os.lstat(place), os.path.join(place, _LOCK)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or not os.path.isfile(path):
        return
    lock = FileLock(path)
    try:
        if lock.granted and lock.is_in_place():
            shutil.rmtree(place, ignore_errors=True)
    finally:
        lock.close()
