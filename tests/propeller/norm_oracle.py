"""Shared by the tests of the fused norms: float64 oracles, and programs that run the operators with their gradients."""

import numpy as np

from propeller import graph, ops
from propeller.graph import paddle
from tests.propeller.ops_oracle import Built, with_gradients
from tests.propeller.philox import keep_factors

EPSILON = 1e-5
SITES_BEFORE = 2  # dropouts of the program before the one under test


def mask(shape, probability, seed, site=SITES_BEFORE):
    """Factors of a tensor [..., width] in float64; each row of elements starts at a multiple of 4."""
    if not probability:
        return np.ones(shape)
    rows, width = int(np.prod(shape[:-1])), shape[-1]
    stride = -(-width // 4) * 4
    factors = keep_factors(probability, seed, site, 0, rows * stride)
    return factors.reshape(rows, stride)[:, :width].reshape(shape).astype(np.float64)


def norm(total, scale, bias, dy):
    """Layer norm of `total` [..., width] in float64: (y, gradient of total, of scale, of bias)."""
    mean = total.mean(-1, keepdims=True)
    factor = 1 / np.sqrt(((total - mean) ** 2).mean(-1, keepdims=True) + EPSILON)
    normal = (total - mean) * factor
    slope = dy * scale
    centred = slope - slope.mean(-1, keepdims=True) - normal * (slope * normal).mean(-1, keepdims=True)
    width = total.shape[-1]
    return (
        normal * scale + bias,
        centred * factor,
        (dy * normal).reshape(-1, width).sum(0),
        dy.reshape(-1, width).sum(0),
    )


def residual_norm(x, residual, scale, bias, dy, probability=0.0, seed=0):
    """[y, dx, dresidual, dscale, dbias] in float64."""
    x, residual, scale, bias, dy = (array.astype(np.float64) for array in (x, residual, scale, bias, dy))
    factors = mask(x.shape, probability, seed)
    y, dtotal, dscale, dbias = norm(residual + x * factors, scale, bias, dy)
    return [y, dtotal * factors, dtotal, dscale, dbias]


def embedding_norm(tables, ids, scale, bias, dy, probability=0.0, seed=0):
    """[y, gradients of the tables ..., dscale, dbias] in float64."""
    tables, scale, bias, dy = [t.astype(np.float64) for t in tables], *(a.astype(np.float64) for a in (scale, bias, dy))
    factors = mask(dy.shape, probability, seed)
    y, dtotal, dscale, dbias = norm(sum(t[i] for t, i in zip(tables, ids, strict=True)), scale, bias, dy * factors)
    gradients = [np.zeros_like(table) for table in tables]
    for gradient, own in zip(gradients, ids, strict=True):
        np.add.at(gradient, own, dtotal)
    return [y * factors, *gradients, dscale, dbias]


class NormProgram(Built):
    """A program with one operator and its gradients, whose inputs are arrays.

    Args:
        feeds: list of `graph.Feed`; int64 ones get no gradient.
        apply: function (inputs, mask or None) -> y.
        probability: of the dropout; 0: none.
        mode: of `ops.use`.
        rank: axes of y.
    """

    def __init__(self, feeds, apply, probability=0.0, mode='true', rank=2):
        width = feeds[-1].shape[0]

        def build(*values):
            *inputs, dy = values
            own = None
            if probability:
                for _ in range(SITES_BEFORE):
                    ops.dropout_seed()
                own = ops.dropout_seed()
            leaves = [value for value in inputs if value.dtype == paddle.float32]
            found = with_gradients(lambda *_: apply(inputs, own), leaves, dy)
            return [*found, own.seed] if probability else found

        self.probability = probability
        super().__init__([*feeds, graph.Feed('dy', (*(-1,) * (rank - 1), width), 'float32')], build, mode)

    def run(self, *arrays):
        """(results, seed): y and the gradients of all float32 inputs; the seed of the mask."""
        found = super().run(*arrays)
        return (found[:-1], int(found[-1][0])) if self.probability else (found, 0)

    def run_again(self, *arrays):
        """[results ..., seed], with the mask that any other call has."""
        paddle.seed(5)
        found, seed = self.run(*arrays)
        return [*found, seed]


def residual_program(width, rank=2, probability=0.0, mode='true'):
    """`NormProgram` over x, residual, scale, bias, dy."""
    vary = (-1,) * (rank - 1)
    feeds = [graph.Feed(name, (*vary, width), 'float32') for name in ('x', 'residual')]
    feeds += [graph.Feed(name, (width,), 'float32') for name in ('scale', 'bias')]

    def apply(inputs, own):
        return ops.residual_norm(*inputs, EPSILON, probability, own)

    return NormProgram(feeds, apply, probability, mode, rank)


def embedding_program(rows, width, rank=2, probability=0.0, mode='true'):
    """`NormProgram` over tables of so many `rows` (a list), their ids, scale, bias, dy."""
    count = len(rows)
    feeds = [graph.Feed(f'table{k}', (n, width), 'float32') for k, n in enumerate(rows)]
    feeds += [graph.Feed(f'ids{k}', (-1,) * (rank - 1), 'int64') for k in range(count)]
    feeds += [graph.Feed(name, (width,), 'float32') for name in ('scale', 'bias')]

    def apply(inputs, own):
        return ops.embedding_norm(inputs[:count], inputs[count:-2], *inputs[-2:], EPSILON, probability, own)

    return NormProgram(feeds, apply, probability, mode, rank)


def residual_sample(rows, width, seed=0):
    """x, residual, scale, bias, dy for `residual_program`."""
    rng = np.random.default_rng(seed)
    shapes = [(*rows, width), (*rows, width), (width,), (width,), (*rows, width)]
    x, residual, scale, bias, dy = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    return x, residual + np.float32(0.5), scale + np.float32(1), bias, dy


def embedding_sample(table_rows, rows, width, seed=0):
    """tables, ids, scale, bias, dy for `embedding_program`; the first and the last id of each table are there."""
    rng = np.random.default_rng(seed)
    tables = [rng.normal(size=(n, width)).astype(np.float32) for n in table_rows]
    ids = [rng.integers(0, n, size=rows) for n in table_rows]
    for own, n in zip(ids, table_rows, strict=True):
        own.flat[:1], own.flat[-1:] = n - 1, 0
    scale, bias = (rng.normal(size=width).astype(np.float32) for _ in range(2))
    return tables, ids, scale, bias, rng.normal(size=(*rows, width)).astype(np.float32)
