"""Records to predict, from a file or standard input, row by row: memory does not grow with the file."""

import contextlib
import os
import pkgutil
import re
import sys
from typing import NamedTuple

from ernie.reader import columnar
from ernie.reader.columns import TEXTS, Columns, Notices, listed, misspelt
from ernie.reader.dataset_folder import data_files
from ernie.reader.delimited import SEPARATORS, cells_of, parse_records, share_of_rows
from ernie.reader.fasttext import fasttext_rows, is_fasttext
from ernie.reader.forms import (
    FASTTEXT,
    JSON,
    PARQUET,
    TABLE,
    Form,
    Look,
    are_quoted,
    form_of_look,
    is_csv_name,
    kind_of_ending,
    separator_of,
)
from ernie.reader.json_records import ACCEPTED, ARRAY, LINE_ENDINGS, LINES, form_of, json_rows
from ernie.reader.naming import NAMINGS, MissingColumn
from ernie.reader.objects import renamed
from ernie.reader.records import open_rows
from ernie.reader.rows import BadRow, DecodedLines
from ernie.reader.sentences import SEPARATOR
from ernie.reader.warnings import Notes
from ernie.tasks import table
from propeller.errors import UsageError, UserError, bad_input, quoted
from propeller.log import get_logger

log = get_logger(__name__)

STDIN = '-'
TEXT = 'text'  # what a text is called in the results that stood in no column
FORMATS = ('auto', 'tsv', 'csv', 'jsonl', 'json', 'text', PARQUET)
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

    The formats are those of `ernie.reader.records.read_records`, and text: a line is the only column of the task.
    `auto` goes by the content, and by the name's ending where the content leaves it open; for other names and for
    standard input by the first line: `{` or `[{` begins JSON, a TAB or names of columns make a header, anything else is
    text. Forms that the task has beside these come first.

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
    files = [path] if path == STDIN else data_files(path)
    only = files[0] if len(files) == 1 else path  # what `FOLDER:SPLIT` or the name of a data set stands for
    if input_format == 'auto':
        input_format = next((name for name, form in own.items() if form.is_form_of(only)), 'auto')
    if input_format in own:
        for record in own[input_format].records('/dev/stdin' if path == STDIN else only):
            cells = dict(record)
            join_tokens(record, known)
            yield Row(None, record, None, cells)
        return
    optional = [role for role in (*TEXTS, 'label') if role in known.names]
    naming = NAMINGS[known.words](columns, names, learnt, optional, labelled=False)
    for file in files:
        name = 'standard input' if path == STDIN else file
        with _open(path if path == STDIN else file) as opened:
            rows = _rows(Look(name, opened), known, naming, input_format, is_named=path != STDIN)
            yield from _noted(name, known, rows, naming)


def _rows(look, known, naming, input_format, is_named):
    name, kind = look.path, input_format
    if kind == PARQUET or (kind == 'auto' and look.magic):
        form = look.magic or PARQUET
        return _object_rows(columnar.read_rows(name, form), name, known, naming, 'a row')
    ending = kind_of_ending(name) if kind == 'auto' and is_named else None
    if not look.head and not look.magic:
        raise bad_input(name, 'an empty file', 'at least one row')
    form = None
    if kind == 'auto':
        is_certain = ending or look.said or is_fasttext(look.first_line)
        form = form_of_look(look, naming) if is_certain else _form_of_text(look, known.required, naming)
        if form.note:
            Notes(name).tell(form.note)
        kind = _json_kind(look) if form.kind == JSON else form.kind
    is_sure = input_format != 'auto' or ending is not None
    if kind in ('json', 'jsonl'):
        return _json_rows(look, known, naming, kind, is_sure)
    if kind == FASTTEXT:
        return _object_rows(fasttext_rows(name, look.lines()), name, known, naming, 'a line')
    if kind == 'text':
        return _text_rows(name, look.lines(), known)
    is_csv = input_format == 'csv' or is_csv_name(name)
    separator = form.separator if form else None if input_format == 'tsv' else separator_of(look, naming, True)[0]
    return _table_rows(name, look.lines(), known, naming, separator, is_csv)


def count_lines(path):
    """Rows of a Parquet file, lines of another regular file, for a progress bar; None for anything else."""
    if path == STDIN or not os.path.isfile(path):
        return None
    with open(path, 'rb') as f:
        if f.peek(4).startswith(b'PAR1'):
            return columnar.count_rows(path)
        return sum(block.count(b'\n') for block in iter(lambda: f.read(1 << 20), b''))


def _open(path):
    return contextlib.nullcontext(sys.stdin.buffer) if path == STDIN else open_rows(path, 'a file to predict')


