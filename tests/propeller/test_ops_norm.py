"""Fused layer norms, with residual and dropout: beside float64 numpy, and inside real programs."""

import functools

import numpy as np
import pytest

from propeller import graph, ops
from propeller.graph import paddle
from propeller.recompute import segment
from propeller.update import backward
from tests.propeller.norm_oracle import (
    EPSILON,
    NormProgram,
    mask,
    norm,
    residual_norm,
    residual_program,
    residual_sample,
)
from tests.propeller.ops_oracle import (
    TOLERANCE,
    Built,
    Training,
    close,
    difference,
    refused,
    same_for_any_threads,
    same_training,
)

pytestmark = pytest.mark.usefixtures('compiled')

# Rows (without the last axis) and width: one row, none, more than a block of rows, widths that fill no vector.
SHAPES = [((1,), 12), ((7,), 30), ((13,), 384), ((0,), 30), ((3, 0), 12), ((2, 13), 7), ((5, 26), 390), ((131,), 100)]


# ------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize('probability', [0.0, 0.3])
def test_forward_and_gradients_are_those_of_float64(probability):
    for rows, width in SHAPES:
        arrays = residual_sample(rows, width)
        found, seed = residual_program(width, len(rows) + 1, probability).run(*arrays)
        close(found, residual_norm(*arrays, probability, seed), TOLERANCE['fp32'], rows, width)


def test_plain_form_gives_the_same():
    for rows, width in [((2, 13), 7), ((13,), 384), ((7,), 30)]:
        arrays = residual_sample(rows, width)
        plain, _ = residual_program(width, len(rows) + 1, mode='false').run(*arrays)
        close(plain, residual_norm(*arrays), TOLERANCE['fp32'], rows, width)


def test_layer_norm_alone_is_that_of_float64_in_both_forms():
    def layer_norm(inputs, _):
        return ops.layer_norm(*inputs, EPSILON)

    for rows, width in SHAPES[:3] + [((0,), 30)]:
        x, _, scale, bias, dy = residual_sample(rows, width)
        feeds = [graph.Feed('x', (-1, width), 'float32')]
        feeds += [graph.Feed(name, (width,), 'float32') for name in ('scale', 'bias')]
        right = norm(*(array.astype(np.float64) for array in (x, scale, bias, dy)))
        for mode in ('true', 'false'):
            program = NormProgram(feeds, layer_norm, mode=mode)
            close(program.run(x, scale, bias, dy)[0], right, TOLERANCE['fp32'], mode, rows, width)


def test_one_program_takes_any_number_of_rows():
    program = residual_program(30, 3, 0.3)
    for rows in [(2, 3), (32, 24), (1, 1), (0, 7), (5, 13), (2, 3)]:
        arrays = residual_sample(rows, 30)
        found, seed = program.run(*arrays)
        close(found, residual_norm(*arrays, 0.3, seed), TOLERANCE['fp32'], rows)


def test_gradient_is_zero_exactly_where_the_forward_pass_dropped():
    """With residual 0 a unit that was dropped is the least of its row's values only if x is; the gradient shows all."""
    rows, width, probability = 997, 390, 0.1
    x, _, scale, bias, dy = residual_sample((rows,), width)
    x = np.abs(x) + 1
    program = residual_program(width, probability=probability)
    (y, dx, dresidual, _, _), seed = program.run(x, np.zeros_like(x), np.ones_like(scale), np.zeros_like(bias), dy)
    dropped = mask((rows, width), probability, seed) == 0
    np.testing.assert_array_equal(dx == 0, dropped)
    assert (dresidual[dropped] != 0).mean() > 0.99
    # What was dropped is 0 before the norm, the others are above 1: the smallest numbers of each row.
    for row, gone in zip(y, dropped, strict=True):
        assert row[gone].max(initial=-np.inf) < row[~gone].min()
    assert abs(dropped.mean() - probability) < 4 * np.sqrt(probability * (1 - probability) / dropped.size)
    (_, again, *_), other = program.run(x, np.zeros_like(x), np.ones_like(scale), np.zeros_like(bias), dy)
    assert other != seed and ((again == 0) != dropped).mean() > 0.1


