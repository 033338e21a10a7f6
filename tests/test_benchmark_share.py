"""`benchmark.share`: which products a step has, and the line."""

import pytest

from benchmark import share
from propeller import ops
from propeller.errors import UsageError


def test_products_of_a_step():
    found = share.products_of(tokens=70, rows=4, layers=3, width=10)
    assert (
        found[70, 30, 10] == found[70, 10, 30] == found[10, 30, 96] == 3
    )  # queries, keys, values: 96 is 70 rounded up
    assert found[10, 40, 96] == found[40, 10, 96] == 2  # gradients of the weights, of all layers but the last
    assert found[70, 40, 10] == found[70, 10, 40] == 2 + 2  # forward of one, and the gradient of the other's input
    assert found[70, 10, 10] == 2 * 2  # a square layer: forward and the gradient of its input are alike
    assert found[4, 40, 10] == found[4, 10, 10] == 2 and found[40, 10, 32] == 1
    assert sum(found.values()) == 3 * (3 + 2 * 3 + 3)


def test_medians_and_the_share_of_pairs():
    found = [(0.1, 0.06, 24e9, 700), (0.2, 0.14, 56e9, 900), (0.1, 0.09, 36e9, 800)]
    assert share.report(share.WORKS_OF['small'], 'bf16', found) == (
        'small, bf16: 100.0 ms a step of 800 tokens, its products alone 90.0 ms (400 GFLOPS): 70.0 % of the limit'
    )


@pytest.mark.parametrize('precision', share.PRECISIONS)
def test_a_product_takes_time(precision):
    if not ops.available():
        pytest.skip('no fused operators')
    small, large = (share.product_seconds((64, 64, k), precision, 5) for k in (32, 32768))
    assert 0 < small < large < 10


@pytest.mark.parametrize('flags', [['--works', 'predict'], ['--batches', '0'], ['--rounds', '0']])
def test_refused_flags(flags):
    with pytest.raises(UsageError):
        share.parse_flags(flags)
