"""Memory that the fused operators take: given back, used again whatever its size, or an error where there is none."""

import ctypes
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from propeller.graph import paddle
from propeller.ops.choice import kernels

ROOT = Path(__file__).parents[2]
FIELDS = ['arena', 'ordblks', 'smblks', 'hblks', 'hblkhd', 'usmblks', 'fsmblks', 'uordblks', 'fordblks', 'keepcost']


class MallocInfo(ctypes.Structure):
    """`struct mallinfo2` of malloc.h."""

    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]


def in_use():
    """Bytes that this process has allocated."""
    library = ctypes.CDLL(None)
    if not hasattr(library, 'mallinfo2'):
        pytest.skip('this C library does not tell')
    library.mallinfo2.restype = MallocInfo
    info = library.mallinfo2()
    return info.uordblks + info.hblkhd + pool_in_use()


def pool_in_use():
    """Bytes of large arrays."""
    function = kernels().opened.propeller_ops_pool_in_use
    function.restype = ctypes.c_int64
    return function()


def spread(rows):
    """A result of `rows` pages."""
    ids, values = paddle.zeros([1], 'int64'), paddle.ones([1, 1024])
    return paddle._C_ops._run_custom_op('propeller_spread_rows', None, ids, values, rows)[0]


def resident():
    with open('/proc/self/statm') as f:
        return int(f.read().split()[1]) * resource.getpagesize()


def linear(rows, inputs, outputs):
    """A layer and its gradients; a batch of floats takes 4 rows (inputs + outputs) bytes."""
    shapes = [rows, inputs], [inputs, outputs], [outputs], [rows, outputs]
    x, weight, bias, dy = (paddle.to_tensor(np.ones(shape, np.float32), stop_gradient=False) for shape in shapes)
    y = paddle._C_ops._run_custom_op('propeller_linear_activation', x, weight, bias, 'fp32', True, True, False, 'gelu')
    y[0].backward(dy)


def attention(tokens, width):
    """One head over one row."""
    qkv = paddle.to_tensor(np.ones([tokens, 3 * width], np.float32))
    starts = paddle.to_tensor(np.array([0, tokens]))
    paddle._C_ops._run_custom_op('propeller_attention', qkv, starts, None, 1, 0.0, 0, 'fp32')


@pytest.mark.parametrize(
    ('operator', 'small', 'big'), [(linear, (64, 33, 512), (8192, 33, 512)), (attention, (7, 64), (5000, 64))]
)
def test_what_a_big_batch_took_is_given_back(compiled, operator, small, big):
    """Kernels for products are kept; the gradient of the big layer alone is 16 MB, the row's four matrices 5 MB."""
    with paddle.base.dygraph.guard(paddle.CPUPlace()):
        operator(*small)
        before = in_use()
        operator(*big)
        assert in_use() - before < 4 << 20


HOLES = """
from propeller.graph import paddle
from tests.propeller.test_ops_memory import pool_in_use, spread

assert pool_in_use() == 0
held = [spread(rows) for rows in (300, 200, 100, 300)]
assert pool_in_use() == 900 * 4096
places = [value.data_ptr() for value in held]
assert places == [places[3] + 4096 * rows for rows in (600, 400, 300, 0)]
del held[1:3]
part = spread(120)
assert part.data_ptr() == places[0] - 120 * 4096
assert (part.numpy()[0] == 1).all() and not part.numpy()[1:].any()
assert all((value.numpy()[0] == 1).all() for value in held)
del part
whole = spread(300)
assert whole.data_ptr() == places[2]
del whole, held
assert pool_in_use() == 0 and spread(900).data_ptr() == places[3]
"""


def test_holes_are_used_and_joined(compiled):
    """Large results lie side by side, from above; what comes later gets the place of a part of one, or of several."""
    if '-fsanitize' in os.environ.get('PROPELLER_OPS_CXXFLAGS', ''):
        pytest.skip('a sanitizer watches each block of the C library')
    done = subprocess.run([sys.executable, '-c', HOLES], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def test_batches_of_other_sizes_need_no_more_than_the_largest(compiled):
    """Every step's holes become one again."""
    with paddle.base.dygraph.guard(paddle.CPUPlace()):
        rng = np.random.default_rng(0)

        def step(tokens):
            values = [spread(tokens * share) for share in (1, 3, 1, 4, 2, 1) * 4]
            while values:
                del values[-1]

        step(100)
        before = resident()
        for tokens in rng.integers(3, 100, 60):
            step(int(tokens))
        assert resident() - before < 4 << 20


def test_what_is_said_where_there_is_none(compiled):
    """The weight is turned round for the product: as much again."""
    with paddle.base.dygraph.guard(paddle.CPUPlace()):
        weight = paddle.zeros([1 << 13, 1 << 13])  # 256 MB
        x, bias = paddle.zeros([1, 1 << 13]), paddle.zeros([1 << 13])
        limits = resource.getrlimit(resource.RLIMIT_AS)
        with open('/proc/self/statm') as f:
            size = int(f.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + (100 << 20), limits[1]))
        try:
            with pytest.raises(MemoryError, match='linear: memory ran out: no 256 MB for intermediate results'):
                paddle._C_ops._run_custom_op('propeller_linear', x, weight, bias, 'fp32', False, False, True)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
