"""Values that a model wants to see in TensorBoard: `scalar` and `histogram`, called while its graph is built.

Whoever builds the graph does so inside `recording()`, fetches the recorded variables at log steps and writes them with
`propeller.train.record.EventWriter`.
"""

import contextlib
import contextvars
import numbers
from collections.abc import Iterator
from typing import Any

import numpy as np

from propeller.errors import UserError
from propeller.log import get_logger
from propeller.types import SummaryRecord

log = get_logger(__name__)

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


def scalar(name: str, variable: Any) -> None:
    """Write the graph variable, one number, under `name` at log steps. A `UserError` if it is no graph variable."""
    _add('scalar', name, variable)


def histogram(name: str, variable: Any) -> None:
    """Write the distribution of the graph variable's values under `name` at log steps. Errors as `scalar`."""
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
    entries = getattr(record, kind)
    if any(name == other for other, _ in entries):
        raise UserError(f'summary.{kind} {name!r}: the name is taken; each needs its own.')
    entries.append((name, variable))


def _is_graph_variable(value):
    """A graph variable has a shape and a type like an array, but no values yet."""
    if isinstance(value, np.ndarray | np.generic | numbers.Number):
        return False
    return hasattr(value, 'shape') and hasattr(value, 'dtype')
