"""Linear layers with their activation."""

import math

from propeller import graph
from propeller.graph import F, paddle
from propeller.ops.checks import FLOATS, fused_precision, require_precision, require_shape, require_type
from propeller.ops.choice import enabled

ACTIVATIONS = {
    None: lambda x: x,
    'relu': lambda x: F.relu(x),
    'gelu': lambda x: F.gelu(x),
    'gelu_new': lambda x: _gelu_tanh(x),
}


# Those that may stand side by side.
LAYERS = 3


def _gelu_tanh(x):
    # Not F.gelu(x, approximate=True): paddle2onnx writes it as the exact form.
    return 0.5 * x * (1.0 + paddle.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def linear(x, weight, bias, activation=None, precision=None, transposed=False):
    """activation(x weight + bias), or with `transposed` activation(x weight^T + bias).

    Args:
        x: float32 value [..., I]; also bfloat16, as Paddle's mixed precision makes it.
        weight: float32 value [I, O]; with `transposed` [O, I], as a table of words is.
        bias: float32 value [O].
        activation: `relu`, `gelu` (x Phi(x), Hendrycks and Gimpel 2016; exact, fused with bfloat16 products to 1e-4,
            its slope to 1.6e-4), `gelu_new` (the same with tanh in place of erf, as BERT computes it and the libraries
            of Hugging Face call it) or None.
        precision: of the fused form: `fp32`, or `bf16`, where a processor can: products of bfloat16 numbers summed in
            float32; whatever else is computed and stored, in float32. None: what the session's precision is.
    Returns:
        float32 value [..., O]. The plain form gives what Paddle's mixed precision makes of it.
    Raises:
        ValueError: wrong types or shapes; the text names the argument and both.
    """
    _check(x, weight, bias, activation, precision, transposed)
    if not enabled():
        z = paddle.matmul(x, weight, transpose_y=True) + bias if transposed else F.linear(x, weight, bias)
        return ACTIVATIONS[activation](z)
    precision = fused_precision(precision)
    # Gradients that nobody asks for cost a third of the time each.
    wanted = [not x.stop_gradient, not weight.stop_gradient]
    with graph.full_precision():
        inputs = [graph.float32(x), weight, bias, precision, *wanted, transposed]
        if activation is None:
            return paddle._C_ops._run_custom_op('propeller_linear', *inputs)[0]
        return paddle._C_ops._run_custom_op('propeller_linear_activation', *inputs, activation)[0]


def linear_side_by_side(x, weights, biases, precision=None):
    """`linear` for three layers of one input, their results one beside the other: queries, keys and values, say.

    One product, forward and backward, as of one weight with all columns, which is not made.

    Args:
        x: float32 value [..., I]; also bfloat16.
        weights: three float32 values [I, O].
        biases: three float32 values [O].
        precision: see `linear`.
    Returns:
        float32 value [..., 3 O].
    Raises:
        ValueError: wrong types or shapes, or another number of layers.
    """
    if len(weights) != LAYERS or len(biases) != LAYERS:
        found = f'{len(weights)} weights and {len(biases)} biases'
        raise ValueError(f'ops.linear_side_by_side: found {found}, expected {LAYERS} of each.')
    for weight, bias in zip(weights, biases, strict=True):
        _check(x, weight, bias, None, precision, False)
        require_shape('linear_side_by_side: a weight', weight, weights[0].shape, ', that of the first')
    frozen = {weight.stop_gradient for weight in weights}
    if len(frozen) > 1 or not enabled():
        return linear(x, paddle.concat(list(weights), -1), paddle.concat(list(biases), -1), precision=precision)
    precision, wanted = fused_precision(precision), [not x.stop_gradient, not weights[0].stop_gradient]
    with graph.full_precision():
        inputs = [graph.float32(x), *weights, *biases, precision, *wanted]
        return paddle._C_ops._run_custom_op('propeller_linear_3', *inputs)[0]


def _check(x, weight, bias, activation, precision, transposed):
    require_type('linear: x', x, *FLOATS)
    require_type('linear: weight', weight, 'float32')
    require_type('linear: bias', bias, 'float32')
    x_shape, weight_shape = list(x.shape), list(weight.shape)
    inputs, outputs = (1, 0) if transposed else (0, 1)  # axes of the weight
    if not x_shape or len(weight_shape) != 2 or x_shape[-1] not in (weight_shape[inputs], -1):
        expected = [str(x_shape[-1]) if x_shape else 'inputs', 'outputs']
        raise ValueError(
            f'ops.linear: weight has shape {weight_shape}, expected [{expected[inputs]}, {expected[outputs]}] '
            f'for x of shape {x_shape}.'
        )
    require_shape('linear: bias', bias, [weight_shape[outputs]], f' for weight of shape {weight_shape}')
    if activation not in ACTIVATIONS:
        raise ValueError(f'ops.linear: activation is {activation!r}, expected relu, gelu, gelu_new or None.')
    require_precision('linear', precision)
