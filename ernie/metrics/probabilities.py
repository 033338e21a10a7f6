"""How far probabilities can be trusted, and precision over recall: the numbers of the pictures."""

import numpy as np

from propeller.scores import ratio

BINS = 10
_MOST_POINTS = 200


def calibration(confidence, right, bins=BINS):
    """Reliability of stated probabilities, in bins of equal width, and their expected calibration error (Guo et al.
    2017, On Calibration of Modern Neural Networks, equation 3).

    Args:
        confidence: [N] probability that was given to each decision, 0 ... 1.
        right: [N] bool, whether it was right.
        bins: number of bins of the interval 0 ... 1; each but the first holds its upper edge, as in the paper.

    Returns:
        dict ready for JSON: `count` (list of int, by bin), `confidence` (mean of each bin, 0.0 of an empty one),
        `accuracy` (share right, 0.0 of an empty one), `ece` (float).
    """
    # A model that computes no numbers is sure of nothing.
    confidence = np.nan_to_num(np.asarray(confidence, np.float64).reshape(-1))
    right = np.asarray(right, bool).reshape(-1)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    stated, hits = (np.bincount(place, weights=a, minlength=bins) for a in (confidence, right))
    error = ratio(np.abs(stated - hits).sum(), count.sum())
    return {
        'count': count.tolist(),
        'confidence': (stated / np.maximum(count, 1)).tolist(),
        'accuracy': (hits / np.maximum(count, 1)).tolist(),
        'ece': float(error),
    }


def precision_recall(scores, true):
    """The precision-recall curve of one class and its average precision, as scikit-learn defines both.

    Args:
        scores: [N] probability of the class.
        true: [N] bool, whether the row is of the class.

    Returns:
        dict ready for JSON: `precision`, `recall`, `threshold` (lists of at most 200 floats, by falling threshold, of
        the curve's points the nearest to evenly spaced recalls), `average_precision`; None for a class without a row.
    """
    scores, true = np.asarray(scores, np.float64).reshape(-1), np.asarray(true, bool).reshape(-1)
    if not true.any():
        return None
    order = np.argsort(-scores, kind='stable')
    ranked, hits = scores[order], np.cumsum(true[order])
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # of equal scores all or none are predicted
    precision, recall = hits[last] / (last + 1), hits[last] / hits[-1]
    average = float(np.sum(np.diff(recall, prepend=0.0) * precision))
    wanted = np.searchsorted(recall, np.linspace(recall[0], 1.0, _MOST_POINTS))
    kept = np.unique(wanted) if len(last) > _MOST_POINTS else np.arange(len(last))
    return {
        'precision': precision[kept].tolist(),
        'recall': recall[kept].tolist(),
        'threshold': ranked[last][kept].tolist(),
        'average_precision': average,
    }
