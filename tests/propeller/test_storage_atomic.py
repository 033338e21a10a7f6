"""Outputs: what is there decides. Files are whole or as before, links stay, devices and FIFOs are written."""

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from propeller.errors import UserError
from propeller.storage.atomic import check_output, move_file, output_file, refuse_inputs, replacing

ROOT = Path(__file__).parents[2]
TEXT = '今天很好\tfine\n'


def write(path, text=TEXT):
    with output_file(path) as f:
        f.write(text)


def only(folder, *names):
    assert sorted(os.listdir(folder)) == sorted(names)


def test_a_new_file_is_text_in_utf8_with_plain_line_ends(tmp_path):
    old = os.umask(0o027)
    try:
        write(tmp_path / 'new.tsv', 'a\r\n' + TEXT)
    finally:
        os.umask(old)
    assert (tmp_path / 'new.tsv').read_bytes() == ('a\r\n' + TEXT).encode()
    assert stat.S_IMODE((tmp_path / 'new.tsv').stat().st_mode) == 0o640
    only(tmp_path, 'new.tsv')


def test_a_failure_leaves_what_was_there(tmp_path):
    (tmp_path / 'x').write_text('old')
    with pytest.raises(KeyboardInterrupt), output_file(tmp_path / 'x') as f:
        f.write('new')
        raise KeyboardInterrupt
    with pytest.raises(UserError, match='x: cannot be written .No space'), output_file(tmp_path / 'x'):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(FileNotFoundError), output_file(tmp_path / 'x'):
        open(tmp_path / 'another')  # noqa: SIM115
    assert (tmp_path / 'x').read_text() == 'old'
    only(tmp_path, 'x')


@pytest.mark.parametrize('writer', [output_file, replacing])
def test_links_are_followed_and_permissions_stay(tmp_path, writer):
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'disk' / 'real').write_text('old')
    (tmp_path / 'disk' / 'real').chmod(0o604)
    (tmp_path / 'near').symlink_to('disk/real')
    (tmp_path / 'far').symlink_to('near')
    (tmp_path / 'dangling').symlink_to('disk/made')
    for name in ('far', 'dangling'):
        with writer(tmp_path / name) as given:
            if writer is replacing:
                Path(given).write_text(TEXT, encoding='utf-8')
            else:
                given.write(TEXT)
    assert os.readlink(tmp_path / 'far') == 'near' and os.readlink(tmp_path / 'near') == 'disk/real'
    assert (tmp_path / 'disk' / 'real').read_text(encoding='utf-8') == TEXT
    assert stat.S_IMODE((tmp_path / 'disk' / 'real').stat().st_mode) == 0o604
    assert os.readlink(tmp_path / 'dangling') == 'disk/made'
    assert (tmp_path / 'disk' / 'made').read_text(encoding='utf-8') == TEXT
    only(tmp_path, 'disk', 'near', 'far', 'dangling')
    only(tmp_path / 'disk', 'real', 'made')


@pytest.mark.skipif(os.geteuid() != 0, reason='only root gives files away')
def test_the_owner_stays(tmp_path):
    (tmp_path / 'x').write_text('old')
    os.chown(tmp_path / 'x', 4242, 4343)
    write(tmp_path / 'x')
    status = (tmp_path / 'x').stat()
    assert (status.st_uid, status.st_gid) == (4242, 4343)


def test_a_fifo_is_written_and_stays(tmp_path):
    path, got = tmp_path / 'pipe', []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: got.append(path.read_text(encoding='utf-8')), daemon=True)
    reader.start()
    write(path)
    reader.join(10)
    assert got == [TEXT] and stat.S_ISFIFO(path.stat().st_mode)
    with pytest.raises(UserError, match='pipe: found a FIFO'), replacing(path):
        pass
    only(tmp_path, 'pipe')


def test_a_reader_that_has_gone(tmp_path):
    path = tmp_path / 'pipe'
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(UserError, match='pipe: cannot be written .Broken pipe'), output_file(path) as f:
        f.write(TEXT)
        os.close(reader)
        f.write(TEXT)


