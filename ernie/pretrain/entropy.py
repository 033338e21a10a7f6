"""Entropy of the unigram distribution at masked positions: what a model reaches that knows frequencies and no context.

A masked language model is worth something from where its loss is below this number. Pure numpy.
"""

import numpy as np


def count_tokens(samples, vocab_size):
    """How often each id occurs in the samples, where it can be masked: `[CLS]` and `[SEP]` are not counted.

    Args:
        samples: iterable of objects with `token_ids` and `segments`, int arrays of equal length; segment -1 marks
            `[CLS]` and `[SEP]`. Read as a stream.
        vocab_size: number of ids.

    Returns:
        int64 array [vocab_size].

    Raises:
        ValueError: an id is not in [0, vocab_size).
    """
    counts = np.zeros(vocab_size, np.int64)
    for sample in samples:
        ids = np.asarray(sample.token_ids, np.int64)
        ids = ids[np.asarray(sample.segments) >= 0]
        _check_ids(ids, vocab_size)
        # Not bincount: that makes an array of the vocabulary's size for each sample.
        np.add.at(counts, ids, 1)
    return counts


def unigram_entropy(counts, targets, special_ids=()):
    """Mean of -log p(target), in nats, under the unigram distribution with add-one smoothing.

    p(t) = (counts[t] + 1) / (N + V): N is the sum of the counts and V the number of ids, both over all ids but the
    special ones, which are never masked. The p(t) of those ids sum to 1.

    Args:
        counts: int array [V + number of special ids], occurrences of each id in the training samples.
        targets: int array of any shape: the original ids at the masked positions of the validation set.
        special_ids: ids that are never masked ([PAD], [CLS], [SEP], [MASK]).

    Returns:
        float, nats per masked position.

    Raises:
        ValueError: there are no targets, or a target is special or not in the vocabulary.
    """
    counts = np.asarray(counts, np.float64)
    targets = np.asarray(targets, np.int64).reshape(-1)
    special = sorted(set(special_ids))
    if not targets.size:
        raise ValueError('no masked positions: their entropy is not defined')
    _check_ids(targets, len(counts))
    if np.isin(targets, special).any():
        raise ValueError(f'a target is one of the special ids {special}, which are never masked')
    possible = np.ones(len(counts), bool)
    possible[special] = False
    total = counts[possible].sum() + possible.sum()
    occurrences = np.bincount(targets, minlength=len(counts))
    seen = occurrences > 0
    log_probabilities = np.log(counts[seen] + 1) - np.log(total)
    return float(-(occurrences[seen] * log_probabilities).sum() / targets.size)


def _check_ids(ids, vocab_size):
    if ids.size and not 0 <= ids.min() <= ids.max() < vocab_size:
        raise ValueError(f'ids from {ids.min()} to {ids.max()} in a vocabulary of {vocab_size}')
