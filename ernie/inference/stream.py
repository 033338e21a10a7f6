"""Records to predict, from a file or standard input, row by row: memory does not grow with the file."""

import contextlib
import csv
import itertools
import os
import sys
from typing import NamedTuple

from ernie.reader.columns import TEXTS, Columns, Notices, listed, misspelt
from ernie.reader.records import BOM, BadRow, DecodedLines, open_rows, parse_records
from propeller.errors import UsageError, UserError, bad_input, quoted
from propeller.inputs import parse_json
from propeller.log import get_logger

log = get_logger(__name__)

STDIN = '-'
FORMATS = ('auto', 'tsv', 'csv', 'jsonl', 'text', 'squad')
_ENDINGS = {'.tsv': 'tsv', '.csv': 'csv', '.jsonl': 'jsonl', '.ndjson': 'jsonl'}


class Row(NamedTuple):
    """One row of the input.

    line: 1-based line number; None where rows are not lines.
    record: dict for `InferenceTask.encode`; None if the row cannot be used.
    bad: None, or the `BadRow` that says why not.
    """

    line: int | None
    record: dict | None
    bad: BadRow | None = None


def read_rows(path, columns=('text_a',), input_format='auto', reads_squad=False):
    """Iterates over the rows of a file or of standard input, in order, also over those that cannot be used.

    A table (TSV, CSV) has a header line that names the columns. JSON lines: an object a line. Text: a line is the only
    column of the task. SQuAD: the JSON of reading comprehension. `auto` goes by the name's ending; for other names and
    for standard input by the first line: `{` begins JSON, a TAB or the name of a column makes a header, anything else
    is text.

    Args:
        path: a file, or `-` for standard input.
        columns: keys that every record must have, or `Columns`.
        input_format: one of `FORMATS`.
        reads_squad: whether the task reads SQuAD's JSON.
    Yields:
        `Row`.
    Raises:
        UserError: the file as a whole cannot be used; file and line named.
        UsageError: the format does not fit the task.
    """
    known = columns if isinstance(columns, Columns) else Columns(tuple(columns), known=(*TEXTS, 'label'))
    columns = known.required
    if input_format == 'squad' and not reads_squad:
        raise UsageError('--input_format squad: only a model of reading comprehension reads it.')
    if input_format == 'text' and len(columns) > 1:
        raise UsageError(f'--input_format text: the task needs the columns {", ".join(columns)}; give tsv or jsonl.')
    if path != STDIN and input_format == 'auto' and reads_squad and path.lower().endswith('.json'):
        input_format = 'squad'
    if input_format == 'squad':
        yield from _squad_rows(path)
        return
    name = 'standard input' if path == STDIN else path
    with _open(path) as file:
        first = file.readline()
        if not first:
            raise bad_input(name, 'an empty file', 'at least one row')
        lines = itertools.chain([first], file)
        kind = input_format if input_format != 'auto' else _kind(path, first, columns)
        rows = {'tsv': _table_rows, 'csv': _table_rows, 'jsonl': _json_rows, 'text': _text_rows}[kind]
        yield from _noted(name, known, rows(name, lines, known, kind == 'csv'))


def count_lines(path):
    """Lines of a regular file, for a progress bar; None for anything else."""
    if path == STDIN or not os.path.isfile(path):
        return None
    with open(path, 'rb') as f:
        return sum(block.count(b'\n') for block in iter(lambda: f.read(1 << 20), b''))


def _open(path):
    return contextlib.nullcontext(sys.stdin.buffer) if path == STDIN else open_rows(path, 'a file to predict')


def _kind(path, first, columns):
    """The format of an input by its name or its first line."""
    if os.path.splitext(path.lower())[1] in _ENDINGS:
        return _ENDINGS[os.path.splitext(path.lower())[1]]
    text = first.removeprefix(BOM).decode('utf-8', errors='replace').rstrip('\r\n')
    if text.lstrip().startswith('{'):
        return 'jsonl'
    cells = [cell.strip() for cell in text.split('\t')]
    if len(cells) > 1 or len(columns) > 1 or columns[0] in cells:
        return 'tsv'
    if set(columns) <= set(_csv_cells(text)):
        return 'csv'
    return 'text'


def _csv_cells(text):
    try:
        return [cell.strip() for cell in next(csv.reader([text]), [])]
    except csv.Error:
        return []


class _InPlace:
    """Takes the bad rows of `parse_records`, so that they can be given out between the good ones."""

    def __init__(self):
        self._rows, self._any = [], False

    def __bool__(self):
        return self._any

    def add(self, row):
        self._any = True
        self._rows.append(row)

    def take(self):
        rows, self._rows = self._rows, []
        return [Row(row.line, None, row) for row in rows]


def _table_rows(name, lines, columns, is_csv):
    bad = _InPlace()
    records = parse_records(name, lines, is_csv, columns.required, bad)
    try:
        for number, record in enumerate(records):
            fault = columns.fault(list(record.cells)) if number == 0 else None
            if fault:
                found, expected, advice = fault
                raise bad_input(name, found, expected, line=1, advice=advice)
            yield from bad.take()
            yield Row(record.line, record.cells)
    except UserError:
        yield from bad.take()  # they come before what ends the file
        raise
    yield from bad.take()


def _json_rows(name, lines, columns, _):
    decoded = DecodedLines(name, lines)
    expected = f'a JSON object with {" and ".join(map(repr, columns.required))}'
    for text in decoded:
        bad = decoded.undecodable(decoded.number)
        record = None
        if bad is None:
            try:
                record = parse_json(text, name, expected, finite=False)
            except UserError as e:
                bad = BadRow(decoded.number, e.found, expected)
        if bad is None and not (isinstance(record, dict) and all(column in record for column in columns.required)):
            is_object = isinstance(record, dict)
            found = f'only {listed(record)}' if is_object else quoted(text.strip(), 42)
            bad = BadRow(decoded.number, found, expected, misspelt(columns.required, record) if is_object else '')
        yield Row(decoded.number, None if bad else record, bad)


def _text_rows(name, lines, columns, _):
    decoded = DecodedLines(name, lines)
    for text in decoded:
        bad = decoded.undecodable(decoded.number)
        record = None if bad else {columns.required[0]: text.removesuffix('\n').removesuffix('\r')}
        yield Row(decoded.number, record, bad)


def _squad_rows(path):
    from ernie.inference.reading import squad_records

    for record in squad_records('/dev/stdin' if path == STDIN else path):
        yield Row(None, record)


def _noted(name, columns, rows):
    """The rows; says once when they have labels, which prediction does not use, and which columns nobody reads."""
    notices, told, last = Notices(name, columns.names), False, None
    for row in rows:
        if row.record is not None and row.record.keys() != last:
            last = row.record.keys()
            notices.say(last)
            if not told and 'label' in last:
                told = True
                log.info('%s: prediction file with labels: they are ignored', name)
        yield row
