"""Metric objects of a model: they say which graph values to fetch, collect the fetched batches, and give one number.

Arguments of the constructors are graph values and are only handed back through `tensor`. `update` takes their numpy
arrays for one batch, in that order. `eval` gives a numpy scalar of shape (); of no data it is 0.0.
"""

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np

from propeller import scores
from propeller.errors import UserError


class Metrics(abc.ABC):
    """Base class. A subclass calls `super().__init__` with its graph values, and defines `reset`, `update`, `eval`."""

    def __init__(self, *tensors: Any) -> None:
        self._tensors = tensors
        self.reset()

    @property
    def tensor(self) -> tuple[Any, ...]:
        """The graph values to fetch for `update`, as a tuple."""
        return self._tensors

    @abc.abstractmethod
    def reset(self) -> None:
        """Forget all batches."""

    @abc.abstractmethod
    def update(self, args: Sequence[np.ndarray]) -> None:
        """Take in one batch: the arrays of `tensor`."""

    @abc.abstractmethod
    def eval(self) -> np.floating:
        """The value over all batches since `reset`, a numpy scalar."""


class _Average(Metrics):
    """The mean of numbers that each batch gives."""

    def reset(self) -> None:
        self._sum, self._count = 0.0, 0

    def _add(self, numbers):
        self._sum += np.sum(numbers, dtype=np.float64)
        self._count += np.size(numbers)

    def eval(self) -> np.floating:
        return scores.ratio(self._sum, self._count)


class Mean(_Average):
    """Mean of all values of `t`."""

    def __init__(self, t: Any) -> None:
        super().__init__(t)

    def update(self, args: Sequence[np.ndarray]) -> None:
        (values,) = args
        self._add(values)


class Ppl(Mean):
    """Perplexity: exp of the mean of `t`, a natural-log loss."""

    def eval(self) -> np.floating:
        return np.exp(super().eval()) if self._count else np.float64(0.0)


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
        label, pred = (np.asarray(a, dtype=np.float64).reshape(-1, np.shape(a)[-1]) for a in args)
        norms = np.linalg.norm(label, axis=1) * np.linalg.norm(pred, axis=1)
        self._add((label * pred).sum(axis=1) / np.where(norms == 0, 1.0, norms))


class Precision(Metrics):
    """Right ones among the predicted positives. `label`: 0 and 1; `pred` is taken as truth values."""

    def __init__(self, label: Any, pred: Any) -> None:
        super().__init__(label, pred)

    def reset(self) -> None:
        self._hits = self._predicted = self._true = 0

    def update(self, args: Sequence[np.ndarray]) -> None:
        label, pred = (a.astype(bool) for a in scores.flat(_truth(self, args[0]), args[1]))
        self._hits += int((label & pred).sum())
        self._predicted += int(pred.sum())
        self._true += int(label.sum())

    def eval(self) -> np.floating:
        return scores.ratio(self._hits, self._predicted)


class Recall(Precision):
    """Share of the true positives that is predicted. Arguments as `Precision`."""

    def eval(self) -> np.floating:
        return scores.ratio(self._hits, self._true)


class F1(Precision):
    """`2PR / (P + R + 1e-6)`, with 1e-6 in the denominators of P and R too. Arguments as `Precision`."""

    def eval(self) -> np.floating:
        precision, recall = self._hits / (self._predicted + 1e-6), self._hits / (self._true + 1e-6)
        return np.float64(2 * precision * recall / (precision + recall + 1e-6))


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

    def update(self, args: Sequence[np.ndarray]) -> None:
        label, pred = args
        super().update([label, _last_column(pred, label) > self.threshold])

    def eval(self) -> np.floating:
        return np.float64(self._hits / (self._predicted + 1e-6))


class _Collected(Metrics):
    """For formulas that need the whole set: keeps each argument, flat, until `eval`."""

    def reset(self) -> None:
        self._batches: list[list[np.ndarray]] = []

    def update(self, args: Sequence[np.ndarray]) -> None:
        self._batches.append(scores.flat(*args))

    def _whole(self):
        """One array for each argument; empty ones before the first batch."""
        if not self._batches:
            return [np.zeros(0)] * len(self._tensors)
        return [np.concatenate(parts) for parts in zip(*self._batches, strict=True)]


