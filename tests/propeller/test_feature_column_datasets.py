"""Data sets of columns: the order of rows, shares of processes, going on from the middle, streams, record files."""

import io
import itertools
import logging
import sys

import numpy as np
import pytest

from propeller.data import text_rows
from propeller.data.feature_column import (
    FeatureColumns,
    TextColumn,
)
from propeller.errors import UserError
from tests.propeller.feature_columns import WORDS, columns, labels, plain, rows, write_folder


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path)


@pytest.mark.parametrize('use_gz', [False, True])
def test_rows_are_arrays(folder, use_gz):
    (folder / 'a').write_bytes(b'\xef\xbb\xbf' + '今天 good\t-7\r\n\n\r\n'.encode() + b'\xff\xfe \xff\t0012')
    dataset = columns().build_dataset('t', use_gz=use_gz, data_dir=folder, repeat=False)
    made = plain(dataset)
    assert made[0] == [[2, 5], -7] and [[6, 1], 12] in made and [[1], 17] in made and [[], 2] in made
    assert [[2, 1, 5], 3] in made and [[3], 4] in made
    assert all(value.dtype == np.int64 for element in dataset for value in element)
    assert (dataset.name, dataset.data_shapes, dataset.data_types) == ('t', [[-1], []], ['int64', 'int64'])
    batch = next(iter(dataset.padded_batch(4)))
    assert [values.shape for values in batch] == [(4, 2), (4,)]


@pytest.mark.parametrize('use_gz', [False, True])
def test_files_take_turns_in_the_order_of_their_names(folder, use_gz):
    dataset = columns().build_dataset('t', use_gz=use_gz, data_dir=folder, repeat=False)
    assert sorted(labels(dataset)) == list(range(20)) and labels(dataset)[:5] == [0, 1, 8, 2, 9]
    endless = columns().build_dataset('t', use_gz=use_gz, data_dir=folder)
    counted = np.bincount(labels(endless.take(600)))
    assert len(counted) == 20 and counted.min() > 15  # each file is read as often as the others


@pytest.mark.parametrize('use_gz', [False, True])
@pytest.mark.parametrize('repeat', [False, True])
@pytest.mark.parametrize('shuffle', [False, True])
@pytest.mark.parametrize('more', [{}, {'shard': True}, {'skip_bad_rows': True}])
def test_a_data_set_goes_on_from_the_middle(folder, monkeypatch, use_gz, repeat, shuffle, more):
    job(monkeypatch, 1, 3)
    dataset = columns().build_dataset(
        't', use_gz=use_gz, data_dir=folder, repeat=repeat, shuffle=shuffle, seed=4, **more
    )
    batches = dataset.padded_batch(3)
    whole = plain(batches.take(40))
    assert whole == plain(batches.take(40))
    for start in (1, 2, 7, 33):
        assert plain(itertools.islice(batches.iterate_from(start), 40 - start)) == whole[start:]


def test_shuffle_is_by_seed_and_another_in_each_round(folder):
    def order(seed, count=60):
        dataset = columns().build_dataset('t', data_dir=folder, shuffle=True, seed=seed)
        return labels(dataset.take(count))

    assert order(1) == order(1) != order(2)
    assert order(0) == labels(columns().build_dataset('t', data_dir=folder, shuffle=True).take(60))
    once = columns().build_dataset('t', data_dir=folder, shuffle=True, repeat=False)
    assert sorted(labels(once)) == list(range(20)) != labels(once)
    free = columns().build_dataset('t', data_dir=folder, shuffle=True, repeat=False, seed=None)
    assert len({tuple(labels(free)) for _ in range(5)}) > 1


def job(monkeypatch, rank, size):
    """The environment of a process of a job."""
    endpoints = [f'127.0.0.1:{6170 + i}' for i in range(size)]
    monkeypatch.setenv('PADDLE_TRAINERS_NUM', str(size))
    monkeypatch.setenv('PADDLE_TRAINER_ID', str(rank))
    monkeypatch.setenv('PADDLE_TRAINER_ENDPOINTS', ','.join(endpoints))
    monkeypatch.setenv('PADDLE_CURRENT_ENDPOINT', endpoints[rank])


