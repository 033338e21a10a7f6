"""The CRF against all paths counted one by one, in float64."""

import itertools

import numpy as np
import pytest

from ernie.decoding.crf import marginals, viterbi
from ernie.decoding.labels import best_labels, label_probabilities
from ernie.model.crf import crf_negative_log_likelihood
from propeller import graph
from propeller.graph import paddle
from propeller.session import Session

LABELS = 3
SHAPES = [(3, 7), (1, 1), (4, 2), (5, 5)]


def all_paths(emissions, weights):
    """dict path -> score of one row, by the formula."""
    start, end, steps = weights[0], weights[1], weights[2:]
    return {
        path: start[path[0]]
        + end[path[-1]]
        + sum(emissions[t, label] for t, label in enumerate(path))
        + sum(steps[a, b] for a, b in itertools.pairwise(path))
        for path in itertools.product(range(len(start)), repeat=len(emissions))
    }


def brute_force(emissions, path, weights):
    """(-log P(path), best path, marginals [T, L]) of one row."""
    scores = all_paths(emissions, weights)
    total = np.logaddexp.reduce(list(scores.values()))
    probabilities = np.zeros(emissions.shape)
    for labels, score in scores.items():
        probabilities[np.arange(len(labels)), labels] += np.exp(score - total)
    return total - scores[tuple(path)], max(scores, key=scores.get), probabilities


def case(rows, positions, seed=0):
    """(emissions, labels, lengths, weights): one row is full, others may be empty."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, positions + 1, rows)
    lengths[0] = positions
    return (
        3 * rng.normal(size=(rows, positions, LABELS)),
        rng.integers(0, LABELS, (rows, positions)),
        lengths,
        2 * rng.normal(size=(LABELS + 2, LABELS)),
    )


@pytest.fixture(scope='module')
def loss():
    """Function (emissions, labels, mask, weights) -> (loss of each row, gradients by emissions and by weights)."""
    feeds = [
        graph.Feed('emissions', (-1, -1, LABELS), 'float64'),
        graph.Feed('labels', (-1, -1), 'int64'),
        graph.Feed('mask', (-1, -1), 'float64'),
    ]

    def build(emissions, labels, mask):
        weights = graph.parameter('crfw', [LABELS + 2, LABELS], graph.constant(0), dtype='float64')
        emissions.stop_gradient = False
        rows = crf_negative_log_likelihood(emissions, labels, mask, weights)
        return [rows, *paddle.static.gradients([rows.sum()], [emissions, weights])]

    session = Session(False, 0)
    program = session.build(feeds, build)
    session.initialize(program)

    def run(emissions, labels, mask, weights):
        session.write('crfw', weights)
        return session.run(program, [emissions, labels, mask], program.outputs)

    return run


@pytest.mark.parametrize(('rows', 'positions'), SHAPES)
def test_loss_is_that_of_all_paths(loss, rows, positions):
    emissions, labels, lengths, weights = case(rows, positions)
    mask = (np.arange(positions) < lengths[:, None]).astype(np.float64)
    found = loss(emissions, labels, mask, weights)[0]
    expected = [brute_force(emissions[i, :n], labels[i, :n], weights)[0] if n else 0.0 for i, n in enumerate(lengths)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(('rows', 'positions'), SHAPES)
def test_gradients_are_the_numeric_ones(loss, rows, positions):
    emissions, labels, lengths, weights = case(rows, positions, seed=1)
    mask = (np.arange(positions) < lengths[:, None]).astype(np.float64)
    _, by_emissions, by_weights = loss(emissions, labels, mask, weights)
    rng = np.random.default_rng(2)
    for _ in range(12):  # derivative along random directions of everything
        along_e, along_w = rng.normal(size=emissions.shape), rng.normal(size=weights.shape)
        up, down = (loss(emissions + h * along_e, labels, mask, weights + h * along_w)[0].sum() for h in (1e-5, -1e-5))
        expected = (by_emissions * along_e).sum() + (by_weights * along_w).sum()
        assert (up - down) / 2e-5 == pytest.approx(expected, rel=1e-7, abs=1e-7)
    # The gradient of the loss by an emission is its marginal less 1 on the path (Lafferty et al. 2001).
    on_path = np.eye(LABELS)[labels] * mask[..., None]
    np.testing.assert_allclose(by_emissions, marginals(emissions, lengths, weights) - on_path, atol=1e-12)


@pytest.mark.parametrize(('rows', 'positions'), SHAPES)
def test_best_path_and_marginals(rows, positions):
    emissions, labels, lengths, weights = case(rows, positions, seed=3)
    paths, probabilities = viterbi(emissions, lengths, weights), marginals(emissions, lengths, weights)
    for i, n in enumerate(lengths):
        assert not paths[i, n:].any() and not probabilities[i, n:].any()
        if n:
            _, best, expected = brute_force(emissions[i, :n], labels[i, :n], weights)
            assert tuple(paths[i, :n]) == best
            np.testing.assert_allclose(probabilities[i, :n], expected, atol=1e-12)


def test_large_scores_do_not_overflow():
    emissions, _, lengths, weights = case(2, 9, seed=4)
    probabilities = marginals(1e4 * emissions, lengths, 1e3 * weights)
    np.testing.assert_allclose(probabilities.sum(-1), np.arange(9) < lengths[:, None], atol=1e-9)
    chosen = np.take_along_axis(probabilities, viterbi(1e4 * emissions, lengths, 1e3 * weights)[..., None], 2)[..., 0]
    assert (chosen[np.arange(9) < lengths[:, None]] > 0.999).all()


def test_a_row_of_5000_tokens():
    emissions, _, _, weights = case(1, 5000, seed=5)
    path = viterbi(emissions, [5000], weights)[0]
    assert len(path) == 5000 and np.isfinite(marginals(emissions, [5000], weights)).all()

    def score(p):
        steps = emissions[0, np.arange(len(p)), p].sum() + weights[2 + p[:-1], p[1:]].sum()
        return weights[0, p[0]] + weights[1, p[-1]] + steps

    # Optimal: no change of two neighbours raises the score.
    rng = np.random.default_rng(6)
    for start in rng.integers(0, 4998, 200):
        other = path.copy()
        other[start : start + 2] = rng.integers(0, LABELS, 2)
        assert score(other) <= score(path) + 1e-9


def test_decoding_with_and_without_a_crf():
    emissions, _, lengths, weights = case(3, 7, seed=7)
    scores = np.exp(emissions) / np.exp(emissions).sum(-1, keepdims=True)
    np.testing.assert_array_equal(best_labels(scores, lengths), scores.argmax(-1))
    np.testing.assert_array_equal(label_probabilities(scores, lengths, scores.argmax(-1)), scores.max(-1))
    chosen = best_labels(emissions, lengths, weights)
    np.testing.assert_array_equal(chosen, viterbi(emissions, lengths, weights))
    on_row = np.arange(7) < lengths[:, None]
    sure = label_probabilities(emissions, lengths, chosen, weights)
    assert (sure[on_row] > 0).all() and (sure[on_row] <= 1 + 1e-12).all() and not sure[~on_row].any()
    # Without scores for what follows what, a CRF is a softmax at each position.
    flat = np.zeros_like(weights)
    np.testing.assert_allclose(marginals(emissions, lengths, flat)[on_row], scores[on_row], atol=1e-12)
    np.testing.assert_array_equal(viterbi(emissions, lengths, flat)[on_row], scores.argmax(-1)[on_row])
