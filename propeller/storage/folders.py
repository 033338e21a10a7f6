"""Folders that are whole or not there: written beside, flushed to disk, then renamed."""

import contextlib
import os
import shutil
import tempfile

TEMPORARY = '.tmp-'
REPLACED = '.old-'


def sync(path):
    """Flush a file or a folder entry to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def whole_folder(target, replace=False):
    """Yields a temporary folder that becomes `target` when the block ends well, and vanishes when it does not.

    A kill at any moment leaves either the old `target`, or the new one, or (while one replaces the other) the old one
    under a name from which `recover` brings it back.

    Args:
        target: path of the folder to make.
        replace: whether an existing `target` may be replaced.
    Raises:
        FileExistsError: `target` exists and `replace` is false; also if it appears while the block runs.
    """
    target = os.path.abspath(target)
    parent, name = os.path.split(target)
    os.makedirs(parent, exist_ok=True)
    if not replace:
        _refuse_existing(target)
    work = tempfile.mkdtemp(prefix=f'{TEMPORARY}{name}-', dir=parent)
    try:
        yield work
        for folder, _, files in os.walk(work):
            for file in files:
                sync(os.path.join(folder, file))
            sync(folder)
        os.chmod(work, 0o777 & ~_umask())
        if not replace:
            _refuse_existing(target)
        _put_in_place(work, target, os.path.join(parent, REPLACED + name))
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _refuse_existing(target):
    if os.path.lexists(target):
        raise FileExistsError(f'{target} exists already.')


def _put_in_place(work, target, aside):
    if os.path.lexists(target):
        if os.path.lexists(aside):
            shutil.rmtree(aside)
        os.rename(target, aside)
    os.rename(work, target)
    sync(os.path.dirname(target))
    shutil.rmtree(aside, ignore_errors=True)


def remove_folder(path):
    """Delete a folder such that a kill leaves it whole, or under a name that `recover` removes."""
    parent, name = os.path.split(os.path.abspath(path))
    doomed = tempfile.mkdtemp(prefix=f'{TEMPORARY}{name}-', dir=parent)
    os.rename(path, doomed)  # an empty folder may be replaced
    shutil.rmtree(doomed)


def _umask():
    value = os.umask(0)
    os.umask(value)
    return value


def recover(parent):
    """Undo what a killed `whole_folder` left in `parent`: bring replaced folders back, remove unfinished ones.

    Call it only when no other process writes there.
    """
    if not os.path.isdir(parent):
        return
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        if name.startswith(REPLACED):
            target = os.path.join(parent, name[len(REPLACED) :])
            if os.path.lexists(target):
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.rename(path, target)
        elif name.startswith(TEMPORARY) and os.path.isdir(path):
            shutil.rmtree(path, ignore_errors=True)
