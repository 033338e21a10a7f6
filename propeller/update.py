"""One update of the parameters: gradients of all parts and processes, clipping, optimizer.

An update may be made of several parts: batches that one process computes one after the other (accumulation), and
batches of several processes. Each part has a weight, the number of rows or tokens that its mean loss is the mean of;
the update then follows the gradient

    g = sum_i w_i * g_i / sum_i w_i

which is that of the mean loss over all rows or tokens at once, however they were divided.

Gradients that are not finite change nothing: neither parameters nor moments nor counters.
"""

import warnings
from typing import NamedTuple

from propeller import graph, ops
from propeller.graph import np, paddle
from propeller.ops.process_sum import process_sum, segment_in_use, sum_own_share
from propeller.ops.rows import RowGradient, dense, gradients_by_rows, summed_over_processes
from propeller.optimizers import OPTIMIZERS

COUNTED, SCALE, STOP = '@COUNTED@', '@LOSS_SCALE@', '@STOP@'


class Plan(NamedTuple):
    """How the updates of a program are made.

    Attributes:
        processes: processes that share each update.
        parts: batches that each of them computes for it.
        loss_scale: `propeller.train.precision.LossScale`, or None.
        segment: `propeller.ops.process_sum.Segment`, memory through which the processes add up; None: through sockets.
    """

    processes: int = 1
    parts: int = 1
    loss_scale: object = None
    segment: object = None

    @property
    def shared(self):
        """Whether an update has more than one part."""
        return self.processes * self.parts > 1


class Update:
    """The second half of a training program.

    Attributes:
        plan: `Plan`.
        schedule: the learning rate over updates.
        loss: the value that was minimised.
        main, startup: Paddle programs that make the update after all parts; None where the program itself makes it.
        finite: value, bool [1], whether all gradients are finite.
        numbers: value, float32 [3]: weighted sum of the loss, sum of the weights, processes that want to stop; None
            where an update has one part.
        in_common: names of the variables of which each process updates its share: all must have them in memory that
            they share (`Session.update`).
        weights: `propeller.ops.shared_weights.SharedWeights` where there are such variables, from the first update on.
        in_memory: whether sums over processes go through memory that they share.
    """

    def __init__(self, plan, schedule, loss):
        self.plan, self.schedule, self.loss = plan, schedule, loss
        self.main = self.startup = self.finite = self.numbers = None
        self.in_common, self.in_memory, self.weights = [], False, None


def minimize(loss, rate, weight_decay=0.0, decays=lambda name: True, clip_norm=None, optimizer='adamw'):
    """Append an optimizer to the program being built. With AdamW (beta 0.9 and 0.999, epsilon 1e-8):

    p <- p - lr * weight_decay * p_old - lr * m_hat / (sqrt(v_hat) + epsilon)   (Loshchilov, Hutter 2019, algorithm 2)

    Args:
        loss: scalar value, a mean over the rows of the batch, or over what `graph.set_loss_weight` says.
        rate: function of the number of updates done so far (int) -> learning rate (float); or one rate for all.
        weight_decay: decoupled decay, in units of the learning rate; AdamW only.
        decays: name -> whether decay applies to that parameter; of AdamW also which share of it, a number from 0.
        clip_norm: gradients are scaled down so that their global norm is at most this; None for no clipping.
        optimizer: a name of `propeller.optimizers.OPTIMIZERS`: `adamw`, or `sgd` for p <- p - lr * g, or another one.
    """
    from propeller.rate_schedule import Schedule  # its base class loads paddle

    program = graph.building()
    update = program.update = Update(program.plan, Schedule(rate if callable(rate) else lambda step: rate), loss)
    algorithm = OPTIMIZERS[optimizer](update.schedule, weight_decay, decays)
    with warnings.catch_warnings(), graph.full_precision():
        warnings.filterwarnings('ignore', message=".*'place' interface")
        pairs, update.numbers = _gradients(program, update)
        if update.plan.parts > 1 or not algorithm.takes_rows:
            pairs = [(p, dense(p, g)) for p, g in pairs]
        by_rows = [(p, g.state) for p, g in pairs if isinstance(g, RowGradient)]
        program.row_tables = {p.name: (tuple(p.shape), tuple(state.shape)) for p, state in by_rows}
        if update.plan.parts > 1:
            _accumulate_then(program, update, pairs, lambda sums: _apply(update, sums, clip_norm, algorithm))
        else:
            _apply(update, pairs, clip_norm, algorithm)