@pytest.mark.parametrize('use_gz', [False, True])
@pytest.mark.parametrize('shuffle', [False, True])
def test_processes_share_the_rows_out(folder, monkeypatch, caplog, use_gz, shuffle):
    def share(rank, size, **more):
        job(monkeypatch, rank, size)
        return columns().build_dataset('t', use_gz=use_gz, data_dir=folder, shuffle=shuffle, shard=True, **more)

    one = labels(share(0, 1).take(60))
    shares = [labels(share(rank, 3).take(20)) for rank in range(3)]
    assert [label for together in zip(*shares, strict=True) for label in together] == one
    finite = [labels(share(rank, 3, repeat=False)) for rank in range(3)]
    assert [len(part) for part in finite] == [6, 6, 6] and len(set(sum(finite, []))) == 18
    assert '20 rows for 3 processes: the last 2 are left out' in caplog.text


@pytest.mark.parametrize(
    'content', [b'a\t1\nb\t2', b'\na\t1\n\nb\t2\n', b'\xef\xbb\xbf\r\na\t1\r\nb\t2\r\n\r\n', b'a\t1\nb\t2\n\r']
)
def test_blank_lines_do_not_count(tmp_path, content, monkeypatch):
    (tmp_path / 'x').write_bytes(content)
    for block in (1, 2, 1 << 20):
        monkeypatch.setattr(text_rows, '_BLOCK', block)
        dataset = columns().build_dataset('t', False, data_file=tmp_path / 'x', repeat=False)
        assert (labels(dataset), dataset.count(), labels(dataset.iterate_from(1))) == ([1, 2], 2, [2])


def test_a_blank_line_is_a_row_of_one_column(tmp_path):
    (tmp_path / 'x').write_bytes(b'good\n\ngood good\n')
    one = FeatureColumns([TextColumn('text', 1, vocab_dict=WORDS)])
    assert plain(one.build_dataset('t', False, data_file=tmp_path / 'x', repeat=False)) == [[[5]], [[]], [[5, 5]]]


def test_standard_input(monkeypatch, caplog):
    def stdin(content):
        monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(content)))

    stdin('今天\t1\n好\t2'.encode())
    dataset = columns().build_dataset_from_stdin('p')
    assert plain(dataset) == [[[2], 1], [[1], 2]] and dataset.name == 'p'
    stdin(b'x\t1\ny\n')
    with pytest.raises(UserError, match=r'^standard input:2: found 1 columns'):
        list(columns().build_dataset_from_stdin('p'))
    stdin(b'x\t1\ny\nz\t3\n')
    assert labels(columns().build_dataset_from_stdin('p', skip_bad_rows=True)) == [1, 3]
    assert 'standard input: 1 rows left out' in caplog.text
    stdin(b'\n'.join(rows(50)))
    assert sorted(labels(columns().build_dataset_from_stdin('p', shuffle=True))) == list(range(50))


def test_a_stream_is_read_once(tmp_path):
    import os
    import threading

    os.mkfifo(tmp_path / 'fifo')
    threading.Thread(target=lambda: (tmp_path / 'fifo').write_bytes(b'x\t3\ny\t4\n'), daemon=True).start()
    dataset = columns().build_dataset('t', False, data_file=tmp_path / 'fifo', repeat=False)
    assert labels(dataset) == [3, 4]
    with pytest.raises(
        UserError, match='found a stream, expected a file, which can be read again. Or give repeat=False'
    ):
        columns().build_dataset('t', False, data_file=tmp_path / 'fifo')


def test_record_files_alone(folder, tmp_path, caplog):
    made = columns().build_dataset('t', data_dir=folder, gz_dir=tmp_path / 'gz', repeat=False)
    alone = columns().build_dataset('t', gz_dir=tmp_path / 'gz', repeat=False)
    assert plain(alone) == plain(made)
    (folder / 'a').unlink()
    caplog.set_level(logging.INFO)
    assert 0 not in labels(columns().build_dataset('t', data_dir=folder, gz_dir=tmp_path / 'gz', repeat=False))
    assert '1 files of other texts' in caplog.text
