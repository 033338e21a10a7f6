"""`buffered`: elements made in another process, which never outlives what it is for."""

import contextlib
import gc
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from propeller.data import background
from propeller.data.dataset import Dataset
from propeller.errors import UserError, bad_input


def numbers(n):
    return Dataset.from_list(list(range(n)))


def is_alive(pid):
    try:
        status = Path(f'/proc/{pid}/stat').read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(')')[2].split()[0] != 'Z'


def ends(pid, seconds=20):
    """Whether a process ends."""
    patience = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < patience:
        time.sleep(0.01)
    return not is_alive(pid)


def pids(n=1000):
    """Elements that tell in which process they are made."""
    return numbers(n).map(lambda i: os.getpid())


def test_elements_come_in_order_from_another_process_at_each_pass():
    dataset = pids().map(lambda pid: (pid, np.arange(3), '三', None)).buffered(3)
    one, two = list(dataset), list(dataset)
    assert len(one) == len(two) == 1000
    (first,), (second,) = ({element[0] for element in made} for made in (one, two))
    assert len({first, second, os.getpid()}) == 3
    assert one[7][1].tolist() == [0, 1, 2] and one[7][2:] == ('三', None)
    assert ends(first) and ends(second) and not background._open
    assert list(numbers(0).buffered()) == []
    assert list(numbers(50).buffered(1).map(lambda i: -i).buffered().iterate_from(47)) == [-47, -48, -49]


@pytest.mark.parametrize('start', [0, 4])
def test_closing_any_iterator_frees_files_and_processes(tmp_path, start):
    def open_files():
        return [fd for fd in os.listdir('/proc/self/fd') if 'lines' in os.path.realpath(f'/proc/self/fd/{fd}')]

    (tmp_path / 'lines').write_bytes(b'a\nb\n' * 50)
    lines = Dataset.from_list([tmp_path / 'lines'] * 2).interleave(Dataset.from_file, 2).shuffle(3, 1)
    for dataset in (lines.take(60), lines.shard(2, 0).map(len), lines.repeat().buffered(2).shard(2, 1), numbers(9)):
        items = dataset.iterate_from(start)
        next(items)
        items.close()
        assert not background._open and not open_files()
        assert list(items) == []


@pytest.mark.parametrize('size', [1, 2, 7])
def test_so_many_are_made_ahead(tmp_path, size):
    def note(i):
        with open(tmp_path / 'made', 'ab') as f:
            f.write(b'.')
        return i

    def made():
        return os.path.getsize(tmp_path / 'made')

    items = iter(numbers(100).map(note).buffered(size))
    for taken in (1, 2, 3):
        next(items)
        patience = time.monotonic() + 20
        while made() < size and time.monotonic() < patience:
            time.sleep(0.01)
        time.sleep(0.05)
        assert size <= made() <= taken + size
    items.close()


@pytest.mark.parametrize('how', ['close', 'drop', 'end', 'error in the loop'])
def test_the_process_ends_with_the_iterator(how):
    items = iter(pids(3 if how == 'end' else 10**6).buffered(2))
    pid = next(items)
    assert is_alive(pid)
    if how == 'close':
        items.close()
    elif how == 'drop':
        del items
        gc.collect()
    elif how == 'end':
        assert list(items) == [pid, pid]
    else:
        with pytest.raises(ZeroDivisionError):
            for _ in pids(10**6).map(lambda p: (p,)).buffered(2):
                1 / 0  # noqa: B018
        items.close()
    assert ends(pid) and not background._open


class _Unusual(Exception):
    def __init__(self, number, text):
        super().__init__(f'{text} {number}')


@pytest.mark.parametrize(
    ('error', 'kind', 'text'),
    [
        (ValueError('三\nline'), ValueError, '三\nline'),
        (bad_input('a.tsv', 'x', 'y', 7), UserError, 'a.tsv:7: found x, expected y.'),
        (_Unusual(3, 'no'), RuntimeError, '_Unusual: no 3'),
        (StopIteration(), RuntimeError, 'generator raised StopIteration'),
        (KeyboardInterrupt(), KeyboardInterrupt, ''),
        (SystemExit(4), SystemExit, '4'),
    ],
    ids=lambda value: getattr(type(value), '__name__', ''),
)
def test_what_fails_there_comes_out_here_with_its_traceback(error, kind, text):
    def fail(i):
        if i == 5:
            raise error
        return i

    with pytest.raises(kind) as raised:
        list(numbers(9).map(fail).buffered(2))
    assert str(raised.value) == text
    cause = str(raised.value.__cause__)
    assert 'in fail' in cause and 'raise error' in cause and not background._open