def device(path, minor):
    """A character device of our own (1:3 is null, 1:7 is full): the machine's are not to be played with."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        open(path, 'wb').close()
    except OSError as e:
        pytest.skip(f'no device can be made here ({e.strerror})')
    return path


def test_a_device_is_written_and_stays(tmp_path):
    null, full = device(tmp_path / 'null', 3), device(tmp_path / 'full', 7)
    write(null)
    with pytest.raises(UserError, match='full: cannot be written .No space left on device'):
        write(full)
    for path in (null, full):
        assert stat.S_ISCHR(path.stat().st_mode)
        check_output(path, '--output')
    only(tmp_path, 'null', 'full')


PROGRAM = """
import sys
from propeller.storage.atomic import output_file
print('before')
for path in sys.argv[1:]:
    with output_file(path) as f:
        f.write('inside\\n')
print('behind')
"""


@pytest.mark.parametrize('mode', ['wb', 'ab'])
def test_standard_output_by_name_goes_on_where_it_stands(tmp_path, mode):
    (tmp_path / 'out').write_bytes(b'old\n')
    (tmp_path / 'link').symlink_to('/dev/stdout')
    with open(tmp_path / 'out', mode) as out:
        paths = ['/dev/stdout', '/proc/self/fd/1', '/dev/fd/1', tmp_path / 'link']
        subprocess.run([sys.executable, '-c', PROGRAM, *paths], cwd=ROOT, stdout=out, check=True)
    lines = (tmp_path / 'out').read_text().split()
    assert lines == ['old'] * (mode == 'ab') + ['before', *['inside'] * 4, 'behind']
    assert (tmp_path / 'link').is_symlink()
    only(tmp_path, 'out', 'link')


def test_the_longest_name(tmp_path):
    for name in ('x' * 255, '字' * 85):
        write(tmp_path / name)
        assert (tmp_path / name).read_text(encoding='utf-8') == TEXT
    with pytest.raises(UserError, match='File name too long'):
        write(tmp_path / ('x' * 256))


def test_what_cannot_be_written(tmp_path):
    (tmp_path / 'loop').symlink_to('loop')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').touch()
    for name, text in (
        ('folder', 'found a folder, expected a file to write'),
        ('loop', 'cannot be written .Too many levels'),
        ('file/x', 'cannot be written .Not a directory'),
        ('none/x', 'cannot be written .No such file'),
    ):
        with pytest.raises(UserError, match=f'{name}: {text}'):
            write(tmp_path / name)
        if name != 'none/x':  # folders are made
            with pytest.raises(UserError, match=name.partition('/')[0]):
                check_output(tmp_path / name, '--output')
    with pytest.raises(UserError, match='fd/977: cannot be written .Bad file descriptor'):
        write('/dev/fd/977')


def test_an_output_that_is_an_input_by_whatever_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('in.tsv').write_text(TEXT)
    Path('folder').mkdir()
    Path('folder/link').symlink_to('../in.tsv')
    os.link('in.tsv', 'hard')
    for name in ('in.tsv', './folder/../in.tsv', tmp_path / 'in.tsv', 'folder/link', 'hard'):
        with pytest.raises(UserError, match='the same file as in.tsv, which is read. Choose another --output'):
            check_output(name, '--output', ['other', None, 'in.tsv'])
    Path('copy').write_text(TEXT)
    for name in ('copy', 'new', '/dev/null'):
        check_output(name, '--output', ['in.tsv', '/dev/null'])


def test_standard_streams_are_compared_too(tmp_path):
    path = tmp_path / 'in.tsv'
    path.write_text(TEXT)
    program = 'import sys; from propeller.storage.atomic import refuse_inputs; refuse_inputs(sys.argv[1], "-o", ["-"])'
    for output in ('-', path):
        with open(path, 'rb') as stdin, open(path, 'ab') as stdout:
            done = subprocess.run(
                [sys.executable, '-c', program, output],
                cwd=ROOT,
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert done.stderr.splitlines()[-1].endswith(
            'the same file as standard input, which is read. Choose another -o.'
        )
    refuse_inputs('-', '-o', [path.parent])


def test_another_name_for_a_file_follows_links(tmp_path):
    (tmp_path / 'new').write_text('new')
    (tmp_path / 'real').write_text('old')
    (tmp_path / 'link').symlink_to('real')
    move_file(tmp_path / 'new', tmp_path / 'link')
    assert (tmp_path / 'real').read_text() == 'new' and (tmp_path / 'link').is_symlink()
    only(tmp_path, 'real', 'link')
