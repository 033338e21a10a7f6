"""The oracle of attention in float64, its dropout masks in numpy, and programs that run it."""

import numpy as np

from propeller import graph, ops
from propeller.ops.random import Mask
from tests.propeller import philox
from tests.propeller.ops_oracle import Built, with_gradients

BLOCK = 32  # queries whose scores are numbered together


def sample(lengths, heads, width, seed=0):
    """qkv [N, 3 H] and dy [N, H], float32, for rows of so many tokens and heads so wide."""
    rng = np.random.default_rng(seed)
    count, hidden = sum(lengths), heads * width
    qkv = rng.normal(size=(count, 3 * hidden)) * 1.3
    return qkv.astype(np.float32), rng.normal(size=(count, hidden)).astype(np.float32)


def mask_of(lengths, columns=None, seed=None):
    """float32 [B, T] with so many ones in its rows: at the left, or anywhere if there is a seed."""
    mask = np.zeros((len(lengths), columns or max(lengths, default=0)), np.float32)
    for row, length in zip(mask, lengths, strict=True):
        row[:length] = 1
        if seed is not None:
            np.random.default_rng(seed + length).shuffle(row)
    return mask


def keep_factors(lengths, heads, probability, seed, site):
    """list over rows and heads of float32 [queries, keys], as attention.h numbers them."""
    result, first = [], 0
    for tokens in np.repeat(lengths, heads):
        factors = np.zeros((tokens, tokens), np.float32)
        for begin in range(0, tokens, BLOCK):
            count = min(BLOCK, tokens - begin)
            stride = -(-count // 4) * 4
            drawn = philox.keep_factors(probability, seed, site, first, tokens * stride).reshape(tokens, stride)
            factors[begin : begin + count] = drawn[:, :count].T
            first += tokens * stride
        result.append(factors)
    return result


def expected(qkv, dy, lengths, heads, factors=None):
    """[y, dqkv] in float64. factors: what `keep_factors` gives; None: no dropout."""
    qkv, dy = qkv.astype(np.float64), dy.astype(np.float64)
    width = dy.shape[1] // heads
    y, dqkv = np.zeros_like(dy), np.zeros_like(qkv)
    parts, dparts = (a.reshape(len(a), 3, heads, width) for a in (qkv, dqkv))
    ends = np.cumsum(lengths)
    for i, (end, length) in enumerate(zip(ends, lengths, strict=True)):
        for h in range(heads):
            rows, columns = slice(end - length, end), slice(h * width, (h + 1) * width)
            q, k, v = (parts[rows, part, h] for part in range(3))
            scores = q @ k.T / np.sqrt(width)
            p = np.exp(scores - scores.max(-1, keepdims=True)) if length else scores
            p /= p.sum(-1, keepdims=True)
            f = 1.0 if factors is None else factors[i * heads + h].astype(np.float64)
            y[rows, columns] = (f * p) @ v
            g = dy[rows, columns]
            slope = f * (g @ v.T)
            ds = p * (slope - (p * slope).sum(-1, keepdims=True)) / np.sqrt(width)
            dparts[rows, 0, h], dparts[rows, 1, h], dparts[rows, 2, h] = ds @ k, ds.T @ q, (f * p).T @ g
    return [y, dqkv]


class AttentionProgram(Built):
    """A program of one attention whose inputs are arrays, and its gradient.

    Args:
        heads, width: of the heads.
        precision, dropout, site: of `ops.attention`.
        mode: of `ops.use`.
        packed: whether qkv and dy are given as [N, ...] rather than [B, T, ...].
    """

    def __init__(self, heads, width, precision='fp32', dropout=0.0, site=0, mode='true', packed=True):
        vary, hidden = (-1,) if packed else (-1, -1), heads * width
        feeds = [
            graph.Feed('mask', (-1, -1), 'float32'),
            graph.Feed('qkv', (*vary, 3 * hidden), 'float32'),
            graph.Feed('dy', (*vary, hidden), 'float32'),
            graph.Feed('seed', (1,), 'int64'),
        ]

        def build(mask, qkv, dy, seed):
            layout = ops.token_layout(mask)

            def apply(qkv):
                x = qkv if packed else layout.pack(qkv)
                y = ops.attention(x, layout, heads, dropout, Mask(seed, site), precision)
                return y if packed else layout.unpack(y)

            return with_gradients(apply, [qkv], dy)

        super().__init__(feeds, build, mode)

    def run(self, mask, qkv, dy, seed=0):
        """[y, dqkv]."""
        return super().run(mask, qkv, dy, np.array([seed], np.int64))
