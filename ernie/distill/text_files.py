"""The texts of TAB-separated files, line by line, with their places."""

import itertools
import sys
from typing import NamedTuple

from propeller.data.dataset import Dataset
from propeller.data.text_rows import RowParser, numbered_rows
from propeller.errors import UsageError, bad_input, quoted

STDIN = '-'
_EXPECTED = 'texts, one a line'


class TextRow(NamedTuple):
    """A line of a file.

    Attributes:
        path, line: where it stands.
        text: the cell of the column, without white space at its ends.
        cells: all cells of the line.
        names: those in the first line; () where it has none.
    """

    path: str
    line: int
    text: str
    cells: list
    names: tuple = ()


def read_texts(paths, column='1'):
    """Yields the `TextRow`s of files.

    Args:
        paths: files without a header line, in UTF-8; `-` is standard input.
        column: number of a column, from 1; or its name, and then the first line of each file has the names.
    Raises:
        UserError: a file cannot be read or has no row, a row is not UTF-8, has no such column, or no text in it.
        UsageError: the column can be none.
    """
    number = int(column) - 1 if column.isascii() and column.isdigit() else None
    if number == -1 or not column:
        raise UsageError(f'--column {quoted(column)}: expected a number from 1, or a name in the first line.')
    for path in paths:
        place, count, names = number, 0, ()
        for row in _rows(path):
            cells = _decoded(row).split('\t')
            if place is None:
                place, names = _named(cells, column, row), tuple(cells)
                continue
            count += 1
            yield _text_row(row, cells, place, names)
        if not count:
            raise bad_input(path, 'no row' if place is None or number is not None else 'a header alone', _EXPECTED)


def _rows(path):
    lines = iter(sys.stdin.buffer.readline, b'') if path == STDIN else iter(Dataset.from_file(path))
    return numbered_rows(lines, 'standard input' if path == STDIN else path, RowParser([]))


def _decoded(row):
    try:
        return row.raw.decode('utf-8')
    except UnicodeDecodeError as e:
        raise bad_input(
            row.path, f'byte 0x{row.raw[e.start]:02x} that is not UTF-8', 'UTF-8 text', line=row.line
        ) from None


def _named(cells, name, row):
    if name not in cells:
        expected = f'the column {quoted(name)} of --column'
        raise bad_input(
            row.path, f'the columns {", ".join(map(quoted, itertools.islice(cells, 20)))}', expected, line=1
        )
    return cells.index(name)


def _text_row(row, cells, place, names):
    if place >= len(cells):
        raise bad_input(
            row.path, f'{len(cells)} columns', f'at least {place + 1}, joined by TABs, for --column', line=row.line
        )
    text = cells[place].strip()
    if not text:
        raise bad_input(row.path, 'no text', 'a text', line=row.line, advice='Correct it or delete the line.')
    return TextRow(row.path, row.line, text, cells, names)
