"""Activation recomputation: less memory for the intermediate results of a training step, for a third more computation.

A *segment* is a function of one value, an encoder layer say (Chen et al. 2016, Training deep nets with sublinear memory
cost). Forward, only its input is kept. Backward, from the last segment to the first, it is built again from that input,
differentiated with the gradient of its output, and forgotten. The gradients are those of the plain backward pass.

Paddle's own recomputation works on its dynamic graph only.
"""

import contextlib
import contextvars
import itertools
from typing import NamedTuple

from propeller import graph
from propeller.graph import F, paddle

_LARGEST_SEED = 2**31 - 1
_segments = contextvars.ContextVar('propeller_segments', default=None)  # list of `_Segment`, None: no recomputation
_replay = contextvars.ContextVar('propeller_replay', default=None)  # see `same_in_both_passes`; None: no segment


class _Segment(NamedTuple):
    function: object
    input: object  # value that the first pass read, kept for the second
    output: object  # a leaf: gradients reach it, and go no further
    made: list  # what `same_in_both_passes` made in the first pass, in the order of the calls
    precision: tuple  # mixed precision that the first pass was built under
    full: bool  # whether it was built inside `graph.full_precision`


@contextlib.contextmanager
def recomputation(enabled=True):
    """Inside, `segment` records what it builds; at `enabled` false nothing changes. Belongs inside a build function.

    Operators must run in the order in which they are built (see `propeller.graph`): run as soon as their inputs are
    there, all second passes would be ahead of the backward pass, and nothing would be saved.
    """
    if not enabled:
        yield
        return
    program, segments = graph.building(), []
    program.backward = lambda loss: gradients(loss, program, segments)
    token = _segments.set(segments)
    try:
        yield
    finally:
        _segments.reset(token)


def segment(function, x):
    """`function(x)`, whose intermediate results are computed again in the backward pass if recomputation is on.

    Args:
        function: value -> value, called once more for the backward pass. Gradients flow through its argument and
            through the parameters that it takes from `graph.parameter`; what else it reads must need none.
        x: the value.
    Raises:
        ValueError: recomputation is on, and `function` reads another value that needs a gradient.
    """
    segments = _segments.get()
    if segments is None:
        return function(x)
    made = []

    def keep(make):
        made.append(make())
        return made[-1]

    last = _operators()[-1]
    y = _replaying(keep, function, x)
    _check_values_read(x, last)
    if y.stop_gradient:
        return y  # nothing in it is trained, nor before it
    y.stop_gradient = True  # only the second pass is differentiated
    output = paddle.assign(y)
    output.stop_gradient = False
    segments.append(_Segment(function, x, output, made, _precision(), graph.in_full_precision()))
    return output


def dropout(x, rate):
    """Zero units of `x` with probability `rate`, 0 <= rate < 1, and scale the others by 1 / (1 - rate).

    In a segment under recomputation the mask of a call follows from a seed, drawn anew in every step and kept for the
    second pass.
    """
    if not rate:
        return x
    if _replay.get() is None:
        return F.dropout(x, rate)
    seed = same_in_both_passes(lambda: paddle.randint(1, _LARGEST_SEED, [1], 'int32'))
    return paddle._C_ops.dropout(x, seed, rate, False, 'upscale_in_train', 0, True)


def same_in_both_passes(make):
    """`make()`; in the second pass of a segment, what it was in the first."""
    replay = _replay.get()
    return make() if replay is None else replay(make)


def in_segment():
    """Whether what is built now belongs to a segment that is computed twice."""
    return _replay.get() is not None


def gradients(loss, program, segments):
    """Gradients of a scalar with respect to the parameters of `program` that are trained, and rows of tables.

    Args:
        loss: scalar value.
        program: the `graph.Program` being built.
        segments: its segments, in the order in which they were built.
    Returns:
        list of (value, gradient), see `graph.Program.leaves`, without those that the loss does not depend on.
    """
    parameters = program.leaves()
    outputs = [s.output for s in segments]
    of_parameters, of_outputs = [[] for _ in parameters], [[] for _ in outputs]  # lists of terms

    def pull(target, gradient, leaves, fixed=()):
        """The terms that reach `leaves`, None where there is none; those of parameters are collected."""
        given = None if gradient is None else [gradient]
        found = paddle.static.gradients([target], [*leaves, *parameters], given, no_grad_set=set(fixed) or None)
        for terms, term in zip(of_parameters, found[len(leaves) :], strict=True):
            terms.extend([] if term is None else [term])
        return found[: len(leaves)]

    def spread(terms_of_outputs):
        for terms, term in zip(of_outputs, terms_of_outputs, strict=False):
            terms.extend([] if term is None else [term])

    spread(pull(loss, None, outputs))
    for i, (s, terms) in reversed(list(enumerate(zip(segments, of_outputs, strict=True)))):
        if not terms:
            continue  # the loss does not depend on it
        x = paddle.assign(s.input)
        x.stop_gradient = s.input.stop_gradient
        leaf = [] if x.stop_gradient else [x]
        for gradient in pull(_again(s, x), _total(terms), leaf, fixed=[s.input]):
            # The input is an earlier segment's output, or was made from some of them and from parameters.
            spread(pull(s.input, gradient, outputs[:i]))
    return [(p, _total(terms)) for p, terms in zip(parameters, of_parameters, strict=True) if terms]


def _total(terms):
    return terms[0] if len(terms) == 1 else paddle.add_n(terms)


def _again(s, x):
    """The second pass of segment `s`, read from `x`: with the same masks and in the same precision."""
    made = iter(s.made)
    current = _precision()
    _set_precision(s.precision)
    try:
        with graph.products_in(s.full):
            y = _replaying(lambda make: next(made), s.function, x)
    finally:
        _set_precision(current)
    assert next(made, None) is None, 'the function of a segment built something else the second time'
    return y


def _operators():
    return graph.building().main.global_block().ops


def _check_values_read(x, last):
    """Of what operators after `last` read, only `x`, parameters and their own results may need a gradient."""
    inside = list(itertools.takewhile(lambda op: op != last, reversed(_operators())))
    known = [x, *graph.building().parameter_values.values(), *(value for op in inside for value in op.results())]
    known = {value.hash() for value in known}
    for op in inside:
        if any(not value.stop_gradient and value.hash() not in known for value in op.operands_source()):
            raise ValueError(f'a segment reads a value that needs a gradient beside its argument (in {op.name()})')


def _replaying(replay, function, x):
    token = _replay.set(replay)
    try:
        return function(x)
    finally:
        _replay.reset(token)


def _precision():
    """What `paddle.amp.auto_cast` has set for the operators being built."""
    core = paddle.base.core
    now = core._get_amp_attrs()
    return now._amp_level, now._amp_dtype, now._use_promote, core._get_amp_op_list()


def _set_precision(precision):
    core = paddle.base.core
    now = core._get_amp_attrs()
    now._amp_level, now._amp_dtype, now._use_promote, lists = precision
    core._set_amp_op_list(*lists)
