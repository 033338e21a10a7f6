"""The attention of first tokens beside float64 numpy, beside attention of all tokens, and inside real programs."""

import numpy as np
import pytest

from propeller import graph, ops
from propeller.graph import paddle
from propeller.ops.random import Mask
from propeller.recompute import segment
from tests.propeller.attention import keep_factors, mask_of
from tests.propeller.first_attention import NAMES, FirstAttentionProgram, expected, sample
from tests.propeller.ops_oracle import (
    Training,
    close,
    difference,
    refused,
    same_for_any_threads,
    same_training,
)

pytestmark = pytest.mark.usefixtures('compiled')
# One token, none, around blocks of 32 queries, more keys than random numbers of one call.
LENGTHS = [1, 2, 33, 0, 257, 7, 32, 31]
# Hidden sizes and heads: no whole vectors, a last tile of columns, one head wider than a panel, more than 16 heads.
SIZES = [(24, 3), (384, 12), (100, 1), (72, 18), (30, 2)]
KEY_BIAS = 1 + 1 + len(NAMES) + 1  # among what a program gives


# ------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize('dropout', [0.0, 0.1])
@pytest.mark.parametrize(('hidden', 'heads'), SIZES)
def test_result_and_gradients_are_those_of_float64(hidden, heads, dropout):
    arrays, seed = sample(LENGTHS, hidden), 2**40 + 7
    program = FirstAttentionProgram(hidden, heads, dropout, site=3)
    assert 'propeller_first_attention' in program.operators()
    assert not {'propeller_attention', 'propeller_linear_3', 'propeller_linear'} & set(program.operators())
    found = program.run(mask_of(LENGTHS), arrays, seed)
    factors = keep_factors(LENGTHS, heads, dropout, seed, 3) if dropout else None
    right = expected(arrays, LENGTHS, heads, factors)
    assert not found.pop(KEY_BIAS).any() and abs(right.pop(KEY_BIAS)).max() < 1e-9
    close(found, right, 3e-6)
    for end, length in zip(np.cumsum(LENGTHS), LENGTHS, strict=True):  # a short row is not hidden by the long ones
        part = slice(end - length, end)
        assert difference(found[1][part], right[1][part]) < 3e-6, length
    for row, length in enumerate(LENGTHS):
        assert difference(found[0][row], right[0][row]) < 3e-6, length


def test_one_program_takes_any_batch():
    program = FirstAttentionProgram(60, 3)
    for lengths in [[5, 3], [1], [], [0, 0], [24] * 32, [130, 1, 130], [5, 3]]:
        arrays = sample(lengths, 60)
        found = program.run(mask_of(lengths, columns=131), arrays)
        right = expected(arrays, lengths, 3)
        del found[KEY_BIAS], right[KEY_BIAS]
        close(found, right, 3e-6, lengths)


@pytest.mark.parametrize('dropout', [0.0, 0.3])
def test_rows_whose_first_column_is_padding_give_zeros(dropout):
    """As `firsts` does; padding may stand elsewhere, and the masks of other rows are what they were."""
    lengths, asking = [5, 33, 0, 40], [True, False, False, True]
    mask = np.zeros((4, 50), np.float32)
    mask[0, [0, 3, 4, 9, 49]] = mask[1, 1:34] = mask[3, :40] = 1
    arrays = sample(lengths, 24)
    found = FirstAttentionProgram(24, 3, dropout, site=1).run(mask, arrays, 9)
    factors = keep_factors(lengths, 3, dropout, 9, 1) if dropout else None
    right = expected(arrays, lengths, 3, factors, asking)
    del found[KEY_BIAS], right[KEY_BIAS]
    close(found, right, 3e-6)
    assert not found[0][1:3].any() and not found[1][5:38].any() and found[1][38:].all()


@pytest.mark.parametrize('dropout', [0.0, 0.1])
def test_it_is_attention_of_the_first_tokens(dropout):
    """With the same masks: of both operators, given one seed and one site."""
    arrays = sample(LENGTHS, 96)
    both = [
        FirstAttentionProgram(96, 3, dropout, site=2, apart=apart).run(mask_of(LENGTHS), arrays, 31)
        for apart in (False, True)
    ]
    close(*([*found[:KEY_BIAS], *found[KEY_BIAS + 1 :]] for found in both), 1e-5)
    assert abs(both[1][KEY_BIAS]).max() < 1e-4


