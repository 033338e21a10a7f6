"""Rows, arguments and records that do not fit the columns of a data set."""

import re

import pytest

from propeller.data.feature_column import (
    FeatureColumns,
    LabelColumn,
)
from propeller.data.record_file import read_records, write_records
from propeller.errors import UserError
from tests.propeller.feature_columns import columns, labels, refused, write_folder


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path)


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
