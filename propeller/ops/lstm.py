"""A long short-term memory whose state is projected, over all steps of a batch. T steps, B rows, C cells, P states."""

from propeller import graph
from propeller.graph import F, paddle
from propeller.ops.checks import FLOATS, require_shape, require_type
from propeller.ops.choice import enabled


def lstm(x, recurrent, projection, state, cell, cell_clip=0.0, state_clip=0.0, training=False):
    """States and cells of each step (Sak, Senior, Beaufays 2014, section 2, without peepholes):

        [u, i, f, o] = x_t + state_{t-1} recurrent              u: tanh; i, f, o: logistic
        cell_t  = clip(f cell_{t-1} + i u)                       to [-cell_clip, cell_clip]
        state_t = clip((o tanh(cell_t)) projection)              to [-state_clip, state_clip]

    The order of the gates is that of Paddle 1.6's `dynamic_lstmp`. Gradients do not reach `state` and `cell`.

    Args:
        x: float32 value [T, B, 4 C]: the inputs of the gates, bias included.
        recurrent, projection: float32 values [P, 4 C] and [C, P].
        state, cell: float32 values [B, P] and [B, C], before the first step.
        cell_clip, state_clip: from 0, which clips nothing.
        training: whether gradients are wanted.
    Returns:
        float32 values [T, B, P] and [T, B, C]; the cells have no gradient.
    Raises:
        ValueError: wrong types, shapes or clips; the text names the argument and both.
    """
    _check(x, recurrent, projection, state, cell, {'cell_clip': cell_clip, 'state_clip': state_clip})
    with graph.full_precision():
        inputs = [graph.float32(x), recurrent, projection]
        if enabled():
            starts = [state, cell, float(cell_clip), float(state_clip)]
            states, _, cells = paddle._C_ops._run_custom_op('propeller_lstm', *inputs, *starts)
        else:
            plain = _Plain(cell_clip, state_clip)
            inputs += [state.detach(), cell.detach()]
            states, cells = plain.trained(*inputs) if training else plain.forward(*inputs)[:2]
    cells.stop_gradient = True
    return states, cells


class _Plain:
    """The same by loops of Paddle. Their gradients of Paddle 3.3 are wrong (0), so the loop backwards is our own."""

    def __init__(self, cell_clip, state_clip):
        self._cell_clip, self._state_clip = cell_clip, state_clip

    def forward(self, x, recurrent, projection, state, cell):
        """States [T, B, P], cells [T, B, C], and the sums of the gates [T, B, 4 C]."""
        zero = paddle.zeros([1], 'int64')
        cells, states = projection.shape
        empty = [paddle.zeros_like(x)[..., :width] for width in (states, cells, 4 * cells)]

        def step(t, state, cell, *outputs):
            sums = _at(x, t) + paddle.matmul(state, recurrent)
            cell, output = self._cell(sums, cell)
            state = _clip(paddle.matmul(output, projection), self._state_clip)
            return t + 1, state, cell, *(_put(*pair, t) for pair in zip(outputs, (state, cell, sums), strict=True))

        steps = paddle.shape(x)[0]
        return paddle.static.nn.while_loop(lambda t, *_: t < steps, step, [zero, state, cell, *empty])[3:]

    def trained(self, x, recurrent, projection, state, cell):
        """States and cells whose gradients are `_backward`."""
        inputs, width = [x, recurrent, projection, state, cell], projection.shape[-1]
        # One result: gradients of several are an error in Paddle 3.3.
        result = paddle.static.nn.static_pylayer(
            lambda *inputs: paddle.concat(self.forward(*inputs)[:2], -1),
            inputs,
            lambda gradient: (*self._backward(*inputs, gradient[..., :width]), None, None),
        )
        result.stop_gradient = False  # a loop's result is without one
        return result[..., :width], result[..., width:]

    def _cell(self, sums, before):
        u, i, f, o = _gates(sums)
        cell = _clip(f * before + i * u, self._cell_clip)
        return cell, o * paddle.tanh(cell)

    def _backward(self, x, recurrent, projection, state, cell, dstates):
        """Gradients of x, recurrent and projection."""
        states, cells, sums = self.forward(x, recurrent, projection, state, cell)
        before = [
            paddle.concat([start.unsqueeze(0), values[:-1]], 0) for start, values in ((state, states), (cell, cells))
        ]
        totals = [paddle.zeros_like(weight) for weight in (recurrent, projection)]

        def step(t, dstate, dcell, dx, drecurrent, dprojection):
            u, i, f, o = _gates(_at(sums, t))
            last_state, last_cell = (_at(values, t) for values in before)
            cell = _at(cells, t)
            warped = paddle.tanh(cell)
            dstate = _where_free(dstate + _at(dstates, t), _at(states, t), self._state_clip)
            doutput = paddle.matmul(dstate, projection, transpose_y=True)
            dcell = _where_free(dcell + doutput * o * (1 - warped * warped), cell, self._cell_clip)
            slopes = [dcell * i * (1 - u * u), dcell * u * i * (1 - i), dcell * last_cell * f * (1 - f)]
            dsums = paddle.concat([*slopes, doutput * warped * o * (1 - o)], -1)
            drecurrent = drecurrent + paddle.matmul(last_state, dsums, transpose_x=True)
            dprojection = dprojection + paddle.matmul(o * warped, dstate, transpose_x=True)
            dstate = paddle.matmul(dsums, recurrent, transpose_y=True)
            return t - 1, dstate, dcell * f, _put(dx, dsums, t), drecurrent, dprojection

        last = paddle.shape(x)[:1].astype('int64') - 1
        starts = [last, *map(paddle.zeros_like, (state, cell, x)), *totals]
        return tuple(paddle.static.nn.while_loop(lambda t, *_: t >= 0, step, starts)[3:])


def _gates(sums):
    u, *gates = paddle.split(sums, 4, axis=-1)
    return [paddle.tanh(u), *map(F.sigmoid, gates)]


def _at(values, t):
    """What belongs to step t [1] of values [T, ...]."""
    return paddle.gather(values, t, axis=0).squeeze(0)


def _put(values, value, t):
    return paddle.scatter(values, t, value.unsqueeze(0))


def _clip(x, most):
    return paddle.clip(x, -most, most) if most else x


def _where_free(gradient, value, most):
    """`gradient` where `value`, which may have been clipped, was not; else 0."""
    return gradient * (paddle.abs(value) < most).astype('float32') if most else gradient


def _check(x, recurrent, projection, state, cell, clips):
    require_type('lstm: x', x, *FLOATS)
    for name, value in {'recurrent': recurrent, 'projection': projection, 'state': state, 'cell': cell}.items():
        require_type(f'lstm: {name}', value, 'float32')
    if len(projection.shape) != 2 or len(x.shape) != 3:
        raise ValueError(
            f'ops.lstm: x has shape {list(x.shape)}, projection {list(projection.shape)}, expected [steps, rows, '
            '4 x cells] and [cells, states].'
        )
    cells, states = projection.shape
    reason = f' for projection of shape {list(projection.shape)}'
    expected = {'x': [-1, -1, 4 * cells], 'recurrent': [states, 4 * cells], 'state': [-1, states], 'cell': [-1, cells]}
    for (name, shape), value in zip(expected.items(), (x, recurrent, state, cell), strict=True):
        require_shape(f'lstm: {name}', value, shape, reason)
    for name, clip in clips.items():
        if not clip >= 0:
            raise ValueError(f'ops.lstm: {name} is {clip!r}, expected 0, which clips nothing, or more.')
