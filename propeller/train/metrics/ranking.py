"""Metrics of rows that are ranked within their question."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from propeller import scores
from propeller.train.metrics.base import Collected, last_column, undefined


class _Ranked(Collected):
    """Base of the metrics of ranked rows; rows of one question need not be neighbours.

    Args:
        qid: [N] the question that a row belongs to.
        label: [N] relevance.
        pred: [N] scores, or [N, 2]: then the last column counts.
    """

    def __init__(self, qid: Any, label: Any, pred: Any) -> None:
        super().__init__(qid, label, pred)

    def update(self, args: Sequence[np.ndarray]) -> None:
        qid, label, pred = args
        super().update([qid, label, last_column(pred, label)])


class Mrr(_Ranked):
    """Mean over the qids of 1 / rank of the best row with label other than 0; a qid without one counts 0."""

    def _value(self, *arrays: np.ndarray) -> np.generic:
        qid, label, pred = arrays
        if not label.any():
            return undefined(self, f'the label of all {label.size} rows is 0')
        return scores.mean_reciprocal_rank(qid, pred, label)


class PNRatio(_Ranked):
    """Concordant over discordant pairs of rows with one qid and different labels; 0.0 with no discordant pair."""

    def _value(self, *arrays: np.ndarray) -> np.generic:
        qid, label, pred = arrays
        concordant, discordant = scores.pair_counts(qid, pred, self._levels(label))
        if not discordant:
            return undefined(self, f'{concordant} concordant pairs and no discordant one')
        return scores.ratio(concordant, discordant)

    def _levels(self, label):
        return label


class BinaryPNRatio(PNRatio):
    """As `PNRatio`, with label 1 against all others."""

    def _levels(self, label):
        return label == 1


class PrecisionAtK(_Ranked):
    """Share of the qids with a row of label 1 among their `k` best."""

    def __init__(self, qid: Any, label: Any, pred: Any, k: int = 1) -> None:
        super().__init__(qid, label, pred)
        self.k = k

    def _value(self, *arrays: np.ndarray) -> np.generic:
        qid, label, pred = arrays
        if not (label == 1).any():
            return undefined(self, f'none of {label.size} labels is 1')
        return scores.precision_at_k(qid, pred, label, self.k)
