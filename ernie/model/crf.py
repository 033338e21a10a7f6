"""The loss of a linear-chain CRF in the graph. For its weights and its decoding see `ernie.decoding.crf`."""

import warnings

from ernie.decoding.crf import WEIGHTS
from propeller import graph
from propeller.graph import F, paddle


def crf_weights(num_labels):
    """The parameter [L + 2, L] of the program being built, 0 at the start: no path is preferred."""
    return graph.parameter(WEIGHTS, [num_labels + 2, num_labels], graph.constant(0))


def crf_negative_log_likelihood(emissions, labels, mask, weights):
    """-log P(labels) of each row (Lafferty et al. 2001): log of the sum over all paths, less the score of the labels.

    Args:
        emissions: [B, T, L] float, T >= 1.
        labels: int64 [B, T], anything valid off the mask.
        mask: float [B, T], 1 on a row's positions, which are its first ones; a row may have none.
        weights: [L + 2, L].

    Returns:
        [B], 0 for a row without a position.
    """
    # Gradients of empty slices and of loops without a step do not exist in Paddle 3.3: one position off the mask more.
    emissions, labels, mask = _one_more(emissions), _one_more(labels), _one_more(mask)  # T + 1 positions
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message=".*'place' interface")  # Paddle warns of its own calls
        likelihood = _path_score(emissions, labels, mask, weights) - _log_partition(emissions, mask, weights)
    return -likelihood * mask[:, 0]


def _one_more(x):
    return paddle.concat([x, x[:, :1] * 0], axis=1)


def _log_partition(emissions, mask, weights):
    """log of the sum over all paths of exp(score), [B]. One step of the loop is one position of all rows."""
    by_time = emissions.transpose([1, 0, 2])  # [T, B, L]
    mask_by_time = mask.transpose([1, 0]).unsqueeze(-1)  # [T, B, 1]
    transitions = weights[2:].unsqueeze(0)  # [1, from, to]
    positions = paddle.shape(emissions)[1].astype('int64').reshape([1])

    def more(t, forward):
        return paddle.less_than(t, positions)

    def step(t, forward):
        here = paddle.gather(by_time, t).squeeze(0)  # [B, L]
        on = paddle.gather(mask_by_time, t).squeeze(0)  # [B, 1]
        longer = paddle.logsumexp(forward.unsqueeze(2) + transitions, axis=1) + here
        return [t + 1, paddle.where(on > 0, longer, forward)]

    first = by_time[0] + weights[0]
    _, forward = paddle.static.nn.while_loop(more, step, [paddle.full([1], 1, 'int64'), first])
    return paddle.logsumexp(forward + weights[1], axis=1)


def _path_score(emissions, labels, mask, weights):
    """Score of the path `labels`, [B]; the last position must be off the mask."""
    hot = F.one_hot(labels, weights.shape[1]).astype(emissions.dtype) * mask.unsqueeze(-1)  # [B, T, L], 0 off the mask
    last = hot[:, :-1] * (mask[:, :-1] - mask[:, 1:]).unsqueeze(-1)
    scores = (hot * emissions).sum([1, 2]) + (hot[:, 0] * weights[0]).sum(1) + (last * weights[1]).sum([1, 2])
    return scores + (paddle.matmul(hot[:, :-1], weights[2:]) * hot[:, 1:]).sum([1, 2])
