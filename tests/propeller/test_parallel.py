import os
import subprocess
import time

import pytest

from propeller.data import parallel
from propeller.data.parallel import chunked, map_ordered


class Encode:
    """Sums a chunk; slow on some chunks, so that answers come out of order; says in which process it ran."""

    def __call__(self, chunk):
        time.sleep(0.02 * (chunk[0] % 3 == 0))
        return sum(chunk), os.getpid()


class DiesElsewhere:
    def __init__(self):
        self.home = os.getpid()

    def __call__(self, chunk):
        if os.getpid() != self.home:
            os._exit(9)
        return chunk


class FailsElsewhere(DiesElsewhere):
    def __call__(self, chunk):
        assert os.getpid() == self.home
        return chunk


class Prints:
    def __call__(self, chunk):
        print('noise on stdout', flush=True)
        time.sleep(0.01)
        return chunk


class FailsOnSeven:
    def __call__(self, chunk):
        return [1 // (7 - x) for x in chunk]


class CannotBeLoaded:
    def __reduce__(self):
        return __import__, ('no_such_module_here',)

    def __call__(self, chunk):
        return chunk


class CannotBeSent:
    def __init__(self):
        self.home = lambda x: x

    def __call__(self, chunk):
        return self.home(chunk)


def slowly(chunks, seconds):
    """Leaves the workers time to start."""
    for chunk in chunks:
        time.sleep(seconds)
        yield chunk


def test_chunked():
    rows = ['aa', 'b', 'cccccc', 'd', 'e', 'f', 'g']
    assert list(chunked(rows, len, 3, 6)) == [['aa', 'b', 'cccccc'], ['d', 'e', 'f'], ['g']]
    assert list(chunked(rows, len, 3, 5)) == [['aa', 'b', 'cccccc'], ['d', 'e', 'f'], ['g']]
    assert list(chunked(rows, len, 9, 3)) == [['aa', 'b'], ['cccccc'], ['d', 'e', 'f'], ['g']]
    assert list(chunked([], len)) == []


def test_chunked_gives_the_rows_before_an_error():
    made = chunked((1 // (5 - i) for i in range(9)), int, 4)
    assert [next(made), next(made)] == [[0, 0, 0, 0], [1]]
    with pytest.raises(ZeroDivisionError):
        next(made)


def test_results_come_in_order_from_several_processes():
    chunks = [[i, i + 1, 5 * i] for i in range(1, 60)]
    results = list(map_ordered(Encode(), slowly(chunks, 0.02), processes=2, alone=2))
    assert [total for total, _ in results] == [sum(chunk) for chunk in chunks]
    assert {pid for _, pid in results[:2]} == {os.getpid()}
    assert len({pid for _, pid in results}) > 1


def test_alone_for_few_chunks(monkeypatch):
    monkeypatch.setattr(parallel, '_start_process', lambda: pytest.fail('a process was started'))
    for processes, count in ((4, 3), (1, 20)):
        assert list(map_ordered(sum, [[i] for i in range(count)], processes, alone=3)) == list(range(count))


@pytest.mark.parametrize('encode', [DiesElsewhere, FailsElsewhere, CannotBeLoaded, CannotBeSent, Prints])
def test_workers_that_fail_or_chatter_lose_nothing(encode):
    chunks = [list(range(i)) for i in range(1, 25)]
    assert list(map_ordered(encode(), slowly(chunks, 0.02), processes=2, alone=1)) == chunks


def test_no_process_to_be_had(monkeypatch):
    def refuse(*_, **__):
        raise OSError('Cannot allocate memory')

    monkeypatch.setattr(subprocess, 'Popen', refuse)
    assert list(map_ordered(sum, [[i] for i in range(9)], 2, alone=1)) == list(range(9))


def test_an_error_of_the_encoder_comes_out_in_place():
    results = map_ordered(FailsOnSeven(), slowly([[i] for i in range(12)], 0.02), processes=2, alone=1)
    assert [next(results) for _ in range(7)] == [[1 // (7 - i)] for i in range(7)]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_an_error_of_the_source_comes_after_the_results_before_it():
    results = map_ordered(sum, ([1 // (8 - i)] for i in range(20)), processes=2, alone=1)
    assert [next(results) for _ in range(8)] == [0] * 7 + [1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_memory_is_bounded_and_workers_end_with_the_iterator():
    taken = []
    started = []
    start = parallel._start_process
    parallel._start_process = lambda: started.append(start()) or started[-1]
    try:
        results = map_ordered(Encode(), (taken.append(i) or [i] for i in range(10**6)), processes=2, alone=1)
        for _ in range(5):
            next(results)
        assert len(taken) < 5 + 2 * 32 + 2
        results.close()
    finally:
        parallel._start_process = start
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)
