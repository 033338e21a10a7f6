"""Feature columns: data sets of TAB-separated text, read as it is or through record files."""

import functools
import math
import os
import stat
import sys

from propeller.data.columns import (
    BadValue,
    Column,
    IdsColumn,
    LabelColumn,
    TextColumn,
    TextIDColumn,
    basic_tokenizer,
)
from propeller.data.conversion import convert
from propeller.data.dataset import Dataset
from propeller.data.example import Example
from propeller.data.record_file import count_records, read_records
from propeller.data.text_rows import ADVICE, RowParser, TextRows, rows_of_stream
from propeller.distribution import process_info
from propeller.errors import UserError, bad_input
from propeller.log import get_logger

__all__ = [
    'BadValue',
    'Column',
    'FeatureColumns',
    'IdsColumn',
    'LabelColumn',
    'TextColumn',
    'TextIDColumn',
    'basic_tokenizer',
]

log = get_logger(__name__)

_SHUFFLE_BUFFER = 1000
_MOST_OPEN = 200  # files; a process may open 1,024 on most machines
STDIN = 'standard input'


class FeatureColumns:
    """Describes the columns of rows, and builds data sets of them; an element is a tuple of an array per column.

    Args:
        columns: list of `Column`, in the order in which they stand in a row.
        advice: what the error of a row that cannot be used says to do; a program names its own flag here.
    Raises:
        UserError: it is empty, has something else, or two columns of one name.
    """

    def __init__(self, columns, advice=ADVICE):
        columns = list(columns)
        if not columns:
            raise UserError('FeatureColumns: found no column, expected at least one.')
        for column in columns:
            if not isinstance(column, Column):
                raise UserError(f'FeatureColumns: found a {type(column).__name__}, expected columns.')
        names = [column.name for column in columns]
        if len(set(names)) < len(names):
            raise UserError(f'FeatureColumns: found the names {", ".join(names)}, expected another for each column.')
        self._columns, self._advice = columns, advice

    def build_dataset(
        self,
        name,
        use_gz=True,
        data_dir=None,
        gz_dir=None,
        data_file=None,
        shuffle=False,
        repeat=True,
        shard=False,
        seed=0,
        skip_bad_rows=False,
        ignore_extra_columns=False,
    ):
        """A data set of the rows of text files, which begins in the middle where training resumes.

        Files whose names begin with a dot do not count; the others are taken in the order of their names. Rows come
        from each file in turn, of 200 at most. A blank line is no row, but where there is one column only.

        Args:
            name: of the data set.
            use_gz: write the rows of each text file of `data_dir` to a record file of the same name in `gz_dir`, and
                read that: texts are tokenized once. It is made anew when the text or the columns change.
            data_dir: folder of text files.
            gz_dir: folder of record files; None for `data_dir` with `_gz` behind it. Without `data_dir`, all files of
                it are read.
            data_file: one text file instead of `data_dir`, with `use_gz=False`.
            shuffle: shuffle files, and rows within a buffer of 1,000.
            repeat: without end.
            shard: in a job of several processes, each one gets as many rows, and no two the same.
            seed: of `shuffle`; None for another order in each pass, which no resumed run can repeat.
            skip_bad_rows: leave out rows with a wrong number of columns or a value that a column refuses; the log
                counts and lists them.
            ignore_extra_columns: leave out what stands behind the last column of a row.
        Returns:
            `Dataset`.
        Raises:
            UserError: an argument is missing or contradicts another; there is no file; a file cannot be read. At
                conversion or iteration: a row or record cannot be used; file and line or record named.
        """
        if use_gz:
            files = self._record_files(data_dir, gz_dir, data_file, skip_bad_rows, ignore_extra_columns)
            open_file, parse = _records_of, functools.partial(_of_record, self._columns)
        else:
            files = _text_files(data_dir, data_file, repeat)
            parser = RowParser(self._columns, ignore_extra_columns, self._advice)
            texts = {path: TextRows(path, parser, skip_bad_rows) for path in files}
            open_file, parse = lambda path: texts[path].dataset(), None if skip_bad_rows else parser.instance
        rows = _in_turn(files, open_file, shuffle, repeat, seed)
        if shuffle:
            rows = rows.shuffle(_SHUFFLE_BUFFER, seed)
        if shard:
            rows = _shared_out(rows, name)
        return self._named(rows, name, parse)

    def build_dataset_from_stdin(self, name, shuffle=False, seed=0, skip_bad_rows=False, ignore_extra_columns=False):
        """A data set of the lines of standard input, each as it comes. For arguments and errors see `build_dataset`."""
        parser = RowParser(self._columns, ignore_extra_columns, self._advice)
        rows = rows_of_stream(lambda: sys.stdin.buffer, STDIN, parser, skip_bad_rows)
        if shuffle:
            rows = rows.shuffle(_SHUFFLE_BUFFER, seed)
        return self._named(rows, name, None if skip_bad_rows else parser.instance)

    def _named(self, rows, name, parse):
        dataset = rows.map(parse) if parse else rows
        dataset.name = name
        dataset.data_shapes = [list(column.output_shapes) for column in self._columns]
        dataset.data_types = [column.output_types for column in self._columns]
        return dataset

    def _record_files(self, data_dir, gz_dir, data_file, *choices):
        if data_file is not None:
            raise UserError('build_dataset: found data_file with use_gz, expected data_dir, or use_gz=False.')
        if data_dir is None:
            if gz_dir is None:
                raise UserError('build_dataset: found neither data_dir nor gz_dir, expected a folder of files.')
            return _files_of(gz_dir)
        texts = _files_of(data_dir)
        gz_dir = f'{os.fspath(data_dir).rstrip("/")}_gz' if gz_dir is None else gz_dir
        pairs = [(path, os.path.join(gz_dir, os.path.basename(path))) for path in texts]
        convert(pairs, self._columns, *choices, self._advice)
        files = [target for _, target in pairs]
        others = sorted(set(_files_of(gz_dir)) - set(files))
        if others:
            log.warning('%s: %d files of other texts than those of %s are not read, the first is %s',
                        gz_dir, len(others), data_dir, others[0])  # fmt: skip
        return files


