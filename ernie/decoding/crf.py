"""Decoding of a linear-chain CRF in numpy: the best path, and the probability of each label (Lafferty et al. 2001).

The weights are one array of [L + 2, L], L labels, in the layout of Paddle's own CRF operator: row 0 scores the label of
the first position, row 1 that of the last one, and row 2 + i the labels that follow label i.

    score(y) = w[0, y_1] + sum_t emissions[t, y_t] + sum_t w[2 + y_(t-1), y_t] + w[1, y_n]
"""

import numpy as np

WEIGHTS = 'crfw'  # name of the parameter


def viterbi(emissions, lengths, weights):
    """The path with the highest score of each row.

    Args:
        emissions: [B, T, L] scores of the labels.
        lengths: [B] int, positions of each row; the rest is padding.
        weights: [L + 2, L].

    Returns:
        [B, T] int64, 0 on padding.
    """
    emissions, weights = np.asarray(emissions, np.float64), np.asarray(weights, np.float64)
    lengths = np.asarray(lengths)
    rows, positions, labels = emissions.shape
    paths = np.zeros((rows, positions), np.int64)
    if not paths.size:
        return paths
    from_label = np.zeros((rows, positions, labels), np.int64)
    score = weights[0] + emissions[:, 0]
    for t in range(1, positions):
        steps = score[:, :, None] + weights[2:]  # [B, from, to]
        from_label[:, t] = steps.argmax(axis=1)
        score = np.where((t < lengths)[:, None], steps.max(axis=1) + emissions[:, t], score)
    label = (score + weights[1]).argmax(axis=1)
    for t in range(positions - 1, -1, -1):
        on = t < lengths
        paths[on, t] = label[on]
        label = np.where(on, from_label[np.arange(rows), t, label], label)
    return paths


def marginals(emissions, lengths, weights):
    """Probability of each label at each position: forward and backward sums, in logarithms.

    Arguments as in `viterbi`.

    Returns:
        [B, T, L] float64, 0 on padding.
    """
    emissions, weights = np.asarray(emissions, np.float64), np.asarray(weights, np.float64)
    lengths = np.asarray(lengths)
    rows, positions, labels = emissions.shape
    if not emissions.size:
        return np.zeros(emissions.shape)
    forward, backward = np.zeros(emissions.shape), np.zeros(emissions.shape)
    forward[:, 0] = weights[0] + emissions[:, 0]
    for t in range(1, positions):
        forward[:, t] = _log_sum(forward[:, t - 1, :, None] + weights[2:], axis=1) + emissions[:, t]
    for t in range(positions - 1, -1, -1):
        following = weights[1]
        if t + 1 < positions:
            inner = _log_sum(weights[2:] + (emissions[:, t + 1] + backward[:, t + 1])[:, None, :], axis=2)
            following = np.where((t + 1 < lengths)[:, None], inner, weights[1])
        backward[:, t] = following
    total = forward + backward
    probabilities = np.exp(total - _log_sum(total, axis=2)[..., None])
    return np.where((np.arange(positions) < lengths[:, None])[..., None], probabilities, 0.0)


def _log_sum(x, axis):
    top = x.max(axis=axis, keepdims=True)
    return np.log(np.exp(x - top).sum(axis=axis)) + np.squeeze(top, axis)
