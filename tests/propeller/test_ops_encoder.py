"""The encoder of prediction beside float64 numpy: odd sizes, padding anywhere, one token and many, several threads."""

import gc
import math
import weakref

import numpy as np
import pytest

from propeller import graph
from propeller.graph import paddle
from propeller.ops.encoder import EncoderSizes, PackedEncoder
from propeller.session import Session
from tests.propeller.ops_oracle import difference

pytestmark = pytest.mark.usefixtures('compiled')
# Hidden: less than a vector; no multiple of one; more than a panel of a weight.
SIZES = {
    'tiny': EncoderSizes(3, 12, 30, 3, 2, 1e-5, 'gelu'),
    'odd': EncoderSizes(4, 42, 50, 2, 1, 1e-12, 'relu'),
    'wide': EncoderSizes(2, 160, 200, 5, 2, 1e-5, 'gelu_new'),
    'narrow inside': EncoderSizes(3, 96, 20, 6, 1, 1e-5, 'gelu'),
    'no layers': EncoderSizes(3, 20, 8, 2, 0, 1e-5, 'gelu'),
}
ROWS, POSITIONS = 9, 70
TOLERANCE = {'fp32': 1e-5, 'bf16': 2e-2, 'int8': 6e-2}
_erf = np.vectorize(math.erf, otypes=[np.float64])
ACTIVATIONS = {
    'gelu': lambda z: 0.5 * z * (1 + _erf(z / math.sqrt(2))),
    'gelu_new': lambda z: 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))),
    'relu': lambda z: np.maximum(z, 0),
}


def values_of(sizes, seed=0):
    """Random weights in the order of `PackedEncoder.pack`, of the size that trained ones have."""
    rng = np.random.default_rng(seed)
    hidden, inner = sizes.hidden, sizes.inner
    matrix = lambda rows, columns: rng.normal(0, rows**-0.5, (rows, columns)).astype(np.float32)  # noqa: E731
    vector = lambda size, mean=0.0: rng.normal(mean, 0.1, size).astype(np.float32)  # noqa: E731
    norm = lambda: [vector(hidden, 1.0), vector(hidden)]  # noqa: E731
    values = [rng.normal(size=(POSITIONS + t, hidden)).astype(np.float32) for t in range(sizes.tables)]
    values += norm()
    for _ in range(sizes.layers):
        for _ in range(4):
            values += [matrix(hidden, hidden), vector(hidden)]
        values += norm()
        values += [matrix(hidden, inner), vector(inner), matrix(inner, hidden), vector(hidden), *norm()]
    return values


