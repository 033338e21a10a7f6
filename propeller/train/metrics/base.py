"""`Metrics`, the interface, and what the metrics share."""

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np

from propeller import scores
from propeller.errors import UserError, quoted
from propeller.log import get_logger

log = get_logger(__name__)


class Metrics(abc.ABC):
    """Base class. A subclass defines `reset`, `update`, `eval`.

    It calls `super().__init__` with its graph values, or it defines `tensor` too, as those of 2019 do.
    """

    def __init__(self, *tensors: Any) -> None:
        self._tensors = tensors
        self.reset()

    @property
    def tensor(self) -> Any:
        """The graph values to fetch for `update`: a tuple or list, or the only one."""
        return self._tensors

    @abc.abstractmethod
    def reset(self) -> None:
        """Forget all batches."""

    @abc.abstractmethod
    def update(self, args: Sequence[np.ndarray]) -> None:
        """Take in one batch: the arrays of `tensor`."""

    @abc.abstractmethod
    def eval(self) -> np.generic:
        """The value over all batches since `reset`, a numpy scalar."""


class Collected(Metrics):
    """For formulas that need the whole set: keeps each argument, flat, until `eval`. The last one is the scores."""

    def reset(self) -> None:
        self._batches: list[list[np.ndarray]] = []

    def update(self, args: Sequence[np.ndarray]) -> None:
        self._batches.append(scores.flat(*args))

    def eval(self) -> np.generic:
        if not any(batch[0].size for batch in self._batches):
            return undefined(self, 'found no row')
        whole = [np.concatenate(parts) for parts in zip(*self._batches, strict=True)]
        bad = count_nan(whole[-1])
        return not_a_number(self, bad, whole[-1].size) if bad else self._value(*whole)

    @abc.abstractmethod
    def _value(self, *arrays: np.ndarray) -> np.generic:
        """The value of at least one row; arrays: those of `update`, each [N]."""


def undefined(metric: Any, why: str) -> np.float64:
    """0.0, which stands for a value that is not defined; the log says why."""
    log.warning('metric %s: %s: 0 by definition', type(metric).__name__, why)
    return np.float64(0.0)


def count_nan(values: np.ndarray) -> int:
    """How many of the values are NaN; of whole numbers none."""
    return int(np.isnan(values).sum()) if values.dtype.kind == 'f' else 0


def not_a_number(metric: Any, bad: int, rows: int) -> np.float64:
    """NaN, which is the result where one of the scores is: they have no order. The log says so."""
    log.warning('metric %s: %d of %d scores are NaN, and so is the result', type(metric).__name__, bad, rows)
    return np.float64(np.nan)


def last_column(pred: Any, label: Any) -> np.ndarray:
    """Scores as [N]: of two columns for each label, the last, which is class 1.

    Raises: UserError: more columns, of which none is the score.
    """
    pred = np.asarray(pred)
    if pred.ndim < 2 or pred.size <= np.size(label):
        return pred
    if pred.shape[-1] != 2:
        raise UserError(
            f'metrics: found scores {pred.shape}, expected one for each label, or two: there are two classes.'
        )
    return pred[..., 1]


def truth(metric: Any, label: Any) -> np.ndarray:
    """`label`, which must be 0 and 1: of more classes any value but 0 would pass for class 1.

    Raises: UserError: it is not.
    """
    label = np.asarray(label)
    others = label[(label != 0) & (label != 1)]
    if others.size:
        raise UserError(f'metrics: {type(metric).__name__} found the label {others[0]}, expected 0 and 1: two classes.')
    return label


def scalar_result(name: str, metric: Any) -> np.generic:
    """What `metric.eval()` gives, as a numpy scalar of shape (). A `UserError` if it is not one number."""
    value = metric.eval()
    try:
        array = np.asarray(value)
    except ValueError:  # lists of unequal lengths
        array = np.asarray(None)
    if array.shape:
        found = f'{type(value).__name__} of shape {array.shape}'
    elif array.dtype.kind in 'biuf':
        return array.dtype.type(array)
    else:
        found = f'{type(value).__name__} {quoted(value, 60)}'
    raise UserError(
        f'metric {name}: {type(metric).__name__}.eval() gave {found}, expected one number, a numpy scalar of shape ().'
    )
