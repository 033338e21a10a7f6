"""Layer norms with what stands before them in an encoder: residual and dropout."""

from propeller import graph, recompute
from propeller.graph import F, paddle
from propeller.ops.checks import FLOATS, require_dropout, require_shape, require_type
from propeller.ops.choice import enabled
from propeller.ops.random import seed_and_site


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
    _check('layer_norm', 'x', x, scale, bias, epsilon)
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
    _check('residual_norm', 'residual', residual, scale, bias, epsilon)
    require_dropout('residual_norm', dropout)
    require_type('residual_norm: x', x, *FLOATS)
    require_shape('residual_norm: x', x, residual.shape, ', that of residual')
    if not enabled():
        return F.layer_norm(residual + recompute.dropout(x, dropout), [residual.shape[-1]], scale, bias, epsilon)
    seed, site = seed_and_site(dropout, mask)
    wanted = [not x.stop_gradient, not residual.stop_gradient]
    with graph.full_precision():
        values = [graph.float32(x), graph.float32(residual), scale, bias, seed]
        inputs = [*values, float(epsilon), float(dropout), site, *wanted]
        return paddle._C_ops._run_custom_op('propeller_residual_norm', *inputs)[0]


def _check(op, name, x, scale, bias, epsilon):
    require_type(f'{op}: {name}', x, *FLOATS)
    if not x.shape:
        raise ValueError(f'ops.{op}: {name} has shape [], expected [..., width].')
    check_parameters(op, scale, bias, epsilon, x.shape[-1], f'{name} of shape {list(x.shape)}')


def check_parameters(op, scale, bias, epsilon, width, of):
    """Raises `ValueError` where `scale` and `bias` are not float32 [width], or `epsilon` is not above 0."""
    for argument, value in {'scale': scale, 'bias': bias}.items():
        require_type(f'{op}: {argument}', value, 'float32')
        require_shape(f'{op}: {argument}', value, [width], f' for {of}')
    if not epsilon > 0:
        raise ValueError(f'ops.{op}: epsilon is {epsilon}, expected a number above 0.')
