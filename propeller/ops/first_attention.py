"""Self-attention of the first token of each row alone."""

from propeller import graph
from propeller.graph import paddle
from propeller.ops.attention import attention, require_heads
from propeller.ops.checks import FLOATS, require_dropout, require_shape, require_type
from propeller.ops.linear import LAYERS, linear_side_by_side
from propeller.ops.random import seed_and_site
from propeller.ops.tokens import Packed


def first_attention(x, layout, weights, biases, heads, dropout=0.0, mask=None):
    """What the tokens of the first column get from `attention` over queries, keys and values, linear layers of x.

    The fused form projects none of the other tokens: with one query in a row, keys' and values' weights can be applied
    to the query and to the weighted sum of the tokens instead, with the same result but for rounding. It is computed in
    float32 in every precision; the gradient of the keys' bias, which softmax does not see, is exactly 0. If only some
    of the weights are trained, the plain form is used.

    Args:
        x: float32 value, [N, H] where `layout` is `Packed`, [B, T, H] where it is `Padded`. Also bfloat16.
        layout: what `ops.token_layout` gave.
        weights: three float32 values [H, H], of queries, keys and values.
        biases: three float32 values [H].
        heads: int; H = heads D, D the width of each.
        dropout, mask: as for `attention`, with the same masks.
    Returns:
        float32 value [B, H]; zeros where the first column is padding and `layout` is `Packed`. The plain form gives
        what Paddle's mixed precision makes of it.
    Raises:
        ValueError: wrong types, shapes or settings; the text names the argument, what was found and expected.
    """
    packed = isinstance(layout, Packed)
    _check(x, packed, weights, biases, heads, dropout)
    trained = {weight.stop_gradient for weight in weights}
    if not packed or len(trained) > 1:
        projected = linear_side_by_side(x, weights, biases)
        return layout.firsts(attention(projected, layout, heads, dropout, mask))
    seed, site = seed_and_site(dropout, mask)
    settings = [heads, float(dropout), site, not x.stop_gradient, not weights[0].stop_gradient]
    with graph.full_precision():
        inputs = [graph.float32(x), layout.starts, layout.first_tokens, *weights, *biases, seed]
        return paddle._C_ops._run_custom_op('propeller_first_attention', *inputs, *settings)[0]


def _check(x, packed, weights, biases, heads, dropout):
    require_type('first_attention: x', x, *FLOATS)
    require_dropout('first_attention', dropout)
    require_heads('first_attention', heads)
    shape, rank, name = list(x.shape), 2 if packed else 3, '[tokens, H]' if packed else '[rows, columns, H]'
    if len(shape) != rank or shape[-1] < 1 or shape[-1] % heads:
        raise ValueError(
            f'ops.first_attention: x has shape {shape}, expected {name} with H a multiple of {heads} heads.'
        )
    if len(weights) != LAYERS or len(biases) != LAYERS:
        found = f'{len(weights)} weights and {len(biases)} biases'
        raise ValueError(f'ops.first_attention: found {found}, expected {LAYERS} of each.')
    hidden = shape[-1]
    for part, weight, bias in zip(('query', 'key', 'value'), weights, biases, strict=True):
        require_type(f'first_attention: the {part} weight', weight, 'float32')
        require_type(f'first_attention: the {part} bias', bias, 'float32')
        require_shape(f'first_attention: the {part} weight', weight, [hidden] * 2, f' for x of shape {shape}')
        require_shape(f'first_attention: the {part} bias', bias, [hidden], f' for x of shape {shape}')
