"""Precision, recall and F1 of two classes, by counts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from propeller import scores
from propeller.errors import UserError
from propeller.train.metrics.base import Metrics, count_nan, last_column, not_a_number, truth, undefined

_EPSILON = 1e-6


class Precision(Metrics):
    """Right ones among the predicted positives. `label`: 0 and 1; `pred`: class ids, any but 0 is positive."""

    def __init__(self, label: Any, pred: Any) -> None:
        super().__init__(label, pred)

    def reset(self) -> None:
        self._hits = self._predicted = self._true = 0

    def update(self, args: Sequence[np.ndarray]) -> None:
        label, pred = scores.flat(truth(self, args[0]), args[1])
        self._count(label.astype(bool), _decisions(self, pred))

    def _count(self, label, pred):
        self._hits += int((label & pred).sum())
        self._predicted += int(pred.sum())
        self._true += int(label.sum())

    def eval(self) -> np.generic:
        return scores.ratio(self._hits, self._predicted) if self._predicted else self._no('row is predicted positive')

    def _no(self, what):
        return undefined(self, f'no {what}')


class Recall(Precision):
    """Share of the true positives that is predicted. Arguments as `Precision`."""

    def eval(self) -> np.generic:
        return scores.ratio(self._hits, self._true) if self._true else self._no('label is 1')


class F1(Precision):
    """`2PR / (P + R + 1e-6)`, with 1e-6 in the denominators of P and R too. Arguments as `Precision`."""

    def eval(self) -> np.generic:
        if not self._true or not self._predicted:
            return self._no('row is predicted positive' if self._true else 'label is 1')
        precision, recall = self._hits / (self._predicted + _EPSILON), self._hits / (self._true + _EPSILON)
        return np.float64(2 * precision * recall / (precision + recall + _EPSILON))


class PrecisionAtThreshold(Precision):
    """`hits / (predicted + 1e-6)`, where a row is predicted when its score is above `threshold`.

    Args:
        label: [N] of 0 and 1.
        pred: [N] scores, or [N, 2]: then the last column counts.
        threshold: a score.
    """

    def __init__(self, label: Any, pred: Any, threshold: float = 0.5) -> None:
        super().__init__(label, pred)
        self.threshold = threshold

    def reset(self) -> None:
        super().reset()
        self._rows = self._bad = 0

    def update(self, args: Sequence[np.ndarray]) -> None:
        label, pred = scores.flat(truth(self, args[0]), last_column(args[1], args[0]))
        self._rows, self._bad = self._rows + pred.size, self._bad + count_nan(pred)
        self._count(label.astype(bool), pred > self.threshold)

    def eval(self) -> np.generic:
        if self._bad:
            return not_a_number(self, self._bad, self._rows)
        if not self._predicted:
            return self._no(f'score is above {self.threshold}')
        return np.float64(self._hits / (self._predicted + _EPSILON))


def _decisions(metric, pred):
    """Class ids as truth values. Raises `UserError` for fractions: a probability of 0.1 is no positive."""
    pred = np.asarray(pred)
    fractions = pred[pred != np.floor(pred)] if pred.dtype.kind == 'f' else pred[:0]
    if fractions.size:
        raise UserError(
            f'metrics: {type(metric).__name__} found the prediction {fractions[0]}, expected class ids, 0 and 1. '
            'Scores are for PrecisionAtThreshold and Auc.'
        )
    return pred.astype(bool)
