"""ernie.zoo: bundles from a local web server into a cache folder."""

import hashlib
import io
import json
import os
import pty
import random
import re
import subprocess
import sys
import tarfile
import termios
import threading
from pathlib import Path

import pytest

from ernie import zoo
from ernie.zoo.data_sets import DATA_SETS
from propeller.errors import UsageError, UserError
from tests.ernie.file_server import serve

ROOT = Path(__file__).resolve().parents[2]
NAME, FILE = 'ernie-1.0-zh-base-512', 'ERNIE_1.0_max-len-512.tar.gz'
WEIGHTS = random.Random(3).randbytes(200_003)


def tgz(files, top=''):
    """The bytes of a tar.gz; the same files give the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w:gz') as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(top + name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


MODEL = {'params/word_embedding': WEIGHTS, 'vocab.txt': b'[PAD]\n', 'ernie_config.json': b'{}'}
ARCHIVE = tgz(MODEL)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv('no_proxy', '*')
    monkeypatch.setenv('ERNIE_HOME', str(tmp_path / 'home'))
    return tmp_path / 'home'


@pytest.fixture
def server():
    with serve(ARCHIVE) as running:
        yield running


def get(server, name=NAME, **options):
    return zoo.download(name, url_base=f'{server.url}/mirror/', pause=0.0, **options)


def is_model(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.is_file()} == MODEL


def test_the_released_bundles():
    base = 'https://ernie.bj.bcebos.com/'
    assert {name: bundle.url for name, bundle in zoo.BUNDLES.items()} == {
        'ernie-1.0-zh-base': 'https://baidu-nlp.bj.bcebos.com/ERNIE_stable-1.0.1.tar.gz',
        'ernie-1.0-zh-base-params': f'{base}ERNIE_stable.tgz',
        'ernie-1.0-zh-base-512': f'{base}ERNIE_1.0_max-len-512.tar.gz',
        'ernie-2.0-en-base': f'{base}ERNIE_Base_en_stable-2.0.0.tar.gz',
        'ernie-2.0-en-large': f'{base}ERNIE_Large_en_stable-2.0.0.tar.gz',
        'ernie-tiny-zh': f'{base}ernie_tiny.tar.gz',
        'ernie-1.0-encoder': f'{base}ernie1.0_zh_inference_model.tar.gz',
        'task-data-zh': f'{base}task_data_zh.tgz',
        'propeller-demo-data': f'{base}propeller_demo_data.tar.gz',
        'distill-data': f'{base}distill_data.tar.gz',
    }


def test_the_first_download_unpacks_and_records(server, home):
    folder = get(server)
    assert folder == home / NAME
    assert is_model(folder)
    assert (home / 'archives' / FILE).read_bytes() == ARCHIVE
    record = json.loads((home / 'archives' / f'{FILE}.json').read_text())
    assert record['sha256'] == hashlib.sha256(ARCHIVE).hexdigest()
    assert record['size'] == len(ARCHIVE)
    assert record['url'] == f'{server.url}/mirror/{FILE}'
    assert server.requests == [(f'/mirror/{FILE}', None)]


def test_a_second_download_asks_nobody(server):
    first = get(server)
    assert get(server) == first
    assert len(server.requests) == 1


def test_a_deleted_folder_comes_from_the_archive(server):
    folder = get(server)
    (folder / 'vocab.txt').unlink()
    folder.rename(folder.with_name('away'))
    assert is_model(get(server))
    assert len(server.requests) == 1


def test_a_broken_download_is_continued(server):
    server.breaks = [70_000]
    assert is_model(get(server))
    assert server.requests[1] == (f'/mirror/{FILE}', 'bytes=70000-')


def forget_unpacked(home, archive=True):
    (home / NAME).rename(home / 'away')
    if archive:
        (home / 'archives' / FILE).unlink()


def test_an_archive_that_changed_since_its_first_use_is_refused(server, home):
    get(server)
    forget_unpacked(home)
    server.content = tgz(MODEL | {'vocab.txt': b'[EVIL]\n'})
    old, new = (hashlib.sha256(c).hexdigest() for c in (ARCHIVE, server.content))
    with pytest.raises(UserError, match=f'found SHA-256 {new}, expected {old}.*{re.escape(FILE)}.json recorded'):
        get(server)
    assert not (home / NAME).exists()
    (home / 'archives' / f'{FILE}.json').unlink()
    assert (get(server) / 'vocab.txt').read_bytes() == b'[EVIL]\n'


def test_an_archive_that_changed_on_the_disk_is_refused(server, home):
    get(server)
    forget_unpacked(home, archive=False)
    (home / 'archives' / FILE).write_bytes(tgz({'vocab.txt': b''}))
    with pytest.raises(UserError, match=f'{re.escape(FILE)}: found SHA-256 .* Delete it and run again'):
        get(server)


def test_a_record_that_is_no_record(server, home):
    get(server)
    forget_unpacked(home)
    for text in ('', '[]', '{"sha256": 3}'):
        (home / 'archives' / f'{FILE}.json').write_text(text)
        with pytest.raises(UserError, match='expected a JSON object with sha256'):
            get(server)


def test_a_damaged_archive_is_set_aside_and_not_trusted(server, home):
    server.content = ARCHIVE[:-100]
    with pytest.raises(UserError, match=r'is damaged .* It is now .*\.damaged; run again'):
        get(server)
    assert sorted(p for p in os.listdir(home / 'archives') if p[0] != '.') == [f'{FILE}.damaged']
    server.content = ARCHIVE
    assert is_model(get(server))


def test_a_hostile_archive_is_neither_unpacked_nor_trusted(server, home):
    server.content = tgz({'../evil': b'x'})
    with pytest.raises(UserError, match='leads out of the folder'):
        get(server)
    assert not (home / NAME).exists()
    assert not (home / 'evil').exists()
    assert not (home / 'archives' / f'{FILE}.json').exists()


def test_the_limit_for_the_unpacked_size(server):
    with pytest.raises(UserError, match='more than 200,000 bytes'):
        get(server, max_unpacked_gb=2e-4)
    assert is_model(get(server, max_unpacked_gb=3e-4))
    assert len(server.requests) == 1


@pytest.mark.parametrize('limit', [0, -1.0, float('nan'), float('inf')])
def test_limits_that_are_none(server, limit):
    with pytest.raises(UsageError, match='--max_unpacked_gb'):
        get(server, max_unpacked_gb=limit)


def test_an_archive_laid_there_by_hand_is_used(home):
    (home / 'archives').mkdir(parents=True)
    (home / 'archives' / FILE).write_bytes(ARCHIVE)
    assert is_model(zoo.download(NAME))


def test_an_archive_with_one_folder_on_top(server, home):
    server.content = tgz(MODEL, 'ERNIE_512/')
    assert get(server) == home / NAME / 'ERNIE_512'
    assert is_model(home / NAME / 'ERNIE_512')


def test_content_that_is_not_the_expected_one_is_said(server, home, capsys):
    server.content = tgz({'params/a': b'', 'readme': b''})
    assert get(server) == home / NAME
    assert 'holds params, readme, but not vocab.txt, ernie_config.json' in capsys.readouterr().err


def test_another_folder(server, home, tmp_path):
    assert get(server, folder=tmp_path / 'models') == tmp_path / 'models' / NAME
    assert not home.exists()


def test_without_the_variable_the_cache_is_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    for value in ('', None):
        monkeypatch.setenv('ERNIE_HOME', value) if value is not None else monkeypatch.delenv('ERNIE_HOME')
        assert zoo.cache_folder() == tmp_path / '.cache' / 'ernie' / 'zoo'


def test_two_at_once_fetch_once(server):
    folders = []
    threads = [threading.Thread(target=lambda: folders.append(get(server))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folders) == 3
    assert all(map(is_model, folders))
    assert len(server.requests) == 1


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError, match=r"no bundle 'ernie-1.0-zh'; there are .*task-data-zh.* Did you mean ernie-1"):
        zoo.download('ernie-1.0-zh')


@pytest.mark.parametrize('base', ['file:///etc', 'ftp://host/x', 'host/x', 'http://', 'http://a b/'])
def test_addresses_that_are_none(base):
    with pytest.raises(UsageError, match='--url-base'):
        zoo.download(NAME, url_base=base)


def command(*arguments, **options):
    line = [sys.executable, '-m', 'ernie.zoo', *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, text=True, **({'capture_output': True} | options))


def test_the_command_prints_the_folder_alone(server, home):
    result = command('download', NAME, '--url-base', server.url)
    assert (result.returncode, result.stdout) == (0, f'{home / NAME}\n')
    assert '%|' not in result.stderr
    listed = {line.split()[0]: line.split()[1] for line in command('list').stdout.splitlines()}
    assert {name: listed[name] for name in zoo.BUNDLES} == {n: 'here' if n == NAME else '-' for n in zoo.BUNDLES}
    of_data = {name for name, data_set in DATA_SETS.items() if not data_set.variant_of}
    assert set(listed) - set(zoo.BUNDLES) == {'multilingual-e5-small', 'all-minilm-l6-v2', *of_data}


def test_the_command_shows_a_bar_on_a_terminal(server):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    try:
        command('download', NAME, '--url-base', server.url, capture_output=False, stdout=subprocess.PIPE, stderr=theirs)
        assert b'100%|' in os.read(ours, 65536)
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ('status', 'arguments', 'text'),
    [
        (1, ['download', NAME, '--url-base', 'SERVER'], f'/{FILE}: the server answers 404 Not Found'),
        (2, ['download', 'nothing'], "no bundle 'nothing'"),
        (2, ['download', NAME, '--url-base', 'nowhere'], "--url-base: found 'nowhere'"),
    ],
)
def test_errors_of_the_command_are_one_line(server, status, arguments, text):
    server.answers = [404]
    result = command(*(server.url if word == 'SERVER' else word for word in arguments))
    assert (result.returncode, result.stdout) == (status, '')
    assert result.stderr.startswith('error: ')
    assert result.stderr.count('\n') == 1
    assert text in result.stderr


def test_usage_errors_of_the_command():
    assert command().returncode == 2
    assert command('download').returncode == 2
    assert command('download', NAME, '--max_unpacked_gb', 'much').returncode == 2
