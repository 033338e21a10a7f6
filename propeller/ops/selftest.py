"""The test of a compiled library: small products against numpy in float64, forward and backward."""

import numpy as np

from propeller.graph import paddle
from propeller.ops.build import Unavailable

_ROWS, _INPUTS, _OUTPUTS = 70, 33, 70


def check(kernels):
    """Raises `Unavailable` where the operators of `kernels` do not give what they should."""
    rng = np.random.default_rng(1)
    shapes = [(_ROWS, _INPUTS), (_INPUTS, _OUTPUTS), (_OUTPUTS,), (_ROWS, _OUTPUTS)]
    x, weight, bias, dy = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    expected = x.astype(np.float64) @ weight + bias, dy.astype(np.float64) @ weight.T, x.T.astype(np.float64) @ dy
    for precision, tolerance in {'fp32': 1e-5, 'bf16': 2e-2}.items():
        if precision == 'bf16' and not kernels.bf16:
            continue
        values = [paddle.to_tensor(array, stop_gradient=False) for array in (x, weight, bias)]
        y = paddle._C_ops._run_custom_op('propeller_linear', *values, precision, True, True)[0]
        y.backward(paddle.to_tensor(dy))
        for found, right in zip((y, values[0].grad, values[1].grad), expected, strict=True):
            difference = np.linalg.norm(found.numpy() - right) / np.linalg.norm(right)
            if not difference < tolerance:
                raise Unavailable(f'a product in {precision} is wrong by {difference:.1e}')