def test_elements_before_the_failure_come_first():
    items = iter(numbers(9).map(lambda i: 1 // (5 - i)).buffered(20))
    assert [next(items) for _ in range(5)] == [0, 0, 0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(items)
    assert list(items) == []


def test_a_process_that_is_killed_is_an_error_not_a_wait():
    def die(i):
        if i == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return i

    with pytest.raises(UserError, match=r'ended by signal 9 \(Killed\) after [0-4] elements'):
        list(numbers(9).map(die).buffered())
    items = iter(pids().buffered(2))
    os.kill(next(items), signal.SIGKILL)
    with pytest.raises(UserError, match='signal 9'):
        list(items)


def test_elements_that_cannot_be_sent_are_named():
    with pytest.raises(UserError, match=r'buffered: found elements that cannot be sent between processes \(function'):
        list(numbers(3).map(lambda i: lambda: i).buffered())


def test_functions_that_draw_have_new_numbers_in_each_pass():
    dataset = numbers(3).map(lambda i: (random.random(), np.random.rand())).buffered()  # noqa: NPY002
    assert not set(sum(list(dataset), ())) & set(sum(list(dataset), ()))
    random.seed(1)
    first = list(dataset)
    random.seed(1)
    assert list(dataset) == first


def test_one_within_another_and_two_at_once():
    inner = pids(400).buffered(2)
    outer = iter(inner.map(lambda pid: (pid, os.getpid())).buffered(2))
    (one, two), other = next(outer), iter(pids(400).buffered(2))
    three = next(other)
    assert len({one, two, three, os.getpid()}) == 4
    outer.close()
    assert ends(two) and ends(one) and is_alive(three)
    assert len(list(other)) == 399 and ends(three)


def test_it_works_beside_threads_and_from_one():
    stop, found = threading.Event(), []
    threads = [threading.Thread(target=lambda: [None for _ in iter(stop.is_set, True)]) for _ in range(2)]
    for thread in threads:
        thread.start()
    reader = threading.Thread(target=lambda: found.extend(pids(40).buffered(2)))
    reader.start()
    reader.join(60)
    stop.set()
    assert len(found) == 40


PROGRAM = """
import os, sys, time
from propeller.data.dataset import Dataset
def make(i):
    print(os.getpid(), flush=True)
    if i == 2:
        time.sleep(600)
    return i
items = iter(Dataset.from_list(list(range(9))).map(make).buffered(1))
next(items); next(items)
{last}
"""


@pytest.mark.parametrize('last', ['os.kill(os.getpid(), 9)', 'sys.exit(3)', 'next(items)'], ids=['9', 'exit', 'INT'])
def test_it_ends_with_the_program_however_that_ends(last):
    program = subprocess.Popen(
        [sys.executable, '-c', PROGRAM.format(last=last)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        start_new_session=True,
    )
    with program:
        pid = int(program.stdout.readline())
        program.stdout.readline()
        if last == 'next(items)':
            program.stdout.readline()  # the third is being made
            os.killpg(program.pid, signal.SIGINT)
        program.wait(60)
        assert ends(pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
    assert program.returncode == {'next(items)': -2, 'os.kill(os.getpid(), 9)': -9}.get(last, 3)


def test_what_is_printed_there_is_printed_once(capfd):
    print('before', end=' ')
    assert list(numbers(2).map(lambda i: print('made', i)).buffered()) == [None, None]
    sys.stdout.flush()
    assert capfd.readouterr().out.split() == ['before', 'made', '0', 'made', '1']


def test_it_works_where_many_files_are_open():
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 1200:
        pytest.skip(f'{soft} files may be open')
    with contextlib.ExitStack() as files:
        for _ in range(1100):  # what `select` cannot take
            files.enter_context(open(os.devnull))
        assert list(numbers(30).buffered(2)) == list(range(30))


def test_without_fork_a_thread_does_it(monkeypatch):
    monkeypatch.delattr(os, 'fork')
    assert set(pids(5).buffered(2)) == {os.getpid()}


def test_errors_of_the_project_can_be_sent():
    error = pickle.loads(pickle.dumps(bad_input('f', 'x', 'y', 3)))
    assert str(error) == 'f:3: found x, expected y.' and error.found == 'x'