class Auc(_Collected):
    """Area under the ROC curve; 0.0 when only one class is present.

    Args:
        label: [N] of 0 and 1.
        pred: [N] scores, or [N, 2]: then the last column counts.
    """

    def __init__(self, label: Any, pred: Any) -> None:
        super().__init__(label, pred)

    def update(self, args: Sequence[np.ndarray]) -> None:
        label, pred = args
        super().update([_truth(self, label), _last_column(pred, label)])

    def eval(self) -> np.floating:
        return scores.auc(*self._whole())


class RecallAtPrecision(Auc):
    """Recall at the first point of the precision-recall curve with precision above `precision`. Otherwise as `Auc`."""

    def __init__(self, label: Any, pred: Any, precision: float = 0.9) -> None:
        super().__init__(label, pred)
        self.precision = precision

    def eval(self) -> np.floating:
        label, pred = self._whole()
        return scores.recall_at_precision(label, pred, self.precision)


class _Ranked(_Collected):
    """Base of the metrics of ranked rows.

    Args:
        qid: [N] the question that a row belongs to.
        label: [N] relevance.
        pred: [N] scores, or [N, 2]: then the last column counts.
    """

    def __init__(self, qid: Any, label: Any, pred: Any) -> None:
        super().__init__(qid, label, pred)

    def update(self, args: Sequence[np.ndarray]) -> None:
        qid, label, pred = args
        super().update([qid, label, _last_column(pred, label)])

    def _rows(self):
        qid, label, pred = self._whole()
        return qid, pred, label


class Mrr(_Ranked):
    """Mean over the qids of 1 / rank of the best row with label other than 0; a qid without one counts 0."""

    def eval(self) -> np.floating:
        return scores.mean_reciprocal_rank(*self._rows())


class PNRatio(_Ranked):
    """Concordant over discordant pairs of rows with one qid and different labels; 0.0 with no discordant pair."""

    def eval(self) -> np.floating:
        return scores.positive_negative_ratio(*self._rows())


class BinaryPNRatio(_Ranked):
    """As `PNRatio`, with label 1 against all others."""

    def eval(self) -> np.floating:
        qid, pred, label = self._rows()
        return scores.positive_negative_ratio(qid, pred, label == 1)


class PrecisionAtK(_Ranked):
    """Share of the qids with a row of label 1 among their `k` best."""

    def __init__(self, qid: Any, label: Any, pred: Any, k: int = 1) -> None:
        super().__init__(qid, label, pred)
        self.k = k

    def eval(self) -> np.floating:
        qid, pred, label = self._rows()
        return scores.precision_at_k(qid, pred, label, self.k)


class ChunkF1(Metrics):
    """F1 (float32) of the chunks of B/I tags, `[CLS]` and `[SEP]` excluded; see `propeller.scores.chunk_counts`.

    Args:
        label: [B, T] tags.
        pred: [B, T] tags.
        seqlen: [B] tokens of each sequence, `[CLS]` and `[SEP]` included.
        num_label: number of tags; the last one is outside of any chunk.
    """

    def __init__(self, label: Any, pred: Any, seqlen: Any, num_label: int) -> None:
        self.num_label = num_label
        super().__init__(label, pred, seqlen)

    def reset(self) -> None:
        self._counts = scores.ChunkCounts(0, 0, 0)

    def update(self, args: Sequence[np.ndarray]) -> None:
        label, pred, seqlen = args
        batch = scores.chunk_counts(label, pred, seqlen, self.num_label)
        self._counts = scores.ChunkCounts(*(a + b for a, b in zip(self._counts, batch, strict=True)))

    def eval(self) -> np.floating:
        return np.float32(scores.chunk_f1(self._counts)[2])


def _last_column(pred, label):
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


def _truth(metric, label):
    """`label`, which must be 0 and 1: of more classes any value but 0 would pass for class 1.

    Raises: UserError: it is not.
    """
    label = np.asarray(label)
    others = label[(label != 0) & (label != 1)]
    if others.size:
        raise UserError(f'metrics: {type(metric).__name__} found the label {others[0]}, expected 0 and 1: two classes.')
    return label
