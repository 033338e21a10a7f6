import io
import itertools
import logging
import re
import sys

import numpy as np
import pytest

import propeller.data
import propeller.paddle as propeller_paddle
from propeller.data import text_rows
from propeller.data.example import BytesList, Feature, FloatList
from propeller.data.feature_column import (
    Column,
    FeatureColumns,
    IdsColumn,
    LabelColumn,
    TextColumn,
    TextIDColumn,
    basic_tokenizer,
)
from propeller.data.record_file import read_records, write_records
from propeller.errors import UserError

WORDS = {
    b'[PAD]': 0,
    b'[UNK]': 1,
    '今天'.encode(): 2,
    '天气'.encode(): 3,
    '오늘'.encode(): 4,
    b'good': 5,
    b'\xff\xfe': 6,
}
TEXTS = ['今天 天气 good', '오늘', '', '今天  没有 good', ' 天气 ', 'x']


def rows(count, start=0):
    return [f'{TEXTS[i % 6]}\t{i}'.encode() for i in range(start, start + count)]


def columns():
    return FeatureColumns([TextColumn('text', 1, vocab_dict=WORDS), LabelColumn('label')])


@pytest.fixture
def folder(tmp_path):
    """Three files of 1, 7 and 12 rows."""
    made = tmp_path / 'train'
    made.mkdir()
    for name, lines in (('b', rows(7, 1)), ('a', rows(1)), ('c', rows(12, 8))):
        (made / name).write_bytes(b'\n'.join(lines) + b'\n' * (name != 'c'))
    return made


def plain(dataset):
    return [[value.tolist() for value in element] for element in dataset]


def labels(dataset):
    return [int(element[1]) for element in dataset]


def test_the_names_of_2019():
    for name in ('Column', 'FeatureColumns', 'LabelColumn', 'TextColumn', 'TextIDColumn', 'Dataset', 'basic_tokenizer'):
        assert getattr(propeller.data, name) is getattr(propeller_paddle.data, name)
    with pytest.raises(AttributeError):
        propeller.data.no_such_name  # noqa: B018


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


@pytest.mark.parametrize('use_gz', [False, True])
def test_bad_rows(folder, caplog, use_gz):
    (folder / 'a').write_bytes('今天\t1\n今天\n今天\t好\n\n今天\t1\t2\n今天\t2\n'.encode())

    def read(**more):
        return columns().build_dataset('t', use_gz=use_gz, data_dir=folder, repeat=False, **more)

    with pytest.raises(UserError) as caught:
        list(read())
    assert str(caught.value) == (
        f'{folder / "a"}:2: found 1 columns, expected 2 with TABs between them: text, label. Correct it, or leave such '
        'rows out: skip_bad_rows=True.'
    )
    good = read(skip_bad_rows=True)
    for _ in range(2):
        assert sorted(labels(good)) == [1, 1, 2, 2, *range(3, 20)]
    assert labels(good.iterate_from(1)) == labels(good)[1:]
    assert caplog.text.count('3 rows left out') == 1
    assert re.search(r"a:3: found '好' in column label, expected a whole number", caplog.text)
    (folder / 'a').write_bytes(b'x\n\n')
    with pytest.raises(UserError, match=r'a: found no usable row among 1, expected .*a:1: found 1 columns'):
        list(read(skip_bad_rows=True))


@pytest.mark.parametrize('use_gz', [False, True])
def test_a_program_says_what_to_do_about_a_bad_row(tmp_path, use_gz):
    (tmp_path / 'd').mkdir()
    (tmp_path / 'd' / 'x').write_bytes(b'x\n')
    made = FeatureColumns([LabelColumn('label')], advice='Give --lenient.')
    with pytest.raises(UserError, match=r"x:1: found 'x' in column label, expected a whole number\. Give --lenient\.$"):
        list(made.build_dataset('t', use_gz, data_dir=tmp_path / 'd', repeat=False))


@pytest.mark.parametrize('use_gz', [False, True])
def test_extra_columns_are_ignored_on_request(folder, use_gz):
    def read(ignore):
        dataset = columns().build_dataset('t', use_gz, data_dir=folder, repeat=False, ignore_extra_columns=ignore)
        return sorted(labels(dataset))

    assert read(False) == read(True) == list(range(20))
    (folder / 'a').write_bytes(b'good\t1\tmore\t\ngood\t2\n')
    assert read(True) == [1, 1, 2, 2, *range(3, 20)]
    with pytest.raises(UserError, match='a:1: found 4 columns, expected 2'):
        read(False)


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