def in_float64(sizes, values, ids):
    """What the last layer gives for the tokens of one row, [tokens, hidden]. ids: of each table, [tokens]."""
    values = iter([value.astype(np.float64) for value in values])
    take = lambda count: [next(values) for _ in range(count)]  # noqa: E731

    def norm(x, scale, bias):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + sizes.epsilon) * scale + bias

    x = norm(sum(table[own] for table, own in zip(take(sizes.tables), ids, strict=True)), *take(2))
    for _ in range(sizes.layers):
        wq, bq, wk, bk, wv, bv, wo, bo = take(8)
        q, k, v = (
            (x @ w + b).reshape(len(x), sizes.heads, -1).swapaxes(0, 1) for w, b in ((wq, bq), (wk, bk), (wv, bv))
        )
        scores = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1])
        p = np.exp(scores - scores.max(-1, keepdims=True))
        attended = (p / p.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(x.shape)
        x = norm(x + attended @ wo + bo, *take(2))
        w, b, narrow, last = take(4)
        x = norm(x + ACTIVATIONS[sizes.activation](x @ w + b) @ narrow + last, *take(2))
    return x


def batch_of(lengths, columns, tables, seed=1, shift=True):
    """(mask float32 [B, T], ids of each table int64 [B, T]): tokens begin in the first column; where `shift`, those of
    some rows later.
    """
    rng = np.random.default_rng(seed)
    mask = np.zeros((len(lengths), columns), np.float32)
    for i, (row, length) in enumerate(zip(mask, lengths, strict=True)):
        first = (columns - length) // 2 if shift and i % 3 == 2 else 0
        row[first : first + length] = 1
    return mask, [rng.integers(0, POSITIONS, mask.shape) for _ in range(tables)]


class Built:
    """Programs with a `PackedEncoder`: of all tokens, and of first ones."""

    def __init__(self, sizes, precision, threads=None, values=None):
        self.sizes, self.values = sizes, values or values_of(sizes)
        self.encoder, self.session = PackedEncoder(sizes, threads), Session(seed=1)
        self.feeds = [graph.Feed('mask', (-1, -1), 'float32')]
        self.feeds += [graph.Feed(f'ids {t}', (-1, -1), 'int64') for t in range(sizes.tables)]
        self.programs = [
            self.session.build(self.feeds, lambda mask, *ids, f=firsts: [self.encoder(mask, list(ids), f)])
            for firsts in (False, True)
        ]
        self.encoder.pack(self.values, precision)

    def run(self, mask, ids):
        """[float32 [B, T, H], float32 [B, H]]"""
        return [self.session.run(program, [mask, *ids], program.outputs)[0] for program in self.programs]

    def expected(self, mask, ids):
        """float64 [B, T, H], zeros on padding."""
        found = np.zeros((*mask.shape, self.sizes.hidden))
        for row, tokens in enumerate(mask.astype(bool)):
            if tokens.any():
                found[row, tokens] = in_float64(self.sizes, self.values, [own[row, tokens] for own in ids])
        return found


@pytest.fixture(params=['fp32', 'bf16', 'int8'])
def form(request, compiled):
    if not {'fp32': True, 'bf16': compiled.bf16, 'int8': compiled.int8}[request.param]:
        pytest.skip(f'this processor has no {request.param} products')
    return request.param


@pytest.mark.parametrize('name', SIZES)
def test_outputs_are_those_of_float64(form, name):
    sizes = SIZES[name]
    built = Built(sizes, form)
    for lengths, columns in [((7, 1, 4, 13, 2), 13), ((1,), 1), ((1,), 5), ((70,), 70), ((40, 33, 0, 64, 1, 0), 64)]:
        mask, ids = batch_of(lengths, columns, sizes.tables)
        (every, firsts), right = built.run(mask, ids), built.expected(mask, ids)
        assert every.dtype == firsts.dtype == np.float32
        assert difference(every, right) < TOLERANCE[form], (lengths, difference(every, right))
        assert not every[mask == 0].any()
        # Of a row that begins with padding there is no first token.
        np.testing.assert_array_equal(firsts, every[:, 0])


def test_a_batch_without_tokens(form):
    built = Built(SIZES['tiny'], form)
    for rows, columns in ((2, 3), (0, 4)):
        mask, ids = batch_of([0] * rows, columns, 3)
        every, firsts = built.run(mask, ids)
        assert every.shape == (rows, columns, 12) and firsts.shape == (rows, 12)
        assert not every.any() and not firsts.any()


@pytest.mark.parametrize(
    'lengths', [(60, 2, 33, 41, 7, 19, 52, 48, 70, 66, 3), (70,) * 9 + (1,) * 4 + (70,), (70, 5, 69)], ids=str
)
def test_bits_depend_neither_on_threads_nor_on_the_batch(form, lengths):
    """So it is the same whether a text is alone, and whether threads share its products or have texts of their own."""
    sizes = SIZES['wide']
    values = values_of(sizes)
    mask, ids = batch_of(lengths, 70, sizes.tables, shift=False)
    found = [Built(sizes, form, threads, values).run(mask, ids) for threads in (1, 2, 3)]
    for every, firsts in found[1:]:
        np.testing.assert_array_equal(every, found[0][0])
        np.testing.assert_array_equal(firsts, found[0][1])
    alone = Built(sizes, form, 2, values)
    for row, length in enumerate(lengths):
        part = slice(row, row + 1), slice(0, length)
        every, firsts = alone.run(mask[part], [own[part] for own in ids])
        np.testing.assert_array_equal(every[0], found[0][0][row, :length])
        np.testing.assert_array_equal(firsts[0], found[0][1][row])


def test_eight_bits_hold_rows_and_outputs_of_very_different_size(compiled):
    """Each token and each output of a weight has a scale of its own: a large one costs the others nothing."""
    sizes = EncoderSizes(1, 64, 64, 4, 1, 1e-5, 'relu')
    values = values_of(sizes)
    values[11] = values[11] * np.logspace(-3, 3, 64, dtype=np.float32)  # the weight before the ReLU, by outputs
    values[13] = values[13] * np.logspace(3, -3, 64, dtype=np.float32)[:, None]
    built = Built(sizes, 'int8', values=values)
    mask, ids = batch_of((9, 30), 30, 1)
    assert difference(built.run(mask, ids)[0], built.expected(mask, ids)) < 0.2


def test_two_encoders_live_side_by_side_and_go(form):
    sizes = SIZES['tiny']
    first, second = Built(sizes, form), Built(sizes, form, values=values_of(sizes, seed=5))
    mask, ids = batch_of((5, 3), 5, 3)
    before = second.run(mask, ids)[0]
    assert difference(first.run(mask, ids)[0], before.astype(np.float64)) > 0.1
    encoder = PackedEncoder(sizes)
    encoder.pack(first.values, form)
    known = weakref.proxy(encoder)  # a program keeps its build function
    program = first.session.build(first.feeds, lambda mask, *ids: [known(mask, list(ids))])
    run = lambda: first.session.run(program, [mask, *ids], program.outputs)[0]  # noqa: E731
    np.testing.assert_array_equal(run(), first.run(mask, ids)[0])
    del encoder
    gc.collect()
    np.testing.assert_array_equal(second.run(mask, ids)[0], before)
    with pytest.raises(ValueError, match='encoder: its weights are not there'):
        run()


def test_ids_outside_their_table_are_named():
    built = Built(SIZES['tiny'], 'fp32')
    mask, ids = batch_of((5, 3), 5, 3)
    ids[1][0, 2] = 9999
    with pytest.raises(ValueError, match=r'encoder: ids 1 hold 9999 \(element 2\), expected 0 to 70: table 1 has 71'):
        built.run(mask, ids)
    ids[1][0, 2], ids[0][1, 4] = 1, 9999  # on padding, which nobody reads
    built.run(mask, ids)


def test_wrong_shapes_are_refused():
    sizes = SIZES['tiny']
    values = values_of(sizes)
    with pytest.raises(ValueError, match=r'found shapes \[.*\(30, 12\).*\], expected \[.*\(12, 30\)'):
        PackedEncoder(sizes).pack([value.T if value.shape == (12, 30) else value for value in values], 'fp32')
    with pytest.raises(ValueError, match='found shapes'):
        PackedEncoder(sizes).pack(values[:-1], 'fp32')
    with pytest.raises(ValueError, match=r'tables have shapes .*expected \[rows, 12\]'):
        PackedEncoder(sizes).pack([values[0][:, :5], *values[1:]], 'fp32')
    encoder = PackedEncoder(sizes)
    feeds = [graph.Feed('mask', (-1, -1), 'float32'), graph.Feed('ids', (-1, -1), 'int64')]
    for build, text in (
        (lambda mask, ids: encoder(mask, [ids]), 'found ids of 1 tables, expected 3'),
        (lambda mask, ids: encoder(ids, [ids] * 3), r'found int64 \[-1, -1\], expected float32'),
        (lambda mask, ids: encoder(mask, [mask] * 3), r'found float32 \[-1, -1\], expected int64'),
    ):
        with pytest.raises(ValueError, match=text):
            Session(seed=1).build(feeds, lambda mask, ids, b=build: [b(mask, ids)])
    with pytest.raises(ValueError, match=r'ids have shape \[2, 4\], expected \[2, 5\]'):
        built = Built(sizes, 'fp32')
        mask, ids = batch_of((5, 3), 5, 3)
        built.run(mask, [ids[0], ids[1], ids[2][:, :4]])


def test_shapes_are_known_before_it_runs():
    built = Built(SIZES['tiny'], 'fp32')
    every, firsts = (program.outputs[0] for program in built.programs)
    assert list(every.shape) == [-1, -1, 12] and list(firsts.shape) == [-1, 12]
    assert every.dtype == firsts.dtype == paddle.float32
