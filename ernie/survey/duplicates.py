"""Texts that occur twice: with two labels, or in the training set and in a dev set. Sets in, sentences out."""

import numpy as np


def contradictions(rows):
    """(number of texts that occur with different labels, lines of two rows of the first one or None).

    rows: `TokenizedSet` with `keys` and `labels`.
    """
    labels = np.asarray(rows.labels)
    labels = labels if labels.ndim > 1 else labels[:, None]
    keys = np.asarray(rows.keys)
    order = np.argsort(keys, kind='stable')
    same = keys[order[1:]] == keys[order[:-1]]
    differ = same & (labels[order[1:]] != labels[order[:-1]]).any(axis=1)
    places = np.flatnonzero(differ)
    if not len(places):
        return 0, None
    first = min(places, key=lambda place: order[place])
    return len(np.unique(keys[order[places]])), tuple(int(rows.lines[order[first + i]]) for i in (0, 1))


def shared(rows, others):
    """How many of `rows` have a text that `others` have, too. rows, others: [N], [M] int keys."""
    return int(np.isin(np.asarray(rows), np.asarray(others)).sum())


def repeated(rows):
    """How many rows of a `TokenizedSet` have the text of an earlier one."""
    return len(rows.keys) - len(np.unique(rows.keys))
