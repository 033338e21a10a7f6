"""AdamW over all parameters at once, and the norm of their gradients."""

from propeller.graph import paddle
from propeller.ops.checks import require_one, require_shape, require_type
from propeller.ops.choice import enabled
from propeller.ops.rows import RowGradient


def square_norm(gradients):
    """Sum of the squares of all numbers of some tensors.

    Args:
        gradients: list of float32 values.
    Returns:
        float32 value [1]; not finite where one of the numbers is not. The fused form sums in float64.
    Raises:
        ValueError: a value of another type, or none at all.
    """
    if not gradients:
        raise ValueError('ops.square_norm: found no gradients, expected one or more.')
    for i, value in enumerate(gradients):
        require_type(f'square_norm: gradient {i}', value, 'float32')
    if not enabled():
        return paddle.add_n([paddle._C_ops.squared_l2_norm(g) for g in gradients])
    return paddle._C_ops._run_custom_op('propeller_square_norm', list(gradients))[0]


def adamw(pairs, rate, weight_decay, decays, skip, factor=None, segment=None):
    """Append an update of parameters with AdamW (beta 0.9 and 0.999, epsilon 1e-8; Loshchilov, Hutter 2019):

    p <- p - lr * weight_decay * p_old - lr * m_hat / (sqrt(v_hat) + epsilon)

    with `lr` the rate times the parameter's share of it. Both forms have the same variables (`{name}_moment1_0` ...):
    a training may go on in the other.

    Args:
        pairs: list of (parameter, gradient): float32 values of the same shape; in the fused form, of tables, also
            `propeller.ops.rows.RowGradient`.
        rate: `paddle.optimizer.lr.LRScheduler`.
        weight_decay: decoupled decay, in units of the learning rate.
        decays: name -> whether decay applies to that parameter; or which share of it does, a number from 0.
        skip: bool value [1]; where it is true nothing changes.
        factor: float32 value [1] that every gradient is multiplied with; None: they are taken as they are. The fused
            form does it on the way.
        segment: `propeller.ops.process_sum.Segment`: of dense gradients there are the sums of this process's own share
            alone (`propeller.ops.process_sum.sum_own_share`), and that is what it updates; needs the fused form.
            None: it updates all.
    Returns:
        with `segment` the names of the variables that the processes must have in common, so that each has the others'
        updates; else [].
    Raises:
        ValueError: wrong types or shapes; the text names the argument and both.
    """
    _check(pairs, skip, factor)
    if enabled():
        from propeller.ops.fused_adamw import FusedAdamW  # its base class loads paddle

        optimizer = FusedAdamW(rate, weight_decay, decays, skip, factor, segment)
    else:
        optimizer = paddle.optimizer.AdamW(rate, weight_decay=weight_decay, apply_decay_param_fun=decays)
        optimizer._append_optimize_op = _with_shares(optimizer, weight_decay, decays)
        optimizer._set_auxiliary_var('found_inf', skip)  # as Paddle's own GradScaler does
        if factor is not None:
            pairs = [(p, g * factor) for p, g in pairs]
    optimizer._dtype = paddle.float32  # of the learning rate; its own `backward`, which is not used, would set it
    optimizer.apply_gradients(pairs)
    return optimizer.in_common if segment else []


def _with_shares(optimizer, weight_decay, decays):
    """The method of Paddle's AdamW that appends the update of one parameter, with that one's share of the decay."""
    append = optimizer._append_optimize_op

    def with_share(block, pair):
        optimizer._weight_decay = weight_decay * float(decays(pair[0].name))
        return append(block, pair)

    return with_share


def _check(pairs, skip, factor):
    if not pairs:
        raise ValueError('ops.adamw: found no parameters, expected one or more.')
    for parameter, gradient in pairs:
        require_type(f'adamw: parameter {parameter.name}', parameter, 'float32')
        if isinstance(gradient, RowGradient):
            continue
        require_type(f'adamw: the gradient of {parameter.name}', gradient, 'float32')
        require_shape(f'adamw: the gradient of {parameter.name}', gradient, parameter.shape)
    require_one('adamw: skip', skip, 'bool')
    if factor is not None:
        require_one('adamw: factor', factor, 'float32')
