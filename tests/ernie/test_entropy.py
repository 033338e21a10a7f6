"""Unigram entropy at masked positions against a plain computation."""

import math
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from ernie.pretrain.entropy import count_tokens, unigram_entropy


def sample(ids, segments):
    return SimpleNamespace(token_ids=np.array(ids), segments=np.array(segments))


def test_counts_leave_out_cls_and_sep():
    samples = [sample([1, 5, 6, 2, 5, 2], [-1, 0, 1, -1, 0, -1]), sample([1, 6, 2], [-1, 0, -1]), sample([], [])]
    assert count_tokens(iter(samples), 8).tolist() == [0, 0, 0, 0, 0, 2, 2, 0]


@pytest.mark.parametrize('special', [(), (0, 1, 2, 3), (6, 0, 0)])
def test_plain_computation(special):
    rng = np.random.default_rng(3)
    size = 17
    ordinary = [i for i in range(size) if i not in special]
    train = [ordinary[i] for i in rng.zipf(1.5, 400) % len(ordinary)]
    targets = [ordinary[i] for i in rng.zipf(1.3, 91) % len(ordinary)]
    counts = Counter(train)
    given = np.array([counts[i] for i in range(size)]) + np.where(np.isin(range(size), special), 1000, 0)
    expected = 0.0
    for target in targets:
        expected -= math.log((counts[target] + 1) / (len(train) + len(ordinary)))
    found = unigram_entropy(given, np.array(targets).reshape(7, 13), special)
    assert found == pytest.approx(expected / len(targets), rel=1e-12)


def test_probabilities_sum_to_one():
    counts = np.array([4, 0, 9, 1, 0, 30])
    probabilities = [math.exp(-unigram_entropy(counts, [i], special_ids=[0])) for i in range(1, 6)]
    assert sum(probabilities) == pytest.approx(1, abs=1e-12)


def test_its_own_text_gives_the_entropy_of_the_distribution():
    counts = np.array([0, 100_000, 200_000, 700_000])
    p = counts[1:] / counts.sum()
    targets = np.repeat(np.arange(4), counts)
    assert unigram_entropy(counts, targets, [0]) == pytest.approx(-(p * np.log(p)).sum(), abs=1e-4)


@pytest.mark.parametrize(
    ('targets', 'special', 'text'),
    [([], [], 'no masked positions'), ([0], [0], 'special ids'), ([4], [], 'vocabulary of 4'), ([-1], [], 'of 4')],
)
def test_targets_that_cannot_be(targets, special, text):
    with pytest.raises(ValueError, match=text):
        unigram_entropy(np.ones(4, int), targets, special)


def test_ids_beyond_the_vocabulary():
    with pytest.raises(ValueError, match='vocabulary of 5'):
        count_tokens([sample([1, 5, 2], [-1, 0, -1])], 5)
