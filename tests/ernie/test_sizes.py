"""Sizes in a configuration are compared with the file before anything of that size is made."""

import json
import math
import struct
import time

import pytest

from ernie.checkpoint import backbone_shapes, open_model
from ernie.checkpoint.labels_json import read_saved_labels
from ernie.checkpoint.sizes import check_sizes, parameter_count
from ernie.config import ErnieConfig
from ernie.decoding.classes import count_labels
from ernie.inference.folder import ModelFolder
from ernie.run.source import Source
from propeller.errors import UserError
from propeller.storage import write_safetensors
from propeller.storage.safetensors_io import SafetensorsFile
from tests.ernie.checkpoint_models import CONFIG, VOCABULARY, as_huggingface, huggingface_folder, parameters


@pytest.fixture
def folder(tmp_path):
    write_safetensors(tmp_path / 'model.safetensors', parameters())
    (tmp_path / 'vocab.txt').write_text('\n'.join(VOCABULARY))
    (tmp_path / 'ernie_config.json').write_text(json.dumps(CONFIG))
    return tmp_path


@pytest.mark.parametrize(
    'change', [{}, {'use_task_id': True, 'task_type_vocab_size': 3}, {'num_hidden_layers': 5, 'intermediate_size': 7}]
)
def test_parameters_are_counted_without_a_list(change):
    config = ErnieConfig(CONFIG | change)
    assert parameter_count(config) == sum(map(math.prod, backbone_shapes(config).values()))


@pytest.mark.parametrize(
    'key, value, found',
    [
        ('num_hidden_layers', 10**9, 'found num_hidden_layers = 1000000000, expected at most 10000'),
        ('vocab_size', 10**12, 'found vocab_size = 1000000000000, expected at most 2147483647'),
        ('vocab_size', 10**9, 'found vocab_size = 1000000000, expected 31, as in the tensors of'),
        ('max_position_embeddings', 10**8, 'found max_position_embeddings = 100000000, expected 9, as in'),
        ('type_vocab_size', 10**8, 'found type_vocab_size = 100000000, expected 2, as in'),
        ('intermediate_size', 10**8, 'found intermediate_size = 100000000, expected 20, as in'),
        ('hidden_size', 3 * 10**6, 'found hidden_size = 3000000, expected 12, as in'),
    ],
)
def test_sizes_beyond_the_file_are_said_at_once(folder, key, value, found):
    (folder / 'ernie_config.json').write_text(json.dumps(CONFIG | {key: value}))
    started = time.monotonic()
    for use in (lambda: Source(str(folder), None, None), lambda: ModelFolder(str(folder))):
        with pytest.raises(UserError) as raised:
            use()
        assert found in str(raised.value) and str(folder) in str(raised.value)
    assert time.monotonic() - started < 5


def test_sizes_that_differ_little_are_left_to_the_comparison_of_parameters(folder):
    check_sizes(ErnieConfig(CONFIG | {'num_hidden_layers': 4}), open_model(folder))


def test_random_values_must_fit_into_the_memory(tmp_path):
    path = tmp_path / 'ernie_config.json'
    path.write_text(json.dumps(CONFIG | {'vocab_size': 2 * 10**9}))
    with pytest.raises(UserError, match=r'ernie_config.json: found sizes that take 96.0 GB .* at most 64.0 GB'):
        check_sizes(ErnieConfig(path), memory=64 * 10**9)
    check_sizes(ErnieConfig(path), memory=10**11)


def test_empty_position_numbers_of_any_count_cost_nothing(tmp_path):
    folder = huggingface_folder(tmp_path / 'm', as_huggingface(parameters(), prefix='bert.'))
    head = json.dumps({'embeddings.position_ids': {'dtype': 'I64', 'shape': [0, 2**40], 'data_offsets': [0, 0]}})
    (folder / 'model.safetensors').rename(folder / 'part-1')
    (folder / 'part-2').write_bytes(struct.pack('<Q', len(head)) + head.encode())
    names = dict.fromkeys(SafetensorsFile(folder / 'part-1'), 'part-1')
    index = {'weight_map': names | {'embeddings.position_ids': 'part-2'}}
    (folder / 'model.safetensors.index.json').write_text(json.dumps(index))
    assert 'embeddings.position_ids' in open_model(folder).unmapped


def test_classes_beyond_all_reason_are_refused(tmp_path):
    (tmp_path / 'labels.json').write_text('{"task": "classification", "num_labels": 2000000000}')
    with pytest.raises(UserError, match='labels.json: found num_labels 2000000000, expected a whole number from 1 to'):
        read_saved_labels(str(tmp_path))
    with pytest.raises(UserError, match='--num_labels 2000000000: expected at most 1000000'):
        count_labels(2 * 10**9)