# -------------------------------------------------------------------------------------------------------------- columns


def test_basic_tokenizer():
    assert list(basic_tokenizer('今天  天气 '.encode())) == ['今天'.encode(), '天气'.encode()]


@pytest.mark.parametrize('given', ['bytes', 'str', 'file'])
@pytest.mark.parametrize('tokenizer', [basic_tokenizer, lambda raw: iter(raw.decode('utf-8', 'replace').split())])
def test_text_columns(tmp_path, given, tokenizer):
    words = ['[PAD]', '[UNK]', '今天', 'é', '오늘']
    (tmp_path / 'vocab.txt').write_text('\n'.join(words) + '\n', encoding='utf-8')
    if given == 'file':
        column = TextColumn('t', 1, vocab_file=tmp_path / 'vocab.txt', tokenizer=tokenizer)
    else:
        entries = {word if given == 'str' else word.encode(): i for i, word in enumerate(words)}
        column = TextColumn('t', 1, vocab_dict=entries, tokenizer=tokenizer)
    assert column.vocab == {word.encode(): i for i, word in enumerate(words)}
    for text, ids in (('今天 é 오늘 x', [2, 3, 4, 1]), ('', []), ('오늘', [4])):
        made = column.raw_to_instance(text.encode())
        assert made.tolist() == ids and made.dtype == np.int64
        assert column.proto_to_instance(column.raw_to_proto(text.encode())).tolist() == ids
    assert (column.output_shapes, column.output_types) == ([-1], 'int64')


def test_label_and_id_columns(tmp_path):
    (tmp_path / 'labels').write_bytes('体育\r\nfinance\n\nother\n'.encode())
    label = LabelColumn('l', vocab_file=tmp_path / 'labels')
    assert [int(label.raw_to_instance(raw)) for raw in ('体育'.encode(), b' finance ', b'other')] == [0, 1, 3]
    assert int(LabelColumn('l', vocab_dict={'体育': 7}).raw_to_instance('体育'.encode())) == 7
    made = LabelColumn('l').proto_to_instance(LabelColumn('l').raw_to_proto(b'-3'))
    assert made.shape == () and made.dtype == np.int64 and made == -3
    ids = TextIDColumn('i')
    for raw, expected in ((b'3 0  18000 ', [3, 0, 18000]), (b'', []), (b'-1 9223372036854775807', [-1, 2**63 - 1])):
        assert ids.raw_to_instance(raw).tolist() == expected == ids.proto_to_instance(ids.raw_to_proto(raw)).tolist()


def refused(make, *texts):
    with pytest.raises(UserError) as caught:
        make()
    for text in texts:
        assert text in str(caught.value)


def test_values_that_a_column_refuses():
    refused(lambda: LabelColumn('l').raw_to_instance(b'1_0'), "column l: found '1_0', expected a whole number")
    refused(lambda: LabelColumn('l').raw_to_instance(b''), "column l: found '', expected a whole number")
    refused(lambda: LabelColumn('l').raw_to_instance('１'.encode()), 'expected a whole number')
    refused(lambda: LabelColumn('l', {'a': 0, '好': 1}).raw_to_proto(b'c'), "the label 'c'", 'one of a, 好 (column l')
    refused(lambda: TextIDColumn('i').raw_to_instance(b'1 x 2'), "column i: found 'x', expected a whole number")
    refused(lambda: TextIDColumn('i').raw_to_proto(b'9223372036854775808'), 'the number 9223372036854775808')
    refused(lambda: TextIDColumn('i').raw_to_proto(b'9' * 5000), 'expected a whole number')
    refused(lambda: TextColumn('t', 1, vocab_dict=WORDS, tokenizer=lambda raw: raw).raw_to_proto(b'ab'), 'bytes or str')
    refused(lambda: LabelColumn('l').proto_to_instance(Feature(float_list=FloatList([1.0]))), 'found a float_list')
    refused(lambda: LabelColumn('l').proto_to_instance(TextIDColumn('l').raw_to_proto(b'1 2')), 'found 2 values')


