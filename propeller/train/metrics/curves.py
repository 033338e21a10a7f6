"""What is read off the curves of two classes; needs all scores at once."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from propeller import scores
from propeller.train.metrics.base import Collected, last_column, truth, undefined


class Auc(Collected):
    """Area under the ROC curve; 0.0 when only one class is present.

    Args:
        label: [N] of 0 and 1.
        pred: [N] scores, or [N, 2]: then the last column counts.
    """

    def __init__(self, label: Any, pred: Any) -> None:
        super().__init__(label, pred)

    def update(self, args: Sequence[np.ndarray]) -> None:
        label, pred = args
        super().update([truth(self, label), last_column(pred, label)])

    def _value(self, *arrays: np.ndarray) -> np.generic:
        label, pred = arrays
        if (label == label[0]).all():
            return undefined(self, f'all {label.size} labels are {int(label[0])}')
        return scores.auc(label, pred)


class RecallAtPrecision(Auc):
    """Recall at the first point of the precision-recall curve with precision above `precision`. Otherwise as `Auc`."""

    def __init__(self, label: Any, pred: Any, precision: float = 0.9) -> None:
        super().__init__(label, pred)
        self.precision = precision

    def _value(self, *arrays: np.ndarray) -> np.generic:
        label, pred = arrays
        if not label.any():
            return undefined(self, f'none of {label.size} labels is 1')
        value = scores.recall_at_precision(label, pred, self.precision)
        return value if value else undefined(self, f'no threshold gives a precision above {self.precision}')
