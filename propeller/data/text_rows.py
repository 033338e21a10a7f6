"""Rows of TAB-separated text files, with their place, from any one on."""

import os
import stat
from codecs import BOM_UTF8
from typing import NamedTuple

from propeller.data.bad_rows import BadRow, BadRows
from propeller.data.columns import BadValue
from propeller.data.dataset import Dataset
from propeller.data.lines import count_lines
from propeller.errors import UserError, bad_input
from propeller.inputs import open_data
from propeller.log import get_logger

log = get_logger(__name__)

_BLOCK = 1 << 20
_GZIP = b'\x1f\x8b'
_EXPECTED = 'rows of TAB-separated text'
ADVICE = 'Correct it, or leave such rows out: skip_bad_rows=True.'


class Row(NamedTuple):
    """A line: the file, its number from 1, and its bytes without line end."""

    path: str
    line: int
    raw: bytes


class RowParser:
    """Makes the values of a row.

    Args:
        columns: list of `Column`.
        ignore_extra: leave out cells beyond the columns instead of refusing the row.
        advice: what the error of a row says to do.
    """

    def __init__(self, columns, ignore_extra=False, advice=ADVICE):
        self.columns, self.ignore_extra, self.advice = columns, ignore_extra, advice

    def cells(self, row):
        """The cells of a `Row`, one for each column. Raises `UserError`."""
        cells, count = row.raw.split(b'\t'), len(self.columns)
        if len(cells) == count:
            return cells
        if len(cells) > count and self.ignore_extra:
            return cells[:count]
        names = ', '.join(column.name for column in self.columns)
        raise self._refused(row, f'{len(cells)} columns', f'{count} with TABs between them: {names}')

    def instance(self, path, line, raw):
        """A row as a tuple of arrays. Raises `UserError`."""
        row = Row(path, line, raw)
        return tuple(self._each(row, 'raw_to_instance'))

    def features(self, row):
        """A `Row` as a list of what a record file holds of each column. Raises `UserError`."""
        return self._each(row, 'raw_to_proto')

    def _each(self, row, method):
        values = []
        for column, cell in zip(self.columns, self.cells(row), strict=True):
            try:
                values.append(getattr(column, method)(cell))
            except BadValue as e:
                raise self._refused(row, e.found, e.expected) from None
            except UserError as e:
                raise self._refused(row, f'what column {column.name} refuses: {e}', 'a cell that it takes') from None
            except Exception as e:
                e.add_note(f'{row.path}:{row.line}: in column {column.name}')
                raise
        return values

    def _refused(self, row, found, expected):
        return RefusedRow(BadRow(row.line, found, expected, self.advice), row.path)

    def is_row(self, raw):
        """Whether a line counts: a blank one does where a row has one column only."""
        return bool(raw) or len(self.columns) == 1


class RefusedRow(UserError):
    """A row that cannot be used, as `row`, a `BadRow`."""

    def __init__(self, row, path):
        super().__init__(str(row.as_error(path)))
        self.row = row


def numbered_rows(lines, path, parser, first=1):
    """The `Row`s of an iterator of lines in bytes; `first` is the number of its first line."""
    for number, raw in enumerate(lines, first):
        if number == 1:
            raw = raw.removeprefix(BOM_UTF8)
            if raw.startswith(_GZIP):
                advice = 'Record files are read with use_gz=True and gz_dir.'
                raise bad_input(path, 'a gzip file', _EXPECTED, advice=advice)
        raw = raw.removesuffix(b'\n').removesuffix(b'\r')
        if parser.is_row(raw):
            yield Row(path, number, raw)


def usable(rows, parser, bad=None):
    """Pairs (number of the line, element) of `Row`s.

    Args:
        rows: iterable of `Row`.
        parser: `RowParser`.
        bad: None: the elements are the rows. A `BadRows`: their values, and those that `parser` refuses go in there.
    """
    for row in rows:
        if bad is None:
            yield row.line, row
            continue
        try:
            yield row.line, parser.instance(*row)
        except RefusedRow as e:
            bad.add(e.row)


class TextRows:
    """The rows of one file as a `Dataset`, of `Row`s or, with `skip_bad_rows`, of their values.

    Args:
        path: the file.
        parser: `RowParser`.
        skip_bad_rows: leave out rows that `parser` refuses; they are counted and listed in the log, once.
    """

    def __init__(self, path, parser, skip_bad_rows=False):
        self.path, self.parser, self.skip_bad_rows = os.fspath(path), parser, skip_bad_rows
        self._reported, self._scanned = False, None
        self._has_blanks = not parser.is_row(b'')

    def dataset(self):
        """The `Dataset`; what can be read once only has no count and no middle."""
        if _is_regular(self.path):
            return Dataset(self._from_line, start_at=self._from_row, count=lambda: self._scan()[1])
        return Dataset(self._from_line)

    def _usable(self, first, bad):
        lines = Dataset.from_file(self.path).iterate_from(first)
        rows = numbered_rows(lines, self.path, self.parser, first + 1)
        return usable(rows, self.parser, bad if self.skip_bad_rows else None)

    def _from_line(self, first=0):
        bad, count = BadRows(self.path), 0
        for count, (_, element) in enumerate(self._usable(first, bad), 1):  # noqa: B007
            yield element
        if not first:
            self._report(bad, count)

    def _from_row(self, start):
        left_out, count = self._scan()
        line = start
        for number in left_out:
            if number > line:
                break
            line += 1
        return self._from_line(line) if start < count else iter(())

    def _scan(self):
        """(numbers from 0 of the lines that are no rows, how many rows there are)."""
        if self._scanned is None and not self.skip_bad_rows and not (self._has_blanks and _has_blank_line(self.path)):
            self._scanned = [], count_lines(self.path)
        if self._scanned is None:
            bad, left_out, last, count = BadRows(self.path), [], 0, 0
            for line, _ in self._usable(0, bad):
                left_out += range(last, line - 1)
                last, count = line, count + 1
            self._report(bad, count)
            self._scanned = left_out, count
        return self._scanned

    def _report(self, bad, count):
        if not count:
            found = f'no usable row among {len(bad)}' if bad else 'no row'
            raise bad_input(self.path, found, _EXPECTED, advice=' '.join(bad.messages()[:1]))
        if not self._reported:
            self._reported = True
            report_bad_rows(bad)


def _is_regular(path):
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return True  # what is wrong is said when it is opened


def _has_blank_line(path):
    """Whether a line of a text file is empty. A hundred times as fast as a look at each."""
    before = b'\n'  # the end of what was read before; the file begins like a line
    with open_data(path, _EXPECTED) as f:
        while block := f.read(_BLOCK):
            block = before + (block.removeprefix(BOM_UTF8) if before == b'\n' else block)
            if b'\n\n' in block or b'\n\r\n' in block:
                return True
            before = block[-2:]
    return before == b'\n\r'


def rows_of_stream(stream, path, parser, skip_bad_rows=False):
    """A `Dataset` like that of `TextRows`, of a stream that is read once. stream: function -> binary file."""

    def rows():
        bad = BadRows(path)
        lines = numbered_rows(iter(stream().readline, b''), path, parser)
        for _, element in usable(lines, parser, bad if skip_bad_rows else None):
            yield element
        report_bad_rows(bad)

    return Dataset(rows)


def report_bad_rows(bad):
    """Say how many rows of a file were left out, and which. bad: `BadRows`."""
    if bad:
        log.warning('%s: %d rows left out:', bad.path, len(bad))
        for message in bad.messages():
            log.warning('%s', message)