def test_vocabularies_that_cannot_be(tmp_path):
    path = tmp_path / 'vocab.txt'

    def text(**given):
        return TextColumn('t', **{'unk_id': 1, **given})

    refused(text, 'column t: found no vocabulary, expected vocab_file or vocab_dict')
    refused(lambda: text(vocab_dict=WORDS, vocab_file=path), 'found vocab_dict and vocab_file, expected one')
    refused(lambda: text(vocab_dict={}), 'found an empty dict')
    refused(lambda: text(vocab_dict=['a']), 'found a list')
    refused(lambda: text(vocab_dict={'a': 0, b'a': 1}), "found 'a' twice, as bytes and as str, with the ids 0 and 1")
    refused(lambda: text(vocab_dict={'a': '0'}), "found the id '0' of 'a', expected an int")
    refused(lambda: text(vocab_dict={'a': 2**63}), 'expected one of 64 bits')
    refused(lambda: text(vocab_dict={3: 0}), 'found the key 3')
    refused(lambda: text(vocab_dict=WORDS, unk_id=7), 'found unk_id 7, expected an id of column t: vocab_dict: 0 to 6')
    refused(lambda: text(vocab_dict=WORDS, unk_id=None), 'found unk_id None, expected the id of the word')
    refused(lambda: text(vocab_dict=WORDS, tokenizer='x'), "found the tokenizer 'x', expected a function")
    refused(lambda: text(vocab_file=path), 'vocab.txt: found no such file')
    path.write_bytes(b'\n\n')
    refused(lambda: text(vocab_file=path), 'vocab.txt: found an empty file')
    path.write_bytes(b'a\nb\n')
    refused(lambda: text(vocab_file=path, unk_id=2), f'expected an id of {path}: 0 to 1')
    path.write_bytes(b'a\t0\nb\t1\n')
    assert text(vocab_file=path).vocab == {b'a': 0, b'b': 1}
    path.write_bytes(b'a\t0\nb\t2\n')
    refused(lambda: text(vocab_file=path), f'{path}:2: found', 'or entry<TAB>1')


def test_a_word_that_comes_twice_has_its_later_id(tmp_path, caplog):
    (tmp_path / 'v').write_bytes(b'a\nb\na\n')
    assert LabelColumn('l', vocab_file=tmp_path / 'v').vocab == {b'a': 2, b'b': 1}
    assert "'a' on line 1 and again on line 3: id 2 holds" in caplog.text


class Weights(Column):
    """Floats between commas, and the text itself as bytes: a column of a user."""

    output_shapes, output_types = [2], 'float32'

    def raw_to_proto(self, raw):
        return Feature(float_list=FloatList(value=[float(part) for part in raw.split(b',')]))

    def proto_to_instance(self, feature):
        return np.array(feature.float_list.value, np.float32)


class Raw(Column):
    output_shapes, output_types = [-1], 'uint8'

    def __init__(self, name):
        self.name = name

    def raw_to_proto(self, raw):
        return Feature(bytes_list=BytesList(value=[raw]))

    def proto_to_instance(self, feature):
        return np.frombuffer(feature.bytes_list.value[0], np.uint8)

    def raw_to_instance(self, raw):
        return np.frombuffer(raw, np.uint8)


@pytest.mark.parametrize('use_gz', [False, True])
def test_columns_of_a_user(tmp_path, use_gz):
    (tmp_path / 'd').mkdir()
    (tmp_path / 'd' / 'x').write_bytes('0.5,-2\t好\n1,3e5\t\n'.encode())
    made = FeatureColumns([Weights('w'), Raw('r')]).build_dataset('t', use_gz, data_dir=tmp_path / 'd', repeat=False)
    assert plain(made) == [[[0.5, -2.0], list('好'.encode())], [[1.0, 3e5], []]]
    assert (made.data_shapes, made.data_types) == ([[2], [-1]], ['float32', 'uint8'])
    (tmp_path / 'd' / 'x').write_bytes(b'1,x\t\n')
    with pytest.raises(ValueError) as caught:
        list(FeatureColumns([Weights('w'), Raw('r')]).build_dataset('t', use_gz, data_dir=tmp_path / 'd'))
    assert caught.value.__notes__ == [f'{tmp_path / "d" / "x"}:1: in column w']


class Codes(IdsColumn):
    def ids(self, raw):
        return [ord(c) if c != '!' else 0.5 for c in raw.decode()]