def _in_turn(files, open_file, shuffle, repeat, seed):
    names = Dataset.from_list(files)
    if repeat:
        names = names.repeat()
    if shuffle:
        names = names.shuffle(len(files), seed)
    return names.interleave(open_file, cycle_length=min(len(files), _MOST_OPEN), block_length=1)


def _shared_out(rows, name):
    """The rows of this process. Where they end there is no rest, so that nobody has more than the others."""
    place = process_info(os.environ)
    if place.size == 1:
        return rows
    count = rows.count()
    if count is None:
        raise UserError(f'data set {name}: found a stream, expected files, where several processes share the rows out.')
    if count != math.inf and count % place.size:
        rest = count % place.size
        log.warning('data set %s: %d rows for %d processes: the last %d are left out, so that each gets as many',
                    name, count, place.size, rest)  # fmt: skip
        rows = rows.take(count - rest)
    return rows.shard(place.size, place.rank)


# --------------------------------------------------------------------------------------------------------------- files


def _files_of(folder):
    """Paths of the files in a folder, by name. Raises `UserError`."""
    expected = 'a folder of files'
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith('.'))
    except NotADirectoryError:
        raise bad_input(folder, 'a file', expected) from None
    except FileNotFoundError:
        raise bad_input(folder, 'no such folder', expected) from None
    except OSError as e:
        raise bad_input(folder, f'a folder that cannot be read ({e.strerror})', expected) from None
    paths = [os.path.join(folder, name) for name in names]
    if not paths:
        raise bad_input(folder, 'an empty folder', expected)
    for path in paths:
        if os.path.isdir(path):
            raise bad_input(path, 'a folder', 'a file', advice=f'All that {folder} holds is read as data.')
    return paths


def _text_files(data_dir, data_file, repeat):
    if (data_dir is None) == (data_file is None):
        found = 'neither data_dir nor data_file' if data_dir is None else 'data_dir and data_file'
        raise UserError(f'build_dataset: found {found}, expected one of them.')
    if data_dir is not None:
        return _files_of(data_dir)
    try:
        once = not stat.S_ISREG(os.stat(data_file).st_mode)
    except OSError:
        once = False  # said when it is opened
    if os.path.isdir(data_file):
        raise bad_input(data_file, 'a folder', 'a file', advice='A folder is given as data_dir.')
    if once and repeat:
        raise bad_input(data_file, 'a stream', 'a file, which can be read again', advice='Or give repeat=False.')
    return [os.fspath(data_file)]


# ------------------------------------------------------------------------------------------------------------- records


def _records_of(path):
    """Tuples (file, number, record) of a record file, as a `Dataset`."""

    def records(start=0):
        number = -1
        for number, record in enumerate(read_records(path, start), start):
            yield path, number, record
        if number < 0 and not start:
            raise bad_input(path, 'no record', 'at least one')

    return Dataset(records, start_at=records, count=lambda: count_records(path))


def _of_record(columns, path, number, record):
    """The arrays of a record."""
    try:
        features = Example.FromString(record).features.feature
        return tuple(_instance(column, features) for column in columns)
    except BadValue as e:
        raise bad_input(path, f'in record {number:,}: {e.found}', e.expected) from None
    except UserError as e:
        raise bad_input(path, f'in record {number:,}: {e}', 'an Example of the columns') from None


def _instance(column, features):
    if column.name not in features:
        names = ', '.join(features) or 'none'
        raise BadValue(column.name, f'no feature (those of the record: {names})', f'one that is called {column.name}')
    return column.proto_to_instance(features[column.name])
