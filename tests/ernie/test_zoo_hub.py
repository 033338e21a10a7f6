"""Models of the Hugging Face hub, from a local server in its place, in processes of their own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ernie.checkpoint.convert import convert
from tests.ernie.fake_hub import serve
from tests.ernie.tiny_model import write_model

pytest.importorskip('huggingface_hub')
ROOT = Path(__file__).resolve().parents[2]
# The package reads its addresses and folders when it is imported.
PROGRAM = """
import json, sys
from ernie.checkpoint import open_model
from ernie.zoo import find
from propeller.errors import one_line_errors
with one_line_errors():
    for name in sys.argv[1:]:
        found = find(name)
        print(json.dumps([found.folder, found.origin, len(open_model(found.folder))]))
"""


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('hub')
    convert(write_model(folder / 'm'), str(folder / 'hf'), 'huggingface')
    return {path.name: path.read_bytes() for path in (folder / 'hf').iterdir()}


@pytest.fixture
def resolve(tmp_path):
    def run(hub, *names, code=0, **more):
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith('proxy')}
        places = {'HF_HOME': tmp_path / 'hf', 'ERNIE_HOME': tmp_path / 'zoo', 'HF_ENDPOINT': hub}
        done = subprocess.run(
            [sys.executable, '-c', PROGRAM, *names],
            cwd=tmp_path, env={**kept, 'PYTHONPATH': str(ROOT), **{k: str(v) for k, v in places.items()}, **more},
            text=True, capture_output=True,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()] if code == 0 else done.stderr

    return run


def test_a_model_comes_from_the_hub_once_with_the_files_that_are_read(files, resolve):
    others = {'pytorch_model.bin': b'x', 'tf_model.h5': b'x', 'README.md': b'x', 'training_args.bin': b'x'}
    with serve({'bert-base-chinese': {**files, **others}}) as hub:
        ((folder, origin, count),) = resolve(hub.url, 'bert-base-chinese')
        assert origin == {'name': 'bert-base-chinese', 'source': 'Hugging Face hub', 'revision': hub.commit}
        assert count > 20
        assert set(os.listdir(folder)) == hub.files_asked() <= set(files)
        assert Path(folder, 'model.safetensors').read_bytes() == files['model.safetensors']
        assert {'config.json', 'vocab.txt', 'model.safetensors'} <= hub.files_asked()
        asked = len(hub.requests)
        # The snapshot is used from now on, by its name and as a path; a revision may be named.
        again = resolve(hub.url, 'bert-base-chinese', folder, f'bert-base-chinese@{hub.commit}')
        assert [found[:2] for found in again] == [[folder, origin]] * 3
        assert hub.requests[asked:] == []
    assert resolve('http://127.0.0.1:9', 'bert-base-chinese')[0][0] == folder


def test_what_is_not_to_be_had_is_one_line(files, resolve):
    broken = {name: data for name, data in files.items() if name not in ('vocab.txt', 'tokenizer.json')}
    config = json.loads(files['config.json'])
    roberta = json.dumps({**config, 'model_type': 'roberta', 'architectures': ['RobertaModel']}).encode()
    models = {'a/no-vocab': broken, 'a/roberta': {**files, 'config.json': roberta}, 'a/none': {'config.json': b'{}'}}
    with serve(models) as hub:
        for name, text in {
            'bert-base-chinse': 'none of the Hugging Face hub. Did you mean bert-base-chinese?',
            'ernie-1.0-zh-bse': 'Did you mean ernie-1.0-zh-base?',
            'a/no-vocab': 'no vocab.txt and no tokenizer.json',
            'a/roberta': 'RoBERTa model',
            'a/none': "the hub has 'config.json', expected config.json and one of model.safetensors",
        }.items():
            said = resolve(hub.url, name, code=1)
            assert text in said
            assert said.count('\n') == 1
        assert 'model.safetensors' not in hub.files_asked()


def test_without_a_network_it_is_said_at_once(resolve):
    started = time.monotonic()
    said = resolve('http://127.0.0.1:9', 'bert-base-chinse', code=1)
    assert 'the Hugging Face hub cannot be reached' in said
    assert 'Did you mean bert-base-chinese?' in said
    assert said.count('\n') == 1
    assert time.monotonic() - started < 60
    assert 'cannot be reached' in resolve('http://127.0.0.1:9', 'a/b', code=1, HF_HUB_OFFLINE='1')


def test_without_the_package_it_is_said(monkeypatch):
    from ernie.zoo import find
    from propeller.errors import UserError

    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(UserError, match='Did you mean bert-base-chinese.*pip install huggingface_hub'):
        find('bert-base-chinse')
