"""Both halves of an encoder layer, each with dropout, residual and norm, as one operator (Vaswani et al. 2017, 3.1)."""

from typing import NamedTuple

from propeller import graph
from propeller.graph import paddle
from propeller.ops.attention import attention
from propeller.ops.checks import (
    FLOATS,
    fused_precision,
    require_dropout,
    require_precision,
    require_shape,
    require_type,
)
from propeller.ops.choice import enabled
from propeller.ops.linear import ACTIVATIONS, linear, linear_side_by_side
from propeller.ops.norm import check_parameters, residual_norm
from propeller.ops.random import seed_and_site
from propeller.ops.tokens import Packed


class Linear(NamedTuple):
    """Parameters of a linear layer: `weight` float32 [I, O], `bias` float32 [O]."""

    weight: object
    bias: object


class Norm(NamedTuple):
    """Parameters of a layer norm: `scale` and `bias` float32 [H], `epsilon` above 0."""

    scale: object
    bias: object
    epsilon: float


def self_attention(
    x, layout, heads, projections, output, norm, weights_dropout=0.0, dropout=0.0, masks=(None, None), precision=None
):
    """norm(x + dropout(z)), z = linear(attention(queries, keys and values of x), *output).

    Args:
        x: float32 value, [N, H] where `layout` is `Packed`, [B, T, H] where it is `Padded`; also bfloat16, as Paddle's
            mixed precision makes it.
        layout: what `ops.token_layout` gave.
        heads: int, of attention.
        projections: three `Linear` [H, H], of queries, keys and values.
        output: `Linear` [H, H].
        norm: `Norm`.
        weights_dropout: of the weights of attention, as in `ops.attention`.
        dropout: of z, as in `ops.residual_norm`.
        masks: of the fused form: `propeller.ops.random.Mask` of both dropouts; None: the program's next one.
        precision: of the products of the fused form, as in `ops.linear`.
    Returns:
        float32 value like x.
    Raises:
        ValueError: wrong types, shapes or settings; the text names the argument, what was found and expected.
    """
    op, width = 'self_attention', x.shape[-1] if x.shape else -1
    layers = dict(zip(('queries', 'keys', 'values', 'the output'), [*projections, output], strict=True))
    _check(op, x, {of: (layer, width, width) for of, layer in layers.items()}, norm, precision)
    if not isinstance(heads, int) or heads < 1 or width % heads:
        raise ValueError(f'ops.{op}: heads is {heads!r}, expected a number that divides the {width} units of x.')
    for rate in (weights_dropout, dropout):
        require_dropout(op, rate)
    weights, biases = zip(*projections, strict=True)
    parameters = [*weights, *biases, *output, norm.scale, norm.bias]
    if not isinstance(layout, Packed) or _mixed(x, parameters):
        qkv = linear_side_by_side(x, weights, biases, precision)
        context = attention(qkv, layout, heads, weights_dropout, masks[0], precision)
        return residual_norm(linear(context, *output, precision=precision), x, *norm, dropout, masks[1])
    weights_seed, weights_site = seed_and_site(weights_dropout, masks[0])
    seed, site = seed_and_site(dropout, masks[1])
    rates = float(weights_dropout), weights_site, float(dropout), site
    settings = heads, fused_precision(precision), float(norm.epsilon), *rates, *_wanted(x, parameters)
    values = *parameters, layout.starts, weights_seed, seed
    return _run('propeller_self_attention', x, *values, *settings)


def feed_forward(x, inner, outer, norm, activation, dropout=0.0, mask=None, precision=None):
    """norm(x + dropout(z)), z = linear(linear(x, *inner, activation), *outer).

    Args:
        x: float32 value [..., H]; also bfloat16, as Paddle's mixed precision makes it.
        inner, outer: `Linear` [H, F] and [F, H].
        norm: `Norm`.
        activation, precision: as in `ops.linear`.
        dropout, mask: as in `ops.residual_norm`.
    Returns:
        float32 value [..., H].
    Raises:
        ValueError: wrong types, shapes or settings; the text names the argument, what was found and expected.
    """
    op, width = 'feed_forward', x.shape[-1] if x.shape else -1
    wide = inner.bias.shape[0] if inner.bias.shape else -1
    _check(op, x, {'inner': (inner, width, wide), 'outer': (outer, wide, width)}, norm, precision)
    require_dropout(op, dropout)
    if activation not in ACTIVATIONS:
        raise ValueError(f'ops.{op}: activation is {activation!r}, expected relu, gelu, gelu_new or None.')
    parameters = [*inner, *outer, norm.scale, norm.bias]
    if not enabled() or activation is None or _mixed(x, parameters):
        z = linear(linear(x, *inner, activation, precision), *outer, precision=precision)
        return residual_norm(z, x, *norm, dropout, mask)
    seed, site = seed_and_site(dropout, mask)
    settings = fused_precision(precision), float(norm.epsilon), float(dropout), site, *_wanted(x, parameters)
    return _run('propeller_feed_forward', x, *parameters, seed, activation, *settings)


def _check(op, x, layers, norm, precision):
    """layers: dict name -> (`Linear`, its inputs, its outputs)."""
    require_type(f'{op}: x', x, *FLOATS)
    if not x.shape:
        raise ValueError(f'ops.{op}: x has shape [], expected [..., width].')
    of = f' for x of shape {list(x.shape)}'
    for name, (layer, inputs, outputs) in layers.items():
        for argument, value, shape in (('weight', layer.weight, [inputs, outputs]), ('bias', layer.bias, [outputs])):
            require_type(f'{op}: {argument} of {name}', value, 'float32')
            require_shape(f'{op}: {argument} of {name}', value, shape, of)
    check_parameters(op, norm.scale, norm.bias, norm.epsilon, x.shape[-1], f'x of shape {list(x.shape)}')
    require_precision(op, precision)


def _mixed(x, parameters):
    """Whether some gradients of parameters are wanted and others are not: the operators one by one save those."""
    frozen = [parameter.stop_gradient for parameter in parameters]
    return any(frozen) and not (all(frozen) and x.stop_gradient)


def _wanted(x, parameters):
    """(whether the gradient of x is wanted, whether any is): what only they need is not computed otherwise."""
    return not x.stop_gradient, not parameters[0].stop_gradient


def _run(name, x, *inputs):
    with graph.full_precision():
        return paddle._C_ops._run_custom_op(name, graph.float32(x), *inputs)[0]
