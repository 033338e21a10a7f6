"""The oracle of the attention of first tokens in float64, and programs that run it."""

import numpy as np

from propeller import graph, ops
from propeller.ops.random import Mask
from tests.propeller import attention
from tests.propeller.ops_oracle import Built, with_gradients

NAMES = 'query', 'key', 'value'


def sample(lengths, hidden, seed=0):
    """x [N, H], three weights [H, H], three biases [H], and dy [B, H], float32."""
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(hidden, hidden)) * 1.3 / np.sqrt(hidden) for _ in NAMES]
    biases = [rng.normal(size=hidden) for _ in NAMES]
    arrays = [rng.normal(size=(sum(lengths), hidden)), *weights, *biases, rng.normal(size=(len(lengths), hidden))]
    return [array.astype(np.float32) for array in arrays]


def expected(arrays, lengths, heads, factors=None, asking=None):
    """[y, dx, gradients of the weights and the biases] in float64, from all queries, keys and values.

    factors: what `attention.keep_factors` gives. asking: of each row, whether its first token asks; None: all.
    """
    x, *projections, dy = (array.astype(np.float64) for array in arrays)
    weights, biases = projections[:3], projections[3:]
    starts = np.cumsum([0, *lengths[:-1]])
    rows = np.flatnonzero(np.array(lengths) * (1 if asking is None else np.array(asking)))
    qkv = np.concatenate([x @ weight + bias for weight, bias in zip(weights, biases, strict=True)], -1)
    of_all = np.zeros_like(x)
    of_all[starts[rows]] = dy[rows]
    found, dqkv = attention.expected(qkv, of_all, lengths, heads, factors)
    y = np.zeros_like(dy)
    y[rows] = found[starts[rows]]
    parts = np.split(dqkv, 3, -1)
    dx = sum(part @ weight.T for part, weight in zip(parts, weights, strict=True))
    return [y, dx, *(x.T @ part for part in parts), *(part.sum(0) for part in parts)]


class FirstAttentionProgram(Built):
    """A program of one attention of first tokens whose inputs are arrays, and its gradients.

    Args:
        hidden, heads: sizes.
        dropout, site: of `ops.first_attention`.
        mode, precision: of `Built`.
        apart: whether it is made of projections and `ops.attention`.
    """

    def __init__(self, hidden, heads, dropout=0.0, site=0, mode='true', precision='fp32', apart=False):
        squares = [graph.Feed(f'{name}_w', (hidden, hidden), 'float32') for name in NAMES]
        feeds = [
            graph.Feed('mask', (-1, -1), 'float32'),
            graph.Feed('x', (-1, hidden), 'float32'),
            *squares,
            *(graph.Feed(f'{name}_b', (hidden,), 'float32') for name in NAMES),
            graph.Feed('dy', (-1, hidden), 'float32'),
            graph.Feed('seed', (1,), 'int64'),
        ]

        def build(mask, *values):
            *leaves, dy, seed = values
            layout, drawn = ops.token_layout(mask), Mask(seed, site)

            def apply(x, *projections):
                weights, biases = projections[:3], projections[3:]
                if not apart:
                    return ops.first_attention(x, layout, weights, biases, heads, dropout, drawn)
                projected = ops.linear_side_by_side(x, weights, biases)
                return layout.firsts(ops.attention(projected, layout, heads, dropout, drawn))

            return with_gradients(apply, leaves, dy)

        super().__init__(feeds, build, mode, precision=precision)

    def run(self, mask, arrays, seed=0):
        """[y, dx, gradients of the weights and the biases]."""
        return super().run(mask, *arrays, np.array([seed], np.int64))
