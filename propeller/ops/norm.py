"""Layer norms with what stands before them in an encoder: residual and dropout."""

from propeller import graph, recompute
from propeller.graph import F, paddle
from propeller.ops.choice import enabled
from propeller.ops.random import seed_and_site

_FLOATS = paddle.float32, paddle.bfloat16, paddle.float16


def layer_norm(x, scale, bias, epsilon):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over the last axis (Ba, Kiros, Hinton 2016).

    Args:
        x: float32 value [..., H]; also bfloat16, as Paddle's mixed precision makes it.
        scale, bias: float32 values [H].
        epsilon: float above 0.
    Returns:
        float32 value [..., H].
    Raises:
        ValueError: wrong types or shapes; the text names the argument and both.
    """
    check_norm('layer_norm', 'x', x, scale, bias, epsilon)
    if not enabled():
        return F.layer_norm(x, [x.shape[-1]], scale, bias, epsilon)
    with graph.full_precision():
        inputs = [graph.float32(x), scale, bias, float(epsilon), not x.stop_gradient]
        return paddle._C_ops._run_custom_op('propeller_layer_norm', *inputs)[0]


def residual_norm(x, residual, scale, bias, epsilon, dropout=0.0, mask=None):
    """layer_norm(residual + dropout(x)): what ends each half of an encoder layer (Vaswani et al. 2017, section 3.1).

    Args:
        x, residual: float32 values [..., H]; also bfloat16, as Paddle's mixed precision makes them.
        scale, bias, epsilon: as `layer_norm`.
        dropout: probability that a unit of x is zeroed, 0 <= p < 1; the others are multiplied by 1 / (1 - p).
        mask: of the fused form: `propeller.ops.random.Mask`; None: the program's next one.
    Returns:
        float32 value [..., H].
    Raises:
        ValueError: wrong types, shapes or probability; the text names the argument and both.
    """
    check_norm('residual_norm', 'residual', residual, scale, bias, epsilon, dropout)
    _check_float('residual_norm', 'x', x)
    if not fits(x.shape, residual.shape):
        raise ValueError(
            f'ops.residual_norm: x has shape {list(x.shape)}, expected {list(residual.shape)}, that of residual.'
        )
    if not enabled():
        return F.layer_norm(residual + recompute.dropout(x, dropout), [residual.shape[-1]], scale, bias, epsilon)
    seed, site = seed_and_site(dropout, mask)
    wanted = [not x.stop_gradient, not residual.stop_gradient]
    with graph.full_precision():
        values = [graph.float32(x), graph.float32(residual), scale, bias, seed]
        inputs = [*values, float(epsilon), float(dropout), site, *wanted]
        return paddle._C_ops._run_custom_op('propeller_residual_norm', *inputs)[0]


def fits(found, expected):
    """Whether two shapes agree as far as they are known."""
    pairs = zip(found, expected, strict=False)
    return len(found) == len(expected) and all(a == b or -1 in (a, b) for a, b in pairs)


def check_norm(op, name, x, scale, bias, epsilon, dropout=0.0):
    """Raises `ValueError` where `x`, argument `name` of operator `op`, and what its norm needs do not fit."""
    _check_float(op, name, x)
    if not x.shape:
        raise ValueError(f'ops.{op}: {name} has shape [], expected [..., width].')
    check_parameters(op, scale, bias, x.shape[-1], f'{name} of shape {list(x.shape)}')
    check_numbers(op, epsilon, dropout)


def check_parameters(op, scale, bias, width, of):
    """Raises `ValueError` where `scale` and `bias` are not float32 [width]."""
    for argument, value in {'scale': scale, 'bias': bias}.items():
        if value.dtype != paddle.float32:
            raise ValueError(f'ops.{op}: {argument} is {describe(value)}, expected float32.')
        if not fits(value.shape, [width]):
            raise ValueError(f'ops.{op}: {argument} has shape {list(value.shape)}, expected [{width}] for {of}.')


def check_numbers(op, epsilon, dropout):
    """Raises `ValueError` for numbers that make no norm and no probability."""
    if not epsilon > 0:
        raise ValueError(f'ops.{op}: epsilon is {epsilon}, expected a number above 0.')
    if not 0 <= dropout < 1:
        raise ValueError(f'ops.{op}: dropout is {dropout}, expected 0 or more and less than 1.')


def _check_float(op, name, value):
    if value.dtype not in _FLOATS:
        raise ValueError(f'ops.{op}: {name} is {describe(value)}, expected float32.')


def describe(value):
    """Type and shape of a value, for messages."""
    return f'{str(value.dtype).removeprefix("paddle.")} {list(value.shape)}'
