"""Fused linear layers beside float64 numpy, and inside real programs."""

import functools

import numpy as np
import pytest

from propeller import graph, ops
from propeller.graph import paddle
from propeller.recompute import segment
from propeller.update import backward
from tests.propeller.ops_oracle import (
    SHAPES,
    TOLERANCE,
    Built,
    LinearProgram,
    Training,
    close,
    difference,
    expected,
    refused,
    same_for_any_threads,
    same_training,
    sample,
)

pytestmark = pytest.mark.usefixtures('compiled')
ACTIVATIONS = [None, 'gelu', 'gelu_new', 'relu']


# ------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize('activation', ACTIVATIONS)
def test_forward_and_gradients_are_those_of_float64(activation, precision):
    for rows, inputs, outputs in SHAPES:
        arrays = sample(rows, inputs, outputs, activation)
        found = LinearProgram(activation, precision, len(rows) + 1, inputs, outputs).run(*arrays)
        close(found, expected(*arrays, activation), TOLERANCE[precision], rows, inputs, outputs)


def test_one_program_takes_any_number_of_rows(precision):
    program = LinearProgram('gelu', precision, 3, 12, 30)
    for rows in [(2, 3), (32, 24), (1, 1), (0, 7), (5, 13), (2, 3)]:
        arrays = sample(rows, 12, 30)
        close(program.run(*arrays), expected(*arrays, 'gelu'), TOLERANCE[precision], rows)


@pytest.mark.parametrize('activation', ['gelu', 'gelu_new'])
def test_gelu_over_its_whole_range(activation):
    """One input and weight 1: the activation itself. Its tail, too, is right, not only its bulk."""
    z = np.concatenate([np.linspace(-12, 12, 4001), [-30, -9.5, 0, 1e-30, 30, 1e4, -1e4]]).astype(np.float32)
    arrays = z[:, None], np.ones((1, 1), np.float32), np.zeros(1, np.float32), np.ones((len(z), 1), np.float32)
    y, dx, _, _ = LinearProgram(activation, 'fp32', 2, 1, 1).run(*arrays)
    right = expected(*arrays, activation)
    np.testing.assert_allclose(y, right[0], rtol=3e-6, atol=3e-7)
    np.testing.assert_allclose(dx, right[1], rtol=3e-6, atol=3e-7)


