"""The projected LSTM: beside float64 numpy, gradients beside differences of it, and inside a training."""

import numpy as np
import pytest

from propeller import graph, ops
from propeller.graph import paddle
from tests.propeller.ops_oracle import (
    Built,
    Training,
    close,
    refused,
    same_for_any_threads,
    same_training,
    with_gradients,
)

# Steps, rows, cells, states: one of each, none, rows of more than one block, widths that fill no vector or panel.
SHAPES = [(1, 1, 1, 1), (5, 3, 7, 5), (4, 29, 40, 12), (0, 2, 4, 4), (3, 0, 8, 4), (9, 13, 100, 33)]
CLIPS = (0.4, 0.2)  # so low that many cells and states are clipped


def sample(steps, rows, cells, states, seed=0):
    """x, recurrent, projection, state, cell, and the gradient of the states; float32."""
    rng = np.random.default_rng(seed)
    shapes = [(steps, rows, 4 * cells), (states, 4 * cells), (cells, states), (rows, states), (rows, cells)]
    scales = [1, 2 / np.sqrt(states), 2 / np.sqrt(cells), 0.1, 0.1, 1]
    shapes.append((steps, rows, states))
    return [(rng.normal(size=s) * k).astype(np.float32) for s, k in zip(shapes, scales, strict=True)]


