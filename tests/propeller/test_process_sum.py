"""Sums over processes: through memory that they share the bits of a sum in the order of ranks; else Paddle's."""

import os
import subprocess
import sys

import numpy as np
import pytest

from propeller.ops import process_sum
from propeller.ops.choice import segment_bytes
from propeller.ops.process_sum import buckets, segment_of
from tests import processes
from tests.propeller.process_sum_worker import ROUNDS, SHAPES, values_of

SIZE = 3


def run(case, folder, bytes_more=0):
    """What each of three processes found: list of dicts."""
    file = os.memfd_create('test')
    os.truncate(file, segment_bytes(SIZE) + bytes_more)
    places = [folder / f'{rank}.npz' for rank in range(SIZE)]
    words = [sys.executable, '-m', 'tests.propeller.process_sum_worker', str(file)]
    started = [
        subprocess.Popen([*words, str(rank), str(SIZE), case, str(place)], cwd=processes.ROOT, pass_fds=[file])
        for rank, place in enumerate(places)
    ]
    try:
        assert [process.wait(120) for process in started] == [0] * SIZE
    finally:
        for process in started:
            process.kill()
        os.close(file)
    return [dict(np.load(place)) for place in places]


def test_all_processes_get_the_sum_in_the_order_of_their_ranks(compiled, tmp_path):
    found = run('sums', tmp_path)
    for number in range(ROUNDS):
        given = [values_of(rank, number) for rank in range(SIZE)]
        for i, shape in enumerate(SHAPES):
            right = (given[0][i] + given[1][i]) + given[2][i]
            for sums in found:
                assert sums[f'{number}_{i}'].shape == shape
                np.testing.assert_array_equal(sums[f'{number}_{i}'], right)


def test_each_process_gets_its_share_of_the_sum(compiled, tmp_path):
    """Its portion of each array in the order of the ranks; the rest is what it has given. All get the sum of a number,
    and that of all squares.
    """
    found = run('shares', tmp_path)
    for number in range(ROUNDS):
        given, square = [values_of(rank, number) for rank in range(SIZE)], 0
        for i in range(len(SHAPES)):
            right = ((given[0][i] + given[1][i]) + given[2][i]).ravel()
            for rank, sums in enumerate(found):
                expected = given[rank][i].ravel().copy()
                # Of a matrix with enough of them, 16 rows stay together.
                unit = 16 * 32 if SHAPES[i] == (64, 32) else 1
                own = slice(*(right.size // unit * r // SIZE * unit for r in (rank, rank + 1)))
                expected[own] = right[own]
                np.testing.assert_array_equal(sums[f'{number}_{i}'].ravel(), expected)
            square += np.square(right, dtype=np.float64).sum()
        numbers = [sums[f'{number}_{len(SHAPES)}'] for sums in found]
        np.testing.assert_allclose(numbers[0], [1 + 2 + 3, square], rtol=1e-6)
        np.testing.assert_array_equal(numbers[1:], numbers[:1] * 2)


def test_one_that_leaves_is_told_by_the_others(compiled, tmp_path):
    stayed, _, other = run('leaves', tmp_path)
    for found in (stayed, other):
        assert 'a peer is gone: process 1 of the job' in str(found['error']) and '1_0' in found and '2_0' not in found
        assert 'an earlier sum over the processes failed' in str(found['again'])


def test_other_counts_are_told(compiled, tmp_path):
    errors = [str(found['error']) for found in run('counts', tmp_path) if 'error' in found]
    assert errors and any('process 1 has 15 numbers, process 0 has 1' in error for error in errors)


def test_memory_that_is_too_small_is_refused(compiled, tmp_path):
    assert all('not theirs' in str(found['error']) for found in run('sums', tmp_path, bytes_more=-1))


@pytest.fixture
def no_nameless_files(monkeypatch):
    """As where files without a name cannot be opened by other processes."""
    monkeypatch.setattr(process_sum, 'anonymous_file', lambda world, size: (None, 'not here'))


def test_processes_that_cannot_share_memory(compiled, no_nameless_files, caplog):
    class World:
        size, local_size, rank, is_main_process = 2, 1, 0, True
        any_process = staticmethod(bool)
        broadcast_object = staticmethod(lambda value: value)

    assert segment_of(World()) is None  # on two machines
    World.local_size = 2
    assert segment_of(World(), mode='false') is None
    before = set(os.listdir('/dev/shm')) if os.path.isdir('/dev/shm') else set()
    segment = segment_of(World(), folder='/dev/shm')
    assert (segment.rank, segment.size, segment.grows) == (0, 2, False)
    assert 'they can share no more memory: not here' in caplog.text
    assert os.fstat(segment.file).st_size == segment_bytes(2)
    assert os.fstat(segment.file).st_nlink == 0 and set(os.listdir('/dev/shm')) <= before
    os.close(segment.file)
    alone = World()
    alone.size = 1
    assert segment_of(alone) is None


def test_memory_that_cannot_be_had_is_one_warning(compiled, no_nameless_files, caplog, tmp_path):
    """It names what was tried and what it costs, in the log of the main process too if another one fails."""

    class World:
        size, local_size, rank, is_main_process = 2, 2, 0, True
        any_process = staticmethod(bool)
        broadcast_object = staticmethod(lambda value: value)

    assert segment_of(World(), folder='/proc/nowhere') is None

    class Second(World):
        rank, is_main_process = 1, False
        broadcast_object = staticmethod(lambda value: '/proc/nowhere/file')

    assert segment_of(Second()) is None

    class First(World):
        answers = [False, True]  # all run here, another one has failed
        any_process = staticmethod(lambda fault: First.answers.pop(0))

    assert segment_of(First(), folder=tmp_path) is None and not os.listdir(tmp_path)
    lines = [record.getMessage() for record in caplog.records if record.levelname == 'WARNING']
    reasons = ['/proc/nowhere: No such file', 'process 1: /proc/nowhere/file: No such file', 'another process']
    assert len(lines) == 3 and all(reason in line for reason, line in zip(reasons, lines, strict=True))
    assert all('through sockets' in line and 'a sixth of a step' in line and '\n' not in line for line in lines)


def test_neighbours_share_a_message():
    assert buckets([4, 4, 4, 100, 4, 90, 10], 100) == [[0, 1, 2], [3], [4, 5], [6]]
    assert buckets([], 8) == []


@pytest.mark.slow
def test_fused_operators_that_one_process_lacks(compiled, tmp_path):
    """Then all go through sockets: nobody waits for a sum that another does not make."""
    for code, out, err in processes.run(2, ['-m', 'tests.propeller.segment_worker']):
        assert code == 0, err
        assert out.split() == ['True', 'False', 'False']