def test_gelu_in_bfloat16_is_as_near_as_it_says(bfloat16):
    """One input and weight 1, which round to themselves. The slope is rounded to bfloat16 as well."""
    z = np.concatenate([np.linspace(-12, 12, 4001), [-30, -4.5, -0.75, 0, 1e-30, 4.5, 30]]).astype(np.float32)
    z = (z.view(np.uint32) & 0xFFFF0000).view(np.float32)
    arrays = z[:, None], np.ones((1, 1), np.float32), np.zeros(1, np.float32), np.ones((len(z), 1), np.float32)
    y, dx, _, _ = LinearProgram('gelu', 'bf16', 2, 1, 1).run(*arrays)
    right = expected(*arrays, 'gelu')
    np.testing.assert_allclose(y, right[0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(dx, right[1], rtol=2**-8, atol=1.6e-4)


@pytest.mark.parametrize('activation', ACTIVATIONS)
def test_what_is_not_finite_stays_so(activation, precision):
    """A training must see that its gradients are not finite."""
    x, weight, bias, dy = sample((7,), 30, 7)
    x[3, 5] = np.nan
    y, *_ = LinearProgram(activation, precision, 2, 30, 7).run(x, weight, bias, dy)
    assert np.isnan(y[3]).all() and np.isfinite(np.delete(y, 3, 0)).all()
    x[3, 5], dy[2, 1] = 1, np.nan
    _, dx, dw, db = LinearProgram(activation, precision, 2, 30, 7).run(x, weight, bias, dy)
    assert np.isnan(dx[2]).all() and np.isnan(dw[:, 1]).all() and np.isnan(db[1])


def test_threads_do_not_change_the_result(threads, precision):
    for rows, inputs, outputs in [((32, 24), 384, 390), ((7,), 30, 7)]:
        program = LinearProgram('gelu', precision, len(rows) + 1, inputs, outputs)
        same_for_any_threads(threads, functools.partial(program.run, *sample(rows, inputs, outputs)))


def test_bfloat16_products_are_those_of_rounded_numbers(bfloat16):
    """Not of numbers rounded twice, nor summed in bfloat16: that would be 50 times further away."""

    def rounded(array):
        bits = array.view(np.uint32).astype(np.uint64)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)

    x, weight, bias, dy = sample((5, 26), 384, 390)
    found = LinearProgram(None, 'bf16', 3, 384, 390).run(x, weight, bias, dy)
    right = expected(rounded(x), rounded(weight), bias, rounded(dy), None)
    close(found[:3], right[:3], 1e-6)
    assert difference(found[3], dy.astype(np.float64).reshape(-1, 390).sum(0)) < 1e-6


# ------------------------------------------------------------------------------------------ side by side


class SideBySide(Built):
    """Three layers of one input whose arrays are fed, and their gradients. `run` is that of one layer: all columns."""

    def __init__(self, precision, rank, inputs, each, mode='true', frozen=()):
        vary = (-1,) * (rank - 1)
        feeds = [graph.Feed('x', (*vary, inputs), 'float32'), graph.Feed('dy', (*vary, 3 * each), 'float32')]
        feeds += [graph.Feed(f'w{k}', (inputs, each), 'float32') for k in range(3)]
        feeds += [graph.Feed(f'b{k}', (each,), 'float32') for k in range(3)]

        def build(x, dy, *weights_and_biases):
            leaves = [x, *weights_and_biases]
            for k, leaf in enumerate(leaves):
                leaf.stop_gradient = k in frozen
            y = ops.linear_side_by_side(x, weights_and_biases[:3], weights_and_biases[3:], precision)
            wanted = [leaf for k, leaf in enumerate(leaves) if k not in frozen]
            return [y, *paddle.static.gradients([y], wanted, [dy])]

        super().__init__(feeds, build, mode)

    def run(self, x, weight, bias, dy):
        parts = [np.ascontiguousarray(part) for part in np.split(weight, 3, -1)]
        return super().run(x, dy, *parts, *np.split(bias, 3))

    def whole(self, x, weight, bias, dy):
        """[y, dx, dweight, dbias] of all columns."""
        y, dx, *rest = self.run(x, weight, bias, dy)
        return [y, dx, np.concatenate(rest[:3], -1), np.concatenate(rest[3:])]


# Widths that end within blocks of every kind, and none of them; tiles of more than one width.
EACH = [((1,), 12, 10), ((7,), 30, 1), ((0,), 12, 30), ((5, 26), 384, 130), ((2, 13), 64, 32), ((70,), 31, 400)]


def test_layers_side_by_side_are_those_of_float64(precision):
    for rows, inputs, each in EACH:
        arrays = sample(rows, inputs, 3 * each)
        program = SideBySide(precision, len(rows) + 1, inputs, each)
        assert program.operators().count('propeller_linear_3') == 1 and 'concat' not in program.operators()
        close(program.whole(*arrays), expected(*arrays, None), TOLERANCE[precision], rows, inputs, each)


def test_they_are_one_layer_with_all_columns(precision):
    for rows, inputs, each in EACH:
        arrays = sample(rows, inputs, 3 * each)
        found = SideBySide(precision, len(rows) + 1, inputs, each).whole(*arrays)
        right = LinearProgram(None, precision, len(rows) + 1, inputs, 3 * each).run(*arrays)
        plain = SideBySide(precision, len(rows) + 1, inputs, each, 'false').whole(*arrays)
        close(found, [array.astype(np.float64) for array in right], 1e-6, rows, inputs, each)
        close(plain, [array.astype(np.float64) for array in right], TOLERANCE[precision], rows, inputs, each)


@pytest.mark.parametrize('frozen', [(0,), (1, 2, 3), (2,), (1, 2, 3, 4, 5, 6), (0, 1, 2, 3)])
def test_gradients_side_by_side_that_nobody_wants_are_not_computed(frozen):
    arrays = sample((7,), 30, 21)
    program = SideBySide('fp32', 2, 30, 7, frozen=frozen)
    y, *found = program.run(*arrays)
    right_y, *right = SideBySide('fp32', 2, 30, 7).run(*arrays)
    close([y, *found], [right_y, *(g for k, g in enumerate(right) if k not in frozen)], 1e-6, frozen)
    # Where one weight of three is trained and another is not, all of them are put together.
    assert ('propeller_linear_3' in program.operators()) == (frozen != (2,))


def test_threads_do_not_change_layers_side_by_side(threads, precision):
    program = SideBySide(precision, 3, 384, 130)
    same_for_any_threads(threads, functools.partial(program.run, *sample((32, 24), 384, 390)))


def test_layers_that_cannot_stand_side_by_side_are_refused():
    feeds = [graph.Feed('x', (-1, 12), 'float32')]

    def build(shapes, biases=(7, 7, 7)):
        def call(x):
            weights = [graph.parameter(f'w{k}', shape, graph.constant(0)) for k, shape in enumerate(shapes)]
            own = [graph.parameter(f'b{k}', [width], graph.constant(0)) for k, width in enumerate(biases)]
            return ops.linear_side_by_side(x, weights, own)

        return call

    refused('found 2 weights and 3 biases, expected 3 of each', feeds, build([(12, 7)] * 2))
    text = r'a weight has shape \[12, 8\], expected \[12, 7\], that of the first'
    refused(text, feeds, build([(12, 7), (12, 8), (12, 7)], (7, 8, 7)))
    refused(r'weight has shape \[11, 7\], expected \[12, outputs\]', feeds, build([(12, 7), (11, 7), (12, 7)]))


# ------------------------------------------------------------------------------------------ programs

X = graph.Feed('x', (-1, 12), 'float32')
BATCH = np.random.default_rng(3).normal(size=(13, 12)).astype(np.float32)


def layer(x, name, width, activation=None, std=0.3):
    weight = graph.parameter(f'{name}_w', [x.shape[-1], width], graph.truncated_normal(std))
    return ops.linear(x, weight, graph.parameter(f'{name}_b', [width], graph.constant(0.1)), activation)


def train(mode, **settings):
    """`Training` of three layers."""

    def loss(x):
        hidden = segment(lambda y: layer(y, 'one', 30, 'gelu'), x)
        hidden = segment(lambda y: layer(y, 'two', 30, 'relu') + y, hidden)
        return layer(hidden, 'three', 1).square().mean()

    return Training([X], loss, [BATCH], mode, **settings)


@pytest.mark.parametrize(
    'settings', [{}, {'parts': 3}, {'recompute': True}, {'parts': 2, 'recompute': True}, {'frozen': ['one_w', 'two_b']}]
)
def test_training_is_that_of_the_plain_form(settings):
    fused = train('true', **settings)
    passes = 2 if settings.get('recompute') else 1
    names = [name for name in fused.operators() if 'propeller_linear' in name and 'grad' not in name]
    assert len(names) == 3 + 2 * (passes - 1)
    same_training(train('false', **settings), fused, rel=2e-6, atol=2e-5, fall=0.8)


def test_training_is_bit_equal_for_any_number_of_threads(threads):
    same_for_any_threads(threads, lambda: [*train('true').parameters.values()])


def test_gradients_of_frozen_inputs_are_not_computed():
    """What needs no gradient has none, and what stands before it is not differentiated."""

    def build(x):
        with graph.parameter_rules(frozen=lambda name: name in ('one_w', 'one_b')):
            hidden = layer(x, 'one', 30, 'gelu')
            loss = layer(hidden, 'two', 7).square().mean()
        assert hidden.stop_gradient and not loss.stop_gradient
        return [g for _, g in backward(loss)]

    program = Built([X], build, seed=4)
    assert [g.shape for g in program.run(BATCH)] == [(30, 7), (7,)]
    assert sum('grad' in name and 'linear' in name for name in program.operators()) == 1


def test_mixed_precision_of_the_session_is_that_of_the_products(bfloat16):
    def outputs(precision):
        return Built([X], lambda x: layer(layer(x, 'one', 30, 'gelu'), 'two', 7), seed=4, precision=precision).run(
            BATCH
        )

    (full,), (half,) = outputs('fp32'), outputs('bf16')
    assert half.dtype == np.float32
    assert 1e-4 < difference(half, full) < 2e-2


# ------------------------------------------------------------------------------------------ mistakes


def refuse(match, activation=None, precision=None, **changed):
    kinds = {'x': ((-1, 5, 12), 'float32'), 'weight': ((12, 30), 'float32'), 'bias': ((30,), 'float32')} | changed
    feeds = [graph.Feed(name, *kind) for name, kind in kinds.items()]
    refused(match, feeds, lambda *values: ops.linear(*values, activation, precision))


def test_wrong_shapes_types_and_names_are_refused_in_both_forms():
    x = r'for x of shape \[-1, 5, 12\]'
    refuse(rf'ops.linear: weight has shape \[13, 30\], expected \[12, outputs\] {x}', weight=((13, 30), 'float32'))
    refuse(rf'ops.linear: weight has shape \[12\], expected \[12, outputs\] {x}', weight=((12,), 'float32'))
    refuse(r'ops.linear: bias has shape \[7\], expected \[30\] for weight of shape \[12, 30\]', bias=((7,), 'float32'))
    refuse(r'ops.linear: bias has shape \[1, 30\], expected \[30\]', bias=((1, 30), 'float32'))
    refuse(r'ops.linear: x is int64 \[-1, 5, 12\], expected float32', x=((-1, 5, 12), 'int64'))
    refuse(r'ops.linear: weight is float64 \[12, 30\], expected float32', weight=((12, 30), 'float64'))
    refuse(r"ops.linear: activation is 'tanh', expected relu, gelu, gelu_new or None", activation='tanh')
    refuse(r"ops.linear: precision is 'fp16', expected fp32, bf16 or None", precision='fp16')


def test_shapes_that_show_only_at_run_time_are_refused_by_the_kernel():
    feeds = [graph.Feed(n, s, 'float32') for n, s in (('x', (-1, -1)), ('weight', (-1, 30)), ('bias', (30,)))]
    program = Built(feeds, ops.linear)
    arrays = np.ones((3, 5), np.float32), np.ones((4, 30), np.float32), np.ones(30, np.float32)
    text = r'linear: weight has shape \[4, 30\], expected \[inputs, outputs\] for x of shape \[3, 5\]'
    with pytest.raises(ValueError, match=text):
        program.run(*arrays)
    arrays = arrays[0], np.ones((5, 30), np.float32), arrays[2]
    np.testing.assert_array_equal(program.run(*arrays)[0], np.full((3, 30), 6))