def test_a_user_writes_the_ids_of_a_column():
    column = Codes('codes')
    assert (column.output_shapes, column.output_types) == ([-1], 'int64')
    for text in ('好a', ''):
        raw = text.encode()
        for made in (column.raw_to_instance(raw), column.proto_to_instance(column.raw_to_proto(raw))):
            assert made.tolist() == [ord(c) for c in text] and made.dtype == np.int64
    for way in (column.raw_to_instance, column.raw_to_proto):
        with pytest.raises(TypeError):  # a fraction is not cut off
            way(b'a!')
    with pytest.raises(NotImplementedError, match=r'IdsColumn\.ids'):
        IdsColumn('x').raw_to_instance(b'')


def test_columns_that_cannot_be():
    refused(lambda: FeatureColumns([]), 'found no column')
    refused(lambda: FeatureColumns(['x']), 'found a str, expected columns')
    refused(lambda: FeatureColumns([LabelColumn('a'), TextIDColumn('a')]), 'found the names a, a')
    with pytest.raises(NotImplementedError, match='Column.raw_to_proto'):
        Column('x').raw_to_instance(b'')


def test_arguments_that_cannot_be(tmp_path, folder):
    build = columns().build_dataset
    refused(lambda: build('t'), 'found neither data_dir nor gz_dir')
    refused(lambda: build('t', data_file='x'), 'found data_file with use_gz')
    refused(lambda: build('t', use_gz=False), 'found neither data_dir nor data_file')
    refused(lambda: build('t', False, data_dir=folder, data_file='x'), 'found data_dir and data_file')
    refused(lambda: build('t', False, data_dir=tmp_path / 'no'), 'no: found no such folder')
    refused(lambda: build('t', False, data_dir=folder / 'a'), 'a: found a file, expected a folder')
    refused(lambda: build('t', False, data_file=folder), 'train: found a folder, expected a file')
    refused(lambda: list(build('t', False, data_file=tmp_path / 'no')), 'no: found no such file')
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty' / '.hidden').touch()
    refused(lambda: build('t', data_dir=tmp_path / 'empty'), 'empty: found an empty folder')
    (folder / 'sub').mkdir()
    refused(lambda: build('t', data_dir=folder), 'sub: found a folder, expected a file')
    (folder / 'sub').rmdir()
    list(build('t', data_dir=folder, repeat=False))
    refused(lambda: list(build('t', False, data_dir=tmp_path / 'train_gz')), 'a gzip file', 'use_gz=True and gz_dir')
    (tmp_path / 'none').write_bytes(b'')
    refused(lambda: list(build('t', False, data_file=tmp_path / 'none')), 'none: found an empty file')
    (tmp_path / 'none').write_bytes(b'\n\n')
    refused(lambda: list(build('t', False, data_file=tmp_path / 'none')), 'none: found no row')


# -------------------------------------------------------------------------------------------------------------- records


def test_record_files_alone(folder, tmp_path, caplog):
    made = columns().build_dataset('t', data_dir=folder, gz_dir=tmp_path / 'gz', repeat=False)
    alone = columns().build_dataset('t', gz_dir=tmp_path / 'gz', repeat=False)
    assert plain(alone) == plain(made)
    (folder / 'a').unlink()
    caplog.set_level(logging.INFO)
    assert 0 not in labels(columns().build_dataset('t', data_dir=folder, gz_dir=tmp_path / 'gz', repeat=False))
    assert '1 files of other texts' in caplog.text


def test_records_that_do_not_fit_the_columns(folder, tmp_path):
    gz = tmp_path / 'train_gz'
    list(columns().build_dataset('t', data_dir=folder, repeat=False))
    other = FeatureColumns([LabelColumn('text'), LabelColumn('score')])
    with pytest.raises(UserError, match=r'a: found in record 0: 3 values in column text, expected one label'):
        list(other.build_dataset('t', gz_dir=gz, repeat=False))
    other = FeatureColumns([LabelColumn('score')])
    with pytest.raises(UserError, match=r'record 0: no feature \(those of the record: label, text\) in column score'):
        list(other.build_dataset('t', gz_dir=gz, repeat=False))
    records = list(read_records(gz / 'b'))
    write_records(gz / 'b', [records[0], b'\x0a\x05abc'])
    with pytest.raises(UserError, match=r'b: found in record 1: 5 bytes announced where 3 are left, expected an Examp'):
        list(columns().build_dataset('t', gz_dir=gz, repeat=False))
    write_records(gz / 'b', [])
    with pytest.raises(UserError, match='b: found no record, expected at least one'):
        list(columns().build_dataset('t', gz_dir=gz, repeat=False))
