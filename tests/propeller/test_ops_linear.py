"""Fused linear layers beside float64 numpy, and inside real programs."""

import ctypes

import numpy as np
import pytest

from propeller import graph, ops
from propeller.ops.choice import kernels
from propeller.recompute import recomputation, segment
from propeller.session import Session
from propeller.update import backward, minimize
from tests.propeller.ops_oracle import SHAPES, LinearProgram, difference, expected, sample

TOLERANCE = {'fp32': 1e-5, 'bf16': 2e-2}
ACTIVATIONS = [None, 'gelu', 'relu']


@pytest.fixture(scope='module', autouse=True)
def compiled():
    """The kernels; the tests of this file are about them."""
    if kernels().path is None:
        pytest.skip(kernels().describe())
    return kernels()


@pytest.fixture(params=['fp32', 'bf16'])
def precision(request, compiled):
    if request.param == 'bf16' and not compiled.bf16:
        pytest.skip('this processor has no bfloat16 products')
    return request.param


@pytest.fixture
def threads():
    """Function that sets the number of OpenMP threads of Paddle; put back afterwards."""
    library = ctypes.CDLL('libiomp5.so')
    before = library.omp_get_max_threads()
    yield library.omp_set_num_threads
    library.omp_set_num_threads(before)


# ------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize('activation', ACTIVATIONS)
def test_forward_and_gradients_are_those_of_float64(activation, precision):
    for rows, inputs, outputs in SHAPES:
        arrays = sample(rows, inputs, outputs, activation)
        found = LinearProgram(activation, precision, len(rows) + 1, inputs, outputs).run(*arrays)
        for name, ours, right in zip(['y', 'dx', 'dw', 'db'], found, expected(*arrays, activation), strict=True):
            assert ours.dtype == np.float32
            assert difference(ours, right) < TOLERANCE[precision], (rows, inputs, outputs, name)


def test_one_program_takes_any_number_of_rows(precision):
    program = LinearProgram('gelu', precision, 3, 12, 30)
    for rows in [(2, 3), (32, 24), (1, 1), (0, 7), (5, 13), (2, 3)]:
        arrays = sample(rows, 12, 30)
        for ours, right in zip(program.run(*arrays), expected(*arrays, 'gelu'), strict=True):
            assert difference(ours, right) < TOLERANCE[precision], rows


def test_gelu_over_its_whole_range():
    """One input and weight 1: the activation itself. Its tail, too, is right, not only its bulk."""
    z = np.concatenate([np.linspace(-12, 12, 4001), [-30, -9.5, 0, 1e-30, 30, 1e4, -1e4]]).astype(np.float32)
    arrays = z[:, None], np.ones((1, 1), np.float32), np.zeros(1, np.float32), np.ones((len(z), 1), np.float32)
    y, dx, _, _ = LinearProgram('gelu', 'fp32', 2, 1, 1).run(*arrays)
    right = expected(*arrays, 'gelu')
    np.testing.assert_allclose(y, right[0], rtol=3e-6, atol=3e-7)
    np.testing.assert_allclose(dx, right[1], rtol=3e-6, atol=3e-7)


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
        arrays, program = (
            sample(rows, inputs, outputs),
            LinearProgram('gelu', precision, len(rows) + 1, inputs, outputs),
        )
        results = []
        for count in (1, 2, 3):
            threads(count)
            results.append(program.run(*arrays))
        for result in results[1:]:
            for one, other in zip(results[0], result, strict=True):
                np.testing.assert_array_equal(one, other)


def test_bfloat16_products_are_those_of_rounded_numbers(compiled):
    """Not of numbers rounded twice, nor summed in bfloat16: that would be 50 times further away."""
    if not compiled.bf16:
        pytest.skip('this processor has no bfloat16 products')

    def rounded(array):
        bits = array.view(np.uint32).astype(np.uint64)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)

    x, weight, bias, dy = sample((5, 26), 384, 390)
    found = LinearProgram(None, 'bf16', 3, 384, 390).run(x, weight, bias, dy)
    right = expected(rounded(x), rounded(weight), bias, rounded(dy), None)
    for ours, theirs in zip(found[:3], right, strict=False):
        assert difference(ours, theirs) < 1e-6
    assert difference(found[3], dy.astype(np.float64).reshape(-1, 390).sum(0)) < 1e-6


# ------------------------------------------------------------------------------------------ programs

X = graph.Feed('x', (-1, 12), 'float32')
BATCH = np.random.default_rng(3).normal(size=(13, 12)).astype(np.float32)


def layer(x, name, width, activation=None, std=0.3):
    weight = graph.parameter(f'{name}_w', [x.shape[-1], width], graph.truncated_normal(std))
    return ops.linear(x, weight, graph.parameter(f'{name}_b', [width], graph.constant(0.1)), activation)


def train(mode, steps=4, parts=1, recompute=False, frozen=()):
    """Losses of a training of three layers, and what its parameters are after it."""

    def build(x):
        rules = graph.parameter_rules(frozen=lambda name: name in frozen)
        with recomputation(recompute), rules:
            hidden = segment(lambda y: layer(y, 'one', 30, 'gelu'), x)
            hidden = segment(lambda y: layer(y, 'two', 30, 'relu') + y, hidden)
            loss = layer(hidden, 'three', 1).square().mean()
        minimize(loss, lambda step: 0.02, weight_decay=0.01, clip_norm=1.0)
        return loss

    session = Session(seed=4)
    with ops.use(mode):
        program = session.build([X], build, parts=parts)
    session.initialize(program)
    batches = [([part], True) for part in np.array_split(BATCH, parts)]
    found = [float(session.update(program, batches, [program.outputs]).fetched[0][0]) for _ in range(steps)]
    return found, {name: session.read(name) for name in program.parameters()}, program


