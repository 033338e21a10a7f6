"""ernie.utils.fetch: downloads against a local web server that misbehaves."""

import collections
import contextlib
import errno
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ernie.utils import http
from ernie.utils.fetch import ChangedFile, TooLarge, fetch
from propeller.errors import UserError
from tests.ernie.file_server import serve

ROOT = Path(__file__).resolve().parents[2]
CONTENT = random.Random(5).randbytes(3 * (1 << 20) + 77)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    with serve(CONTENT) as running:
        yield running


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv('no_proxy', '*')


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'archives' / 'a.tgz'


def get(server, path, **options):
    return fetch(f'{server.url}/a.tgz', path, pause=0.0, **options)


def whole(path):
    """The file is right, and nothing else is left in its folder."""
    return path.read_bytes() == CONTENT and os.listdir(path.parent) == [path.name]


def test_a_plain_download(server, path):
    assert get(server, path) == DIGEST
    assert whole(path)
    assert server.requests == [('/a.tgz', None)]


@pytest.mark.parametrize('etag', ['"one"', 'W/"weak"', None])
def test_broken_connections_are_continued_where_they_ended(server, path, etag):
    server.etag = etag
    server.breaks = [1_000_001, 70_003]
    assert get(server, path) == DIGEST
    assert whole(path)
    assert [r for _, r in server.requests] == [None, 'bytes=1000001-', 'bytes=1070004-']


def test_a_later_call_continues(server, path):
    server.breaks = [11, 22]
    with pytest.raises(UserError, match=r'the connection ended after 33 of .* fetch the file in another way'):
        get(server, path, attempts=2)
    assert not path.exists()
    assert path.with_name('a.tgz.part').read_bytes() == CONTENT[:33]
    get(server, path)
    assert whole(path)
    assert server.requests[-1] == ('/a.tgz', 'bytes=33-')


def test_a_part_that_is_whole_needs_no_connection(server, path):
    server.breaks = [len(CONTENT) - 1]
    with pytest.raises(UserError):
        get(server, path, attempts=1)
    with open(path.with_name('a.tgz.part'), 'ab') as part:
        part.write(CONTENT[-1:])
    assert get(server, path) == DIGEST
    assert len(server.requests) == 1


def break_off(server, path, end=1_000_001):
    server.breaks = [end]
    with pytest.raises(UserError):
        get(server, path, attempts=1)


@pytest.mark.parametrize('change', ['etag', 'size', 'no ranges', 'shorter'])
def test_a_file_that_changed_in_between_starts_again(server, path, change):
    old = CONTENT[::-1]
    server.content = old + b'longer' if change == 'size' else old
    break_off(server, path)
    server.content, server.ranges = CONTENT, change != 'no ranges'
    if change == 'shorter':
        server.content = CONTENT[:900_000]
    if change != 'size':
        server.etag = '"two"'
    assert get(server, path) == hashlib.sha256(server.content).hexdigest()
    assert path.read_bytes() == server.content
    assert server.requests[1] == ('/a.tgz', 'bytes=1000001-')


def test_parts_of_another_address_are_not_continued(server, path):
    break_off(server, path)
    fetch(f'{server.url}/other/a.tgz', path, pause=0.0)
    assert whole(path)
    assert server.requests[-1] == ('/other/a.tgz', None)


def test_a_part_without_its_state_is_not_continued(server, path):
    break_off(server, path)
    path.with_name('a.tgz.part.json').write_text('{"url"')
    get(server, path)
    assert whole(path)


def test_a_server_without_length(server, path):
    server.chunked = True
    server.breaks = [5000]
    assert get(server, path) == DIGEST
    assert whole(path)


def test_a_body_without_end_is_bounded(server, path, monkeypatch):
    server.endless = True
    monkeypatch.setattr('ernie.utils.fetch.LOOK', 1 << 20)
    with pytest.raises(TooLarge, match=r'/a.tgz: has no end after [0-9,]+ bytes, expected at most 20,000,000'):
        get(server, path, max_bytes=20 * 10**6)
    assert os.listdir(path.parent) == [] and len(server.requests) == 1


def test_a_body_without_length_leaves_room_on_the_disk(server, path, monkeypatch):
    server.endless = True
    monkeypatch.setattr('ernie.utils.fetch.LOOK', 1 << 20)
    usage = collections.namedtuple('usage', 'total used free')(10**12, 10**12 - 10**8, 10**8)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)
    with pytest.raises(UserError, match=r'bytes of unknown length came, and the disk has 100,000,000 left'):
        get(server, path)


def test_a_file_that_is_too_large_is_known_before_the_first_byte(server, path):
    with pytest.raises(TooLarge, match=f'has {len(CONTENT):,} bytes, expected at most 1,000'):
        get(server, path, max_bytes=1000)
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize('length', ['\u00b2', '-1', '+5', '1_000', '5 6', '0x10', '', '9' * 5000, ('5', '6')])
def test_a_length_that_is_none(server, path, length):
    server.headers['Content-Length'] = length
    with pytest.raises(
        UserError, match=r'a.tgz: the server answers with the Content-Length .*, expected a number'
    ) as e:
        get(server, path)
    assert len(str(e.value)) < 500 and len(server.requests) == 1


@pytest.mark.parametrize(
    'found',
    ['bytes 0-9/10', 'bytes \u00b2-9/10', 'bytes 1000001-5/6', 'bytes 1000001-1000005/9999999', 'x', None, '9' * 5000],
)
def test_a_range_that_is_another_starts_again(server, path, found):
    break_off(server, path)
    server.headers['Content-Range'] = found
    assert get(server, path) == DIGEST
    assert whole(path) and [r for _, r in server.requests] == [None, 'bytes=1000001-', None]