def _gradients(program, update):
    """Pairs of parameter and gradient, of one part, with the weight that they have in the update; and the numbers."""
    loss, plan = update.loss, update.plan
    weight = numbers = after = None
    if plan.shared:
        weight = program.loss_weight() * graph.late_input(COUNTED)
        stop = graph.late_input(STOP)
        numbers = paddle.concat([(loss * weight).reshape([1]), weight.reshape([1]), stop])
        numbers.stop_gradient = True
        weight.stop_gradient = True
    if plan.loss_scale:
        # The weight comes after the backward pass: before it, it would take the loss out of the range of float16.
        scale = graph.late_input(SCALE)
        loss, after = loss * scale.reshape([]), (1.0 / scale if weight is None else weight / scale)
    elif weight is not None:
        loss = loss * weight.reshape([])
    pairs = _backward(loss)
    return ([(p, _times(g, after)) for p, g in pairs] if after is not None else pairs), numbers


def _times(gradient, factor):
    if isinstance(gradient, RowGradient):
        return gradient._replace(values=gradient.values * factor)
    return gradient * factor


def backward(loss):
    """Append the backward pass to the program being built.

    Args:
        loss: scalar value.
    Returns:
        list of (parameter, gradient), both values, of the parameters that are trained and that `loss` depends on.
    """
    return [(p, dense(p, g)) for p, g in _backward(loss)]


def _backward(loss):
    """The same; gradients of tables may be `RowGradient`."""
    program = graph.building()
    program.adopt_parameters()
    if program.backward is not None:
        return gradients_by_rows(program, program.backward(loss))
    leaves = program.leaves()
    found = zip(leaves, paddle.static.gradients([loss], leaves), strict=True)
    return gradients_by_rows(program, [(value, gradient) for value, gradient in found if gradient is not None])


def _accumulate_then(program, update, pairs, finish):
    """Add gradients and numbers up in variables; `finish` them in a program of its own, which then clears them."""
    names = [p.name for p, _ in pairs]
    sums = [graph.variable(f'{p.name}@GRAD@', p.shape) for p, _ in pairs]
    numbers = graph.variable('@NUMBERS@', [3])
    for total, value in zip([*sums, numbers], [*(g for _, g in pairs), update.numbers], strict=True):
        paddle.assign(total + value, output=total)
    update.main, update.startup = graph.paddle_program(), graph.paddle_program()
    with paddle.static.program_guard(update.main, update.startup):
        parameters = [graph.variable(p.name, p.shape, program.rates[p.name], trainable=True) for p, _ in pairs]
        sums = [graph.variable(f'{name}@GRAD@', p.shape) for name, p in zip(names, parameters, strict=True)]
        numbers = graph.variable('@NUMBERS@', [3])
        update.numbers = paddle.assign(numbers)
        finish([(p, paddle.assign(g)) for p, g in zip(parameters, sums, strict=True)])
        for total in [*sums, numbers]:
            paddle.assign(paddle.zeros_like(total), output=total)


def _apply(update, pairs, clip_norm, algorithm):
    """Sum over processes, divide by the weights, clip (Pascanu et al. 2013, section 3.2), and call the optimizer."""
    segment = segment_in_use()
    update.in_memory = segment is not None
    if not algorithm.takes_shares or not (segment and segment.grows):
        segment = None
    pairs, square = _summed(update, pairs, segment)
    update.finite = paddle.isfinite(square)
    factor, norm = None, paddle.sqrt(square)
    if update.plan.shared:
        weight = update.numbers[1:2]
        factor = 1.0 / paddle.where(weight > 0, weight, paddle.ones_like(weight))  # no weight: the gradients are 0
        norm = norm * factor
    if clip_norm is not None:
        clip = clip_norm / paddle.clip(norm, min=float(clip_norm))
        factor = clip if factor is None else clip * factor
    more = {'segment': segment} if segment else {}
    in_common = algorithm.append(pairs, factor, paddle.logical_not(update.finite), **more)
    update.in_common = in_common if segment else []


