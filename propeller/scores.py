"""Formulas of metrics, numpy in and numpy out, for whole sets at once. An empty set scores 0.0 everywhere."""

from typing import NamedTuple

import numpy as np

from propeller.errors import UserError


class ChunkCounts(NamedTuple):
    """Numbers of chunks: found by the model, in the labels, and equal in begin, end and type."""

    inferred: int
    labelled: int
    correct: int


def flat(*arrays):
    """The arrays as 1-D arrays of one length; a `UserError` with the shapes if their sizes differ."""
    arrays = [np.asarray(a) for a in arrays]
    if len({a.size for a in arrays}) > 1:
        raise UserError(f'metrics: arrays of different sizes: {", ".join(str(a.shape) for a in arrays)}.')
    return [a.reshape(-1) for a in arrays]


def ratio(numerator, denominator):
    """The quotient as float64, 0.0 where the denominator is 0."""
    return np.float64(numerator / denominator) if denominator else np.float64(0.0)


def auc(labels, scores):
    """Area under the ROC curve by the rank sum (Mann-Whitney U), ties counting one half.

    Args:
        labels: [N]; anything but 0 is positive.
        scores: [N], larger means more positive.

    Returns:
        float64; 0.0 when only one class is present and the area is not defined.
    """
    labels, scores = flat(labels, scores)
    positive = labels.astype(bool)
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return np.float64(0.0)
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    average_rank = np.cumsum(counts) - (counts - 1) / 2.0
    rank_sum = average_rank[place.reshape(-1)][positive].sum()
    return np.float64((rank_sum - positives * (positives + 1) / 2.0) / (positives * negatives))


def recall_at_precision(labels, scores, precision):
    """The best recall among the points of the precision-recall curve whose precision is above `precision`.

    Recall falls along the curve, so this is its first such point, coming from the lowest threshold.

    Args:
        labels: [N]; anything but 0 is positive.
        scores: [N]; a point of the curve takes all rows at or above one of the scores.
        precision: between 0 and 1.

    Returns:
        float64; 0.0 when no point is above, or nothing is positive.
    """
    labels, scores = flat(labels, scores)
    positive = labels.astype(bool)
    if not positive.any():
        return np.float64(0.0)
    order = np.argsort(-scores.astype(np.float64), kind='stable')
    last_of_ties = np.append(np.diff(scores[order]) != 0, True)
    true_positives = np.cumsum(positive[order])[last_of_ties]
    predicted = np.flatnonzero(last_of_ties) + 1
    good = true_positives / predicted > precision
    return np.float64(true_positives[good].max() / positive.sum()) if good.any() else np.float64(0.0)


class _Ranking(NamedTuple):
    """Rows sorted by (qid, score descending), ties in file order."""

    labels: np.ndarray
    rank: np.ndarray  # 1-based, inside the qid
    starts: np.ndarray  # first row of each qid


def _ranked(qids, scores, labels):
    qids, scores, labels = flat(qids, scores, labels)
    _, group = np.unique(qids, return_inverse=True)
    group = group.reshape(-1)
    order = np.lexsort((-scores.astype(np.float64), group))
    group = group[order]
    starts = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
    rank = np.arange(len(group)) - starts[group] + 1
    return _Ranking(labels[order], rank, starts)


def mean_reciprocal_rank(qids, scores, labels):
    """Mean over all qids of 1 / rank of the first row, by descending score, whose label is not 0 (0 if there is none).

    Args:
        qids: [N], numbers or strings; rows of one qid need not be adjacent.
        scores: [N]; equal scores keep the order of the rows.
        labels: [N].

    Returns:
        float64.
    """
    if not np.size(qids):
        return np.float64(0.0)
    rows = _ranked(qids, scores, labels)
    return np.maximum.reduceat(np.where(rows.labels != 0, 1.0 / rows.rank, 0.0), rows.starts).mean()


def mean_average_precision(qids, scores, labels):
    """Mean over all qids of the mean, over the qid's rows with label other than 0, of the precision at that row.

    Arguments and result as in `mean_reciprocal_rank`; a qid without such a row counts 0.
    """
    if not np.size(qids):
        return np.float64(0.0)
    rows = _ranked(qids, scores, labels)
    relevant = rows.labels != 0
    seen = np.cumsum(relevant)
    sizes = np.diff(np.append(rows.starts, len(relevant)))
    seen_in_qid = seen - np.repeat(seen[rows.starts] - relevant[rows.starts], sizes)
    precision = np.where(relevant, seen_in_qid / rows.rank, 0.0)
    found = np.add.reduceat(relevant.astype(np.int64), rows.starts)
    return (np.add.reduceat(precision, rows.starts) / np.maximum(found, 1)).mean()


