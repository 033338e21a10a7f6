"""Weights that each process packs its share of, in two processes."""

import numpy as np
import pytest

from propeller.ops.choice import can_multiply_bfloat16
from tests import processes
from tests.propeller.shared_weights_worker import EVALUATED, SECRET, STEPS, WRITTEN


def test_shared_weights_change_no_number(compiled, tmp_path):
    """Two processes train as where each packs all weights, whatever else changes parameters; and they do find them."""
    if not can_multiply_bfloat16('true'):
        pytest.skip('needs products of bfloat16 numbers')
    for code, _, err in processes.run(2, ['-m', 'tests.propeller.shared_weights_worker', tmp_path]):
        assert code == 0, err
    # 5 in the forward pass, `w` and `t` in the backward pass. The first update asks for memory, the second one packs.
    expected = np.full(STEPS, 7)
    expected[[0, 1, EVALUATED, WRITTEN]] = 0
    expected[SECRET] = 5
    first, second = (dict(np.load(tmp_path / f'{rank}.npz')) for rank in (0, 1))
    assert first.keys() == second.keys() and len(first) > 6 * STEPS
    for found in (first, second):
        np.testing.assert_array_equal(found.pop('found'), expected)
        assert not found.pop('alone/found').any()
        for name in [name for name in found if not name.startswith('alone/')]:
            np.testing.assert_array_equal(found[name], found[f'alone/{name}'], err_msg=name)
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)