def _summed(update, pairs, segment):
    """Pairs with gradients that are summed over all processes, with a segment of this process's share alone; and the
    square of the norm of all of them.
    """
    if update.plan.processes > 1:
        rows = {p.name: summed_over_processes(g) for p, g in pairs if isinstance(g, RowGradient)}
        dense_ones = [g for _, g in pairs if not isinstance(g, RowGradient)]
        if segment:
            return _own_shares(update, pairs, rows, dense_ones)
        update.numbers, *sums = process_sum([update.numbers, *dense_ones])
        sums = iter(sums)
        pairs = [(p, rows[p.name] if p.name in rows else next(sums)) for p, _ in pairs]
    return pairs, ops.square_norm([g.values if isinstance(g, RowGradient) else g for _, g in pairs])


def _own_shares(update, pairs, rows, dense_ones):
    dense_ones, numbers = sum_own_share(dense_ones, update.numbers)
    update.numbers, square = numbers[:3], numbers[3:]
    if rows:  # all processes have the same
        square = square + ops.square_norm([g.values for g in rows.values()])
    dense_ones = iter(dense_ones)
    return [(p, rows[p.name] if p.name in rows else next(dense_ones)) for p, _ in pairs], square


def _wait_for_others(session, update):
    """Before sums that have no patience; those in memory wait for as long as it takes."""
    if not update.in_memory:
        session.world.barrier()


class Outcome(NamedTuple):
    """What an update did.

    Attributes:
        fetched: list, by part of this process, of lists of arrays.
        finite: whether the gradients were finite; otherwise nothing has changed.
        stop: whether any process wants to stop.
        loss: float, the mean loss over the whole update.
        scaled: whether a loss scale looks for its range, so that updates without finite numbers belong to the search.
    """

    fetched: list
    finite: bool
    stop: bool
    loss: float = 0.0
    scaled: bool = False


def run_update(session, program, parts, fetch_list, stop=False):
    """One update of a training program.

    Args:
        parts: list of (arrays, counted), one for each part of this process: a list of arrays, one per feed, and whether
            its rows count.
        fetch_list: values of the program. For its loss you get the mean over the whole update.
        stop: whether this process wants to stop.
    Returns:
        `Outcome`.
    """
    update = program.update
    plan, fetch_list = update.plan, list(fetch_list)
    assert len(parts) == plan.parts, (len(parts), plan.parts)
    scale = [np.array([plan.loss_scale.scale], np.float32)] if plan.loss_scale else []
    sums = [update.finite, update.numbers if plan.shared else update.loss]
    fetched = []
    _wait_for_others(session, update)
    for arrays, counted in parts:
        late = []
        if plan.shared:
            late = [np.array([counted], np.float32), np.array([stop], np.float32)]
        values = fetch_list if update.main else [*fetch_list, *sums]
        fetched.append(session.run(program, [*arrays, *late, *scale], values))
    if update.main:
        _wait_for_others(session, update)
        sums = session.run_update(program, sums)
    else:
        fetched, sums = [values[: len(fetch_list)] for values in fetched], fetched[0][len(fetch_list) :]
    finite = bool(sums[0].all())
    if plan.loss_scale:
        plan.loss_scale.update(finite)
    if finite:
        update.schedule.step()
    if not plan.shared:
        return Outcome(fetched, finite, bool(stop), float(sums[1]), bool(plan.loss_scale))
    loss, weight, votes = (float(x) for x in sums[1])
    mean = loss / weight if weight else 0.0
    for i, value in enumerate(fetch_list):
        if value is update.loss:
            for values in fetched:
                values[i] = np.asarray(mean, np.float32)
    return Outcome(fetched, finite, votes > 0, mean, bool(plan.loss_scale))
