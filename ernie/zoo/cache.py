"""The cache folder of models and data, and its locks."""

import contextlib
import fcntl
import os
from pathlib import Path

from ernie.utils.fetch import disk_errors


def cache_folder():
    """The `Path` in $ERNIE_HOME, else ~/.cache/ernie/zoo."""
    return Path(os.environ.get('ERNIE_HOME') or Path.home() / '.cache' / 'ernie' / 'zoo')


@contextlib.contextmanager
def locked(path):
    """One program at a time: a second one waits, and then finds what the first has fetched."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = open(path, 'w')  # noqa: SIM115
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
