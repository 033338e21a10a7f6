"""Self-attention."""

from propeller import graph, recompute
from propeller.graph import F, paddle
from propeller.ops.checks import FLOATS, fused_precision, require_dropout, require_precision, require_type
from propeller.ops.random import seed_and_site
from propeller.ops.tokens import Packed


def attention(qkv, layout, heads, dropout=0.0, mask=None, precision=None):
    """softmax(q k^T D^-0.5), dropout, times v, over the tokens of a row, for each head (Vaswani et al. 2017, 3.2).

    Args:
        qkv: float32 value, [N, 3H] where `layout` is `Packed`, [B, T, 3H] where it is `Padded`: queries, keys and
            values side by side, each with its heads side by side. Also bfloat16, as Paddle's mixed precision makes it.
        layout: what `ops.token_layout` gave.
        heads: int; H = heads D, D the width of each.
        dropout: probability that a weight is dropped, 0 <= dropout < 1; the others are scaled by 1 / (1 - dropout).
        mask: of the fused form: `propeller.ops.random.Mask`, which weights are dropped; None: the program's next one.
        precision: of the products of the fused form, as in `ops.linear`. Short rows are multiplied in float32 anyway:
            it is faster.
    Returns:
        float32 value [N, H], or [B, T, H].
    Raises:
        ValueError: wrong types, shapes or settings; the text names the argument, what was found and expected.
    """
    packed = isinstance(layout, Packed)
    _check(qkv, packed, heads, dropout, precision)
    if not packed:
        return _plain(qkv, layout.key_bias, heads, dropout)
    precision = fused_precision(precision)
    seed, site = seed_and_site(dropout, mask)
    with graph.full_precision():
        inputs = [graph.float32(qkv), layout.starts, seed, heads, float(dropout), site, precision]
        return paddle._C_ops._run_custom_op('propeller_attention', *inputs)[0]


def _plain(qkv, key_bias, heads, dropout):
    width = qkv.shape[-1] // 3 // heads
    projected = qkv.reshape([0, 0, 3, heads, width])
    query, key, value = paddle.unbind(projected.transpose([2, 0, 3, 1, 4]))  # [B, A, T, D] each
    scores = paddle.matmul(query * width**-0.5, key, transpose_y=True) + key_bias  # [B, A, T, T]
    weights = recompute.dropout(F.softmax(scores), dropout)
    return paddle.matmul(weights, value).transpose([0, 2, 1, 3]).reshape([0, 0, heads * width])


def _check(qkv, packed, heads, dropout, precision):
    require_type('attention: qkv', qkv, *FLOATS)
    require_dropout('attention', dropout)
    require_precision('attention', precision)
    shape, rank, name = list(qkv.shape), 2 if packed else 3, '[tokens, 3H]' if packed else '[rows, columns, 3H]'
    require_heads('attention', heads)
    if len(shape) != rank or shape[-1] < 1 or shape[-1] % (3 * heads):
        raise ValueError(f'ops.attention: qkv has shape {shape}, expected {name} with H a multiple of {heads} heads.')


def require_heads(operator, heads):
    """heads: a whole number above 0, else `ValueError`."""
    if not isinstance(heads, int) or heads < 1:
        raise ValueError(f'ops.{operator}: heads is {heads!r}, expected a whole number above 0.')
