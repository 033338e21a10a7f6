"""Which rows of a training file are held out to evaluate with: `--dev_share`.

The choice depends on the texts and labels of the file alone, not on a seed: a resumed training, a second one and one
with other settings hold out the same rows. Rows of the same text (`text_key`) stay together, so that no text is learnt
from and evaluated.
"""

import numpy as np

from propeller.errors import bad_input

_NO_CLASS = -1


def held_out(keys, rows, classes, share):
    """Which rows are held out.

    Every class keeps a text to learn from, and one of several texts has one to evaluate.

    Args:
        keys: [N] int64, equal for rows that must stay together.
        rows, classes: [M] int each, pairs of a row and a class that it belongs to; a row may have none or several.
        share: of the rows, above 0 and below 1.
    Returns:
        [N] bool; no row is, where no class has two different texts.
    """
    texts, text_of = np.unique(keys, return_inverse=True)
    pairs = np.unique(np.stack([text_of[rows], classes], axis=1), axis=0) if len(rows) else np.zeros((0, 2), np.int64)
    held = _by_stratum(_strata(len(texts), pairs), share)
    if len(pairs):
        _even_out(held, pairs)
    return held[text_of]


def too_few_texts(path, share):
    """The `UserError` for a file of which nothing can be held out."""
    expected = f'one at least, to hold out rows by --dev_share {share:g}'
    advice = 'Add rows, give --dev_set, or --dev_share 0.'
    return bad_input(path, 'no class with two different texts', expected, advice=advice)


def _strata(count, pairs):
    """[count], for each text the class of its classes that has the fewest texts."""
    strata = np.full(count, _NO_CLASS, np.int64)
    if len(pairs):
        sizes = np.bincount(pairs[:, 1])
        order = np.lexsort((pairs[:, 1], sizes[pairs[:, 1]], pairs[:, 0]))
        first = np.unique(pairs[order, 0], return_index=True)[1]
        strata[pairs[order[first], 0]] = pairs[order[first], 1]
    return strata


def _by_stratum(strata, share):
    """[count] bool: of each class the texts with the smallest keys. Texts are in the order of their keys."""
    held = np.zeros(len(strata), bool)
    order = np.argsort(strata, kind='stable')
    for texts in np.split(order, np.flatnonzero(np.diff(strata[order])) + 1):
        wanted = max(int(len(texts) * share + 0.5), 1)
        held[texts[: min(wanted, len(texts) - 1)]] = True
    return held


def _even_out(held, pairs):
    """Where texts have several classes, one of them may still be on one side only: a text of it changes sides."""
    classes_of = {}
    for text, label in pairs.tolist():
        classes_of.setdefault(text, []).append(label)
    for side in (True, False):
        sizes = np.bincount(pairs[:, 1])
        there = np.bincount(pairs[held[pairs[:, 0]] == side, 1], minlength=len(sizes))
        for label in np.flatnonzero((sizes >= 2) & (there == 0)):
            texts = pairs[pairs[:, 1] == label, 0].tolist()
            # The other side must not lose its last text of any class.
            fit = [t for t in texts if all(sizes[c] - there[c] >= 2 for c in classes_of[t])]
            if fit:
                held[fit[0]] = side
                there[classes_of[fit[0]]] += 1
