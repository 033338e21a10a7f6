"""Records to predict, from a file or standard input, row by row: memory does not grow with the file."""

import contextlib
import csv
import itertools
import os
import pkgutil
import re
import sys
from typing import NamedTuple

from ernie.reader.columns import TEXTS, Columns, Notices, listed, misspelt
from ernie.reader.json_records import ACCEPTED, ARRAY, LINE_ENDINGS, LINES, first_look, form_of, json_rows
from ernie.reader.naming import MissingColumn, Naming
from ernie.reader.records import open_rows, parse_records
from ernie.reader.rows import BOM, BadRow, DecodedLines
from ernie.reader.warnings import Notes
from ernie.tasks import table
from propeller.errors import UsageError, UserError, bad_input, quoted
from propeller.log import get_logger

log = get_logger(__name__)

STDIN = '-'
TEXT = 'text'  # what a text is called in the results that stood in no column
FORMATS = ('auto', 'tsv', 'csv', 'jsonl', 'json', 'text')
_ENDINGS = {'.tsv': 'tsv', '.csv': 'csv', '.json': 'json', **dict.fromkeys(LINE_ENDINGS, 'jsonl')}
# A line of text hardly begins like this.
_ARRAY_OF_OBJECTS = re.compile(r'\[\s*(\{\s*"|$)')


class Row(NamedTuple):
    """One row of the input.

    line: 1-based line number; None where rows are not lines.
    record: dict for `Codec.encode`; None if the row cannot be used.
    bad: None, or the `BadRow` that says why not.
    cells: dict of all that stands in the row, by the names that the input has for it, in its order.
    """

    line: int | None
    record: dict | None
    bad: BadRow | None = None
    cells: dict = {}


def formats():
    """What `--input_format` takes: the forms of all tasks, and those that a task has beside them."""
    return (*FORMATS, *(name for spec in table.specs() for name in spec.forms))


def read_rows(path, columns=('text_a',), input_format='auto', forms=None, names=None, learnt=None):
    """Iterates over the rows of a file or of standard input, in order, also over those that cannot be used.

    A table (TSV, CSV) has a header line that names the columns. JSON lines: an object a line, blank lines are none.
    JSON: an array of objects, an object with such an array as `data`, or JSON lines after all. Text: a line is the only
    column of the task. `auto` goes by the name's ending; for other names and for standard input by the first line: `{`
    or `[{` begins JSON, a TAB or the name of a column makes a header, anything else is text. Forms that the task has
    beside these come first.

    Args:
        path: a file, or `-` for standard input.
        columns: keys that every record must have, or `Columns`.
        input_format: one of `formats()`.
        forms: `forms` of the `TaskSpec`.
        names: `ColumnNames` that the user gave; None: there are none.
        learnt: None, or dict role -> column that the model learnt from.
    Yields:
        `Row`.
    Raises:
        UserError: the file as a whole cannot be used; file and line named.
        UsageError: the format does not fit the task.
    """
    known = columns if isinstance(columns, Columns) else Columns(tuple(columns), known=(*TEXTS, 'label'))
    columns = known.required
    own = {name: pkgutil.resolve_name(place)() for name, place in (forms or {}).items()}
    if input_format not in (*FORMATS, *own):
        able = ' or '.join(spec.name for spec in table.specs() if input_format in spec.forms)
        raise UsageError(f'--input_format {input_format}: only a model of the task {able} reads it.')
    if input_format == 'text' and len(columns) > 1:
        raise UsageError(f'--input_format text: the task needs the columns {", ".join(columns)}; give tsv or jsonl.')
    if input_format == 'auto':
        input_format = next((name for name, form in own.items() if form.is_form_of(path)), 'auto')
    if input_format in own:
        for record in own[input_format].records('/dev/stdin' if path == STDIN else path):
            yield Row(None, record, None, record)
        return
    name = 'standard input' if path == STDIN else path
    optional = [role for role in (*TEXTS, 'label') if role in known.names]
    naming = Naming(columns, names, learnt, optional, labelled=False)
    with _open(path) as file:
        yield from _noted(name, known, _rows(name, file, known, naming, input_format, is_named=path != STDIN), naming)


