"""Rows of TAB-separated and CSV files, for all tasks: one reader, one set of checks."""

import csv
import os
import sys
from collections import Counter

from ernie.reader.columns import ColumnNames
from ernie.reader.json_records import JSON_ENDINGS, cells_of_json
from ernie.reader.naming import Naming
from ernie.reader.rows import BadRow, DecodedLines, Record
from ernie.reader.warnings import Notes
from propeller.errors import bad_input, quoted
from propeller.inputs import open_data

_MOST_BLANK = 10_000  # rows without text that may be held back to see whether they end the file


def read_records(path, required=('text_a',), bad_rows=None, notes=None, columns=None):
    """Iterates over the rows of a file with a header line, as `Record`.

    A name ending in `.csv` means CSV: commas, cells in double quotes where needed (RFC 4180), line breaks within
    quotes allowed, and the column `text` is understood as `text_a`. Any other name means TSV: cells separated by TAB,
    no quoting, lines end at `\\n` only. Both are UTF-8; a byte order mark and the `\\r` of a Windows line end are
    dropped. Columns come in any order, and columns nobody asked for are carried along. An empty line is a row with one
    empty cell; but at the end of a file, lines without anything or with separators only are no rows.

    A name ending in `.json`, `.jsonl` or `.ndjson` means JSON, see `ernie.reader.json_records`: the keys of an object
    are its columns, a number is the text that it is written as, and null is no cell.

    Args:
        path: the file.
        required: column names that the header must have.
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
    with open_rows(path) as file:
        if path.lower().endswith(JSON_ENDINGS):
            yield from cells_of_json(path, file, naming, bad_rows, notes)
            return
        yield from parse_records(path, file, path.lower().endswith('.csv'), naming, bad_rows, notes)


def open_rows(path, expected='a file of rows with a header line'):
    """Opens a file for reading bytes.

    Raises:
        UserError: it cannot be read.
    """
    return open_data(path, expected)


def parse_records(path, raw_lines, is_csv, naming, bad_rows=None, notes=None):
    """`read_records` for lines that are read already.

    Args:
        path: the name of their source, for messages.
        raw_lines: iterable of bytes, each a line with its end.
        is_csv: whether they are CSV, not TSV.
        naming: the `Naming` of its columns.
        bad_rows, notes: as in `read_records`.
    """
    lines = DecodedLines(path, raw_lines)
    notes = notes or Notes(path)
    rows = _csv_rows(lines) if is_csv else _tsv_rows(lines, notes)
    first = next(rows, None)
    header = _header(path, lines.undecodable(1) or first, is_csv)
    cells = _found_columns(path, header, naming, notes, is_csv)
    count = 0
    for row, fault in _without_blank_end(lines, rows, header, notes):
        bad = fault or (row if isinstance(row, BadRow) else _wrong_count(row, header))
        if bad is None:
            count += 1
            yield Record(row[0], {name: row[1][place] for name, place in cells})
        elif bad_rows is None:
            raise bad.as_error(path)
        else:
            bad_rows.add(bad)
    if not count:
        found = 'no usable row after the header line' if bad_rows else 'a header line and no row'
        raise bad_input(path, found, 'at least one row')


def _without_blank_end(lines, rows, header, notes):
    """Yields (row, `BadRow` of bytes that are not UTF-8 or None) for all rows but the blank ones at the end."""
    held = []
    for row in rows:
        fault = lines.undecodable(row[0])
        if not fault and not isinstance(row, BadRow) and not any(cell.strip() for cell in row[1]):
            held.append((row, None))
            if len(held) <= _MOST_BLANK:
                continue
        else:
            held.append((row, fault))
        yield from held
        held = []
    if held:
        # With as many cells as there are columns, somebody may have meant them.
        say = notes.warn if any(len(row[1]) == len(header) for row, _ in held) else notes.tell
        say(f'{len(held)} blank lines at the end (from line {held[0][0][0]} on) are no rows')


def _tsv_rows(lines, notes):
    warned = False
    for text in lines:
        cells = text.removesuffix('\n').removesuffix('\r').split('\t')
        if not warned and '"' in text and (open_cell := next(filter(_is_open, cells), None)) is not None:
            warned = True
            what = f'the cell {quoted(open_cell, 60)} begins with a double quote that is not closed.'
            rule = 'In TSV files quotes mean nothing and a row ends with its line'
            notes.warn(f'{what} {rule}; if a spreadsheet has written it, save it as CSV.', lines.number)
        yield lines.number, cells


def _is_open(cell):
    return cell.startswith('"') and cell.count('"') % 2 == 1


def _csv_rows(lines):
    """Rows of a CSV file, and a `BadRow` where the quoting is wrong; a quote that never closes ends everything."""
    # The library's limit of 128 KiB a cell is a guard against unclosed quotes, which strict mode reports by itself.
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    reader = csv.reader(iter(lines), strict=True)
    while True:
        first_line = lines.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as e:
            if 'unexpected end of data' in str(e):
                raise bad_input(
                    lines.path, 'a double quote that is never closed', 'a closing quote', line=first_line
                ) from None
            yield BadRow(first_line, f'bad CSV quoting ({e})', 'cells in double quotes, a quote inside one doubled')
        else:
            yield first_line, cells or ['']


def _header(path, row, is_csv):
    """Column names of the header row, checked."""
    if row is None:
        raise bad_input(path, 'an empty file', 'a header line that names the columns, then rows')
    if isinstance(row, BadRow):
        raise row.as_error(path)
    header = [name.strip() for name in row[1]]
    times = Counter(header)
    for name in header:
        if not name or times[name] > 1:
            what = f'the column {quoted(name)} twice' if name else 'a column without a name'
            raise bad_input(path, what, 'a different name for every column', line=1)
    return header


def _found_columns(path, header, naming, notes, is_csv):
    """[(what a cell is called, its place in a row)]."""
    advice = _separator_advice(header[0], is_csv) if len(header) == 1 else ''
    if header[0].startswith(('{', '[{')):
        advice = 'JSON is read from files whose name ends in .json or .jsonl.'
    called = naming.of(header, path, 1, notes, is_csv, advice)
    return [(called[name], place) for place, name in enumerate(header) if name in called]


def _separator_advice(header, is_csv):
    """What to do about a header line of one cell that seems to hold several; '' where it does not."""
    if not is_csv:
        return 'Commas separate columns in files whose name ends in .csv; in others it is TAB.' if ',' in header else ''
    if '\t' in header:
        return 'Its columns are parted by TABs; in .csv files commas part them: rename it to .tsv.'
    if ';' in header:
        return 'Its columns are parted by semicolons; in .csv files commas part them: save it with commas.'
    return ''


def _wrong_count(row, header):
    line, cells = row
    if len(cells) == len(header):
        return None
    return BadRow(line, f'{len(cells)} cells', f'{len(header)} as in the header ({", ".join(header)})')
