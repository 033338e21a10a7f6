"""Data sets that begin in the middle: the same elements, and nothing made of those before."""

import gzip
import itertools
import random

import numpy as np
import pytest

from propeller.data.dataset import Dataset
from propeller.data.lines import count_lines, read_lines
from propeller.data.record_file import write_records

WORDS = ['天气', '真好', '오늘은', 'x', 'yz', '一', '二', '三', '四']


def record_files(folder, counts):
    """Names of record files with so many records: `{file}:{number}` and a Chinese or Korean word."""
    names = []
    for i, count in enumerate(counts):
        names.append(str(folder / f'part-{i}'))
        write_records(names[-1], (f'{i}:{j} {WORDS[j % len(WORDS)]}'.encode() for j in range(count)))
    return names


def text_files(folder, counts):
    names = []
    for i, count in enumerate(counts):
        names.append(str(folder / f'text-{i}'))
        (folder / f'text-{i}').write_bytes(b''.join(f'{i}:{j} {WORDS[j % 9]}\n'.encode() for j in range(count)))
    return names


@pytest.mark.parametrize('format', [None, 'GZIP'])
@pytest.mark.parametrize('end', [b'', b'\n', b'\n\n'])
def test_lines_are_passed_over_and_counted_as_reading_finds_them(tmp_path, monkeypatch, format, end):
    monkeypatch.setattr('propeller.data.lines._BLOCK', 7)  # blocks end within lines and between them
    content = b'\n'.join([b'', b'one', b'\x85\xff two\r', '三'.encode(), b'', b'a long line of text']) + end
    (tmp_path / 'f').write_bytes(gzip.compress(content) if format else content)
    expected = content.splitlines(keepends=True) if b'\r' not in content else [x + b'\n' for x in content.split(b'\n')]
    expected[-1] = expected[-1][:-1]
    expected = [line for line in expected if line]
    assert list(read_lines(tmp_path / 'f', format)) == expected
    assert count_lines(tmp_path / 'f', format) == len(expected)
    for start in range(len(expected) + 3):
        assert list(read_lines(tmp_path / 'f', format, start)) == expected[start:]


def test_a_file_that_changed_is_counted_again(tmp_path):
    (tmp_path / 'f').write_bytes(b'a\nb\n')
    dataset = Dataset.from_file(tmp_path / 'f')
    assert dataset.count() == 2 and dataset.seekable
    (tmp_path / 'f').write_bytes(b'a\nb\nc\n')
    assert dataset.count() == 3


def chains(names, open_file):
    """Data sets over several files: what programs of 2019 make of them."""
    files = Dataset.from_list(names)
    return {
        'plain': files.interleave(open_file, cycle_length=3, block_length=1),
        'blocks': files.interleave(open_file, cycle_length=2, block_length=4),
        'one lane': files.interleave(open_file, cycle_length=1, block_length=3),
        'rounds': files.repeat(2).shuffle(4, seed=5).interleave(open_file, 9, 2),
        'for ever': files.repeat().interleave(open_file, 3, 2).shuffle(7, seed=1),
        'whole': (
            files.shuffle(9, seed=3)
            .interleave(lambda name: open_file(name).map(lambda line: (line, 1)), 3, 2)
            .repeat(2)
            .shuffle(6, seed=4)
            .shard(2, 1)
            .map(lambda line, one: (np.frombuffer(line, np.uint8), np.int64(one)))
            .padded_batch(3)
        ),
    }


def plain(elements):
    return [
        tuple(value.tolist() for value in element) if isinstance(element, list) else element for element in elements
    ]


@pytest.mark.parametrize('counts', [(5, 13, 1, 8, 2), (4, 4, 4), (30,), (1, 1, 1, 1, 1, 37)])
@pytest.mark.parametrize('kind', ['records', 'lines'])
def test_chains_of_interleave_shuffle_and_batches_begin_anywhere(tmp_path, kind, counts):
    names = (record_files if kind == 'records' else text_files)(tmp_path, counts)
    for what, dataset in chains(names, Dataset.from_record_file if kind == 'records' else Dataset.from_file).items():
        assert dataset.seekable
        whole = plain(itertools.islice(dataset, 75))
        if what != 'for ever':
            assert min(dataset.count(), 75) == len(whole), what
        for start in [*range(20), 29, 33, 60, 74, 75, 76, 200]:
            found = plain(itertools.islice(dataset.iterate_from(start), max(75 - start, 0)))
            assert found == whole[start:], (what, start)


def test_lanes_that_are_no_data_sets_are_made_again():
    dataset = Dataset.from_list([3, 1, 4]).interleave(lambda n: iter(range(n)), 2, 2)
    assert list(dataset) == [0, 1, 0, 2, 0, 1, 2, 3]
    assert not dataset.seekable and list(dataset.iterate_from(5)) == [1, 2, 3]
    mixed = Dataset.from_list([9, 5]).interleave(lambda n: Dataset.from_list([n] * n) if n > 5 else [None] * n, 2, 2)
    assert mixed.count() is None
    for start in range(15):
        assert list(mixed.iterate_from(start)) == list(mixed)[start:]
        assert list(mixed.repeat(2).shuffle(3, 1).iterate_from(start)) == list(mixed.repeat(2).shuffle(3, 1))[start:]


def test_what_lies_before_the_middle_is_not_made(tmp_path):
    made = []

    def note(line):
        made.append(line)
        return line

    names = record_files(tmp_path, (900, 1100))
    files = Dataset.from_list(names).interleave(lambda name: Dataset.from_record_file(name).map(note), 2, 3)
    dataset = files.shuffle(10, seed=2).map(note).padded_batch(5)
    whole = list(dataset)
    made.clear()
    rest = list(dataset.iterate_from(350))
    assert [batch[0].tolist() for batch in rest] == [batch[0].tolist() for batch in whole[350:]]
    # Twice 250 elements are wanted; the buffer reaches back some tens.
    assert 500 <= len(made) < 700


def test_the_numbers_of_a_buffer_are_drawn_as_randrange_draws_them():
    for size in (1, 2, 3, 8, 1000):
        dataset = Dataset.from_list(list(range(5000))).shuffle(size, seed=size)
        assert list(dataset.iterate_from(2100)) == list(dataset)[2100:]


def test_a_shuffle_without_a_seed_follows_pythons_random():
    dataset = Dataset.from_list(list(range(40))).shuffle(20)
    random.seed(3)
    first, second = list(dataset), list(dataset)
    random.seed(3)
    assert list(dataset) == first != second
    random.seed(3)
    assert list(dataset.iterate_from(13)) == first[13:]