def _rows(name, file, known, naming, input_format, is_named):
    kind = input_format
    if kind == 'auto' and is_named:
        kind = _ENDINGS.get(os.path.splitext(name.lower())[1], 'auto')
    is_sure = kind != 'auto'
    first = first_look(file) if kind in ('json', 'jsonl') else file.readline()
    if not first:
        raise bad_input(name, 'an empty file', 'at least one row')
    if not is_sure:
        kind = _kind(first, known.required)
    if kind in ('json', 'jsonl'):
        return _json_rows(name, first, file, known, naming, kind, is_sure)
    lines = itertools.chain([first], file)
    return _text_rows(name, lines, known) if kind == 'text' else _table_rows(name, lines, known, naming, kind == 'csv')


def count_lines(path):
    """Lines of a regular file, for a progress bar; None for anything else."""
    if path == STDIN or not os.path.isfile(path):
        return None
    with open(path, 'rb') as f:
        return sum(block.count(b'\n') for block in iter(lambda: f.read(1 << 20), b''))


def _open(path):
    return contextlib.nullcontext(sys.stdin.buffer) if path == STDIN else open_rows(path, 'a file to predict')


def _kind(first, columns):
    """The format of an input by its first line."""
    text = first.removeprefix(BOM).decode('utf-8', errors='replace').rstrip('\r\n')
    if text.lstrip().startswith('{') or _ARRAY_OF_OBJECTS.match(text.strip()):
        return 'json'
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


def _table_rows(name, lines, columns, naming, is_csv):
    bad = _InPlace()
    records = parse_records(name, lines, is_csv, naming, bad, Notes(name))
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


def _json_rows(name, head, file, columns, naming, kind, is_sure):
    """is_sure: whether the name or the user says that it is JSON; else its first character alone does."""
    expected = f'a JSON object with {" and ".join(map(repr, columns.required))}'
    form = LINES if kind == 'jsonl' else form_of(head)
    hint = 'If its lines are text, give --input_format text.' if len(columns.required) == 1 else ''
    if form is None:
        raise bad_input(name, 'text that is no JSON', ACCEPTED, advice=hint)
    if is_sure:
        is_array = kind == 'jsonl' and form_of(head) == ARRAY
        hint = 'For a JSON array give --input_format json, or a name that ends in .json.' if is_array else ''
    called = None
    try:
        for number, record, bad in json_rows(name, head, file, form, expected):
            if bad is None and isinstance(record, dict):
                called = called or _called(naming, record, name, number)
                record = {called.get(key, key): value for key, value in record.items()}
            if bad is None and not (isinstance(record, dict) and all(key in record for key in columns.required)):
                bad = _unfit(number, record, columns.required, expected, hint)
            elif bad is not None and hint:
                bad = bad._replace(advice=hint)
            yield Row(number, None if bad else record, bad)
    except UserError as e:
        raise UserError(f'{e} {hint}') if hint else e from None


def _called(naming, record, name, number):
    """What the keys of a record stand for; None where it has not what it must have."""
    try:
        return naming.of(record, name, number, Notes(name))
    except MissingColumn:
        return {}


def _unfit(number, record, required, expected, hint):
    if not isinstance(record, dict):
        return BadRow(number, quoted(record, 42), expected, hint)
    advice = '--input_format squad reads the form of SQuAD.' if 'paragraphs' in record else misspelt(required, record)
    return BadRow(number, f'only {listed(record)}' if record else 'an empty object', expected, advice)


def _text_rows(name, lines, columns):
    decoded = DecodedLines(name, lines)
    for text in decoded:
        bad = decoded.undecodable(decoded.number)
        text = text.removesuffix('\n').removesuffix('\r')
        record, cells = (None, {}) if bad else ({columns.required[0]: text}, {TEXT: text})
        yield Row(decoded.number, record, bad, cells)


def _noted(name, columns, rows, naming):
    """The rows, with `cells`; says once when they have labels, and which columns nobody reads."""
    notices, told, last = Notices(name, columns.names), False, None
    for row in rows:
        if row.record is not None and row.record.keys() != last:
            last = row.record.keys()
            notices.say(last)
            if not told and 'label' in last:
                told = True
                log.debug('%s: prediction file with labels: they are ignored', name)
        if row.record is not None:
            row = row._replace(cells=row.cells or {naming.found.get(k, k): cell for k, cell in row.record.items()})
        yield row
