import os
import subprocess
import sys
import time

import numpy as np
import pytest

from ernie.reader import parallel
from ernie.reader.classify import ClassifyReader
from ernie.reader.parallel import chunked, map_ordered
from ernie.tokenization import FullTokenizer
from propeller.errors import UserError


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


@pytest.fixture
def big_file(tmp_path):
    (tmp_path / 'vocab.txt').write_text('\n'.join(['[PAD]', '[CLS]', '[SEP]', '[MASK]', '[UNK]', *'今天好0123456789']))
    rng = np.random.default_rng(4)
    lines = [f'{i % 2}\t{"今天好"[i % 3] * rng.integers(0, 30)} {i}' for i in range(20001)]
    path = tmp_path / 'big.tsv'
    path.write_text('label\ttext_a\n' + '\n'.join(lines) + '\n', encoding='utf-8')
    return path, FullTokenizer(str(tmp_path / 'vocab.txt'))


def test_a_file_is_the_same_by_one_process_and_by_several(big_file):
    path, tokenizer = big_file
    one, three = (ClassifyReader(tokenizer, cache=False, processes=n).read(path) for n in (1, 3))
    assert len(one) == 20001
    for name in ('ids', 'offsets', 'split', 'labels', 'lines'):
        left, right = getattr(one, name), getattr(three, name)
        assert left.dtype == right.dtype and np.array_equal(left, right)


def test_bad_rows_keep_their_line_number_in_any_chunk(big_file):
    path, tokenizer = big_file
    lines = path.read_text(encoding='utf-8').split('\n')
    bad = [2, 1024, 1025, 1026, 4097, 5000, 8193, 12289, 17001, 20002]
    for number in bad:
        lines[number - 1] = '7\t今' if number % 2 else '1'
    path.write_text('\n'.join(lines), encoding='utf-8')
    made = ClassifyReader(tokenizer, cache=False, processes=2, skip_bad_rows=True).read(path)
    assert [line for line, _ in made.bad_rows.rows] == bad and len(made.bad_rows) == len(bad)
    assert made.lines.tolist() == [i for i in range(2, 20003) if i not in bad]
    lines[1:16385] = ['1\t今'] * 16384
    path.write_text('\n'.join(lines), encoding='utf-8')
    with pytest.raises(UserError, match=r'big\.tsv:17001: found the label 7'):
        ClassifyReader(tokenizer, cache=False, processes=2).read(path)


def test_a_script_without_a_main_guard_may_read(big_file, tmp_path):
    path, _ = big_file
    script = tmp_path / 'script.py'
    script.write_text(
        'print("once")\n'
        'from ernie.reader.classify import ClassifyReader\n'
        'from ernie.tokenization import FullTokenizer\n'
        f'tokenizer = FullTokenizer({str(tmp_path / "vocab.txt")!r})\n'
        f'print(len(ClassifyReader(tokenizer, cache=False, processes=2).read({str(path)!r})))\n'
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environ = {**os.environ, 'PYTHONPATH': root}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environ, timeout=60)
    assert done.stdout.split() == ['once', '20001'], done.stderr
