"""What the tests of the fused operators share: comparisons, programs, trainings; linear layers in float64."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from propeller import graph, ops
from propeller.graph import paddle
from propeller.recompute import recomputation
from propeller.session import Session
from propeller.update import minimize

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = {'fp32': 1e-5, 'bf16': 2e-2}
_erf = np.vectorize(math.erf, otypes=[np.float64])


def difference(found, expected):
    """Norm of the difference over the norm of what is expected."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    if not expected.size:
        return 0.0
    return np.linalg.norm(found.astype(np.float64) - expected) / max(np.linalg.norm(expected), 1e-30)


def close(found, right, tolerance, *where):
    """Each array differs by less than `tolerance` from its right one, and is float32 where that is float64.

    where: what the message of a failure names, beside the array's number.
    """
    for i, (ours, theirs) in enumerate(zip(found, right, strict=True)):
        assert ours.dtype == (np.float32 if theirs.dtype == np.float64 else theirs.dtype), (*where, i, ours.dtype)
        off = difference(ours, theirs)
        assert off < tolerance, (*where, i, off)


def same_for_any_threads(threads, run):
    """`run()`, a list of arrays, gives the same bits with 1, 2 and 3 threads. threads: the fixture."""
    results = []
    for count in (1, 2, 3):
        threads(count)
        results.append(run())
    for result in results[1:]:
        for i, (one, other) in enumerate(zip(results[0], result, strict=True)):
            np.testing.assert_array_equal(other, one, err_msg=str(i))


def refused(match, feeds, build, modes=('true', 'false')):
    """Building a program is refused with a `ValueError` that matches. modes: those of `ops.use` to be tried."""
    for mode in modes:
        with pytest.raises(ValueError, match=match), ops.use(mode):
            Session(seed=1).build(feeds, build)


def python(*arguments, **environ):
    """What a Python with these arguments and variables did: `subprocess.CompletedProcess` with text."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environ, capture_output=True, text=True, timeout=300)


def with_gradients(apply, leaves, dy):
    """[y, gradients of the leaves ...] for y = apply(*leaves) whose gradient is dy; in a program being built."""
    for leaf in leaves:
        leaf.stop_gradient = False
    y = apply(*leaves)
    return [y, *paddle.static.gradients([y], list(leaves), [dy])]


class Built:
    """A program in a session of its own, with its initial values.

    Args:
        feeds, build, parts: of `Session.build`.
        mode: of `ops.use`.
        seed, precision: of `Session`.
    """

    def __init__(self, feeds, build, mode='true', seed=1, precision='fp32', parts=1):
        self.session = Session(seed=seed, precision=precision)
        with ops.use(mode):
            self.program = self.session.build(feeds, build, parts=parts)
        self.session.initialize(self.program)

    def operators(self):
        """list of names, `randint` for `pd_op.randint`."""
        return [op.name().split('.')[-1] for op in self.program.main.global_block().ops]

    def run(self, *arrays):
        """Its outputs."""
        outputs = self.program.outputs
        return self.session.run(self.program, arrays, outputs if isinstance(outputs, (list, tuple)) else [outputs])


class Training(Built):
    """Some updates by AdamW with decay and clipping, all from one batch.

    Args:
        feeds: list of `graph.Feed`.
        loss: function (*inputs) -> scalar.
        arrays: the batch.
        mode, precision: of `Built`.
        steps: updates.
        parts: into so many the batch is cut.
        recompute: whether segments are computed twice.
        frozen: names of parameters that are not trained.
        rate: of learning.
    Attributes:
        losses: list of float, by update.
        parameters: dict name -> array, what is there at the end.
    """

    def __init__(
        self,
        feeds,
        loss,
        arrays,
        mode,
        steps=4,
        parts=1,
        recompute=False,
        frozen=(),
        rate=0.02,
        precision='fp32',
    ):
        def build(*inputs):
            with recomputation(recompute), graph.parameter_rules(frozen=lambda name: name in frozen):
                value = loss(*inputs)
            minimize(value, lambda step: rate, weight_decay=0.01, clip_norm=1.0)
            return value

        super().__init__(feeds, build, mode, seed=4, precision=precision, parts=parts)
        cut = zip(*(np.array_split(array, parts) for array in arrays), strict=True)
        batches = [(list(part), True) for part in cut]
        done = [self.session.update(self.program, batches, [self.program.outputs]) for _ in range(steps)]
        self.losses = [float(update.fetched[0][0]) for update in done]
        self.parameters = {name: self.session.read(name) for name in self.program.parameters()}


def same_training(plain, fused, rel, atol, fall, noise=()):
    """Two `Training`s are one: losses to `rel`, parameters to `atol`; and they fall to `fall` of the first or less.

    noise: names of parameters whose gradient is 0 but for rounding, of which AdamW makes steps of full size.
    """
    assert fused.losses == pytest.approx(plain.losses, rel=rel)
    assert fused.losses[-1] < fall * fused.losses[0]
    assert fused.parameters.keys() == plain.parameters.keys() > set(noise)
    for name in plain.parameters.keys() - set(noise):
        # AdamW divides by the root of the squared gradient: what is nearly 0 may be off by more than rounding.
        np.testing.assert_allclose(fused.parameters[name], plain.parameters[name], atol=atol, err_msg=name)


# ------------------------------------------------------------------------------------------ linear layers

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
    inner = math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)
    near = 0.5 * (1 + np.tanh(inner))
    inner_slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * z**2)
    y, slope = {
        None: (z, np.ones_like(z)),
        'relu': (np.maximum(z, 0), (z > 0).astype(np.float64)),
        'gelu': (z * distribution, distribution + z * density),
        'gelu_new': (z * near, near + z * 0.5 / np.cosh(np.clip(inner, -300, 300)) ** 2 * inner_slope),
    }[activation]
    dz = (dy * slope).reshape(-1, weight.shape[1])
    flat = x.reshape(-1, weight.shape[0])
    return [y, (dz @ weight.T).reshape(x.shape), flat.T @ dz, dz.sum(0)]


class LinearProgram(Built):
    """A program with one linear layer whose inputs are arrays, and its gradients.

    Args:
        activation, precision, transposed: of `ops.linear`. `run` has the weight as [inputs, outputs] in any case.
        rank: axes of x.
        inputs, outputs: widths.
        mode: of `ops.use`.
    """

    def __init__(self, activation, precision, rank, inputs, outputs, mode='true', transposed=False):
        vary = (-1,) * (rank - 1)
        feeds = [
            graph.Feed('x', (*vary, inputs), 'float32'),
            graph.Feed('weight', (outputs, inputs) if transposed else (inputs, outputs), 'float32'),
            graph.Feed('bias', (outputs,), 'float32'),
            graph.Feed('dy', (*vary, outputs), 'float32'),
        ]

        def apply(x, weight, bias):
            return ops.linear(x, weight, bias, activation, precision, transposed=transposed)

        self.transposed = transposed
        super().__init__(feeds, lambda *values: with_gradients(apply, values[:-1], values[-1]), mode)

    def run(self, x, weight, bias, dy):
        """[y, dx, dweight, dbias]."""
        if not self.transposed:
            return super().run(x, weight, bias, dy)
        y, dx, dweight, dbias = super().run(x, np.ascontiguousarray(weight.T), bias, dy)
        return [y, dx, dweight.T, dbias]
