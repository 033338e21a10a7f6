"""Fused attention beside float64 numpy, and inside real programs."""

import numpy as np
import pytest

from propeller import graph, ops
from propeller.graph import paddle
from propeller.ops.random import Mask
from propeller.recompute import segment
from tests.propeller.attention import AttentionProgram, expected, keep_factors, mask_of, sample
from tests.propeller.ops_oracle import (
    TOLERANCE,
    Training,
    close,
    difference,
    refused,
    same_for_any_threads,
    same_training,
)

pytestmark = pytest.mark.usefixtures('compiled')
# One token, none, sizes around blocks of 32 queries and tiles of 16, rows for products of bfloat16 and shorter ones.
LENGTHS = [1, 2, 7, 13, 0, 33, 130, 32, 16, 95]
HEADS = [(3, 4), (2, 12), (2, 30), (3, 32), (1, 64), (1, 100)]


# ------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize('dropout', [0.0, 0.1])
@pytest.mark.parametrize(('heads', 'width'), HEADS)
def test_result_and_gradient_are_those_of_float64(heads, width, dropout, precision):
    qkv, dy = sample(LENGTHS, heads, width)
    found = AttentionProgram(heads, width, precision, dropout, site=3).run(mask_of(LENGTHS), qkv, dy, seed=2**40 + 7)
    factors = keep_factors(LENGTHS, heads, dropout, 2**40 + 7, 3) if dropout else None
    right = expected(qkv, dy, LENGTHS, heads, factors)
    close(found, right, TOLERANCE[precision])
    for end, length in zip(np.cumsum(LENGTHS), LENGTHS, strict=True):  # a short row is not hidden by the long ones
        part = slice(end - length, end)
        close([a[part] for a in found], [a[part] for a in right], 2 * TOLERANCE[precision], length)


def test_one_program_takes_any_batch(precision):
    program = AttentionProgram(3, 10, precision)
    for lengths in [[5, 3], [1], [], [0, 0], [24] * 32, [130, 1, 130], [5, 3]]:
        qkv, dy = sample(lengths, 3, 10)
        found = program.run(mask_of(lengths, columns=131), qkv, dy)
        close(found, expected(qkv, dy, lengths, 3), TOLERANCE[precision], lengths)


def test_equal_to_the_plain_form_wherever_the_padding_is(precision):
    lengths = [1, 13, 40, 7, 33]
    for seed in (None, 1):
        mask = mask_of(lengths, columns=41, seed=seed)
        rng = np.random.default_rng(2)
        qkv = rng.normal(size=(5, 41, 72)).astype(np.float32)
        dy = rng.normal(size=(5, 41, 24)).astype(np.float32) * mask[..., None]
        plain = AttentionProgram(3, 8, precision, mode='false', packed=False)
        fused = AttentionProgram(3, 8, precision, packed=False)
        assert not any('propeller' in name for name in plain.operators())
        assert 'propeller_attention' in fused.operators()
        (y, dqkv), (right, dright) = fused.run(mask, qkv, dy), plain.run(mask, qkv, dy)
        assert difference(y, right.astype(np.float64) * mask[..., None]) < TOLERANCE[precision]
        assert difference(dqkv, dright.astype(np.float64)) < TOLERANCE[precision]
        assert not y[mask == 0].any()


def test_large_scores_do_not_overflow(precision):
    lengths = [7, 70]
    qkv, dy = sample(lengths, 2, 12)
    qkv[:, :48] *= 30  # scores of some thousands: weights are 0 and 1
    y, dqkv = AttentionProgram(2, 12).run(mask_of(lengths), qkv, dy)
    right, dright = expected(qkv, dy, lengths, 2)
    assert difference(y, right) < 1e-4 and difference(dqkv, dright) < 1e-3
    assert np.isfinite(AttentionProgram(2, 12, precision).run(mask_of(lengths), qkv, dy)[1]).all()