def precision_at_k(qids, scores, labels, k=1):
    """Share of qids that have a row with label 1 among their `k` best. Arguments as in `mean_reciprocal_rank`."""
    if not np.size(qids):
        return np.float64(0.0)
    rows = _ranked(qids, scores, labels)
    hit = (rows.labels == 1) & (rows.rank <= k)
    return np.logical_or.reduceat(hit, rows.starts).mean()


def pair_counts(qids, scores, labels):
    """Numbers of concordant and of discordant pairs among the pairs of rows with the same qid and different labels.

    A pair is concordant when the row with the larger label has the larger score; equal scores count for neither.
    Time grows with N log N times the number of distinct labels.

    Returns:
        (concordant, discordant), ints.
    """
    if not np.size(qids):
        return 0, 0
    qids, scores, labels = flat(qids, scores, labels)
    group = np.unique(qids, return_inverse=True)[1].reshape(-1).astype(np.int64)
    distinct, place = np.unique(scores, return_inverse=True)
    # One integer orders rows by qid, then by score: pairs are then counted by looking up places in sorted keys.
    key = group * len(distinct) + place.reshape(-1)
    concordant = discordant = 0
    for label in np.unique(labels)[1:]:
        lower = np.sort(key[labels < label])
        here = labels == label
        begin, end = group[here] * len(distinct), (group[here] + 1) * len(distinct)
        concordant += (np.searchsorted(lower, key[here], 'left') - np.searchsorted(lower, begin, 'left')).sum()
        discordant += (np.searchsorted(lower, end, 'left') - np.searchsorted(lower, key[here], 'right')).sum()
    return int(concordant), int(discordant)


def chunk_counts(labels, predictions, lengths, num_label):
    """Count the chunks of padded sequences tagged with B/I pairs, `[CLS]` and `[SEP]` left out.

    Tag `2 * type` begins a chunk; `2 * type + 1` continues a chunk of its type and otherwise begins one; the last tag,
    `num_label - 1`, is outside of any.

    Args:
        labels: [B, T] (or anything that reshapes to it) tags.
        predictions: the same for the model.
        lengths: [B] tokens of each sequence, `[CLS]` and `[SEP]` included; what follows is padding.
        num_label: number of tags.

    Returns:
        `ChunkCounts`.

    Raises:
        UserError: sizes that do not agree, or a tag outside of 0 ... num_label - 1 inside a sequence.
    """
    lengths = np.asarray(lengths).reshape(-1)
    labels, predictions = flat(labels, predictions)
    if not len(lengths):
        return ChunkCounts(0, 0, 0)
    if labels.size % len(lengths):
        raise UserError(f'metrics: {labels.size} tags are not {len(lengths)} sequences of one padded length.')
    labels, predictions = (a.reshape(len(lengths), -1) for a in (labels, predictions))
    position = np.arange(labels.shape[1])
    inside = (position >= 1) & (position <= lengths[:, None] - 2)
    theirs, ours = (_chunks(tags, inside, num_label) for tags in (labels, predictions))
    _, i, j = np.intersect1d(theirs[:, 0], ours[:, 0], assume_unique=True, return_indices=True)
    correct = int((theirs[i] == ours[j]).all(axis=1).sum())
    return ChunkCounts(len(ours), len(theirs), correct)


def _chunks(tags, inside, num_label):
    """[chunks, 3] rows of (begin, last position, type); positions count through all rows of `tags`."""
    null = num_label - 1
    if ((tags[inside] < 0) | (tags[inside] > null)).any():
        raise UserError(f'metrics: a tag is outside of 0 ... {null}; num_label is {num_label}.')
    # A column of null tags at both ends keeps chunks from running over the ends of their row.
    tags = np.pad(np.where(inside, tags, null), ((0, 0), (1, 1)), constant_values=null).reshape(-1)
    kind, is_chunk, starts_one = tags // 2, tags != null, tags % 2 == 0
    changes = (kind[1:] != kind[:-1]) | ~is_chunk[:-1]
    begins = is_chunk & np.append(True, changes | starts_one[1:])
    ends = is_chunk & np.append(~is_chunk[1:] | begins[1:], True)
    first = np.flatnonzero(begins)
    return np.stack([first, np.flatnonzero(ends), kind[first]], axis=1)


def chunk_f1(counts):
    """(precision, recall, F1) of `ChunkCounts` as float64, each 0.0 where it is not defined."""
    precision, recall = ratio(counts.correct, counts.inferred), ratio(counts.correct, counts.labelled)
    return precision, recall, ratio(2.0 * precision * recall, precision + recall)
