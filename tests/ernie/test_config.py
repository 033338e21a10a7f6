"""`ErnieConfig`: the shipped files, the defaults, and every refusal by name."""

import json
import os

import pytest

from ernie.config import ErnieConfig
from propeller.errors import UserError
from propeller.inputs import read_json_object

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SMALL = {
    'vocab_size': 31,
    'hidden_size': 12,
    'num_hidden_layers': 2,
    'num_attention_heads': 3,
    'max_position_embeddings': 9,
    'type_vocab_size': 2,
    'hidden_act': 'gelu',
    'hidden_dropout_prob': 0.1,
    'attention_probs_dropout_prob': 0,
    'initializer_range': 0.02,
}
SHIPPED = {
    'config': (18000, 768, 12, 12, 513, 2, 'relu'),
    'script/en_glue/ernie_base': (30522, 768, 12, 12, 512, 4, 'gelu'),
    'script/en_glue/ernie_large': (30522, 1024, 24, 16, 512, 4, 'gelu'),
}


@pytest.mark.parametrize('folder', SHIPPED)
def test_shipped_configurations(folder):
    config = ErnieConfig(os.path.join(ROOT, folder, 'ernie_config.json'))
    keys = ('vocab_size', 'hidden_size', 'num_hidden_layers', 'num_attention_heads', 'max_position_embeddings')
    assert (*(config[key] for key in keys), config.sentence_types, config.hidden_act) == SHIPPED[folder]
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.1, 0.1)
    assert config.initializer_range == 0.02 and not config.use_task_id
    assert config.task_type_vocab_size == (None if folder == 'config' else 16)


def test_defaults_and_access():
    config = ErnieConfig(SMALL)
    assert config.intermediate_size == config['intermediate_size'] == 48
    assert config.layer_norm_eps == 1e-5 and config.use_task_id is False and config.head_dim == 4
    assert config.sent_type_vocab_size is None and config['task_type_vocab_size'] is None
    assert config.get('layer_norm_eps', 3) == 3 and config.get('vocab_size') == 31 and config.get('x') is None
    assert 'vocab_size' in config and 'use_task_id' not in config
    assert config.to_dict() == SMALL and config.to_dict() is not config._values
    with pytest.raises(AttributeError, match="no key 'hiden_size'"):
        _ = config.hiden_size
    with pytest.raises(KeyError, match="no key 'hiden_size'"):
        _ = config['hiden_size']


def test_optional_keys_count():
    config = ErnieConfig({**SMALL, 'layer_norm_eps': 1e-12, 'intermediate_size': 20, 'own': 'kept'})
    assert (config.layer_norm_eps, config.intermediate_size, config.own) == (1e-12, 20, 'kept')
    config = ErnieConfig({**SMALL, 'sent_type_vocab_size': 4, 'use_task_id': True, 'task_type_vocab_size': 3})
    assert (config.sentence_types, config.use_task_id, config.task_type_vocab_size) == (4, True, 3)
    for absent in (0, None):
        assert ErnieConfig({**SMALL, 'sent_type_vocab_size': absent}).sentence_types == 2
    without = {key: value for key, value in SMALL.items() if key != 'type_vocab_size'}
    assert ErnieConfig({**without, 'sent_type_vocab_size': 4}).sentence_types == 4


def test_objects_with_to_dict_and_files_are_accepted(tmp_path):
    class Parameters:
        def to_dict(self):
            return SMALL

    path = tmp_path / 'ernie_config.json'
    path.write_text(json.dumps(SMALL))
    assert ErnieConfig(Parameters()) == ErnieConfig(path) == ErnieConfig(str(path)) == ErnieConfig(ErnieConfig(SMALL))


def test_printed_lines_are_sorted():
    lines = ErnieConfig({**SMALL, 'a_key': None}).print_lines()
    assert lines == sorted(lines) and len(lines) == 11
    assert lines[:2] == ['a_key: None', 'attention_probs_dropout_prob: 0'] and 'vocab_size: 31' in lines