def test_what_is_not_finite_stays_so_in_its_row_and_head(precision):
    """A training must see that its gradients are not finite."""
    lengths = [5, 70, 70]
    for token in (5, 74, 7):
        qkv, dy = sample(lengths, 2, 12)
        qkv[token, 3] = np.nan  # a query of the first head
        y, dqkv = AttentionProgram(2, 12, precision).run(mask_of(lengths), qkv, dy)
        assert np.isnan(y[token, :12]).all() and np.isnan(dqkv[5:75, 24:36]).all()
        y[token, :12] = 0
        assert np.isfinite(y).all() and np.isfinite(np.delete(dqkv, np.arange(5, 75), 0)).all()
        qkv, dy = sample(lengths, 2, 12)
        dy[token, 13] = np.nan
        dqkv = AttentionProgram(2, 12, precision).run(mask_of(lengths), qkv, dy)[1]
        assert np.isnan(dqkv[5:75, 48 + 13]).all() and np.isnan(dqkv[token, 12:24]).all()


def test_threads_do_not_change_the_result(threads, precision):
    qkv, dy = sample(LENGTHS, 3, 12)
    program = AttentionProgram(3, 12, precision, dropout=0.1)
    same_for_any_threads(threads, lambda: program.run(mask_of(LENGTHS), qkv, dy, seed=5))


# ------------------------------------------------------------------------------------------ dropout


def weights_of(program, lengths, seed):
    """The dropped weights of one head, [queries, keys], as the result shows them and as the gradient of the values."""
    size = sum(lengths)
    qkv = np.zeros((size, 3 * 128), np.float32)
    qkv[:, 256 : 256 + size] = np.eye(size)
    dy = np.zeros((size, 128), np.float32)
    dy[:, :size] = np.eye(size)
    y, dqkv = program.run(mask_of(lengths), qkv, dy, seed)
    return y[:, :size], dqkv[:, 256 : 256 + size].T


def test_dropout_rate_and_the_same_mask_in_both_passes(precision):
    lengths = [7, 100]
    program, dropped = AttentionProgram(1, 128, precision, dropout=0.2, site=1), []
    for seed in range(5):
        forward, backward = weights_of(program, lengths, seed)
        np.testing.assert_array_equal(forward == 0, backward == 0)
        np.testing.assert_array_equal(np.unique(np.round(forward[:7, :7], 5)), [0, np.float32(0.17857)])  # 1 / 7 / 0.8
        dropped.append((forward[7:, 7:] == 0).ravel())
    rate = np.mean(dropped)
    assert abs(rate - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 5e4)
    assert (dropped[0] != dropped[1]).any()
    again = weights_of(AttentionProgram(1, 128, precision, dropout=0.2, site=1), lengths, 0)[0]
    other = weights_of(AttentionProgram(1, 128, precision, dropout=0.2, site=2), lengths, 0)[0]
    np.testing.assert_array_equal((again[7:, 7:] == 0).ravel(), dropped[0])
    assert ((other[7:, 7:] == 0).ravel() != dropped[0]).any()


# ------------------------------------------------------------------------------------------ programs

FEEDS = [graph.Feed('x', (-1, -1, 12), 'float32'), graph.Feed('mask', (-1, -1), 'float32')]
MASK = mask_of([5, 1, 13, 9], columns=13, seed=3)
MASK[:, 0] = 1  # the loss reads the first column
BATCH = np.random.default_rng(3).normal(size=(4, 13, 12)).astype(np.float32)


def linear(x, name, width):
    weight = graph.parameter(f'{name}_w', [x.shape[-1], width], graph.truncated_normal(0.4))
    return ops.linear(x, weight, graph.parameter(f'{name}_b', [width], graph.constant(0.1)))


def train(mode, dropout=0.0, **settings):
    """`Training` of two layers of attention."""

    def layer(x, name, layout):
        attended = ops.attention(linear(x, f'{name}_qkv', 36), layout, 3, dropout)
        return x + linear(attended, f'{name}_out', 12)

    def loss(x, mask):
        layout = ops.token_layout(mask)
        hidden = layout.pack(x)
        for name in ('one', 'two'):
            hidden = segment(lambda y, name=name: layer(y, name, layout), hidden)
        return linear(layout.firsts(hidden), 'head', 1).square().mean()

    return Training(FEEDS, loss, [BATCH, MASK], mode, steps=5, **settings)


