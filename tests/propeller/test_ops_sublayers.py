"""Both halves of an encoder layer as one operator: beside float64 numpy, the operators one by one, and in programs."""

import functools

import numpy as np
import pytest

from propeller import graph, ops
from propeller.graph import paddle
from propeller.ops.random import Mask
from propeller.recompute import segment
from tests.propeller import attention, norm_oracle
from tests.propeller.ops_oracle import (
    TOLERANCE,
    Built,
    Training,
    close,
    expected,
    refused,
    same_for_any_threads,
    same_training,
    with_gradients,
)

pytestmark = pytest.mark.usefixtures('compiled')
SEED, SITES = 2**33 + 5, (4, 6)  # of the weights of attention, of units
EPSILON = norm_oracle.EPSILON

# Rows, width, inner width: none, one, sizes that fill no block of any kernel, several tiles and a rest.
SIZES = [(0, 12, 30), (1, 12, 30), (33, 30, 70), (257, 100, 390), (70, 384, 65)]
# Tokens of the rows of a batch, heads, width of each.
TEXTS = [([], 3, 4), ([1], 3, 4), ([33], 2, 15), ([5, 70, 1, 0, 64, 117], 2, 50)]


def floats(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def layer(rng, inputs, outputs):
    """Weight and bias whose results are about as large as what they read."""
    return [floats(rng, inputs, outputs) / np.float32(np.sqrt(inputs)), floats(rng, outputs) / 3]


def one_by_one(x, inner, outer, norm, activation, dropout, mask, precision):
    """`ops.feed_forward` as the operators that it stands for."""
    z = ops.linear(ops.linear(x, *inner, activation, precision), *outer, precision=precision)
    return ops.residual_norm(z, x, *norm, dropout, mask)


class FeedForward(Built):
    """A program of one feed-forward half whose inputs are arrays, and its gradients."""

    def __init__(self, width, inner, activation='gelu', dropout=0.0, precision='fp32', mode='true', apply=None):
        shapes = [(-1, width), (width, inner), (inner,), (inner, width), (width,), (width,), (width,), (-1, width)]
        feeds = [graph.Feed(f'a{i}', shape, 'float32') for i, shape in enumerate(shapes)]

        def half(x, *p):
            own = Mask(paddle.full([1], SEED, 'int64'), SITES[1])
            layers = ops.Linear(*p[:2]), ops.Linear(*p[2:4]), ops.Norm(*p[4:], EPSILON)
            return (apply or ops.feed_forward)(x, *layers, activation, dropout, own, precision)

        super().__init__(feeds, lambda *values: with_gradients(half, values[:-1], values[-1]), mode)


def feed_forward_sample(rows, width, inner, activation='gelu'):
    """x, both layers, scale, bias, dy; for relu no input of it is near to 0."""
    rng = np.random.default_rng(rows)
    x, first, second = floats(rng, rows, width), layer(rng, width, inner), layer(rng, inner, width)
    if activation == 'relu':
        first[1] += rng.choice([-6, 6], size=inner).astype(np.float32)
    return [x, *first, *second, floats(rng, width) + 1, floats(rng, width), floats(rng, rows, width)]


def feed_forward_expected(arrays, activation, dropout):
    """[y, gradients] in float64."""
    x, w1, b1, w2, b2, scale, bias, dy = (array.astype(np.float64) for array in arrays)
    wide = expected(x, w1, b1, np.zeros((len(x), len(b1))), activation)[0]
    z = expected(wide, w2, b2, dy, None)[0]
    y, dz, dresidual, dscale, dbias = norm_oracle_at(SITES[1], z, x, scale, bias, dy, dropout)
    _, dwide, dw2, db2 = expected(wide, w2, b2, dz, None)
    _, dx, dw1, db1 = expected(x, w1, b1, dwide, activation)
    return [y, dx + dresidual, dw1, db1, dw2, db2, dscale, dbias]


def norm_oracle_at(site, z, x, scale, bias, dy, dropout):
    """`norm_oracle.residual_norm` with the mask of this site."""
    factors = norm_oracle.mask(z.shape, dropout, SEED, site)
    y, dtotal, dscale, dbias = norm_oracle.norm(x + z * factors, scale, bias, dy)
    return y, dtotal * factors, dtotal, dscale, dbias


class SelfAttention(Built):
    """A program of one attention half whose inputs are arrays, and its gradients."""

    def __init__(self, heads, width, dropout=0.0, precision='fp32', apart=False):
        hidden = heads * width
        shapes = [(hidden, hidden)] * 4 + [(hidden,)] * 6
        feeds = [graph.Feed('mask', (-1, -1), 'float32'), graph.Feed('x', (-1, hidden), 'float32')]
        feeds += [graph.Feed(f'a{i}', shape, 'float32') for i, shape in enumerate(shapes)]

        def build(mask, *values):
            layout, seed = ops.token_layout(mask), paddle.full([1], SEED, 'int64')
            masks = [Mask(seed, site) for site in SITES]

            def half(x, *p):
                layers = [ops.Linear(*pair) for pair in zip(p[:4], p[4:8], strict=True)]
                norm = ops.Norm(*p[8:], EPSILON)
                if not apart:
                    return ops.self_attention(
                        x, layout, heads, layers[:3], layers[3], norm, dropout, dropout, masks, precision
                    )
                qkv = ops.linear_side_by_side(x, p[:3], p[4:7], precision)
                context = ops.attention(qkv, layout, heads, dropout, masks[0], precision)
                z = ops.linear(context, *layers[3], precision=precision)
                return ops.residual_norm(z, x, *norm, dropout, masks[1])

            return with_gradients(half, values[:-1], values[-1])

        super().__init__([*feeds, graph.Feed('dy', (-1, hidden), 'float32')], build)


def attention_sample(lengths, heads, width):
    """mask, x, four weights, four biases, scale, bias, dy."""
    rng, hidden = np.random.default_rng(len(lengths)), heads * width
    weights, biases = zip(*(layer(rng, hidden, hidden) for _ in range(4)), strict=True)
    x, dy = (floats(rng, sum(lengths), hidden) for _ in range(2))
    rest = floats(rng, hidden) + 1, floats(rng, hidden), dy
    return [attention.mask_of(lengths, columns=120), x, *weights, *biases, *rest]


def attention_expected(arrays, lengths, heads, dropout):
    """[y, gradients] in float64."""
    x, *parameters, scale, bias, dy = (array.astype(np.float64) for array in arrays[1:])
    weight, vector = (np.concatenate(part, -1) for part in (parameters[:3], parameters[4:7]))
    qkv = x @ weight + vector
    factors = attention.keep_factors(lengths, heads, dropout, SEED, SITES[0]) if dropout else None
    context = attention.expected(qkv, dy, lengths, heads, factors)[0]
    z = context @ parameters[3] + parameters[7]
    y, dz, dresidual, dscale, dbias = norm_oracle_at(SITES[1], z, x, scale, bias, dy, dropout)
    _, dcontext, doutput, doutput_bias = expected(context, parameters[3], parameters[7], dz, None)
    dqkv = attention.expected(qkv, dcontext, lengths, heads, factors)[1]
    _, dx, dweight, dvector = expected(x, weight, vector, dqkv, None)
    dweights, dvectors = np.split(dweight, 3, -1), np.split(dvector, 3)
    return [y, dx + dresidual, *dweights, doutput, *dvectors, doutput_bias, dscale, dbias]


# ------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize('dropout', [0.0, 0.3])
@pytest.mark.parametrize('activation', ['gelu', 'gelu_new', 'relu'])
def test_feed_forward_is_that_of_float64(activation, dropout, precision):
    for rows, width, inner in SIZES:
        arrays = feed_forward_sample(rows, width, inner, activation)
        found = FeedForward(width, inner, activation, dropout, precision).run(*arrays)
        close(found, feed_forward_expected(arrays, activation, dropout), TOLERANCE[precision], rows, width, inner)


@pytest.mark.parametrize('dropout', [0.0, 0.3])
def test_self_attention_is_that_of_float64(dropout, precision):
    for lengths, heads, width in TEXTS:
        arrays = attention_sample(lengths, heads, width)
        found = SelfAttention(heads, width, dropout, precision).run(*arrays)
        right = attention_expected(arrays, lengths, heads, dropout)
        # The gradient of the keys' bias is 0: softmax does not see it.
        of_keys = 7
        assert np.abs(found.pop(of_keys)).max(initial=0) < TOLERANCE[precision] * max(sum(lengths), 1)
        right.pop(of_keys)
        close(found, right, 1.5 * TOLERANCE[precision], lengths)


def test_feed_forward_gives_the_bits_of_the_operators_one_by_one(precision):
    """But for the inner bias, whose gradient is summed within tiles of the product first."""
    for rows, width, inner in SIZES:
        arrays = feed_forward_sample(rows, width, inner)
        found, right = (
            FeedForward(width, inner, 'gelu', 0.3, precision, apply=apply).run(*arrays) for apply in (None, one_by_one)
        )
        close([found.pop(3)], [right.pop(3)], 1e-6)
        for i, (one, other) in enumerate(zip(found, right, strict=True)):
            np.testing.assert_array_equal(one, other, err_msg=f'{rows} {i}')


def test_self_attention_gives_the_bits_of_the_operators_one_by_one(precision):
    for lengths, heads, width in TEXTS:
        arrays = attention_sample(lengths, heads, width)
        found, right = (SelfAttention(heads, width, 0.3, precision, apart).run(*arrays) for apart in (False, True))
        for i, (one, other) in enumerate(zip(found, right, strict=True)):
            np.testing.assert_array_equal(one, other, err_msg=f'{lengths} {i}')


def test_plain_form_of_feed_forward_gives_the_same():
    arrays = feed_forward_sample(33, 30, 70)
    program = FeedForward(30, 70, mode='false')
    assert not any('propeller' in name for name in program.operators())
    close(program.run(*arrays), feed_forward_expected(arrays, 'gelu', 0.0), TOLERANCE['fp32'])


def test_threads_do_not_change_the_result(threads, precision):
    rows, width, inner = SIZES[3]
    program = FeedForward(width, inner, 'gelu', 0.1, precision)
    same_for_any_threads(threads, functools.partial(program.run, *feed_forward_sample(rows, width, inner)))
    lengths, heads, width = TEXTS[-1]
    program = SelfAttention(heads, width, 0.1, precision)
    same_for_any_threads(threads, functools.partial(program.run, *attention_sample(lengths, heads, width)))


def test_one_program_takes_any_batch(precision):
    program = FeedForward(30, 70, precision=precision)
    for rows in (3, 130, 1, 0, 64, 3):
        arrays = feed_forward_sample(rows, 30, 70)
        close(program.run(*arrays), feed_forward_expected(arrays, 'gelu', 0.0), TOLERANCE[precision], rows)


def test_what_is_not_finite_stays_so(precision):
    """A training must see that its gradients are not finite."""
    arrays = feed_forward_sample(33, 30, 70)
    program = FeedForward(30, 70, precision=precision)
    arrays[0][3, 5] = np.nan
    y, dx, *rest = program.run(*arrays)
    assert np.isnan(y[3]).all() and np.isfinite(np.delete(y, 3, 0)).all()
    assert np.isnan(dx[3]).all() and np.isfinite(np.delete(dx, 3, 0)).all()
    assert all(np.isnan(gradient).any() for gradient in rest[:-1])


# ------------------------------------------------------------------------------------------ programs

FEEDS = [graph.Feed('x', (-1, -1, 12), 'float32'), graph.Feed('mask', (-1, -1), 'float32')]
MASK = attention.mask_of([5, 1, 13, 9], columns=13, seed=3)
MASK[:, 0] = 1  # the loss reads the first column
BATCH = np.random.default_rng(3).normal(size=(4, 13, 12)).astype(np.float32)


def parameters(name, inputs, outputs):
    weight = graph.parameter(f'{name}_w', [inputs, outputs], graph.truncated_normal(0.4))
    return ops.Linear(weight, graph.parameter(f'{name}_b', [outputs], graph.constant(0.1)))


def norm(name):
    scale = graph.parameter(f'{name}_scale', [12], graph.constant(1))
    return ops.Norm(scale, graph.parameter(f'{name}_bias', [12], graph.constant(0)), EPSILON)


def encoder_layer(x, name, layout, dropout):
    projections = [parameters(f'{name}_{part}', 12, 12) for part in 'qkv']
    output = parameters(f'{name}_out', 12, 12)
    x = ops.self_attention(x, layout, 3, projections, output, norm(f'{name}_att'), dropout, dropout)
    inner, outer = parameters(f'{name}_inner', 12, 30), parameters(f'{name}_outer', 30, 12)
    return ops.feed_forward(x, inner, outer, norm(f'{name}_ffn'), 'gelu', dropout)


def train(mode, dropout=0.0, **settings):
    """`Training` of two encoder layers."""

    def loss(x, mask):
        layout = ops.token_layout(mask)
        hidden = layout.pack(x)
        for name in ('one', 'two'):
            hidden = segment(lambda y, name=name: encoder_layer(y, name, layout, dropout), hidden)
        return (layout.firsts(hidden) - 0.5).abs().sum(-1).mean()

    return Training(FEEDS, loss, [BATCH, MASK], mode, steps=5, **settings)


def count(program, name):
    return sum(operator == f'propeller_{name}' for operator in program.operators())


NOISE = ['one_k_b', 'two_k_b']  # softmax does not see them


@pytest.mark.parametrize('settings', [{}, {'parts': 2}, {'recompute': True}])
def test_training_is_that_of_the_plain_form(settings):
    fused = train('true', **settings)
    assert count(fused, 'self_attention') == count(fused, 'feed_forward') == (4 if 'recompute' in settings else 2)
    assert not count(fused, 'linear') + count(fused, 'residual_norm') and 'add_n' not in fused.operators()
    same_training(train('false', **settings), fused, rel=1e-5, atol=5e-4, fall=0.99, noise=NOISE)


@pytest.mark.parametrize(
    ('frozen', 'fused_halves'),
    [(['one_q_w', 'two_outer_b'], (1, 1)), (['two_ffn_scale'], (2, 1))],
)
def test_a_half_with_frozen_parts_is_its_operators_one_by_one(frozen, fused_halves):
    fused = train('true', frozen=frozen)
    assert (count(fused, 'self_attention'), count(fused, 'feed_forward')) == fused_halves
    # Compiled without optimisation, as for sanitizers, sums are rounded otherwise: 1.4e-5.
    same_training(train('false', frozen=frozen), fused, rel=3e-5, atol=5e-4, fall=0.99, noise=NOISE)


def test_a_frozen_first_layer_needs_no_gradient_and_keeps_nothing():
    kinds = [f'{part}_{end}' for part in ('q', 'k', 'v', 'out', 'inner', 'outer') for end in 'wb']
    kinds += [f'{half}_{end}' for half in ('att', 'ffn') for end in ('scale', 'bias')]
    frozen = [f'one_{kind}' for kind in kinds]
    fused = train('true', frozen=frozen)
    operators = [op for op in fused.program.main.global_block().ops if op.name().endswith(('attention', 'forward'))]
    assert [(op.attrs()['x_wanted'], op.attrs()['kept']) for op in operators] == [(False, False)] * 2 + [
        (False, True),
        (True, True),
    ]
    same_training(train('false', frozen=frozen), fused, rel=1e-5, atol=5e-4, fall=0.99, noise=NOISE)


def test_both_passes_of_a_segment_have_products_of_one_precision(bfloat16):
    plain, again = train('true', 0.3, precision='bf16'), train('true', 0.3, precision='bf16', recompute=True)
    operators = [op for op in again.program.main.global_block().ops if 'precision' in op.attrs()]
    assert len(operators) == 12 and {op.attrs()['precision'] for op in operators} == {'bf16'}
    assert again.losses == pytest.approx(plain.losses, rel=1e-6)


def test_dropout_under_recomputation_has_the_same_masks():
    plain, again, none = train('true', 0.3), train('true', 0.3, recompute=True), train('true')
    assert again.operators().count('randint') == 1
    assert again.losses == pytest.approx(plain.losses, rel=1e-6)
    for name, value in plain.parameters.items():
        np.testing.assert_allclose(again.parameters[name], value, atol=1e-6, err_msg=name)
    assert plain.losses != pytest.approx(none.losses, rel=1e-3)


def test_mixed_precision_of_the_session(bfloat16):
    half = train('true', precision='bf16')
    operators = half.program.main.global_block().ops
    halves = [op for op in operators if 'self_attention' in op.name() or 'feed_forward' in op.name()]
    assert len(halves) == 8 and {op.attrs()['precision'] for op in halves} == {'bf16'}
    assert half.losses == pytest.approx(train('false').losses, rel=0.05, abs=0.02)


# ------------------------------------------------------------------------------------------ mistakes


def refuse(match, op='feed_forward', modes=('true', 'false'), settings=None, **changed):
    shapes = {'x': (-1, 12), 'weight': (12, 30), 'bias': (30,), 'outer': (30, 12), 'square': (12, 12), 'vector': (12,)}
    types = dict.fromkeys(shapes, 'float32')
    for name, value in changed.items():
        (types if isinstance(value, str) else shapes)[name] = value
    feeds = [graph.Feed(name, shape, types[name]) for name, shape in shapes.items()]

    def build(x, weight, bias, outer, square, vector, mask):
        own = ops.Norm(vector, vector, (settings or {}).get('epsilon', EPSILON))
        rest = {name: value for name, value in (settings or {}).items() if name not in ('epsilon', 'heads')}
        if op == 'feed_forward':
            layers = ops.Linear(weight, bias), ops.Linear(outer, vector)
            return ops.feed_forward(x, *layers, own, **{'activation': 'gelu'} | rest)
        one, heads = ops.Linear(square, vector), (settings or {}).get('heads', 3)
        return ops.self_attention(x, ops.token_layout(mask), heads, [one] * 3, one, own, **rest)

    refused(match, [*feeds, graph.Feed('mask', (-1, -1), 'float32')], build, modes)


def test_wrong_shapes_types_and_settings_are_refused_in_both_forms():
    refuse(r'ops.feed_forward: x is int64 \[-1, 12\], expected float32', x='int64')
    of = r'for x of shape \[-1, 12\]'
    refuse(rf'weight of inner has shape \[13, 30\], expected \[12, 30\] {of}', weight=(13, 30))
    refuse(rf'weight of outer has shape \[31, 12\], expected \[30, 12\] {of}', outer=(31, 12))
    refuse(r'bias of outer has shape \[13\], expected \[12\]', vector=(13,))
    refuse(r'bias of inner is float64 \[30\], expected float32', bias='float64')
    refuse("activation is 'tanh', expected relu, gelu, gelu_new or None", settings={'activation': 'tanh'})
    refuse('ops.feed_forward: epsilon is 0, expected a number above 0', settings={'epsilon': 0})
    refuse('ops.feed_forward: dropout is 1.0, expected 0 or more', settings={'dropout': 1.0})
    refuse("ops.feed_forward: precision is 'fp16'", settings={'precision': 'fp16'})
    other = functools.partial(refuse, op='self_attention')
    other(r'ops.self_attention: weight of queries has shape \[12, 13\], expected \[12, 12\]', square=(12, 13))
    other(r'ops.self_attention: heads is 5, expected a number that divides the 12 units', settings={'heads': 5})
    other('ops.self_attention: dropout is -0.1', settings={'weights_dropout': -0.1})


def test_what_shows_only_at_run_time_is_refused_by_the_kernel():
    arrays = attention_sample([5, 3], 3, 4)
    arrays[0] = attention.mask_of([5, 2])
    text = r'self_attention: starts of shape \[3\] must rise from 0 to the 8 tokens of x of shape \[8, 12\]'
    with pytest.raises(ValueError, match=text):
        SelfAttention(3, 4).run(*arrays)
    arrays = feed_forward_sample(7, 12, 30)
    arrays[-1] = arrays[-1][:5]
    with pytest.raises(ValueError, match=r'feed_forward: the gradient has shape \[5, 12\], expected \[7, 12\]'):
        FeedForward(12, 30).run(*arrays)
