"""Batches of texts of different length, with their padding or without.

An encoder computes as much for a padding token as for another. Without padding, the tokens of all rows lie one after
the other, N of them, and only attention needs to know where a row begins. `token_layout` says how a program sees its
batches; whatever runs over tokens is built the same way for both.

Shapes: B rows, T columns of a batch, N tokens that are not padding.
"""

import functools

from propeller import graph
from propeller.graph import paddle
from propeller.ops.checks import describe
from propeller.ops.choice import enabled

# Added to the attention score of a padding key; exp(-10000) is 0 in float32.
PADDING_BIAS = 10000.0


def token_layout(mask):
    """How the batches of the program being built are seen: `Packed` with fused operators, else `Padded`.

    Args:
        mask: float32, int32, int64 or bool value [B, T], 1 on tokens and 0 on padding, which may be anywhere.
    Raises:
        ValueError: another type or shape.
    """
    types = (paddle.float32, paddle.int32, paddle.int64, paddle.bool)
    if mask.dtype not in types or len(mask.shape) != 2:
        expected = 'float32, int32, int64 or bool [rows, columns]'
        raise ValueError(f'ops.token_layout: mask is {describe(mask)}, expected {expected}.')
    return Packed(mask) if enabled() else Padded(mask)


class Packed:
    """The tokens of all rows one after the other, without padding.

    Attributes:
        starts: int64 value [B+1], where each row's tokens begin among all N; the last is N.
    """

    def __init__(self, mask):
        self.starts, self._tokens, self._places = _fused('propeller_token_layout', mask)
        for value in (self.starts, self._tokens, self._places):
            value.stop_gradient = True

    @functools.cached_property
    def first_tokens(self):
        """int64 value [B], the number of the token in each row's first column; -1 where that is padding."""
        return self._places[:, 0]

    def pack(self, x):
        """x float32 [B, T, ...] -> [N, ...]."""
        return _take(graph.float32(x).flatten(0, 1), self._tokens)

    def unpack(self, x):
        """x float32 [N, ...] -> [B, T, ...], zeros on padding."""
        return _take(graph.float32(x), self._places)

    def pack_ids(self, ids):
        """ids int64 [B, T] or [B, T, 1] -> [N]."""
        return _take(ids.flatten(), self._tokens)

    def rows(self, x, positions):
        """Some tokens of x float32 [N, H]: [n, H]. positions: int [n] or [n, 1], b*T + t; zeros where it is padding."""
        return _take(graph.float32(x), _take(self._places.flatten(), positions.flatten().astype('int64')))

    def firsts(self, x):
        """The tokens of the first column, as of x float32 [N, H]: [B, H]; zeros where it is padding."""
        return _take(graph.float32(x), self.first_tokens)


class Padded:
    """Batches as they are fed: what `Packed` does to them is nothing here.

    Attributes:
        key_bias: float32 value [B, 1, 1, T], 0 on tokens and very negative on padding. Only keys are masked: what a
            padding query attends to is never read.
    """

    def __init__(self, mask):
        self.key_bias = paddle.unsqueeze((mask.astype('float32') - 1.0) * PADDING_BIAS, [1, 2])

    def pack(self, x):
        """x [B, T, ...], as it is."""
        return x

    def unpack(self, x):
        """x [B, T, ...], as it is; what is on padding means nothing."""
        return x

    def pack_ids(self, ids):
        """ids [B, T] or [B, T, 1] -> [B, T]."""
        return ids.squeeze(-1) if len(ids.shape) == 3 else ids

    def rows(self, x, positions):
        """Some tokens of x [B, T, H]: [n, H]. positions: int [n] or [n, 1], b*T + t."""
        return paddle.gather(x.flatten(0, 1), positions.flatten())

    def firsts(self, x):
        """The first column of x [B, T, H]: [B, H]."""
        return x[:, 0]


def _take(x, index):
    """x[index]; where the index is -1, zeros, or -1 where x is int64."""
    return _fused('propeller_take', x, index)[0]


def _fused(name, *inputs):
    with graph.full_precision():
        return paddle._C_ops._run_custom_op(name, *inputs)
