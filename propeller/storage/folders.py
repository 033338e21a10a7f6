"""Folders that are whole or not there: written beside, flushed to disk, then renamed.

What is being made lies in a folder of our own beside the target, `.propeller-work-<16 hexadecimal digits>`, which holds

    owner.json     whose it is; locked by the kernel as long as that process lives
    new            the folder that is being made
    old            the folder that it replaces
    doomed         a folder that is being deleted

`recover` deletes nothing but such folders, and only those whose process is gone. A link to a folder is followed: what
it points to is replaced, on the disk where that is, and the link stays.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
import time

from propeller.errors import UserError
from propeller.log import get_logger
from propeller.storage.locks import FileLock, is_of_this_machine, may_be_alive, this_process

log = get_logger(__name__)

WORK = '.propeller-work-'
# Of files that are being written, see `propeller.storage.atomic`: this, the file's name, and 8 hexadecimal digits.
TEMPORARY = '.propeller-partial-'
OWNER, NEW, OLD, DOOMED = 'owner.json', 'new', 'old', 'doomed'
# After so long without a change in it, the work of another machine counts as dead if its lock can be had.
QUIET_SECONDS = 3600
_MADE_BY = 'propeller whole_folder'
_WORK_NAME = re.compile(re.escape(WORK) + '[0-9a-f]{16}')
_PARTIAL_NAME = re.compile(re.escape(TEMPORARY) + '.+-[0-9a-f]{8}')


def sync(path):
    """Flush a file or a folder entry to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_partial(name):
    """Whether a file of that name is one that `propeller.storage.atomic` was writing."""
    return _PARTIAL_NAME.fullmatch(name) is not None


@contextlib.contextmanager
def whole_folder(target, replace=False, durable=True):
    """Yields a temporary folder that becomes `target` when the block ends well, and vanishes when it does not.

    A kill at any moment leaves either the old `target`, or the new one, or (while one replaces the other) the old one
    in a place from which `recover` brings it back.

    Args:
        target: path of the folder to make; if it is a link, of where it points to.
        replace: whether an existing folder `target` may be replaced.
        durable: flush to disk before the rename, so that a loss of power leaves no half of it either.
    Raises:
        FileExistsError: `target` exists and `replace` is false, also if it appears while the block runs; or it is not
            a folder.
        OSError: the disk refuses; `target` is a link into a folder that is not there, or a mount point.
    """
    given, target = target, real_target(target)
    parent, name = os.path.split(target)
    os.makedirs(parent, exist_ok=True)
    _recover_in(parent, name)
    _check(target, replace)
    with _workplace(parent, name) as place:
        work = os.path.join(place, NEW)
        os.mkdir(work)
        with _spoken_of_as(given, work):
            yield work
        for folder, _, files in os.walk(work) if durable else ():
            for file in files:
                sync(os.path.join(folder, file))
            sync(folder)
        _check(target, replace)
        _put_in_place(work, target, os.path.join(place, OLD))


def write_files(folder, files):
    """Write files into a folder that is being made. files: dict name, which may lie in a folder (`a/b`), -> bytes."""
    for name, content in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as f:
            f.write(content)


@contextlib.contextmanager
def _spoken_of_as(target, work):
    """Errors inside name `target` in the place of the folder beside it, which is gone when the user reads them."""
    try:
        yield
    except UserError as e:
        e.args = (str(e).replace(work, os.fspath(target)),)
        raise


def real_target(path):
    """Absolute path of the folder that `path` is or, for a link, points to; that need not exist.

    Raises:
        FileNotFoundError: the link points into a folder that is not there: a disk that is not mounted, perhaps.
    """
    if not os.path.islink(path):
        return os.path.abspath(path)
    real = os.path.realpath(path)
    if not os.path.isdir(os.path.dirname(real)):
        raise FileNotFoundError(errno.ENOENT, f'a link to {real}, and there is no folder {os.path.dirname(real)}')
    return real


def _check(target, replace):
    if not os.path.lexists(target):
        return
    if not replace:
        raise FileExistsError(f'{target} exists already.')
    if not os.path.isdir(target):
        raise FileExistsError(errno.EEXIST, 'a file of that name is there')
    if os.path.ismount(target):
        raise OSError(errno.EBUSY, f'{target} is a mount point, which cannot be replaced; use a folder inside it')


def _put_in_place(work, target, aside):
    parent = os.path.dirname(target)
    if os.path.lexists(target):
        sync(os.path.dirname(aside))
        os.rename(target, aside)
    os.rename(work, target)
    sync(parent)


