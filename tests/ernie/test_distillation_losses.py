"""The losses of distillation against float64 numpy: odd sizes, rows of unequal length, whatever stands on padding."""

import numpy as np
import pytest
from scipy.special import log_softmax

from ernie.model import distillation
from propeller import graph
from propeller.graph import paddle
from propeller.session import Session

pytestmark = pytest.mark.filterwarnings("ignore:.*'place' interface")  # of Paddle, about its own calls
LENGTHS = np.array([7, 3, 1])
ROWS, T, OURS, THEIRS = 3, 7, 12, 20
MASK = (np.arange(T) < LENGTHS[:, None]).astype(np.float32)


def values(shape, seed):
    """Random numbers; those on padding are large, so that a loss that reads them is wrong by far."""
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(ROWS, T, *shape))
    found[MASK == 0] = 50
    return found.astype(np.float32)


def computed(function, *arrays):
    """The loss, and its gradients for all arrays, by Paddle."""
    feeds = [graph.Feed(f'x{i}', (-1, -1, *a.shape[2:]), 'float32') for i, a in enumerate(arrays)]

    def build(*inputs):
        for value in inputs:
            value.stop_gradient = False
        loss = function(*inputs)
        return loss, paddle.static.gradients([loss], list(inputs))

    session = Session(seed=1)
    program = session.build(feeds, build)
    loss, gradients = program.outputs
    loss, *found = session.run(program, arrays, [loss, *gradients])
    for gradient in found:
        assert not gradient[MASK == 0].any()
    return float(loss)


def relations(x, heads):
    """x [t, H] -> list of logarithms [t, t]."""
    return [log_softmax(part @ part.T / np.sqrt(part.shape[1]), -1) for part in np.split(x.astype(float), heads, -1)]


def kl(teacher, student):
    return (np.exp(teacher) * (teacher - student)).sum(-1)


@pytest.mark.parametrize('heads', [1, 4])
def test_relations_of_queries_keys_and_values(heads):
    ours, theirs = ([values((width,), seed + i) for i in range(3)] for width, seed in ((OURS, 1), (THEIRS, 5)))
    expected = 0.0
    for row, length in enumerate(LENGTHS):
        for a, b in zip(ours, theirs, strict=True):
            pairs = zip(relations(a[row, :length], heads), relations(b[row, :length], heads), strict=True)
            expected += np.mean([kl(teacher, student).mean() for student, teacher in pairs]) / ROWS

    def build(mask, *inputs):
        return distillation.relation_loss(inputs[:3], inputs[3:], mask, heads)

    assert run_masked(build, *ours, *theirs) == pytest.approx(expected, rel=1e-5)
    assert run_masked(build, *ours, *ours) == pytest.approx(0, abs=1e-6)


def run_masked(build, *arrays):
    """`computed` with the mask, which has no gradient."""
    return computed(lambda *inputs: build(paddle.assign(MASK), *inputs), *arrays)


def test_hidden_states():
    ours, theirs = values((OURS,), 1), values((OURS,), 2)
    expected = np.mean([((ours[i, :n] - theirs[i, :n]).astype(float) ** 2).mean() for i, n in enumerate(LENGTHS)])
    found = run_masked(lambda mask, a, b: distillation.hidden_loss(a, b, mask), ours, theirs)
    assert found == pytest.approx(expected, rel=1e-5)


def test_attention_scores():
    ours, theirs = [values((OURS,), i) for i in (1, 2)], [values((THEIRS,), i) for i in (3, 4)]

    def scores(pair, row, length):
        query, key = (np.split(x[row, :length].astype(float), 2, -1) for x in pair)
        return np.array([q @ k.T / np.sqrt(q.shape[1]) for q, k in zip(query, key, strict=True)])

    squares = [((scores(ours, i, n) - scores(theirs, i, n)) ** 2).mean() for i, n in enumerate(LENGTHS)]

    def build(mask, *inputs):
        return distillation.attention_loss(inputs[:2], inputs[2:], mask, 2)

    assert run_masked(build, *ours, *theirs) == pytest.approx(np.mean(squares), rel=1e-5)


@pytest.mark.parametrize('temperature', [1.0, 2.5])
def test_soft_labels(temperature):
    rng = np.random.default_rng(0)
    ours, theirs = (rng.normal(size=(5, 1, 3)).astype(np.float32) * 3 for _ in range(2))
    teacher, student = (log_softmax(x.astype(float) / temperature, -1) for x in (theirs, ours))

    def found(function):
        feeds = [graph.Feed(name, (-1, 1, 3), 'float32') for name in 'ab']
        session = Session(seed=1)
        program = session.build(feeds, lambda a, b: function(a, b, temperature))
        return session.run(program, [ours, theirs], [program.outputs])[0]

    expected = kl(teacher, student) * temperature**2
    np.testing.assert_allclose(found(distillation.soft_label_loss), expected, rtol=1e-4, atol=1e-6)
    q, p = (1 / (1 + np.exp(-x.astype(float) / temperature)) for x in (theirs, ours))
    binary = (q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))).mean(-1) * temperature**2
    np.testing.assert_allclose(found(distillation.soft_binary_loss), binary, rtol=1e-4, atol=1e-5)