def expected(x, recurrent, projection, state, cell, cell_clip, state_clip):
    """States and cells in float64, by the formulas of `ops.lstm`."""
    clip = [lambda v, most=most: np.clip(v, -most, most) if most else v for most in (cell_clip, state_clip)]
    results = [], []
    for sums in x:
        u, i, f, o = np.split(sums + state @ recurrent, 4, axis=-1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        cell = clip[0](f * cell + i * np.tanh(u))
        state = clip[1]((o * np.tanh(cell)) @ projection)
        results[0].append(state)
        results[1].append(cell)
    shapes = [(len(x), *start.shape) for start in (state, cell)]
    return [np.reshape(values, shape) for values, shape in zip(results, shapes, strict=True)]


def program(cells, states, clips, mode):
    """States, the gradients of x, recurrent and projection, and cells."""
    shapes = [(-1, -1, 4 * cells), (states, 4 * cells), (cells, states), (-1, states), (-1, cells), (-1, -1, states)]
    names = ['x', 'recurrent', 'projection', 'state', 'cell', 'dstates']
    feeds = [graph.Feed(name, shape, 'float32') for name, shape in zip(names, shapes, strict=True)]

    def build(x, recurrent, projection, state, cell, dstates):
        seen = []

        def apply(*leaves):
            seen[:] = ops.lstm(*leaves, state, cell, *clips, training=True)
            return seen[0]

        return [*with_gradients(apply, [x, recurrent, projection], dstates), seen[1]]

    return Built(feeds, build, mode)


def slopes(arrays, clips, directions):
    """Change of sum(states dstates) along directions of x, recurrent and projection together: of float64 numpy."""
    *inputs, dstates = (array.astype(np.float64) for array in arrays)

    def value(step, direction):
        moved = [a + step * d for a, d in zip(inputs, direction, strict=False)]
        return (expected(*moved, *inputs[3:], *clips)[0] * dstates).sum()

    return np.array([(value(1e-6, d) - value(-1e-6, d)) / 2e-6 for d in directions])


@pytest.mark.parametrize('mode', ['true', 'false'])
@pytest.mark.parametrize('clips', [(0.0, 0.0), CLIPS])
def test_states_cells_and_gradients_are_those_of_float64(compiled, mode, clips):
    for shape in SHAPES if mode == 'true' else SHAPES[1:2]:
        arrays = sample(*shape)
        states, *gradients, cells = program(*shape[2:], clips, mode).run(*arrays)
        right = expected(*(array.astype(np.float64) for array in arrays[:-1]), *clips)
        close([states, cells], right, 1e-5, shape)
        if clips == CLIPS and shape[2] > 30:
            assert (np.abs(right[0]) == CLIPS[1]).any() and (np.abs(right[1]) == CLIPS[0]).any()
        rng = np.random.default_rng(1)
        directions = [[rng.normal(size=g.shape) for g in gradients] for _ in range(6)]
        found = [sum((g * d).sum() for g, d in zip(gradients, d, strict=True)) for d in directions]
        np.testing.assert_allclose(found, slopes(arrays, clips, directions), rtol=2e-4, atol=2e-4, err_msg=str(shape))


def test_gradients_of_one_number_at_a_time(compiled):
    """Directions that mix all numbers could hide that two are exchanged."""
    arrays, clips = sample(3, 2, 3, 2, seed=5), (0.0, 0.3)
    gradients = program(3, 2, clips, 'true').run(*arrays)[1:4]
    for k, gradient in enumerate(gradients):
        directions = []
        for number in np.ndindex(gradient.shape):
            directions.append([np.zeros(g.shape) for g in gradients])
            directions[-1][k][number] = 1
        np.testing.assert_allclose(gradient.ravel(), slopes(arrays, clips, directions), rtol=1e-3, atol=1e-5)


def test_threads_do_not_change_a_bit(threads):
    arrays = sample(4, 29, 40, 12)
    same_for_any_threads(threads, lambda: program(40, 12, CLIPS, 'true').run(*arrays))


def test_both_forms_train_alike(compiled):
    steps, rows, cells, states, width = 6, 5, 9, 4, 3
    rng = np.random.default_rng(2)
    x, wanted = rng.normal(size=(steps, rows, width)), rng.normal(size=(steps, rows, states)) / 3
    feeds = [graph.Feed('x', (-1, rows, width), 'float32'), graph.Feed('wanted', (-1, rows, states), 'float32')]

    def loss(x, wanted):
        normal = graph.truncated_normal(0.3)
        sizes = {'in': [width, 4 * cells], 'recurrent': [states, 4 * cells], 'projection': [cells, states]}
        weights = [graph.parameter(name, size, normal) for name, size in sizes.items()]
        starts = [paddle.zeros([rows, size]) for size in (states, cells)]
        return ((ops.lstm(x @ weights[0], *weights[1:], *starts, 3.0, 3.0, training=True)[0] - wanted) ** 2).mean()

    arrays = [x.astype(np.float32), wanted.astype(np.float32)]
    plain, fused = (Training(feeds, loss, arrays, mode, steps=8) for mode in ('false', 'true'))
    same_training(plain, fused, rel=1e-5, atol=1e-4, fall=0.95)


def test_without_training_the_plain_form_gives_the_same():
    arrays = sample(5, 3, 7, 5)[:-1]
    shapes = [(-1, -1, 28), (5, 28), (7, 5), (-1, 5), (-1, 7)]
    feeds = [graph.Feed(f'input_{i}', shape, 'float32') for i, shape in enumerate(shapes)]
    found = Built(feeds, lambda *inputs: list(ops.lstm(*inputs, *CLIPS)), 'false').run(*arrays)
    close(found, expected(*(array.astype(np.float64) for array in arrays), *CLIPS), 1e-5)


def test_wrong_shapes_are_refused():
    def feeds(**changed):
        shapes = {'x': (-1, -1, 28), 'recurrent': (5, 28), 'projection': (7, 5), 'state': (-1, 5), 'cell': (-1, 7)}
        return [graph.Feed(name, shape, 'float32') for name, shape in (shapes | changed).items()]

    for name, shape in {'x': (-1, -1, 20), 'recurrent': (4, 28), 'state': (-1, 7), 'cell': (-1, 5)}.items():
        refused(f'lstm: {name} has shape', feeds(**{name: shape}), lambda *inputs: ops.lstm(*inputs))
    refused('x has shape', feeds(x=(-1, 28)), lambda *inputs: ops.lstm(*inputs))
    refused('cell_clip is -1', feeds(), lambda *inputs: ops.lstm(*inputs, cell_clip=-1))
