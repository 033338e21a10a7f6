"""`match_parameters`: nothing is silently random, nothing silently unused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ernie.checkpoint import check_labels, match_parameters, open_model
from propeller.errors import UserError
from tests.ernie.checkpoint_models import (
    BACKBONE,
    CONFIG,
    HUGGINGFACE_CONFIG,
    as_huggingface,
    huggingface_folder,
    model_folder,
    parameters,
)

SHAPES = {name: shape for name, _, _, shape in BACKBONE}
WIDTHS = st.dictionaries(st.sampled_from('abcdef'), st.integers(0, 2))
HEAD = {'_cls_out_w': (12, 3), '_cls_out_b': (3,)}


def is_head(name):
    return name.startswith('_cls_out')


def test_a_new_head_on_a_pretrained_model(tmp_path):
    values = {**parameters(), 'mask_lm_trans_fc.b_0': np.zeros(12), 'word_embedding_moment1_0': np.zeros((31, 12))}
    match = match_parameters({**SHAPES, **HEAD}, open_model(model_folder(tmp_path / 'm', values)), is_head)
    assert match.load == list(SHAPES) and match.new == list(HEAD)
    assert match.unused == ['mask_lm_trans_fc.b_0', 'word_embedding_moment1_0']


def test_a_head_that_is_there_is_loaded():
    values = {**parameters(), **{name: np.zeros(shape) for name, shape in HEAD.items()}}
    match = match_parameters({**SHAPES, **HEAD}, values, is_head)
    assert match.load == [*SHAPES, *HEAD] and match.new == [] and match.unused == []


def test_every_fault_is_named(tmp_path):
    values = parameters()
    del values['pos_embedding'], values['encoder_layer_1_ffn_fc_0.w_0']
    values['word_embedding'] = np.zeros((30, 12), np.float32)
    values['pooled_fc.b_0'] = np.zeros((12, 1), np.float32)
    folder = model_folder(tmp_path / 'm', values)
    with pytest.raises(UserError) as e:
        match_parameters(SHAPES, open_model(folder))
    text = str(e.value)
    assert text.startswith(f'{folder}: ') and '\n' not in text
    assert '2 missing: pos_embedding [9, 12], encoder_layer_1_ffn_fc_0.w_0 [12, 20]' in text
    assert 'word_embedding is [30, 12], expected [31, 12], pooled_fc.b_0 is [12, 1], expected [12]' in text


def test_a_head_of_another_width_is_an_error_even_if_heads_may_be_new():
    values = {**parameters(), '_cls_out_w': np.zeros((12, 2)), '_cls_out_b': np.zeros(2)}
    with pytest.raises(UserError, match=r'_cls_out_w is \[12, 2\], expected \[12, 3\], _cls_out_b is \[2\]') as e:
        match_parameters({**SHAPES, **HEAD}, values, is_head)
    assert '--allow_missing _cls_out_w,_cls_out_b starts with a new one' in str(e.value)


def test_allowed_absences():
    values = parameters()
    del values['pooled_fc.w_0']
    assert match_parameters(SHAPES, values, allow_missing=['pooled_fc.w_0']).new == ['pooled_fc.w_0']
    with pytest.raises(UserError, match='1 missing: pooled_fc.w_0'):
        match_parameters(SHAPES, values, allow_missing=['pooled_fc.b_0'])


def test_a_wrong_folder_says_what_is_there():
    with pytest.raises(UserError, match='None of the model is there; it holds 6 tensors: crf0, .* crf4, ...'):
        match_parameters(SHAPES, {f'crf{i}': np.zeros(2) for i in range(6)})


@given(WIDTHS, WIDTHS)
def test_every_name_ends_in_one_place(expected, held):
    shapes = {name: (width,) for name, width in expected.items()}
    values = {name: np.zeros(width) for name, width in held.items()}
    faults = [n for n in expected if (n in held and held[n] != expected[n]) or (n not in held and n > 'c')]
    try:
        match = match_parameters(shapes, values, is_new=lambda name: name <= 'c')
    except UserError:
        assert faults
    else:
        assert not faults
        assert sorted(match.load + match.new) == sorted(expected) and sorted(match.load + match.unused) == sorted(held)


# ------------------------------------------------------------------------------------------ types


def test_any_floating_point_type_may_stand_for_another():
    values = parameters()
    values['pos_embedding'] = values['pos_embedding'].astype(np.float16)
    values['sent_embedding'] = values['sent_embedding'].astype(np.float64)
    assert match_parameters(SHAPES, values).load == list(SHAPES)


def test_whole_numbers_are_no_parameters(tmp_path):
    values = parameters() | {'pos_embedding': np.zeros((9, 12), np.int64), 'pooled_fc.b_0': np.zeros(12, bool)}
    text = '2 of a wrong type: pos_embedding is int64, expected float32, pooled_fc.b_0 is bool, expected float32'
    with pytest.raises(UserError, match=text):
        match_parameters(SHAPES, open_model(model_folder(tmp_path / 'm', values)))
    values['pos_embedding'] = np.zeros((9, 12), np.uint16)
    with pytest.raises(UserError, match='uint16 may be bits of bfloat16'):
        match_parameters(SHAPES, values)
    assert match_parameters(SHAPES, values, allow_missing=['po*']).new == ['pos_embedding', 'pooled_fc.b_0']


# ------------------------------------------------------------------------------------------ unused tensors

ONE_LAYER = {name: shape for name, shape in SHAPES.items() if not name.startswith('encoder_layer_1_')}
SECOND = [name for name in SHAPES if name.startswith('encoder_layer_1_')]


def test_a_layer_too_many_is_an_error(tmp_path):
    plain = model_folder(tmp_path / 'm', parameters(), {**CONFIG, 'num_hidden_layers': 1})
    other = huggingface_folder(tmp_path / 'hf', as_huggingface(parameters()), HUGGINGFACE_CONFIG)
    for folder in (plain, other):
        text = f'{folder}: 16 tensors of the encoder would not be used: encoder_layer_1_.*Check num_hidden_layers'
        with pytest.raises(UserError, match=text):
            match_parameters(ONE_LAYER, open_model(folder))
        match = match_parameters(ONE_LAYER, open_model(folder), allow_unused=['encoder_layer_1_*'])
        assert sorted(match.unused) == sorted(SECOND) and match.load == list(ONE_LAYER)
    with pytest.raises(UserError, match='1 tensors of the encoder would not be used: encoder_layer_1_ffn_fc_0.b_0'):
        names = [name for name in SECOND if name != 'encoder_layer_1_ffn_fc_0.b_0']
        match_parameters(ONE_LAYER, open_model(plain), allow_unused=names)


@pytest.mark.parametrize(
    'name', ['bert.encoder.layer.0.attention.self.distance_embedding.weight', 'encoder.layer.1.adapter.down.weight']
)
def test_what_another_encoder_has_besides_is_an_error(tmp_path, name):
    tensors = as_huggingface(parameters()) | {name: np.zeros((17, 4), np.float32)}
    folder = huggingface_folder(tmp_path / 'hf', tensors)
    with pytest.raises(UserError, match=f'1 tensors of the encoder would not be used: {name}'):
        match_parameters(SHAPES, open_model(folder))
    assert match_parameters(SHAPES, open_model(folder), allow_unused=[name]).load == list(SHAPES)


def test_other_heads_position_numbers_and_optimizers_may_be_there(tmp_path):
    others = {
        'bert.embeddings.position_ids': np.arange(9)[None],
        'embeddings.token_type_ids': np.zeros((1, 9), np.int64),
        'cls.seq_relationship.weight': np.zeros((2, 12), np.float32),
        'lm_head.dense.weight': np.zeros((12, 12), np.float32),
    }
    folder = huggingface_folder(tmp_path / 'hf', as_huggingface(parameters()) | others)
    assert match_parameters(SHAPES, open_model(folder)).unused == ['next_sent_fc.w_0']
    state = {
        'encoder_layer_0_ffn_fc_0.w_0_moment1_0': np.zeros((12, 20)),
        'word_embedding_beta1_pow_acc_0': np.zeros(1),
        'task_embedding': np.zeros((3, 12)),
        'cls_mrc_out_w': np.zeros((12, 2)),
    }
    assert match_parameters(SHAPES, parameters() | state).unused == list(state)
    without_pooler = {name: shape for name, shape in SHAPES.items() if not name.startswith('pooled_fc')}
    assert match_parameters(without_pooler, parameters()).unused == ['pooled_fc.w_0', 'pooled_fc.b_0']


# ------------------------------------------------------------------------------------------ labels

LABELS = {'task': 'classification', 'num_labels': 3, 'labels': ['a', 'b', 'c'], 'label_map': {'a': 0, 'c': 2}}


def test_labels_that_fit_the_head():
    for saved in (LABELS, {}, {'task': 'mrc', 'num_labels': 7}, {**LABELS, 'labels': None, 'label_map': None}):
        check_labels(saved, HEAD_VALUES, 'labels.json')
    check_labels(LABELS, parameters(), 'labels.json')  # without a head there is nothing to contradict


HEAD_VALUES = {'_cls_out_w': np.zeros((12, 3)), 'cls_seq_label_out_w': np.zeros((12, 5))}


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        ({'num_labels': 2}, 'found num_labels 2, expected 3 classes, as many as the head has: _cls_out_w is .12, 3.'),
        ({'labels': ['a', 'b']}, 'found 2 labels, expected 3'),
        ({'label_map': {'d': 3}}, 'found the id 3 in label_map, expected 3'),
        ({'task': 'sequence_labeling'}, 'found num_labels 3, expected 5 .*cls_seq_label_out_w'),
    ],
)
def test_labels_that_contradict_the_head(change, text):
    with pytest.raises(UserError, match=f'^labels.json: {text}'):
        check_labels(LABELS | change, HEAD_VALUES, 'labels.json')