@pytest.mark.parametrize('recompute', [False, True])
def test_training_is_that_of_the_plain_form(recompute):
    fused = train('true', recompute=recompute)
    assert fused.operators().count('propeller_attention') == (4 if recompute else 2)
    noise = ['one_qkv_b', 'two_qkv_b']  # of the keys: softmax does not see them
    same_training(train('false', recompute=recompute), fused, rel=1e-5, atol=1e-4, fall=0.8, noise=noise)


def test_recomputation_has_the_same_dropout_masks():
    once, twice, none = train('true', 0.3).losses, train('true', 0.3, recompute=True).losses, train('true').losses
    assert once == pytest.approx(twice, rel=1e-6)
    assert once != pytest.approx(none, rel=1e-3)


def test_mixed_precision_of_the_session(bfloat16):
    half = train('true', precision='bf16')
    assert 'propeller_attention' in half.operators()
    assert half.losses == pytest.approx(train('false').losses, rel=0.05, abs=0.02)


# ------------------------------------------------------------------------------------------ mistakes


def refuse(match, modes=('true', 'false'), heads=3, settings=None, **changed):
    shapes = {'qkv': ((-1, -1, 36), 'float32'), 'mask': ((-1, -1), 'float32')} | changed
    feeds = [graph.Feed(name, *shapes[name]) for name in ('qkv', 'mask')]

    def build(qkv, mask):
        layout = ops.token_layout(mask)
        x = layout.pack(qkv) if qkv.dtype == paddle.float32 else qkv
        return ops.attention(x, layout, heads, **(settings or {}))

    refused(match, feeds, build, modes)


def test_wrong_shapes_types_and_settings_are_refused_in_both_forms():
    refuse(r'ops.attention: qkv is int64 \[-1, -1, 36\], expected float32', qkv=((-1, -1, 36), 'int64'))
    refuse(
        r'qkv has shape \[-1, 30\], expected \[tokens, 3H\] with H a multiple of 3 heads',
        ['true'],
        qkv=((-1, -1, 30), 'float32'),
    )
    refuse(
        r'qkv has shape \[-1, -1, 30\], expected \[rows, columns, 3H\] with H a',
        ['false'],
        qkv=((-1, -1, 30), 'float32'),
    )
    refuse(r'qkv has shape \[-1, 5, 36\], expected \[tokens, 3H\]', ['true'], qkv=((-1, -1, 5, 36), 'float32'))
    refuse('ops.attention: heads is 0, expected a whole number above 0', heads=0)
    refuse('dropout is 1.0, expected 0 or more and less than 1', settings={'dropout': 1.0})
    refuse('dropout is -0.1, expected 0 or more', settings={'dropout': -0.1})
    refuse("precision is 'fp16', expected fp32, bf16 or None", settings={'precision': 'fp16'})


@pytest.mark.parametrize(
    ('dtype', 'site', 'text'),
    [
        ('int64', None, r'the site of mask is None, expected a whole number below 2\^32'),
        ('float32', 0, r'the seed of mask is float32 \[1\], expected int64 \[1\]'),
    ],
)
def test_wrong_masks_are_refused(dtype, site, text):
    def build(qkv, mask, seed):
        layout = ops.token_layout(mask)
        return ops.attention(layout.pack(qkv), layout, 3, 0.1, Mask(seed, site))

    feeds = [graph.Feed('qkv', (-1, -1, 36), 'float32'), graph.Feed('mask', (-1, -1), 'float32')]
    refused(text, [*feeds, graph.Feed('seed', (1,), dtype)], build, ['true'])


def test_what_shows_only_at_run_time_is_refused_by_the_kernel():
    program = AttentionProgram(3, 4)
    qkv, dy = sample([5, 3], 3, 4)
    text = r'starts of shape \[3\] must rise from 0 to the 8 tokens of qkv of shape \[8, 36\]'
    with pytest.raises(ValueError, match=text):
        program.run(mask_of([5, 2]), qkv, dy)
    text = r'the gradient has shape \[7, 12\], expected \[8, 12\]'
    with pytest.raises(ValueError, match=text):
        program.run(mask_of([5, 3]), qkv, dy[:7])
