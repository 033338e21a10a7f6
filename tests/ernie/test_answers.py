"""Answers from logits, beside a plain program of the published algorithm."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ernie.decoding.answers import (
    EMPTY,
    DecodingRules,
    cutter,
    find_answers,
    null_candidate,
    question_candidates,
)
from ernie.reader.windows import cut_windows


def random_logits(rng, windows, split):
    """Whole and half numbers, so that there are ties; huge on the question and on the last [SEP]."""
    logits = []
    for _, size in windows:
        pair = rng.integers(-6, 7, (2, split + size + 1)) / 2
        pair[:, 1:split] = pair[:, -1] = 50
        logits.append(pair.astype(np.float32))
    return logits


def plain_candidates(windows, logits, split, rules):
    """The published algorithm, position by position: list of (sum, first, last)."""

    def shows_most(token, number):
        scores = []
        for start, size in windows:
            left, right = token - start, start + size - 1 - token
            scores.append(min(left, right) + 0.01 * size if min(left, right) >= 0 else -1)
        return scores.index(max(scores)) == number

    found = []
    for number, ((begin, size), (start, end)) in enumerate(zip(windows, logits, strict=True)):
        positions = range(split, split + size)
        starts = sorted(positions, key=lambda i: -start[i])[: rules.n_best_size]
        ends = sorted(positions, key=lambda i: -end[i])[: rules.n_best_size]
        for s in starts:
            for e in ends:
                token = s - split + begin
                if e >= s and e - s + 1 <= rules.max_answer_length and shows_most(token, number):
                    found.append((float(start[s]) + float(end[e]), token, e - split + begin))
    return sorted(found, key=lambda c: -c[0])


CASES = st.tuples(st.integers(1, 28), st.integers(1, 9), st.integers(1, 6), st.integers(0, 10**6))


@settings(max_examples=150)
@given(CASES, st.integers(1, 5), st.integers(1, 7), st.integers(2, 4))
def test_candidates_are_those_of_the_published_algorithm(case, n_best, longest, split):
    tokens, room, stride, seed = case
    windows, rules = cut_windows(tokens, room, stride), DecodingRules(n_best, longest)
    logits = random_logits(np.random.default_rng(seed), windows, split)
    found = question_candidates(windows, logits, split, rules)
    expected = plain_candidates(windows, logits, split, rules)
    assert [(c.start_logit + c.end_logit, c.first, c.last) for c in found] == expected


@settings(max_examples=150)
@given(CASES, st.integers(1, 5), st.booleans(), st.sampled_from([-2.0, 0.0, 1.5]))
def test_answers_and_probabilities(case, n_best, unanswerable, threshold):
    tokens, room, stride, seed = case
    text, split = ('甲乙' * 14)[:tokens], 3  # few distinct texts
    windows = cut_windows(tokens, room, stride)
    rules = DecodingRules(n_best, 3, unanswerable, threshold)
    logits = random_logits(np.random.default_rng(seed), windows, split)
    best, answers = find_answers(
        windows, logits, split, cutter(text, list(range(tokens)), list(range(1, tokens + 1))), rules
    )
    expected = {}
    for total, first, last in plain_candidates(windows, logits, split, rules):
        if len(expected) < n_best:
            expected.setdefault(text[first : last + 1], total)
    if unanswerable:
        null = min(float(start[0]) + float(end[0]) for start, end in logits)
        lead = null - max(expected.values(), default=-math.inf)
        assert (best.text == '') == (not expected or lead > threshold)
        expected[''] = null
    elif not expected:
        expected = {EMPTY: 0.0}
    assert {a.text: a.start_logit + a.end_logit for a in answers} == expected
    assert len(answers) == len(expected)
    totals = [a.start_logit + a.end_logit for a in answers]
    assert totals == sorted(totals, reverse=True)
    sums = sum(math.exp(total) for total in totals)
    for answer in answers:
        assert answer.probability == pytest.approx(math.exp(answer.start_logit + answer.end_logit) / sums)
        if answer.start is None:
            assert answer.text == ('' if unanswerable else EMPTY) and answer.end is None
        else:
            assert text[answer.start : answer.end] == answer.text
    assert best in answers and (unanswerable or best == answers[0])


def test_question_padding_and_separator_never_answer():
    pair = np.full((2, 9), 99.0)  # [CLS] q q [SEP] d d d [SEP] and one position of padding
    pair[:, 4:7] = [[1.0, 3.0, 2.0], [2.0, 1.0, 0.5]]
    best, answers = find_answers([(0, 3)], [pair], 4, cutter('abc', [0, 1, 2], [1, 2, 3]), DecodingRules())
    assert (best.text, best.start, best.end) == ('b', 1, 2)
    assert {a.text for a in answers} == {'a', 'ab', 'abc', 'b', 'bc', 'c'}


def test_nothing_left_is_the_word_of_2019():
    pair = np.zeros((2, 5))
    pair[0, 3], pair[1, 2] = 5, 5  # best start behind the best end
    best, answers = find_answers([(0, 2)], [pair], 2, cutter('ab', [0, 1], [1, 2]), DecodingRules(n_best_size=1))
    assert answers == [best] and tuple(best) == ('empty', None, None, 0.0, 0.0, 1.0)


@pytest.mark.parametrize('threshold, expected', [(0.0, ''), (0.9, ''), (1.0, 'a'), (2.0, 'a'), (-9.0, '')])
def test_threshold_of_no_answer(threshold, expected):
    """Null score: least over the windows, 1 + 4; best answer 2 + 2."""
    first, second = np.array([[1.0, 0, 2, 0], [4.0, 0, 2, 0]]), np.array([[6.0, 0, 1, 0], [6.0, 0, 1, 0]])
    assert null_candidate([first, second]) == (1.0, 4.0)
    rules = DecodingRules(unanswerable=True, null_score_diff_threshold=threshold)
    best, answers = find_answers([(0, 1), (1, 1)], [first, second], 2, cutter('ab', [0, 1], [1, 2]), rules)
    assert best.text == expected
    assert [(a.text, a.start_logit + a.end_logit) for a in answers] == [('', 5.0), ('a', 4.0), ('b', 2.0)]
