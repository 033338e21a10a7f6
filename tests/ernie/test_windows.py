"""Windows over long texts, beside a plain program that follows the definition token by token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ernie.reader.windows import best_windows, cut_windows


def test_known_windows():
    assert cut_windows(0, 5, 2) == [(0, 0)]
    assert cut_windows(5, 5, 2) == [(0, 5)]
    assert cut_windows(6, 5, 2) == [(0, 5), (2, 4)]
    assert cut_windows(12, 5, 9) == [(0, 5), (5, 5), (10, 2)]
    assert best_windows([(0, 5), (2, 4)], 6).tolist() == [0, 0, 0, 0, 1, 1]


@given(st.integers(0, 60), st.integers(1, 20), st.integers(1, 25))
def test_every_token_is_in_its_best_window(length, room, stride):
    windows = cut_windows(length, room, stride)
    best = best_windows(windows, length)
    assert all(size <= room for _, size in windows) and windows[-1][0] + windows[-1][1] == length
    for token in range(length):
        scores = []
        for start, size in windows:
            left, right = token - start, start + size - 1 - token
            scores.append(min(left, right) + 0.01 * size if min(left, right) >= 0 else -1.0)
        assert scores[best[token]] == max(scores) >= 0 and best[token] == scores.index(max(scores))


@pytest.mark.parametrize('room, stride', [(0, 1), (1, 0)])
def test_impossible_windows(room, stride):
    with pytest.raises(ValueError, match='at least 1'):
        cut_windows(3, room, stride)
