import numpy as np
import pytest

from ernie.pretrain.negatives import make_negatives
from ernie.pretrain.sample_set import COLUMN, make_set
from ernie.pretrain.samples import format_line, parse_line, parse_lines
from propeller.errors import UserError
from tests.ernie.pretrain_files import IDS, random_sample


def set_of(samples):
    lines = [format_line(sample).encode() for sample in samples]
    return make_set(parse_lines(lines), np.arange(1, len(lines) + 1), 0)


def positives(count, seed=0, longest=40):
    rng = np.random.default_rng(seed)
    labels = {'knowledge_masking': None, 'next_sentence': 1}
    return [random_sample(rng, longest, **labels) for _ in range(count)]


def parts_of(sample):
    """The (ids, segments) between `[CLS]` and the first `[SEP]`, and those behind it."""
    ids, segments = sample.token_ids.tolist(), sample.segments.tolist()
    sep = ids.index(IDS.sep)
    return (ids[1:sep], segments[1:sep]), (ids[sep + 1 : -1], segments[sep + 1 : -1])


def expected_negative(left_of, right_of, max_seq_len):
    """The rule of 2019 for one pair; None for a miss."""
    first, second = parts_of(left_of)
    left = first if len(first[0]) <= (max_seq_len - 3) // 2 else second
    first, second = parts_of(right_of)
    right = first if len(first[0]) <= max_seq_len - 3 - len(left[0]) else second
    if not left[0] or not right[0] or len(left[0]) + len(right[0]) + 3 > max_seq_len:
        return None
    ids = [IDS.cls, *left[0], IDS.sep, *right[0], IDS.sep]
    segments = [-1, *left[1], -1, *right[1], -1]
    types = [0] * (len(left[0]) + 2) + [1] * (len(right[0]) + 1)
    return ids, types, list(range(len(ids))), segments


@pytest.mark.parametrize('max_seq_len', [43, 20, 11, 5])
@pytest.mark.parametrize('count', [2, 3, 200])
def test_negatives_are_those_of_2019(max_seq_len, count):
    given = positives(count) + ([parse_line('1 9 2;0 0 0;0 1 2;-1 0 -1;1')] if count > 2 else [])
    made, misses = make_negatives(set_of(given), max_seq_len, IDS, np.random.default_rng(4), ['f.gz'])
    circle = np.random.default_rng(4).permutation(len(given))
    pairs = [(given[a], given[b]) for a, b in zip(circle, [*circle[1:], circle[0]], strict=True)]
    expected = [expected_negative(*pair, max_seq_len) for pair in pairs]
    assert misses == expected.count(None)
    kept = [(i, negative) for i, negative in enumerate(expected) if negative]
    assert made.count == len(kept) == len(given) - misses
    for row, (i, lists) in enumerate(kept):
        tokens = slice(made.offsets[row], made.offsets[row + 1])
        found = made.token_ids, made.sentence_types, made.positions, made.segments
        assert [values[tokens].tolist() for values in found] == list(lists)
        assert made.lines[row] == circle[i] + 1
        assert made.labels[row, COLUMN['next_sentence']] == 0
        assert made.labels[row, COLUMN['knowledge_masking']] == 0
        assert (made.labels[row] >= 0).sum() == 2
    if count == 200:
        assert (misses > 0) == (max_seq_len < 43)
        assert made.count > (0 if max_seq_len == 5 else 5)


def test_one_positive_alone_stays_alone():
    made, misses = make_negatives(set_of(positives(1)), 43, IDS, np.random.default_rng(0), ['f.gz'])
    assert (made.count, misses) == (0, 0)


@pytest.mark.parametrize(
    ('line', 'text'),
    [
        ('1 9 2 9 2;0 0 0 1 1;0 1 2 3 4;-1 0 -1 0 -1;0', 'the next_sentence label 0, expected 1'),
        ('1 9 2;0 0 0;0 1 2;-1 0 -1;3;ir_relevance=1', 'a sample without next_sentence label, expected 1'),
        ('1 9 9;0 0 0;0 1 2;-1 0 0;1', r'a sample without \[SEP\]'),
    ],
)
def test_samples_that_cannot_be_used(line, text):
    given = [*positives(5), parse_line(line), *positives(2)]
    with pytest.raises(UserError, match='f.gz:6: found ' + text):
        make_negatives(set_of(given), 43, IDS, np.random.default_rng(0), ['f.gz'])