def _json_kind(look):
    """'jsonl' for lines by the name's ending, where the content is not certainly an array."""
    is_lines = look.path.lower().endswith(LINE_ENDINGS) and not _ARRAY_OF_OBJECTS.match(look.first_line.strip())
    return 'jsonl' if is_lines else 'json'


def _form_of_text(look, columns, naming):
    """The `Form` of an input whose name does not tell it, by its first line; its kind may be 'text'."""
    text = look.first_line
    if text.lstrip().startswith('{') or _ARRAY_OF_OBJECTS.match(text.strip()):
        return Form(JSON)
    cells = [cell.strip() for cell in text.split('\t')]
    own = '\t' if look.is_utf16 or are_quoted(cells) else None
    names = {columns[0], naming.asked.get(columns[0]), naming.learnt.get(columns[0])}
    if len(cells) > 1 or len(columns) > 1 or names & set(cells):
        return Form(TABLE, own)
    for separator in SEPARATORS:
        cells = cells_of(text, separator)
        # Commas stand in any text: names that are merely known count where the rows after them have as many cells.
        sure = set(columns) <= set(cells)
        if sure or (len(cells) > 1 and naming.knows(cells) and _fits(look, separator)):
            return Form(TABLE, separator)
    return Form('text')


def _fits(look, separator):
    return len(rows := [look.first_line, *look.more()]) > 1 and share_of_rows(rows, separator) == 1


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


def _table_rows(name, lines, columns, naming, separator, is_csv):
    bad = _InPlace()
    records = parse_records(name, lines, separator, naming, bad, Notes(name), is_csv, predicted=True)
    try:
        for number, (line, cells) in enumerate(records):
            record = renamed(cells, {column: role for role, column in naming.found.items()})
            fault = columns.fault(list(record)) if number == 0 else None
            if fault:
                found, expected, advice = fault
                raise bad_input(name, found, expected, line=1, advice=advice)
            yield from bad.take()
            yield Row(line, record, None, cells)
    except UserError:
        yield from bad.take()  # they come before what ends the file
        raise
    yield from bad.take()


def _json_rows(look, columns, naming, kind, is_sure):
    """is_sure: whether the name or the user says that it is JSON; else its first character alone does."""
    name, head = look.path, look.head
    form = LINES if kind == 'jsonl' else form_of(head)
    hint = 'If its lines are text, give --input_format text.' if len(columns.required) == 1 else ''
    if form is None:
        raise bad_input(name, 'text that is no JSON', ACCEPTED, advice=hint)
    if is_sure:
        is_array = kind == 'jsonl' and form_of(head) == ARRAY
        hint = 'For a JSON array give --input_format json, or a name that ends in .json.' if is_array else ''
    try:
        rows = json_rows(name, head, look.file, form, _expected('a JSON object', columns))
        yield from _object_rows(rows, name, columns, naming, 'a JSON object', hint)
    except UserError as e:
        raise UserError(f'{e} {hint}') if hint else e from None


def _expected(kind, columns):
    return f'{kind} with {" and ".join(map(repr, columns.required))}'


def _object_rows(rows, name, columns, naming, kind, hint=''):
    """`Row`s of records with names. rows: as `json_rows` gives them. kind: what each is, for messages."""
    called, expected = None, _expected(kind, columns)
    for number, record, bad in rows:
        cells = record if isinstance(record, dict) else {}
        fits = bad is None and isinstance(record, dict) and not _is_article(record)
        if fits:
            called = called or _called(naming, record, name, number)
            record = renamed(record, called)
            join_tokens(record, columns)
            fits = all(key in record for key in columns.required)
        if bad is None and not fits:
            bad = _unfit(number, record, columns.required, expected, hint)
        elif bad is not None and hint:
            bad = bad._replace(advice=hint)
        yield Row(number, None if bad else record, bad, cells)


def _is_article(record):
    """Whether a record is an article of SQuAD's form, whose title is no text to predict."""
    paragraphs = record.get('paragraphs')
    return isinstance(paragraphs, list) and any(isinstance(p, dict) and 'context' in p for p in paragraphs)


def join_tokens(record, columns):
    """A list of tokens as a text, where a model tags them."""
    tokens = record.get('text_a')
    if columns.words == 'tokens' and isinstance(tokens, list) and all(isinstance(token, str) for token in tokens):
        record |= {'text_a': SEPARATOR.join(tokens), 'tokens': tokens}


def _called(naming, record, name, number):
    """What the keys of a record stand for; None where it has not what it must have."""
    try:
        return naming.of(record, name, number, Notes(name))
    except MissingColumn:
        return {}


def _unfit(number, record, required, expected, hint):
    if not isinstance(record, dict):
        return BadRow(number, quoted(record, 42), expected, hint)
    if _is_article(record):
        advice = 'A model of reading comprehension answers it (--input_format squad); this one does not.'
        return BadRow(number, 'an article of SQuAD with paragraphs', expected, advice)
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
