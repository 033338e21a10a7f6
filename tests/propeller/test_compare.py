"""Two runs of a model gave the same numbers, or the user is told which output differs and by how much."""

import numpy as np
import pytest

from propeller.compare import check_outputs, difference
from propeller.errors import UserError


def test_numbers_up_to_1_are_compared_as_they_are_and_larger_ones_as_shares():
    want = np.array([0.5, -1.0, 200.0, -10000.0])
    assert difference(want, want) == 0.0
    assert difference(want, want + [1e-3, 0, 0, 0]) == pytest.approx(1e-3)
    assert difference(want, want + [0, 0, 1.0, 0]) == pytest.approx(1 / 200)
    assert difference(want, want + [0, 0, 0, 1.0]) == pytest.approx(1e-4)
    assert difference(np.zeros((0, 3)), np.zeros((0, 3))) == 0.0


def test_equal_infinities_are_equal_and_nan_never_is():
    assert difference([np.inf, -np.inf, 1], [np.inf, -np.inf, 1]) == 0.0
    for got in ([np.nan, 0], [np.inf, 0], [-np.inf, np.nan]):
        apart = difference([1.0, 0.0], got)
        assert not apart <= 1e9
    assert not difference([np.nan], [np.nan]) <= 1e9


def test_what_differs_is_named():
    want = [np.zeros((2, 3), np.float32), np.ones(4, np.float32)]
    check_outputs('x', want, [want[0], want[1] + np.float32(1e-6)], 1e-5)
    with pytest.raises(UserError, match='x: output 1 of the exported model differs by 0.5 from the graph'):
        check_outputs('x', want, [want[0], want[1] + 0.5], 1e-5)
    with pytest.raises(UserError, match='x: output 0 of the exported model differs by nan'):
        check_outputs('x', want, [want[0] * np.nan, want[1]], 1e-5)
    with pytest.raises(UserError, match=r'x: output 0 has shape \[3\], the graph gives \[2, 3\]'):
        check_outputs('x', want, [np.zeros(3), want[1]], 1e-5)
    with pytest.raises(UserError, match='x: gives 1 outputs, the graph 2'):
        check_outputs('x', want, want[:1], 1e-5)
