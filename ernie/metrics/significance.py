"""Whether two models that answered the same rows differ by more than chance. Pure functions on numpy arrays."""

from typing import NamedTuple

import numpy as np

RESAMPLES = 1000
LEVEL = 0.05


class McNemar(NamedTuple):
    """only_first, only_second: rows that one model alone has right. p: of the exact two-sided test."""

    only_first: int
    only_second: int
    p: float


class Interval(NamedTuple):
    """difference: score of the second model less that of the first. low, high: its 95 % interval."""

    difference: float
    low: float
    high: float


def mcnemar(first, second):
    """McNemar's exact test (1947): of the rows that one model alone has right, are half the first one's?

    Args:
        first, second: [N] bool, whether each model has the row right.
    """
    from scipy.stats import binomtest

    first, second = np.asarray(first, bool), np.asarray(second, bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    changed = only_first + only_second
    return McNemar(only_first, only_second, float(binomtest(only_first, changed).pvalue) if changed else 1.0)


def bootstrap(first, second, score, resamples=RESAMPLES):
    """The difference of a score with its 95 % interval, by drawing rows with replacement (Efron 1979), the same rows
    for both models.

    Args:
        first, second: tuples of arrays, each [N], what `score` takes.
        score: function (arrays of some rows) -> float.
        resamples: how often rows are drawn; always the same ones, so that the result is.
    """
    rng, count = np.random.default_rng(0), len(first[0])
    difference = lambda rows: score(*(a[rows] for a in second)) - score(*(a[rows] for a in first))  # noqa: E731
    drawn = [difference(rng.integers(count, size=count)) for _ in range(resamples)]
    low, high = np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2])
    return Interval(float(difference(slice(None))), float(low), float(high))


def micro_f1(hits, predicted, labelled):
    """F1 of counts of each row, [N] int each, summed; 0 of none."""
    total = predicted.sum() + labelled.sum()
    return 2 * hits.sum() / total if total else 0.0


def pearson(true, predicted):
    """Pearson's correlation coefficient of [N] floats each; 0 where it is not defined."""
    true, predicted = true - true.mean(), predicted - predicted.mean()
    spread = np.sqrt((true**2).sum() * (predicted**2).sum())
    return float((true * predicted).sum() / spread) if spread else 0.0


def compare_rows(kind, first, second):
    """(name of the score, `McNemar` or `Interval`) of two models over the same rows; None for an unknown kind of task.

    Args:
        kind: of `ernie.metrics.outcomes.Outcomes`.
        first, second: their `by_row`.
    """
    if kind == 'classify':
        return 'rows right', mcnemar(first['right'], second['right'])
    if kind == 'reading':
        return 'F1', bootstrap((first['f1'],), (second['f1'],), lambda f1: float(f1.mean()))
    if kind in ('multilabel', 'tagging'):
        names = ('hits', 'predicted', 'labelled')
        return 'micro F1', bootstrap(*(tuple(of[name] for name in names) for of in (first, second)), micro_f1)
    if kind == 'regression':
        columns = [(of['true'].astype(np.float64), of['predicted'].astype(np.float64)) for of in (first, second)]
        return 'Pearson', bootstrap(*columns, pearson)
    return None
