"""`match_parameters`: nothing is silently random, nothing silently unused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ernie.checkpoint import match_parameters, open_model
from propeller.errors import UserError
from tests.ernie.checkpoint_models import BACKBONE, model_folder, parameters

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
    with pytest.raises(UserError, match=r'_cls_out_w is \[12, 2\], expected \[12, 3\], _cls_out_b is \[2\]'):
        match_parameters({**SHAPES, **HEAD}, values, is_head)


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