def test_large_mean_is_no_trouble():
    """Variance as the mean of squared differences: the difference of two large numbers would lose it."""
    x, residual, scale, bias, dy = residual_sample((7,), 384)
    found, _ = residual_program(384).run(x, residual + np.float32(300), scale, bias, dy)
    right = residual_norm(x, residual + np.float32(300), scale, bias, dy)
    assert difference(found[0], right[0]) < 3e-5  # of 24 bits, the mean takes 8


def test_what_is_not_finite_stays_so():
    """A training must see that its gradients are not finite."""
    x, residual, scale, bias, dy = residual_sample((7,), 30)
    program = residual_program(30)
    x[3, 5] = np.nan
    (y, *_), _ = program.run(x, residual, scale, bias, dy)
    assert np.isnan(y[3]).all() and np.isfinite(np.delete(y, 3, 0)).all()
    x[3, 5], dy[2, 1] = 1, np.inf
    (_, dx, dresidual, dscale, _), _ = program.run(x, residual, scale, bias, dy)
    assert not np.isfinite(dx[2]).any() and not np.isfinite(dresidual[2]).any() and not np.isfinite(dscale[1])
    assert np.isfinite(np.delete(dx, 2, 0)).all()


def test_threads_do_not_change_the_result(threads):
    for rows, width in [((32, 24), 384), ((7,), 30), ((131,), 390)]:
        arrays = residual_sample(rows, width)
        program = residual_program(width, len(rows) + 1, 0.1)
        same_for_any_threads(threads, functools.partial(program.run_again, *arrays))


# ------------------------------------------------------------------------------------------ programs

X = graph.Feed('x', (-1, 12), 'float32')
BATCH = np.random.default_rng(3).normal(size=(13, 12)).astype(np.float32)


def block(x, name, probability=0.0):
    """A layer with residual, dropout and norm."""
    wide = paddle.tanh(x @ graph.parameter(f'{name}_w', [12, 12], graph.truncated_normal(0.3)))
    scale = graph.parameter(f'{name}_scale', [12], graph.constant(1))
    bias = graph.parameter(f'{name}_bias', [12], graph.constant(0))
    return ops.residual_norm(wide, x, scale, bias, EPSILON, probability)


def train(mode, probability=0.0, **settings):
    """`Training` of three layers."""

    def loss(x):
        for name in ('one', 'two', 'three'):
            x = segment(lambda y, name=name: block(y, name, probability), x)
        return (x - 0.5).abs().sum(-1).mean()

    return Training([X], loss, [BATCH], mode, rate=0.05, **settings)


@pytest.mark.parametrize(
    'settings', [{}, {'parts': 3}, {'recompute': True}, {'frozen': ['one_w', 'one_scale', 'one_bias', 'two_w']}]
)
def test_training_is_that_of_the_plain_form(settings):
    fused = train('true', **settings)
    assert 'propeller_residual_norm' in fused.operators()
    same_training(train('false', **settings), fused, rel=1e-5, atol=1e-4, fall=0.99)


def test_dropout_under_recomputation_has_the_same_masks():
    plain, again = train('true', 0.3), train('true', 0.3, recompute=True)
    names = again.operators()
    assert sum('residual_norm' in name and 'grad' not in name for name in names) == 6
    assert names.count('randint') == 1
    assert again.losses == pytest.approx(plain.losses, rel=1e-6)
    for name, value in plain.parameters.items():
        np.testing.assert_allclose(again.parameters[name], value, atol=1e-6, err_msg=name)
    without = train('true').losses
    assert max(abs(a - b) for a, b in zip(plain.losses, without, strict=True)) > 0.01


def test_dropout_has_the_same_effect_in_both_forms():
    """The mean over masks of the mean output, of the plain form and of the fused one."""
    x, residual, scale, bias, dy = residual_sample((64,), 30)
    means = []
    for mode in ('false', 'true'):
        program = residual_program(30, probability=0.4, mode=mode)
        runs = [program.run(x, residual, scale, bias, dy)[0] for _ in range(40)]
        means.append([np.mean([run[i] for run in runs], axis=0) for i in (0, 1, 2)])
        spread = [np.std([run[i] for run in runs], axis=0) / np.sqrt(40) for i in (0, 1, 2)]
    for plain, fused, error in zip(*means, spread, strict=True):
        assert np.abs(plain - fused).mean() < 2 * error.mean()