REFUSED = [
    ({'vocab_size': None}, "key 'vocab_size' is missing"),
    ({'hidden_act': None}, "key 'hidden_act' is missing"),
    ({'initializer_range': None}, "key 'initializer_range' is missing"),
    ({'hidden_size': 13}, 'found hidden_size = 13, expected a multiple of num_attention_heads (3)'),
    ({'hidden_size': 0}, 'found hidden_size = 0, expected a whole number >= 1'),
    ({'vocab_size': -3}, 'found vocab_size = -3'),
    ({'num_hidden_layers': 2.0}, 'found num_hidden_layers = 2.0'),
    ({'num_attention_heads': True}, 'found num_attention_heads = True'),
    ({'max_position_embeddings': '9'}, "found max_position_embeddings = '9'"),
    ({'intermediate_size': 0}, 'found intermediate_size = 0'),
    ({'sent_type_vocab_size': -1}, 'found sent_type_vocab_size = -1, expected a whole number >= 0'),
    ({'type_vocab_size': 0}, 'found type_vocab_size = 0'),
    ({'type_vocab_size': None}, "give 'sent_type_vocab_size' or 'type_vocab_size'"),
    ({'hidden_act': 'swish'}, "found hidden_act = 'swish', expected one of relu, gelu, gelu_new"),
    ({'hidden_act': ['relu']}, "found hidden_act = ['relu']"),
    ({'hidden_dropout_prob': 1}, 'found hidden_dropout_prob = 1, expected a probability p with 0 <= p < 1'),
    ({'attention_probs_dropout_prob': -0.1}, 'found attention_probs_dropout_prob = -0.1'),
    ({'attention_probs_dropout_prob': float('nan')}, 'found the number NaN'),
    ({'hidden_dropout_prob': False}, 'found hidden_dropout_prob = False'),
    ({'initializer_range': -1}, 'found initializer_range = -1'),
    ({'initializer_range': float('inf')}, 'found the number Infinity'),
    ({'layer_norm_eps': 0}, 'found layer_norm_eps = 0, expected a number > 0'),
    ({'use_task_id': 'yes'}, "found use_task_id = 'yes', expected true or false"),
    ({'use_task_id': True}, "key 'task_type_vocab_size' is missing"),
    ({'use_task_id': True, 'task_type_vocab_size': 0}, 'found task_type_vocab_size = 0'),
]


@pytest.mark.parametrize('change, text', REFUSED)
def test_impossible_values_are_named(tmp_path, change, text):
    values = {key: value for key, value in {**SMALL, **change}.items() if value is not None}
    path = tmp_path / 'ernie_config.json'
    path.write_text(json.dumps(values))
    with pytest.raises(UserError) as e:
        ErnieConfig(path)
    assert text in str(e.value) and str(path) in str(e.value)
    with pytest.raises(UserError):
        ErnieConfig({**SMALL, **change})


@pytest.mark.parametrize(
    'content, text',
    [
        (b'{"a": 1,}', ':1: found bad JSON'),
        (b'{\n"a": 1\n"b"}', ':3: found bad JSON'),
        (b'\xff\xfe{}', ':1: found byte 0xff that is not UTF-8'),
        (b'[1]', 'found a JSON list, expected a JSON object'),
        (b'', 'found an empty file'),
        (b'[' * 100_000, 'nested too deeply'),
        (b'{"a": ' + b'9' * 5000 + b'}', 'found the number'),
    ],
)
def test_files_that_are_no_json_object(tmp_path, content, text):
    path = tmp_path / 'ernie_config.json'
    path.write_bytes(content)
    with pytest.raises(UserError) as e:
        read_json_object(path)
    assert text in str(e.value) and str(path) in str(e.value)


def test_a_missing_file_is_named(tmp_path):
    for path in (tmp_path / 'none.json', tmp_path):
        with pytest.raises(UserError, match='found (no such file|a folder)'):
            ErnieConfig(path)
