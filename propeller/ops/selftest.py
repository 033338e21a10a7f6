"""The test of a compiled library: small cases against numpy in float64, forward and backward."""

import numpy as np

from propeller.graph import paddle
from propeller.ops.build import Unavailable

_ROWS, _INPUTS, _OUTPUTS = 70, 33, 70


def check(kernels):
    """Raises `Unavailable` where the operators of `kernels` do not give what they should."""
    _check_products(kernels)
    _check_norms()


def _check_products(kernels):
    rng = np.random.default_rng(1)
    shapes = [(_ROWS, _INPUTS), (_INPUTS, _OUTPUTS), (_OUTPUTS,), (_ROWS, _OUTPUTS)]
    x, weight, bias, dy = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    expected = x.astype(np.float64) @ weight + bias, dy.astype(np.float64) @ weight.T, x.T.astype(np.float64) @ dy
    for precision, tolerance in {'fp32': 1e-5, 'bf16': 2e-2}.items():
        if precision == 'bf16' and not kernels.bf16:
            continue
        values = [paddle.to_tensor(array, stop_gradient=False) for array in (x, weight, bias)]
        y = paddle._C_ops._run_custom_op('propeller_linear', *values, precision, True, True, False)[0]
        y.backward(paddle.to_tensor(dy))
        for found, right in zip((y, values[0].grad, values[1].grad), expected, strict=True):
            difference = np.linalg.norm(found.numpy() - right) / np.linalg.norm(right)
            if not difference < tolerance:
                raise Unavailable(f'a product in {precision} is wrong by {difference:.1e}')


def _check_norms():
    """Norms of sums, of whose gradients the sum over a row and that of its products with the row are 0."""
    rng = np.random.default_rng(2)
    x, residual, dy = (rng.normal(size=(_ROWS, _INPUTS)).astype(np.float32) for _ in range(3))
    total = x.astype(np.float64) + residual
    deviation = total.std(-1, keepdims=True)
    normal = (total - total.mean(-1, keepdims=True)) / deviation
    slope = dy - dy.mean(-1, keepdims=True, dtype=np.float64)
    expected = normal, (slope - normal * (slope * normal).mean(-1, keepdims=True)) / deviation
    one, zero, ids = np.ones(_INPUTS, np.float32), np.zeros(_INPUTS, np.float32), np.arange(_ROWS)
    x, residual, one, zero = (paddle.to_tensor(a, stop_gradient=False) for a in (x, residual, one, zero))
    own, seed = [paddle.to_tensor(ids)] * 2, paddle.to_tensor(np.array([5]))
    cases = {
        'a residual norm': ('propeller_residual_norm', x, residual, one, zero, seed, 1e-9, 0.0, 0, True, True),
        'an embedding': ('propeller_embedding_norm_2', x, residual, one, zero, own, seed, 1e-9, 0.0, 0, [1, 1]),
    }
    for name, inputs in cases.items():
        y = paddle._C_ops._run_custom_op(*inputs)[0]
        x.clear_gradient()
        y.backward(paddle.to_tensor(dy))
        for found, right in zip((y, x.grad), expected, strict=True):
            difference = np.linalg.norm(found.numpy() - right) / np.linalg.norm(right)
            if not difference < 1e-5:
                raise Unavailable(f'{name} is wrong by {difference:.1e}')