def test_it_is_in_float32_in_every_precision(bfloat16):
    arrays = sample(LENGTHS, 96)
    results = [FirstAttentionProgram(96, 3, precision=p).run(mask_of(LENGTHS), arrays) for p in ('fp32', 'bf16')]
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_large_scores_do_not_overflow():
    lengths = [7, 70]
    arrays = sample(lengths, 24)
    arrays[1] *= 900  # scores of some thousands: weights are 0 and 1
    y, dx, *_ = FirstAttentionProgram(24, 2).run(mask_of(lengths), arrays)
    right, dright, *_ = expected(arrays, lengths, 2)
    assert difference(y, right) < 1e-4 and difference(dx, dright) < 1e-3


def test_what_is_not_finite_stays_so():
    """A training must see that its gradients are not finite; other rows keep their results."""
    lengths = [5, 70, 70]
    for token in (5, 74):
        arrays = sample(lengths, 24)
        arrays[0][token, 3] = np.nan
        y, dx, *weights = FirstAttentionProgram(24, 2).run(mask_of(lengths), arrays)
        assert np.isnan(y[1]).all() and np.isfinite(y[[0, 2]]).all()
        assert np.isnan(dx[5:75]).all() and np.isfinite(np.delete(dx, np.arange(5, 75), 0)).all()
        assert np.isnan(weights[1]).all()  # the keys'
    arrays = sample(lengths, 24)
    arrays[-1][2, 13] = np.nan
    y, dx, *weights = FirstAttentionProgram(24, 2).run(mask_of(lengths), arrays)
    assert np.isfinite(y).all() and np.isfinite(dx[:75]).all() and np.isnan(dx[75:]).all()
    assert np.isnan(weights[2][:, 13]).all() and np.isfinite(weights[2][:, :12]).all()


def test_threads_do_not_change_the_result(threads):
    arrays, program = sample(LENGTHS, 96), FirstAttentionProgram(96, 3, dropout=0.1)
    same_for_any_threads(threads, lambda: program.run(mask_of(LENGTHS), arrays, 5))


# ------------------------------------------------------------------------------------------ programs

FEEDS = [graph.Feed('x', (-1, -1, 24), 'float32'), graph.Feed('mask', (-1, -1), 'float32')]
MASK = mask_of([5, 1, 13, 9], columns=13, seed=3)
MASK[:, 0] = 1
BATCH = np.random.default_rng(3).normal(size=(4, 13, 24)).astype(np.float32)
PARAMETERS = [f'{name}_{kind}' for name in NAMES for kind in 'wb']


def train(mode, dropout=0.0, whole=False, input_trained=True, **settings):
    """`Training` of a layer and the attention of first tokens over it.

    whole: whether all tokens are attended to, and the first ones taken. input_trained: whether there is the layer.
    """

    def linear(x, name, width):
        weight = graph.parameter(f'{name}_w', [x.shape[-1], width], graph.truncated_normal(0.2))
        return ops.linear(x, weight, graph.parameter(f'{name}_b', [width], graph.constant(0.1)))

    def loss(x, mask):
        layout = ops.token_layout(mask)
        hidden = layout.pack(x)
        if input_trained:
            hidden = hidden + linear(hidden, 'in', 24)
        weights = [graph.parameter(f'{name}_w', [24, 24], graph.truncated_normal(0.2)) for name in NAMES]
        biases = [graph.parameter(f'{name}_b', [24], graph.constant(0.1)) for name in NAMES]

        def attend(hidden):
            if not whole:
                return ops.first_attention(hidden, layout, weights, biases, 3, dropout)
            projected = ops.linear_side_by_side(hidden, weights, biases)
            return layout.firsts(ops.attention(projected, layout, 3, dropout))

        return linear(layout.firsts(hidden) + segment(attend, hidden), 'head', 1).square().mean()

    return Training(FEEDS, loss, [BATCH, MASK], mode, steps=5, **settings)


NOISE = ['key_b']  # softmax does not see it: its gradient is rounding where all tokens are projected


@pytest.mark.parametrize('settings', [{}, {'recompute': True}, {'parts': 2}, {'input_trained': False}])
def test_training_is_that_of_all_tokens_and_of_the_plain_form(settings):
    first = train('true', **settings)
    assert first.operators().count('propeller_first_attention') == 1 + settings.get('recompute', False)
    assert 'propeller_attention' not in first.operators()
    for other in (train('true', whole=True, **settings), train('false', **settings)):
        same_training(other, first, rel=1e-5, atol=1e-4, fall=0.8, noise=NOISE)


