"""The rows of a file of any format, for all tasks: one reader, one set of checks."""

import os

from ernie.reader import columnar
from ernie.reader.columns import ColumnNames
from ernie.reader.dataset_folder import data_files
from ernie.reader.delimited import parse_records
from ernie.reader.fasttext import fasttext_rows
from ernie.reader.forms import COLUMNAR, FASTTEXT, JSON, Look, form_of_look, is_csv_name, json_form
from ernie.reader.json_records import ACCEPTED, json_rows
from ernie.reader.naming import Naming
from ernie.reader.objects import cells_of_objects, expected_object
from ernie.reader.warnings import Notes
from propeller.errors import bad_input, quoted
from propeller.inputs import open_data


def read_records(path, required=('text_a',), bad_rows=None, notes=None, columns=None):
    """Iterates over the rows of a file, as `Record`.

    - TSV: a header line that names the columns, cells separated by TAB, no quoting, lines end at `\\n` only.
    - CSV (a name that ends in `.csv`, or columns that are found so): a header line, cells in double quotes where needed
      (RFC 4180), line breaks within quotes allowed, separated by `,`, `;`, TAB or `|`, whichever fits header and rows,
      or as a first line `sep=;` says.
    - JSON: see `ernie.reader.json_records`. The keys of an object are its columns, a number is the text that it is
      written as, and null is no cell; a list of labels is one cell joined by commas.
    - Lines of fastText, see `ernie.reader.fasttext`.
    - Parquet and Arrow files, see `ernie.reader.columnar`; folders of data sets, see `ernie.reader.dataset_folder`.

    Text is UTF-8, or UTF-16 with its mark; a byte order mark and the `\\r` of a Windows line end are dropped. Columns
    come in any order, and columns nobody asked for are carried along. An empty line is a row with one empty cell; but
    at the end of a file, lines without anything or with separators only are no rows. The content counts more than the
    name's ending where it is certain.

    Args:
        path: the file or folder.
        required: column names that must be there, by what they mean: `text_a`, `text_b`, `label`, others.
        bad_rows: None, or a `BadRows` that takes unusable rows (wrong number of cells, not UTF-8, bad quoting) instead
            of ending the iteration. What is wrong with the file as a whole raises all the same.
        notes: the `Notes` that take what is odd; None: it is logged.
        columns: `ColumnNames` that the user gave, or a `Naming`, which knows afterwards what was found; None: columns
            are known by their own names.

    Raises:
        UserError: with file, line, what was found and what was expected.
    """
    path, notes = os.fspath(path), notes or Notes(path)
    naming = columns if isinstance(columns, Naming) else Naming(required, columns or ColumnNames())
    # A text to predict may be empty; from empty ones alone nothing is learnt.
    blank = dict.fromkeys(('text_a', 'label') if {'text_a', 'label'} <= set(naming.required) else ())
    for record in of_all_files(path, bad_rows, lambda file, bad: file_records(file, naming, bad, notes)):
        for name in [name for name in blank if record.cells[name].strip()]:
            del blank[name]
        yield record
    for name in blank:
        column = naming.found.get(name, name)
        advice = {'text_a': '--text_column names another column.', 'label': '--label_column names another column.'}
        found = f'the column {quoted(column, 40)} empty in all rows'
        raise bad_input(path, found, 'something to learn from', advice=advice[name])


def of_all_files(path, bad_rows, read):
    """What a function reads of each file of a data set, the lines of the files counted through.

    Args:
        path: the file or folder.
        bad_rows: None, or the `BadRows` of it.
        read: function (file, `bad_rows` of it) -> iterator of named tuples that have a `line`.
    """
    files, shift = data_files(path), 0
    for file in files:
        last, bad = 0, bad_rows
        if len(files) > 1 and bad_rows is not None:
            bad = _BadRowsOfPart(bad_rows, file, shift)
        for row in read(file, bad):
            last = row.line
            yield row._replace(line=last + shift) if shift else row
        shift += last


def file_records(path, naming, bad_rows, notes, of_objects=cells_of_objects):
    """The rows of one file, as `Record`. of_objects: what makes them of records with names, see there."""
    with open_rows(path) as file:
        look = Look(path, file)
        form = form_of_look(look, naming)
        if form.note:
            notes.tell(form.note)
        if form.kind in COLUMNAR:
            rows = columnar.read_rows(path, form.kind)
            yield from of_objects(path, rows, naming, bad_rows, notes, 'a row')
        elif form.kind == JSON:
            expected = expected_object(naming.required)
            yield from of_objects(path, look_json(look, expected), naming, bad_rows, notes)
        elif form.kind == FASTTEXT:
            yield from of_objects(path, fasttext_rows(path, look.lines()), naming, bad_rows, notes, 'a line')
        else:
            is_csv = is_csv_name(path)
            yield from parse_records(path, look.lines(), form.separator, naming, bad_rows, notes, is_csv)


def look_json(look, expected):
    """The values of a JSON file, as `json_rows` gives them. look: the `Look` at it. expected: of each, for messages."""
    form = json_form(look.path, look.head)
    if form is None:
        empty = not look.head.strip()
        seems = 'Is it a table? Then its name should end in .tsv or .csv.' if not empty and look.head else ''
        raise bad_input(look.path, 'an empty file' if empty else 'text that is no JSON', ACCEPTED, advice=seems)
    return json_rows(look.path, look.head, look.file, form, expected)


class _BadRowsOfPart:
    """Takes the bad rows of one file of several, whose rows are counted through."""

    def __init__(self, rows, path, shift):
        self._rows, self._name, self._shift = rows, os.path.basename(path), shift

    def __len__(self):
        return len(self._rows)

    def add(self, row):
        found = f'{row.found} ({self._name}:{row.line})'
        self._rows.add(row._replace(line=row.line + self._shift, found=found))


def open_rows(path, expected='a file of rows with a header line'):
    """Opens a file for reading bytes.

    Raises:
        UserError: it cannot be read.
    """
    return open_data(path, expected)