@pytest.mark.parametrize('address', ['file:///etc/passwd', 'ftp://localhost/a', 'data:,x', 'gopher://x', 'FILE:/x'])
def test_only_the_web_is_redirected_to(server, path, address):
    server.redirects = [address]
    with pytest.raises(
        UserError, match=f"leads to '{address}', expected an address of http|'{address}' is not allowed"
    ):
        get(server, path)
    with pytest.raises(UserError, match='expected an address of http'):
        fetch(address, path)
    assert os.listdir(path.parent) == []


def test_a_redirection_within_the_web_is_followed(server, path):
    server.redirects = ['/elsewhere/a.tgz', None]
    assert get(server, path) == DIGEST
    assert [place for place, _ in server.requests] == ['/a.tgz', '/elsewhere/a.tgz']


def test_from_https_to_http_nothing_is_redirected():
    with pytest.raises(UserError, match='from https to http'):
        http._check_scheme('http://a/b', 'https://a/b')


@pytest.mark.parametrize('address', ['http://[', f'http://{"a" * 70}.b/', 'http://a b/'])
def test_a_redirection_to_what_is_no_address(server, path, address):
    server.redirects = [address]
    with pytest.raises(UserError) as error:
        get(server, path, attempts=1)
    assert '\n' not in str(error.value)


def test_a_server_that_trickles_is_left(server, path, monkeypatch):
    monkeypatch.setattr(http, 'WINDOW_SECONDS', 0.2)
    server.pace = 0.05
    with pytest.raises(UserError, match=r'only \d+ bytes in 0 seconds. Check the network'):
        get(server, path, attempts=2)
    assert path.with_name('a.tgz.part').stat().st_size > 0 and len(server.requests) == 2


def test_a_header_that_trickles_is_left(path, monkeypatch):
    """A status line of one byte each now and then."""
    monkeypatch.setattr(http, 'WINDOW_SECONDS', 0.2)
    with socket.create_server(('127.0.0.1', 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                while True:
                    connection.sendall(b'H')
                    time.sleep(0.02)

        thread = threading.Thread(target=answer)
        thread.start()
        started = time.monotonic()
        with pytest.raises(UserError, match='bytes in 0 seconds'):
            fetch(f'http://127.0.0.1:{listener.getsockname()[1]}/', path, attempts=1)
        assert time.monotonic() - started < 10
        thread.join()


@pytest.mark.parametrize('status', [429, 500, 503])
def test_a_busy_server_is_asked_again(server, path, status):
    server.answers = [status, status]
    assert get(server, path) == DIGEST
    assert len(server.requests) == 3


@pytest.mark.parametrize('status', [403, 404])
def test_a_refusal_is_final(server, path, status):
    server.answers = [status]
    with pytest.raises(UserError, match=f'/a.tgz: the server answers {status} '):
        get(server, path)
    assert len(server.requests) == 1


def test_no_server(path):
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))
        url = f'http://127.0.0.1:{unused.getsockname()[1]}/a.tgz'
        with pytest.raises(UserError, match=r'Connection refused.*Check the network') as error:
            fetch(url, path, pause=0.0)
    assert '\n' not in str(error.value)


def test_the_pause_doubles(server, path, monkeypatch):
    pauses = []
    monkeypatch.setattr(time, 'sleep', pauses.append)
    server.answers = [503] * 4
    fetch(f'{server.url}/a.tgz', path, pause=0.5)
    assert pauses == [0.5, 1.0, 2.0, 4.0]


def test_a_wrong_digest_is_not_kept(server, path):
    with pytest.raises(ChangedFile, match=f'found SHA-256 {DIGEST}, expected {"0" * 64}'):
        get(server, path, sha256='0' * 64)
    assert os.listdir(path.parent) == []
    assert get(server, path, sha256=DIGEST) == DIGEST


def test_a_disk_that_is_too_small_is_known_before_the_first_byte(server, path, monkeypatch):
    usage = collections.namedtuple('usage', 'total used free')(10**9, 10**9 - 1000, 1000)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)
    with pytest.raises(UserError, match=f'needs {len(CONTENT):,} bytes, the disk has 1,000'):
        get(server, path)
    assert os.listdir(path.parent) == []


def test_a_disk_that_fills_up(server, path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    break_off(server, path)
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(UserError, match=r'a\.tgz\.part: the disk is full'):
        get(server, path)
    monkeypatch.undo()
    assert get(server, path) == DIGEST


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / 'archives').write_text('a file')
    with pytest.raises(UserError, match='archives: File exists'):
        get(server, tmp_path / 'archives' / 'a.tgz')


KILLED = """
import sys
from pathlib import Path
from ernie.utils.fetch import fetch
fetch(sys.argv[1], Path(sys.argv[2]))
"""


def test_a_killed_program_is_continued(server, path):
    """The server holds the second half back, so the program is surely in the middle when it is killed."""
    server.holds_after = 2_000_000
    process = subprocess.Popen([sys.executable, '-c', KILLED, f'{server.url}/a.tgz', str(path)], cwd=ROOT)
    part = path.with_name('a.tgz.part')
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size > 1_000_000):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    have = part.stat().st_size
    assert json.loads(part.with_name('a.tgz.part.json').read_text())['size'] == len(CONTENT)
    server.holds_after = None
    assert get(server, path) == DIGEST
    assert server.requests[-1] == ('/a.tgz', f'bytes={have}-')
