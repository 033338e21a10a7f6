"""`benchmark.share`: which products a step has, and the line."""

import ctypes

import pytest

from benchmark import share
from propeller import ops
from propeller.errors import UsageError
from tests.propeller.ops_oracle import python


def test_products_of_a_step():
    needed, whole = share.products_of(tokens=70, rows=4, layers=3, width=10)
    assert needed[70, 30, 10] == needed[70, 10, 30] == needed[10, 30, 96] == 2  # 96 is 70 rounded up
    assert whole[70, 30, 10] == 3
    assert needed[70, 40, 10] == needed[70, 10, 40] == 2 * 2  # forward of one, the gradient of the other's input
    assert needed[70, 10, 10] == 2 * 2  # a square layer: forward and the gradient of its input are alike
    assert needed[4, 40, 10] == needed[4, 10, 10] == 2 and needed[40, 10, 32] == 1  # the last layer: of first tokens
    assert sum(needed.values()) == sum(whole.values()) == 3 * 4 * 3
    assert {rows for rows, *_ in whole} == {70, 10, 40}


def test_medians_and_the_shares_of_turns():
    found = [
        share.Turn(0.1, 0.06, 0.07, 24e9, 700, 30),
        share.Turn(0.2, 0.14, 0.16, 56e9, 900, 160),
        share.Turn(0.1, 0.09, 0.11, 36e9, 800, 40),
    ]
    assert share.report(share.WORKS_OF['small'], 'bf16', found) == (
        'small, bf16: 100.0 ms a step of 800 tokens. Its products alone 90.0 ms (400 GFLOPS): 70.0 % (65.0 .. 80.0) of '
        'the limit. Those of all tokens in all layers 110.0 ms: 80.0 % (75.0 .. 95.0). Cores 40 ns apart.'
    )
    assert share.report(share.WORKS_OF['small'], 'bf16', [found[0]._replace(distance=-1)]).endswith(
        '70.0 % (70.0 .. 70.0).'
    )


ON_ONE_CORE = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from benchmark import share
print(share.core_distance())
"""


def test_the_distance_of_cores():
    if not ops.available():
        pytest.skip('no fused operators')
    found = share.core_distance()
    assert found == -1 or 1 < found < 1e5  # -1: others had the cores meanwhile
    alone = python('-c', ON_ONE_CORE)
    assert (alone.returncode, alone.stdout.split()) == (0, ['-1.0']), alone.stderr


@pytest.mark.parametrize('precision', share.PRECISIONS)
def test_a_product_takes_time(precision):
    if not ops.available():
        pytest.skip('no fused operators')
    small, large = (share.product_seconds((64, 64, k), precision, 5) for k in (32, 32768))
    assert 0 < small < large < 10
    library = ctypes.CDLL('libiomp5.so')
    before = library.omp_get_max_threads()
    assert share.product_seconds((640, 640, 640), precision, 3, threads=before + 1) > 0
    assert library.omp_get_max_threads() == before


@pytest.mark.parametrize('flags', [['--works', 'predict'], ['--batches', '0'], ['--rounds', '0']])
def test_refused_flags(flags):
    with pytest.raises(UsageError):
        share.parse_flags(flags)
