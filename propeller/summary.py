"""Values that a model wants to see in TensorBoard: `scalar` and `histogram`, called while its graph is built.

Whoever builds the graph does so inside `recording()`, fetches the recorded variables at log steps and writes them with
`propeller.train.record.EventWriter`.
"""

import contextlib
import contextvars
import itertools
import numbers
from collections.abc import Iterator
from typing import Any

import numpy as np

from propeller.errors import UserError
from propeller.log import get_logger
from propeller.types import SummaryRecord

log = get_logger(__name__)

OF_THE_TRAINING = {'loss', 'global_step'}  # names of scalars that `LoggingHook` writes

_DROPPED = SummaryRecord([], [])
_current: contextvars.ContextVar[SummaryRecord | None] = contextvars.ContextVar('propeller_summary', default=None)


@contextlib.contextmanager
def recording() -> Iterator[SummaryRecord]:
    """Collect the summaries of one graph: yields the `SummaryRecord` that `scalar` and `histogram` add to."""
    record = SummaryRecord([], [])
    token = _current.set(record)
    try:
        yield record
    finally:
        _current.reset(token)


@contextlib.contextmanager
def ignoring() -> Iterator[None]:
    """For graphs without summaries, such as that of an evaluation: what is asked for inside is checked and dropped."""
    token = _current.set(_DROPPED)
    try:
        yield
    finally:
        _current.reset(token)


def scalar(name: str, variable: Any) -> None:
    """Write a graph variable under `name` at log steps.

    Args:
        name: in TensorBoard; `/` makes groups. A name that is taken gets a number: `name_1`, `name_2` ... The training
            itself has `loss` and `global_step` (steps a second).
        variable: one number, or several: then their mean. At a step where it is not finite it is left out, and the log
            says so.

    Raises:
        UserError: it is no graph variable.
    """
    _add('scalar', name, variable)


def histogram(name: str, variable: Any) -> None:
    """Write the distribution of a graph variable's values under `name` at log steps. Names and errors as `scalar`."""
    _add('histogram', name, variable)


def _add(kind, name, variable):
    if not isinstance(name, str) or not name:
        raise UserError(f'summary.{kind}: found the name {name!r}, expected a non-empty string.')
    if not _is_graph_variable(variable):
        raise UserError(f'summary.{kind} {name!r}: found {type(variable).__name__}, expected a graph variable.')
    record = _current.get()
    if record is None:
        log.warning('summary.%s %r: no propeller graph is being built, so nothing will be written', kind, name)
        return
    if record is _DROPPED:
        return
    entries = getattr(record, kind)
    taken = {other for other, _ in entries} | (OF_THE_TRAINING if kind == 'scalar' else set())
    free = name if name not in taken else next(n for i in itertools.count(1) if (n := f'{name}_{i}') not in taken)
    if free != name:
        log.debug('summary.%s %r: the name is taken, it is written as %r', kind, name, free)
    entries.append((free, _readable(variable)))


def _readable(variable):
    """In float32 where it is in half precision: Paddle would hand out the bits of bfloat16 numbers."""
    return variable.astype('float32') if str(variable.dtype).endswith('float16') else variable


def _is_graph_variable(value):
    """A graph variable has a shape and a type like an array, but no values yet."""
    if isinstance(value, np.ndarray | np.generic | numbers.Number):
        return False
    return hasattr(value, 'shape') and hasattr(value, 'dtype')