def test_training_with_dropout_is_that_of_all_tokens():
    for recompute in (False, True):
        whole, first = (train('true', 0.3, whole=whole, recompute=recompute) for whole in (True, False))
        assert first.losses == pytest.approx(whole.losses, rel=1e-4)
    assert train('true', 0.3).losses != pytest.approx(train('true').losses, rel=1e-3)


@pytest.mark.parametrize('frozen', [PARAMETERS, ['query_w', 'key_w', 'value_w'], PARAMETERS[1::2]])
def test_frozen_parameters(frozen):
    first = train('true', frozen=frozen)
    assert 'propeller_first_attention' in first.operators()
    noise = [name for name in NOISE if name not in frozen]
    same_training(train('true', whole=True, frozen=frozen), first, rel=1e-5, atol=1e-4, fall=0.8, noise=noise)


def test_weights_of_which_some_are_frozen_take_the_plain_form():
    first = train('true', frozen=['key_w'])
    assert 'propeller_first_attention' not in first.operators() and 'propeller_attention' in first.operators()
    same_training(train('false', frozen=['key_w']), first, rel=1e-5, atol=1e-4, fall=0.8, noise=NOISE)


def test_the_bias_of_the_keys_stays_what_it_was_but_for_decay():
    found = train('true').parameters['key_b']
    np.testing.assert_allclose(found, 0.1 * (1 - 0.02 * 0.01) ** 5, rtol=1e-6)


# ------------------------------------------------------------------------------------------ mistakes


def refuse(match, modes=('true', 'false'), heads=3, settings=None, count=3, **changed):
    names = [f'{name}_{kind}' for kind in 'wb' for name in NAMES]
    shapes = {name: ((24, 24) if name.endswith('w') else (24,), 'float32') for name in names}
    shapes |= {'x': ((-1, -1, 24), 'float32'), 'mask': ((-1, -1), 'float32')} | changed
    feeds = [graph.Feed(name, *shapes[name]) for name in ('x', 'mask', *names)]

    def build(x, mask, *projections):
        layout = ops.token_layout(mask)
        x = layout.pack(x) if 'float' in str(x.dtype) else x
        return ops.first_attention(x, layout, projections[:count], projections[3:], heads, **(settings or {}))

    refused(match, feeds, build, modes)


def test_wrong_shapes_types_and_settings_are_refused_in_both_forms():
    refuse(r'ops.first_attention: x is int64 \[-1, -1, 24\], expected float32', x=((-1, -1, 24), 'int64'))
    text = r'x has shape \[-1, 20\], expected \[tokens, H\] with H a multiple of 3 heads'
    refuse(text, ['true'], x=((-1, -1, 20), 'float32'))
    text = r'x has shape \[-1, -1, 20\], expected \[rows, columns, H\] with H a multiple'
    refuse(text, ['false'], x=((-1, -1, 20), 'float32'))
    refuse('ops.first_attention: heads is 0, expected a whole number above 0', heads=0)
    refuse('ops.first_attention: dropout is 1.0, expected 0 or more and less than 1', settings={'dropout': 1.0})
    refuse('found 2 weights and 3 biases, expected 3 of each', count=2)
    text = r'the key weight has shape \[24, 30\], expected \[24, 24\] for x of shape'
    refuse(text, key_w=((24, 30), 'float32'))
    refuse(r'the value bias has shape \[7\], expected \[24\] for x of shape', value_b=((7,), 'float32'))
    refuse(r'the query weight is int64 \[24, 24\], expected float32', query_w=((24, 24), 'int64'))


def test_what_shows_only_at_run_time_is_refused_by_the_kernel():
    program, lengths = FirstAttentionProgram(24, 3), [5, 3]
    arrays = sample(lengths, 24)
    text = r'starts of shape \[3\] must rise from 0 to the 8 tokens of x of shape \[8, 24\]'
    with pytest.raises(ValueError, match=text):
        program.run(mask_of([5, 2]), arrays)
    arrays[-1] = arrays[-1][:1]
    with pytest.raises(ValueError, match=r'first_attention: the gradient has shape \[1, 24\], expected \[2, 24\]'):
        program.run(mask_of(lengths), arrays)


def test_wrong_masks_are_refused():
    def build(x, seed):
        layout = ops.token_layout(x[:, :, 0])
        square, row = paddle.zeros([24, 24]), paddle.zeros([24])
        return ops.first_attention(layout.pack(x), layout, [square] * 3, [row] * 3, 3, 0.1, Mask(seed, None))

    feeds = [FEEDS[0], graph.Feed('seed', (1,), 'int64')]
    refused(r'the site of mask is None, expected a whole number below 2\^32', feeds, build, ['true'])
