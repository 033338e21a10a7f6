"""Means of numbers that each batch gives."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from propeller import scores
from propeller.errors import UserError
from propeller.train.metrics.base import Metrics, undefined


class _Average(Metrics):
    """The mean of numbers that each batch gives."""

    def reset(self) -> None:
        self._sum, self._count = 0.0, 0.0

    def _add(self, numbers, weights=None):
        numbers = np.asarray(numbers, np.float64)
        self._sum += np.sum(numbers if weights is None else numbers * weights)
        self._count += numbers.size if weights is None else np.sum(weights)

    def eval(self) -> np.generic:
        return scores.ratio(self._sum, self._count) if self._count else undefined(self, 'found no value')


class Mean(_Average):
    """Mean of all values of `t`.

    Args:
        t: values of any shape.
        weight: how much each of them counts, as many values, or one for all of a batch. A `t` that is itself a mean
            over rows (or tokens) wants their number, so that batches of unequal size give the mean over all rows.
    """

    def __init__(self, t: Any, weight: Any = None) -> None:
        super().__init__(*((t,) if weight is None else (t, weight)))

    def update(self, args: Sequence[np.ndarray]) -> None:
        values, *weights = (np.asarray(a, np.float64).reshape(-1) for a in args)
        if not weights:
            self._add(values)
            return
        (weight,) = weights
        if weight.size not in (1, values.size) or (weight < 0).any():
            found = 'weights below 0' if (weight < 0).any() else f'{weight.size} weights of {values.size} values'
            raise UserError(f'metrics: {type(self).__name__} found {found}, expected one for each, or one: 0 or more.')
        weight = np.broadcast_to(weight, values.shape)
        # What counts nothing counts nothing even where it is NaN, as the loss of a batch without a token is.
        self._add(np.where(weight == 0, 0.0, values), weight)


class Ppl(Mean):
    """Perplexity: exp of the mean of `t`, a natural-log loss. Arguments as `Mean`."""

    def eval(self) -> np.generic:
        if not self._count:
            return undefined(self, 'found no value')
        with np.errstate(over='ignore'):  # infinity is the right answer
            return np.exp(scores.ratio(self._sum, self._count))


class Acc(_Average):
    """Share of entries where `pred`, class ids, equals `label`."""

    def __init__(self, label: Any, pred: Any) -> None:
        super().__init__(label, pred)

    def update(self, args: Sequence[np.ndarray]) -> None:
        label, pred = scores.flat(*args)
        self._add(label == pred)


class MSE(Acc):
    """Mean squared difference of `label` and `pred`."""

    def update(self, args: Sequence[np.ndarray]) -> None:
        label, pred = scores.flat(*args)
        self._add((pred.astype(np.float64) - label) ** 2)


class Cosine(Acc):
    """Mean cosine similarity of the vectors along the last axis of `label` and `pred`; 0 for a zero vector."""

    def update(self, args: Sequence[np.ndarray]) -> None:
        label, pred = (np.atleast_1d(np.asarray(a, dtype=np.float64)) for a in args)
        if label.size != pred.size or label.shape[-1:] != pred.shape[-1:]:
            raise UserError(f'metrics: Cosine found vectors {label.shape} and {pred.shape}, expected equal shapes.')
        if not label.size:
            return
        label, pred = (a.reshape(-1, a.shape[-1]) for a in (label, pred))
        norms = np.linalg.norm(label, axis=1) * np.linalg.norm(pred, axis=1)
        self._add((label * pred).sum(axis=1) / np.where(norms == 0, 1.0, norms))
