"""Folders are whole or not there; only what is provably ours and dead is cleared away; links are followed."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from propeller.storage import folders, locks
from propeller.storage.folders import is_partial, recover, remove_folder, whole_folder
from propeller.storage.locks import FileLock, holder_of, may_be_alive, this_process
from tests.leftovers import dead_workplace

HOLD = """
import sys, time
from propeller.storage.folders import whole_folder
with whole_folder(sys.argv[1], replace=True) as work:
    open(work + '/f', 'w').write('half')
    print('ready', flush=True)
    time.sleep(60)
"""


def make(folder, text):
    folder.mkdir(parents=True)
    (folder / 'f').write_text(text)


def put(target, text):
    with whole_folder(target, replace=True) as work:
        Path(work, 'f').write_text(text)


@pytest.fixture
def writer(tmp_path):
    """A process that is about to replace `tmp_path / 'a'`."""
    process = subprocess.Popen([sys.executable, '-c', HOLD, tmp_path / 'a'], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'ready\n'
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


# ---------------------------------------------------------------- whole or not there


def test_whole_folder_replaces_and_refuses(tmp_path):
    target = tmp_path / 'deep' / 'er' / 'x'
    for text in ('1', '2'):
        put(target, text)
    assert (target / 'f').read_text() == '2'
    with pytest.raises(FileExistsError), whole_folder(target):
        pass
    with pytest.raises(RuntimeError), whole_folder(target, replace=True) as work:
        Path(work, 'f').write_text('3')
        raise RuntimeError
    assert (target / 'f').read_text() == '2'
    assert os.listdir(target.parent) == ['x']


def test_a_folder_that_appears_meanwhile_is_not_replaced(tmp_path):
    with pytest.raises(FileExistsError), whole_folder(tmp_path / 'x') as work:
        Path(work, 'f').write_text('ours')
        (tmp_path / 'x').mkdir()
    assert os.listdir(tmp_path) == ['x'] and os.listdir(tmp_path / 'x') == []


def test_a_file_in_the_place_stays(tmp_path):
    (tmp_path / 'x').write_text('a file')
    with pytest.raises(FileExistsError):
        put(tmp_path / 'x', 'new')
    assert (tmp_path / 'x').read_text() == 'a file' and os.listdir(tmp_path) == ['x']


def test_a_failed_rename_brings_the_old_folder_back(tmp_path, monkeypatch):
    put(tmp_path / 'x', 'old')
    rename = os.rename

    def fails(source, target):
        if source.endswith('/new'):
            raise OSError(errno.ENOSPC, 'No space left on device')
        rename(source, target)

    monkeypatch.setattr(os, 'rename', fails)
    with pytest.raises(OSError, match='No space'):
        put(tmp_path / 'x', 'new')
    assert (tmp_path / 'x' / 'f').read_text() == 'old' and os.listdir(tmp_path) == ['x']


def test_recover_undoes_each_moment_of_a_replacement(tmp_path):
    """Every intermediate state of whole_folder and remove_folder, made by hand, ends in a whole folder."""
    make(dead_workplace(tmp_path, 'a') / 'old', 'old')  # killed between the two renames: the old one comes back
    recover(tmp_path)
    assert (tmp_path / 'a' / 'f').read_text() == 'old'
    make(dead_workplace(tmp_path, 'a') / 'old', 'older')  # killed before the old one was deleted
    make(dead_workplace(tmp_path, 'b') / 'doomed', 'unwanted')
    (tmp_path / '.propeller-work-0123456789abcdef').mkdir()  # killed before it was locked
    (tmp_path / '.propeller-work-0123456789abcdee').mkdir()
    (tmp_path / '.propeller-work-0123456789abcdee' / 'owner.json').touch()  # ... and before it was written
    recover(tmp_path)
    assert (tmp_path / 'a' / 'f').read_text() == 'old'
    assert os.listdir(tmp_path) == ['a']


# ---------------------------------------------------------------- nothing of others


def test_folders_of_the_user_are_never_touched(tmp_path):
    theirs = ['.tmp-precious', '.old-notes', '.propeller-work-notes', '.propeller-work-00000000000000aa', '.old-a']
    for name in theirs:
        make(tmp_path / name, name)
    (tmp_path / theirs[3] / 'owner.json').write_text('{"made_by": "me", "target": "a"}')
    (tmp_path / '.propeller-work-00000000000000bb').symlink_to(tmp_path / '.tmp-precious')
    put(tmp_path / 'a', 'ours')
    recover(tmp_path)
    remove_folder(tmp_path / 'a')
    assert [(tmp_path / name / 'f').read_text() for name in theirs] == theirs


@pytest.mark.parametrize('target', ['../outside', '/outside', '..', '', 5, None])
def test_an_owner_file_cannot_name_another_place(tmp_path, target):
    place = dead_workplace(tmp_path / 'here' if target else tmp_path, target)
    make(place / 'old', 'bait')
    recover(place.parent)
    assert (place / 'old' / 'f').read_text() == 'bait' and not (tmp_path / 'outside').exists()


def test_work_of_a_living_process_is_not_touched_and_of_a_killed_one_is(tmp_path, writer):
    put(tmp_path / 'a', 'whole')
    recover(tmp_path)
    assert len(list(tmp_path.glob('.propeller-work-*/new/f'))) == 1
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    recover(tmp_path)
    assert os.listdir(tmp_path) == ['a'] and (tmp_path / 'a' / 'f').read_text() == 'whole'


def test_work_of_another_machine_is_left_for_an_hour(tmp_path):
    place = dead_workplace(tmp_path, 'a', host='elsewhere', boot='other')
    recover(tmp_path)
    assert place.exists()
    hours_ago = time.time() - 2 * folders.QUIET_SECONDS
    for path in (place, place / 'owner.json', place / 'new', place / 'new' / 'half'):
        os.utime(path, (hours_ago, hours_ago))
    recover(tmp_path)
    assert not place.exists()


def test_where_nobody_can_lock_the_process_decides(tmp_path, monkeypatch):
    def unknown(handle, how):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'flock', unknown)
    alive = dead_workplace(tmp_path, 'a', locked=False)
    elsewhere = dead_workplace(tmp_path, 'b', locked=False, host='elsewhere')
    ended = subprocess.Popen(['true'])
    ended.wait()
    dead = dead_workplace(tmp_path, 'c', locked=False, pid=ended.pid)
    recover(tmp_path)
    assert alive.exists() and elsewhere.exists() and not dead.exists()
    put(tmp_path / 'd', 'without a lock')
    assert (tmp_path / 'd' / 'f').read_text() == 'without a lock'


def test_partial_files_are_known_by_their_whole_name():
    assert is_partial('.propeller-partial-train-00001.gz-0a1b2c3d')
    assert not any(map(is_partial, ('.tmp-precious', '.propeller-partial-x', 'train-00001.gz', '.propeller-partial-')))


# ---------------------------------------------------------------- links


@pytest.fixture
def linked(tmp_path):
    """`here/best`, a link to `disk/best`."""
    (tmp_path / 'here').mkdir()
    make(tmp_path / 'disk' / 'best', 'first')
    (tmp_path / 'here' / 'best').symlink_to('../disk/best')
    return tmp_path / 'here' / 'best'


def test_a_link_is_followed_again_and_again(tmp_path, linked):
    for text in ('second', 'third'):
        with whole_folder(linked, replace=True) as work:
            assert Path(work).is_relative_to(tmp_path / 'disk')  # written on the disk where it belongs
            Path(work, 'f').write_text(text)
        assert linked.is_symlink() and os.readlink(linked) == '../disk/best'
        assert (tmp_path / 'disk' / 'best' / 'f').read_text() == text
    assert os.listdir(tmp_path / 'disk') == os.listdir(tmp_path / 'here') == ['best']


def test_a_link_to_a_folder_that_is_not_made_yet(tmp_path, linked):
    remove_folder(tmp_path / 'disk' / 'best')
    put(linked, 'new')
    assert (tmp_path / 'disk' / 'best' / 'f').read_text() == 'new' and linked.is_symlink()


def test_a_link_to_a_disk_that_is_not_there_is_an_error(tmp_path, linked):
    (tmp_path / 'disk').rename(tmp_path / 'unmounted')
    with pytest.raises(FileNotFoundError, match='disk'):
        put(linked, 'new')
    assert not (tmp_path / 'disk').exists()


def test_recover_follows_links(tmp_path, linked):
    os.rename(tmp_path / 'disk' / 'best', dead_workplace(tmp_path / 'disk', 'best') / 'old')
    other = dead_workplace(tmp_path / 'disk', 'other')
    recover(linked.parent)
    assert (linked / 'f').read_text() == 'first' and other.exists()


def test_removing_a_link_keeps_what_it_points_to(tmp_path, linked):
    remove_folder(linked)
    assert not linked.is_symlink() and (tmp_path / 'disk' / 'best' / 'f').read_text() == 'first'


# ---------------------------------------------------------------- locks


def test_a_lock_is_held_once_and_says_by_whom(tmp_path):
    lock = FileLock(tmp_path / 'lock')
    lock.write({'note': 'ü', **this_process()})
    with pytest.raises(BlockingIOError):
        FileLock(tmp_path / 'lock')
    assert holder_of(tmp_path / 'lock')['pid'] == os.getpid() and may_be_alive(holder_of(tmp_path / 'lock'))
    lock.close()
    FileLock(tmp_path / 'lock').close()


def test_a_child_does_not_keep_the_lock_of_its_parent(tmp_path):
    lock = FileLock(tmp_path / 'lock')
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, b'.')
        time.sleep(60)
        os._exit(0)
    try:
        os.read(reading, 1)
        os.close(lock._handle)  # as the end of a process does it
        locks._held.discard(lock)
        FileLock(tmp_path / 'lock').close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
