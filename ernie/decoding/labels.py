"""From the scores of pieces to labels of tokens, with and without a CRF. numpy in, numpy out."""

import numpy as np

from ernie.decoding.crf import marginals, viterbi
from ernie.decoding.scheme import token_label


def best_labels(scores, lengths, weights=None):
    """The label of each piece.

    Args:
        scores: [B, T, L] of the pieces, `[CLS]` left out: probabilities, or with `weights` emissions of a CRF.
        lengths: [B] pieces of each row.
        weights: [L + 2, L] of the CRF, see `ernie.decoding.crf`; None without one.

    Returns:
        [B, T] int64, without meaning off the row.
    """
    return scores.argmax(-1) if weights is None else viterbi(scores, lengths, weights)


def label_probabilities(scores, lengths, labels, weights=None):
    """The probability of each of `labels`, [B, T]: the given one, or the CRF's marginal. Arguments as above."""
    probabilities = scores if weights is None else marginals(scores, lengths, weights)
    return np.take_along_axis(probabilities, np.asarray(labels)[..., None], 2)[..., 0]


def token_labels(labels, first, last, names, scheme):
    """Label names of tokens.

    Args:
        labels: [T] label ids of pieces.
        first, last: [N] positions of the first and the last piece of each token.
        names: label names by id.
        scheme: key of `ernie.decoding.scheme.SCHEMES`.
    """
    pairs = zip(labels[first].tolist(), labels[last].tolist(), strict=True)
    return [token_label(names[a], names[b], scheme) for a, b in pairs]
