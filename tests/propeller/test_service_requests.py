"""The queue of a server: which rows make a batch, and what of a request is still wanted."""

import functools
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.service.limits import Limits
from propeller.service.requests import Request, RequestQueue, choose, counts, divide
from tests.propeller.service_models import Sums


def _request(*lengths, model=None):
    return Request(model or MODEL, [[1] * n for n in lengths], 0.0)


MODEL = Sums()
LIMITS = Limits(batch_tokens=100, batch_rows=8, window=6, request_tokens=1000, queue_tokens=1000)


def _lengths(taken):
    return [row.tokens for row in taken[1]]


def test_the_oldest_row_is_in_the_next_batch_with_its_likes():
    queue = RequestQueue(LIMITS)
    for length in (50, 3, 48, 4, 5, 20):
        queue.add(_request(length))
    assert _lengths(queue.take()) == [48, 50]
    assert _lengths(queue.take()) == [3, 4, 5]  # with 20 it would be 48 tokens of padding
    assert _lengths(queue.take()) == [20]
    assert queue.take() is None and queue.tokens == 0


def test_padding_counts():
    queue = RequestQueue(LIMITS)
    queue.add(_request(30, 30, 30, 34))
    assert _lengths(queue.take()) == [30, 30, 30]  # four rows of 34 would be 136
    queue.add(_request(400))
    assert _lengths(queue.take()) == [34]
    assert _lengths(queue.take()) == [400]  # longer than a batch: alone


def test_a_request_that_ended_costs_no_batch():
    queue, given_up, kept = RequestQueue(LIMITS), _request(7, 7, 7), _request(9)
    queue.add(given_up)
    queue.add(kept)
    queue.drop(given_up)
    assert queue.tokens == 9 and _lengths(queue.take()) == [9]
    queue.drop(given_up)
    queue.drop(kept)
    assert queue.tokens == 0


def test_what_is_given_up_does_not_fill_memory():
    queue = RequestQueue(LIMITS)
    queue.add(_request(1))
    for _ in range(1000):
        request = _request(5, 5)
        queue.add(request)
        queue.drop(request)
    assert queue.tokens == 1 and sum(map(len, queue._waiting.values())) < 100


def test_rows_whose_batch_died_go_first_and_alone():
    queue, request = RequestQueue(LIMITS), _request(5, 6, 7)
    queue.add(request)
    _, rows = queue.take()
    queue.add(_request(5))
    for row in rows:
        row.failures += 1
    queue.put_back(rows)
    assert [_lengths(queue.take()) for _ in range(4)] == [[5], [6], [7], [5]] and queue.tokens == 0


def test_models_take_turns_by_age_and_do_not_mix():
    queue, other = RequestQueue(LIMITS), Sums('other')
    for model in (MODEL, other, MODEL):
        queue.add(_request(5, model=model))
    assert [(model.name, len(rows)) for model, rows in (queue.take(), queue.take())] == [('sums', 2), ('other', 1)]


@given(st.lists(st.integers(1, 120), min_size=1, max_size=40))
def test_a_batch_has_the_oldest_and_keeps_the_limits(lengths):
    rows = _request(*lengths).rows
    chosen = choose(rows, LIMITS)
    longest = max(row.tokens for row in chosen)
    assert rows[0] in chosen and len(set(map(id, chosen))) == len(chosen) and len(chosen) in (1, 2, 3, 4, 6, 8)
    assert len(chosen) * longest <= LIMITS.batch_tokens or len(chosen) == 1


@pytest.mark.parametrize('padding', [1.0, 0.125, 0.0])
@given(st.lists(st.integers(1, 60), min_size=1, max_size=9))
def test_no_other_division_is_cheaper(padding, lengths):
    lengths.sort()
    begins, ends = divide(lengths, [_blocks(length) for length in lengths], padding, LIMITS), [len(lengths)]
    while ends[-1]:
        ends.append(begins[ends[-1]])
    found = [(begin, end) for end, begin in itertools.pairwise(ends)]
    assert sum(_cost(lengths[begin:end], padding) for begin, end in found) == _cheapest(tuple(lengths), padding)


def _blocks(length):
    return -(-length // 4) * 4


def _cost(lengths, padding):
    size = len(lengths) * _blocks(lengths[-1])
    if len(lengths) > 1 and (len(lengths) not in (2, 3, 4, 6, 8) and padding or size > 100 or len(lengths) > 8):
        return math.inf
    return 20 + sum(lengths) + padding * (size - sum(lengths))


@functools.cache
def _cheapest(lengths, padding):
    """All divisions tried."""
    ends = range(len(lengths))
    return min((_cheapest(lengths[:end], padding) + _cost(lengths[end:], padding) for end in ends), default=0)


def test_rows_of_any_length_share_a_batch_where_padding_costs_nothing():
    free = Sums()
    free.padding_cost = 0.0
    assert [row.tokens for row in choose(_request(30, 2, 5, model=free).rows, LIMITS)] == [2, 5, 30]
    assert [row.tokens for row in choose(_request(30, 2, 5).rows, LIMITS)] == [30]


def test_what_waits_is_shared_where_padding_costs_nothing():
    free = Sums()
    free.padding_cost = 0.0
    for model, expected in ((free, [2, 6, 20]), (MODEL, [2, 6, 9, 9])):
        queue = RequestQueue(LIMITS)
        queue.add(_request(2, 20, 6, 9, 9, model=model))
        assert _lengths(queue.take(28)) == expected


def test_padding_of_the_model_counts():
    class Blocks(Sums):
        def padded(self, tokens):
            return -(-tokens // 10) * 10

    rows = _request(8, 8, 8, 8, 8, 8, 11, model=Blocks()).rows
    assert len(choose(rows, LIMITS)) == 6
    assert [row.tokens for row in choose(rows[-1:] + rows[:3], LIMITS)] == [11]  # four of 20 are dearer than 3 of 10
    assert [row.tokens for row in choose([*_request(18, 11, model=Blocks()).rows], LIMITS)] == [11, 18]


def test_numbers_of_rows_are_few():
    assert counts(64) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]
    assert counts(7) == [1, 2, 3, 4, 6, 7] and counts(1) == [1]
    assert counts(22, any_few=True) == [*range(1, 17), 20, 22] and counts(3, any_few=True) == [1, 2, 3]


@given(st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=9), min_size=1, max_size=9), st.data())
def test_every_row_that_is_wanted_is_taken_once(requests, data):
    queue, requests = RequestQueue(LIMITS), [_request(*lengths) for lengths in requests]
    for request in requests:
        queue.add(request)
    given_up = data.draw(st.sets(st.sampled_from(range(len(requests)))))
    for place in given_up:
        queue.drop(requests[place])
    taken = []
    while (batch := queue.take()) is not None:
        taken += batch[1]
    wanted = [row for place, request in enumerate(requests) if place not in given_up for row in request.rows]
    assert sorted(map(id, taken)) == sorted(map(id, wanted)) and queue.tokens == 0