def remove_folder(path):
    """Delete a folder such that a kill leaves it whole, or in a place where `recover` deletes it.

    Of a link only the link is deleted: where it points to somebody may have brought it to safety.
    """
    path = os.path.abspath(path)
    if os.path.islink(path):
        log.info('%s: the link is deleted, the folder that it points to stays: %s', path, os.path.realpath(path))
        os.unlink(path)
        return
    parent, name = os.path.split(path)
    with _workplace(parent, name) as place:
        os.rename(path, os.path.join(place, DOOMED))


# ---------------------------------------------------------------- our own folder beside the target


@contextlib.contextmanager
def _workplace(parent, name):
    """A new folder of our own in `parent` for work on its entry `name`, locked; gone when the block ends."""
    place, lock = _new_workplace(parent)
    try:
        lock.write({'made_by': _MADE_BY, 'target': name, 'locked': lock.granted, **this_process()})
        yield place
    finally:
        try:
            _settle(place, os.path.join(parent, name))
        finally:
            lock.close()


def _new_workplace(parent):
    while True:
        place = os.path.join(parent, f'{WORK}{secrets.token_hex(8)}')
        os.mkdir(place)
        # Until it is locked, another process' `recover` may take the empty folder for a dead one's.
        with contextlib.suppress(FileNotFoundError):
            lock = FileLock(os.path.join(place, OWNER), wait=True)
            if lock.is_in_place():
                return place, lock
            lock.close()


def _settle(place, target):
    """Give back what was to be replaced and was not, and delete the workplace, its proof of ownership last."""
    old = os.path.join(place, OLD)
    if os.path.lexists(old) and not os.path.lexists(target):
        os.rename(old, target)
    for name in (NEW, OLD, DOOMED):
        shutil.rmtree(os.path.join(place, name), ignore_errors=True)
    with contextlib.suppress(OSError):
        if set(os.listdir(place)) <= {OWNER}:
            os.unlink(os.path.join(place, OWNER))
            os.rmdir(place)


def recover(parent):
    """Undo what a killed process left of its work in `parent`: bring replaced folders back, remove unfinished ones.

    Also beside the folders that links in `parent` point to. Work of a process that lives is not touched, nor anything
    that is not proven to be ours: see the top of this file.
    """
    if not os.path.isdir(parent):
        return
    _recover_in(os.path.abspath(parent))
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        if os.path.islink(path):
            folder, name = os.path.split(os.path.realpath(path))
            if os.path.isdir(folder):
                _recover_in(folder, name)


def _recover_in(parent, only=None):
    """only: name of the one entry whose workplaces count; None: all."""
    with contextlib.suppress(OSError):  # a folder that we may not read is not one that we wrote
        for name in os.listdir(parent):
            place = os.path.join(parent, name)
            if _WORK_NAME.fullmatch(name) and os.path.isdir(place) and not os.path.islink(place):
                _recover_place(parent, place, only)


def _recover_place(parent, place, only):
    path = os.path.join(place, OWNER)
    if not os.path.lexists(path):
        if only is None:
            with contextlib.suppress(OSError):
                os.rmdir(place)  # which only an empty one lets be done to it
        return
    try:
        lock = FileLock(path)
    except OSError:  # its process lives, or it is not ours
        return
    try:
        owner = lock.read()
        if owner is None:
            if only is None and lock.granted and lock.is_empty() and os.listdir(place) == [OWNER]:
                os.unlink(path)
                os.rmdir(place)
        elif _is_ours(owner, only) and _is_dead(owner, lock.granted, place, os.path.join(parent, owner['target'])):
            log.debug('%s: what a process that is gone left of %s is cleared away', place, owner['target'])
            _settle(place, os.path.join(parent, owner['target']))
    finally:
        lock.close()


def _is_ours(owner, only):
    target = owner.get('target')
    named = isinstance(target, str) and target not in ('', '.', '..') and '/' not in target and '\0' not in target
    return owner.get('made_by') == _MADE_BY and named and only in (None, target)


def _is_dead(owner, granted, place, target):
    if not (granted and owner.get('locked') is True):
        return not may_be_alive(owner)
    if is_of_this_machine(owner) or (os.path.lexists(os.path.join(place, OLD)) and not os.path.lexists(target)):
        return True
    # Some file systems keep locks to themselves on each machine.
    paths = [os.path.join(folder, name) for folder, _, files in os.walk(place) for name in ('', *files)]
    return time.time() - max(map(_changed, paths)) > QUIET_SECONDS


def _changed(path):
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return time.time()


def make_folder(folder):
    """Make `folder` with its parents; '' is the working directory.

    Raises:
        UserError: it cannot be made.
    """
    try:
        os.makedirs(folder or '.', exist_ok=True)
    except OSError as e:
        raise UserError(f'{folder}: cannot make this folder ({e.strerror or e}).') from e
