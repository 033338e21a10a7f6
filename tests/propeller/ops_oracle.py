"""What the tests of the fused operators share: the float64 oracle of a linear layer, and programs that run it."""

import math

import numpy as np

from propeller import graph, ops
from propeller.graph import paddle
from propeller.session import Session

# Rows (x without its last axis), inputs, outputs: one row, none, and sizes that fill no block of any kernel.
SHAPES = [
    ((1,), 12, 30),
    ((7,), 30, 7),
    ((13,), 384, 2),
    ((0,), 12, 30),
    ((3, 0), 30, 7),
    ((2, 13), 12, 384),
    ((5, 26), 384, 390),
    ((7,), 2, 1),
]
_erf = np.vectorize(math.erf, otypes=[np.float64])


def difference(found, expected):
    """Norm of the difference over the norm of what is expected."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    if not expected.size:
        return 0.0
    return np.linalg.norm(found.astype(np.float64) - expected) / max(np.linalg.norm(expected), 1e-30)


def sample(rows, inputs, outputs, activation=None, seed=0):
    """x, weight, bias and dy, float32. For relu, x weight + bias is nowhere so near to 0 that rounding would matter."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(*rows, inputs)).astype(np.float32)
    weight = (rng.normal(size=(inputs, outputs)) / math.sqrt(inputs)).astype(np.float32)
    bias = rng.normal(size=outputs) / 9 + (rng.choice([-6, 6], size=outputs) if activation == 'relu' else 0)
    return x, weight, bias.astype(np.float32), rng.normal(size=(*rows, outputs)).astype(np.float32)


def expected(x, weight, bias, dy, activation):
    """[y, dx, dweight, dbias] in float64."""
    x, weight, bias, dy = (array.astype(np.float64) for array in (x, weight, bias, dy))
    z = x @ weight + bias
    distribution = 0.5 * (1 + _erf(z / math.sqrt(2))) if z.size else z
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    y, slope = {
        None: (z, np.ones_like(z)),
        'relu': (np.maximum(z, 0), (z > 0).astype(np.float64)),
        'gelu': (z * distribution, distribution + z * density),
    }[activation]
    dz = (dy * slope).reshape(-1, weight.shape[1])
    flat = x.reshape(-1, weight.shape[0])
    return [y, (dz @ weight.T).reshape(x.shape), flat.T @ dz, dz.sum(0)]


class LinearProgram:
    """A program with one linear layer whose inputs are arrays, and its gradients.

    Args:
        activation, precision: of `ops.linear`.
        rank: axes of x.
        inputs, outputs: widths.
        mode: of `ops.use`.
    """

    def __init__(self, activation, precision, rank, inputs, outputs, mode='true'):
        vary = (-1,) * (rank - 1)
        feeds = [
            graph.Feed('x', (*vary, inputs), 'float32'),
            graph.Feed('weight', (inputs, outputs), 'float32'),
            graph.Feed('bias', (outputs,), 'float32'),
            graph.Feed('dy', (*vary, outputs), 'float32'),
        ]

        def build(x, weight, bias, dy):
            for value in (x, weight, bias):
                value.stop_gradient = False
            y = ops.linear(x, weight, bias, activation, precision)
            return [y, *paddle.static.gradients([y], [x, weight, bias], [dy])]

        self.session = Session(seed=1)
        with ops.use(mode):
            self.program = self.session.build(feeds, build)

    def operators(self):
        return [op.name() for op in self.program.main.global_block().ops]

    def run(self, *arrays):
        """[y, dx, dweight, dbias]."""
        return self.session.run(self.program, arrays, self.program.outputs)