@pytest.mark.parametrize(
    'settings', [{}, {'parts': 3}, {'recompute': True}, {'parts': 2, 'recompute': True}, {'frozen': ['one_w', 'two_b']}]
)
def test_training_is_that_of_the_plain_form(settings):
    plain, plain_parameters, _ = train('false', **settings)
    fused, fused_parameters, program = train('true', **settings)
    names = [op.name() for op in program.main.global_block().ops]
    passes = 2 if settings.get('recompute') else 1
    assert sum('propeller_linear' in name and 'grad' not in name for name in names) == 3 + 2 * (passes - 1)
    assert fused == pytest.approx(plain, rel=2e-6)
    assert fused[-1] < 0.8 * fused[0]
    for name, value in plain_parameters.items():
        # AdamW divides by the root of the squared gradient: what is nearly 0 may be off by more than rounding.
        np.testing.assert_allclose(fused_parameters[name], value, atol=2e-5, err_msg=name)


def test_training_is_bit_equal_for_any_number_of_threads(threads):
    results = []
    for count in (1, 2):
        threads(count)
        results.append(train('true')[0])
    assert results[0] == pytest.approx(results[1], rel=1e-6)


def test_gradients_of_frozen_inputs_are_not_computed():
    """What needs no gradient has none, and what stands before it is not differentiated."""

    def build(x):
        with graph.parameter_rules(frozen=lambda name: name in ('one_w', 'one_b')):
            hidden = layer(x, 'one', 30, 'gelu')
            loss = layer(hidden, 'two', 7).square().mean()
        assert hidden.stop_gradient and not loss.stop_gradient
        return [g for _, g in backward(loss)]

    session = Session(seed=4)
    with ops.use('true'):
        program = session.build([X], build)
    session.initialize(program)
    assert [g.shape for g in session.run(program, [BATCH], program.outputs)] == [(30, 7), (7,)]
    assert sum('grad' in op.name() and 'linear' in op.name() for op in program.main.global_block().ops) == 1


def test_mixed_precision_of_the_session_is_that_of_the_products(compiled):
    if not compiled.bf16:
        pytest.skip('this processor has no bfloat16 products')

    def outputs(mode, precision):
        session = Session(seed=4, precision=precision)
        with ops.use(mode):
            program = session.build([X], lambda x: layer(layer(x, 'one', 30, 'gelu'), 'two', 7))
        session.initialize(program)
        return session.run(program, [BATCH], [program.outputs])[0]

    full, half = outputs('true', 'fp32'), outputs('true', 'bf16')
    assert half.dtype == np.float32
    assert 1e-4 < difference(half, full) < 2e-2


# ------------------------------------------------------------------------------------------ mistakes


def refused(match, **changed):
    arguments = {
        'x': ((-1, 5, 12), 'float32'),
        'weight': ((12, 30), 'float32'),
        'bias': ((30,), 'float32'),
        'activation': None,
        'precision': None,
    }
    arguments |= changed
    feeds = [graph.Feed(name, *arguments[name]) for name in ('x', 'weight', 'bias')]

    def build(x, weight, bias):
        return ops.linear(x, weight, bias, arguments['activation'], arguments['precision'])

    for mode in ('true', 'false'):
        with pytest.raises(ValueError, match=match), ops.use(mode):
            Session(seed=1).build(feeds, build)


def test_wrong_shapes_types_and_names_are_refused_in_both_forms():
    x = r'for x of shape \[-1, 5, 12\]'
    refused(rf'ops.linear: weight has shape \[13, 30\], expected \[12, outputs\] {x}', weight=((13, 30), 'float32'))
    refused(rf'ops.linear: weight has shape \[12\], expected \[12, outputs\] {x}', weight=((12,), 'float32'))
    refused(r'ops.linear: bias has shape \[7\], expected \[30\] for weight of shape \[12, 30\]', bias=((7,), 'float32'))
    refused(r'ops.linear: bias has shape \[1, 30\], expected \[30\]', bias=((1, 30), 'float32'))
    refused(r'ops.linear: x is int64 \[-1, 5, 12\], expected float32', x=((-1, 5, 12), 'int64'))
    refused(r'ops.linear: weight is float64 \[12, 30\], expected float32', weight=((12, 30), 'float64'))
    refused(r"ops.linear: activation is 'tanh', expected relu, gelu or None", activation='tanh')
    refused(r"ops.linear: precision is 'fp16', expected fp32, bf16 or None", precision='fp16')


def test_shapes_that_show_only_at_run_time_are_refused_by_the_kernel():
    session = Session(seed=1)
    feeds = [graph.Feed(n, s, 'float32') for n, s in (('x', (-1, -1)), ('weight', (-1, 30)), ('bias', (30,)))]
    with ops.use('true'):
        program = session.build(feeds, lambda x, weight, bias: ops.linear(x, weight, bias))
    arrays = np.ones((3, 5), np.float32), np.ones((4, 30), np.float32), np.ones(30, np.float32)
    text = r'linear: weight has shape \[4, 30\], expected \[inputs, outputs\] for x of shape \[3, 5\]'
    with pytest.raises(ValueError, match=text):
        session.run(program, arrays, [program.outputs])
    arrays = arrays[0], np.ones((5, 30), np.float32), arrays[2]
    np.testing.assert_array_equal(session.run(program, arrays, [program.outputs])[0], np.full((3, 30), 6))