def test_gradients_that_nobody_needs_are_not_computed():
    def build(x):
        with graph.parameter_rules(frozen=lambda name: name == 'one_w'):
            hidden = block(x, 'one')
        return [g for _, g in backward(hidden.square().sum())]

    program = Built([X], build, seed=4)
    assert [g.shape for g in program.run(BATCH)] == [(12,), (12,)]
    operators = program.program.main.global_block().ops
    (gradient,) = [op for op in operators if 'residual_norm' in op.name() and 'grad' in op.name()]
    assert not gradient.attrs()['x_wanted'] and not gradient.attrs()['residual_wanted']


@pytest.mark.usefixtures('bfloat16')  # Paddle's own products of them need such a processor
def test_mixed_precision_leaves_norms_in_float32():
    def normed(x):
        return block(x @ graph.parameter('w', [12, 12], graph.constant(0.2)), 'one')

    (plain,), (fused,) = (Built([X], normed, mode, seed=4, precision='bf16').run(BATCH) for mode in ('false', 'true'))
    assert fused.dtype == np.float32
    assert difference(fused, plain.astype(np.float64)) < 2e-2


# ------------------------------------------------------------------------------------------ mistakes


def refuse(match, epsilon=EPSILON, dropout=0.0, **changed):
    shapes = {'x': (-1, 5, 12), 'residual': (-1, 5, 12), 'scale': (12,), 'bias': (12,)}
    types = dict.fromkeys(shapes, 'float32')
    for name, value in changed.items():
        (types if isinstance(value, str) else shapes)[name] = value
    feeds = [graph.Feed(name, shape, types[name]) for name, shape in shapes.items()]
    refused(match, feeds, lambda *values: ops.residual_norm(*values, epsilon, dropout))


def test_wrong_shapes_types_and_numbers_are_refused_in_both_forms():
    refuse(r'ops.residual_norm: x has shape \[-1, 5, 13\], expected \[-1, 5, 12\], that of residual', x=(-1, 5, 13))
    refuse(r'ops.residual_norm: x has shape \[-1, 12\], expected \[-1, 5, 12\]', x=(-1, 12))
    refuse(r'ops.residual_norm: x is int64 \[-1, 5, 12\], expected float32', x='int64')
    refuse(r'ops.residual_norm: residual is float64 \[-1, 5, 12\], expected float32', residual='float64')
    of = r'for residual of shape \[-1, 5, 12\]'
    refuse(rf'ops.residual_norm: scale has shape \[13\], expected \[12\] {of}', scale=(13,))
    refuse(rf'ops.residual_norm: bias has shape \[1, 12\], expected \[12\] {of}', bias=(1, 12))
    refuse(r'ops.residual_norm: bias is float64 \[12\], expected float32', bias='float64')
    refuse(r'ops.residual_norm: dropout is 1.0, expected 0 or more and less than 1', dropout=1.0)
    refuse(r'ops.residual_norm: dropout is -0.1, expected 0 or more', dropout=-0.1)
    refuse(r'ops.residual_norm: epsilon is 0, expected a number above 0', epsilon=0)


def test_layer_norm_refuses_in_its_own_name():
    feeds = [graph.Feed(n, s, 'float32') for n, s in (('x', (-1, 12)), ('scale', (13,)), ('bias', (12,)))]
    text = r'ops.layer_norm: scale has shape \[13\], expected \[12\]'
    refused(text, feeds, lambda *values: ops.layer_norm(*values, EPSILON))


@pytest.mark.parametrize(
    ('shapes', 'text'),
    [
        ([(3, 5), (3, 4), (4,), (4,)], r'residual_norm: x has shape \[3, 5\], expected \[3, 4\]'),
        ([(2, 4), (3, 4), (4,), (4,)], r'residual_norm: x has shape \[2, 4\], expected \[3, 4\]'),
        ([(3, 4), (3, 4), (5,), (4,)], r'residual_norm: scale has shape \[5\], expected \[4\]'),
        ([(3, 4), (3, 4), (4,), (3,)], r'residual_norm: bias has shape \[3\], expected \[4\]'),
    ],
)
def test_shapes_that_show_only_at_run_time_are_refused_by_the_kernel(shapes, text):
    feeds = [graph.Feed(n, (-1,) * len(s), 'float32') for n, s in zip('abcd', shapes, strict=True)]
    program = Built(feeds, lambda *values: ops.residual_norm(*values, EPSILON))
    with pytest.raises(ValueError, match=text):
        program.run(*[np.ones(shape, np.float32) for shape in shapes])
