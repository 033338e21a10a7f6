"""Memory that the fused operators take beside their tensors: given back, or an error where there is none."""

import ctypes
import resource

import numpy as np
import pytest

from propeller.graph import paddle

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
    return info.uordblks + info.hblkhd


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
