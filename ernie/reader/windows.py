"""Overlapping windows over a text that is longer than a model can read, and which of them knows a token best."""

import numpy as np


def cut_windows(length, room, stride):
    """Windows over `length` tokens: list of (start, length).

    Each is as long as the rest and `room` allow; the next one starts `stride` tokens later, but never beyond the end
    of the one before. The last one reaches the end. No token gives one empty window.
    """
    if room < 1 or stride < 1:
        raise ValueError(f'room {room} and stride {stride} must be at least 1')
    windows, start = [], 0
    while True:
        size = min(length - start, room)
        windows.append((start, size))
        if start + size >= length:
            return windows
        start += min(size, stride)


def best_windows(windows, length):
    """For each token the number of the window that shows most of its context.

    The score of a window is min(tokens on the left, tokens on the right) + 0.01 * its length; the first of equals wins.

    Args:
        windows: what `cut_windows` gave.
        length: number of tokens, all covered.

    Returns:
        [length] int64.
    """
    best, scores = np.zeros(length, np.int64), np.full(length, -1.0)
    for number, (start, size) in enumerate(windows):
        inside = np.arange(size)
        score = np.minimum(inside, size - 1 - inside) + 0.01 * size
        better = score > scores[start : start + size]
        scores[start : start + size][better] = score[better]
        best[start : start + size][better] = number
    return best
