"""Rows of text files whose cells stand between separators: TSV and CSV."""

import contextlib
import csv
import itertools
import re
import sys
from collections import Counter

from ernie.reader.rows import BadRow, DecodedLines, Record, leave_out
from ernie.reader.warnings import Notes
from propeller.errors import bad_input, quoted

NAMELESS = 'Unnamed: '  # what pandas calls a column without a name, with its number
TAB = '\t'
SEPARATORS = {',': 'commas', ';': 'semicolons', TAB: 'TABs', '|': 'vertical bars'}  # of CSV
_SAID = re.compile(r'"?sep=([,;|\t])"?\s*', re.IGNORECASE)
_CARRIAGE_RETURN = (
    'a carriage return alone, outside of quotes',
    'lines that end with a line feed',
    "Does every line end so, as on an old Mac? tr '\\r' '\\n'",
)
_MOST_BLANK = 10_000  # rows without text that may be held back to see whether they end the file


def parse_records(path, raw_lines, separator, naming, bad_rows=None, notes=None, is_csv_name=False, predicted=False):
    """Iterates over the rows of lines with a header line, as `Record`: see `ernie.reader.records.read_records`.

    Args:
        path: the name of their source, for messages.
        raw_lines: iterable of bytes, each a line with its end.
        separator: of CSV, one of `SEPARATORS`; None: they are TSV, where quotes mean nothing.
        naming: the `Naming` of its columns.
        bad_rows, notes: as in `read_records`.
        is_csv_name: whether `text` has always been `text_a` in this file.
        predicted: whether the rows are there to be predicted: their cells are called as in the header, all of them,
            not by what they mean, and if all rows are bad, that is no error of the file.
    """
    lines = DecodedLines(path, raw_lines)
    notes = notes or Notes(path)
    rows = _csv_rows(lines, separator) if separator else _tsv_rows(lines, notes)
    first = next(rows, None)
    header = _header(path, lines.undecodable(1) or first, bool(separator))
    called = naming.of(header, path, first[0], notes, is_csv_name, is_header=True)
    cells = [(called[name], place) for place, name in enumerate(header) if name in called]
    cells = [(name, place) for place, name in enumerate(header)] if predicted else cells
    count = 0
    for row, fault in _without_blank_end(lines, rows, header, notes):
        if separator and not isinstance(row, BadRow) and len(row[1]) != len(header):
            row = row[0], _fitted(row[1], header)
        bad = fault or (row if isinstance(row, BadRow) else _wrong_count(row, header))
        if bad is None:
            count += 1
            yield Record(row[0], {name: row[1][place] for name, place in cells})
        else:
            leave_out(bad, path, bad_rows)
    if not count and not (predicted and bad_rows):
        found = 'no usable row after the header line' if bad_rows else 'a header line and no row'
        raise bad_input(path, found, 'at least one row')


def said_separator(line):
    """What a first line such as `sep=;`, which is for Excel, says; None of others. line: str, perhaps with its end."""
    said = _SAID.fullmatch(line)
    return said[1] if said else None


def cells_of(text, separator):
    """The cells of a line of CSV; [] where its quoting is wrong."""
    try:
        return [cell.strip() for cell in next(csv.reader([text], delimiter=separator, strict=True), [])]
    except csv.Error:
        return []


def share_of_rows(texts, separator):
    """The share of the rows in some lines of CSV, the header among them, that have as many cells as the header."""
    rows = csv.reader(texts, delimiter=separator)
    counts = []
    with contextlib.suppress(csv.Error):
        counts.extend(len(row) for row in rows)
    # What was looked at may end inside quotes.
    counts = counts[:-1] if len(counts) > 2 else counts
    return sum(count == counts[0] for count in counts) / len(counts) if counts else 0


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
        cells = text.removesuffix('\n').removesuffix('\r').split(TAB)
        if not warned and '"' in text and (open_cell := next(filter(_is_open, cells), None)) is not None:
            warned = True
            what = f'the cell {quoted(open_cell, 60)} begins with a double quote that is not closed.'
            rule = 'In TSV files quotes mean nothing and a row ends with its line'
            notes.warn(f'{what} {rule}; if a spreadsheet has written it, save it as CSV.', lines.number)
        yield lines.number, cells


def _is_open(cell):
    return cell.startswith('"') and cell.count('"') % 2 == 1


def _csv_rows(lines, separator):
    """Rows of a CSV file, and a `BadRow` where the quoting is wrong; a quote that never closes ends everything."""
    # The library's limit of 128 KiB a cell is a guard against unclosed quotes, which strict mode reports by itself.
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    texts = iter(lines)
    first = list(itertools.islice(texts, 1))
    is_said = any(map(said_separator, first))
    reader = csv.reader(itertools.chain([] if is_said else first, texts), strict=True, delimiter=separator)
    first_line = 2 if is_said else 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as e:
            if 'unexpected end of data' in str(e):
                raise bad_input(
                    lines.path, 'a double quote that is never closed', 'a closing quote', line=first_line
                ) from None
            fault = f'bad CSV quoting ({e})', 'cells in double quotes, a quote inside one doubled'
            yield BadRow(first_line, *(_CARRIAGE_RETURN if 'new-line character' in str(e) else fault))
        else:
            yield first_line, cells or ['']
        first_line = lines.number + 1


def _header(path, row, is_csv):
    """Column names of the header row, checked."""
    if row is None:
        raise bad_input(path, 'an empty file', 'a header line that names the columns, then rows')
    if isinstance(row, BadRow):
        raise row.as_error(path)
    header = [name.strip() for name in row[1]]
    if not any(header):
        raise bad_input(path, 'an empty first line', 'a header line that names the columns', line=row[0])
    if any('\r' in name for name in header):
        raise BadRow(row[0], *_CARRIAGE_RETURN).as_error(path)
    if is_csv and len(header) > 1:
        # The numbers of the rows, as pandas writes them, or empty columns of a spreadsheet.
        header = [name or f'{NAMELESS}{i}' for i, name in enumerate(header)]
    times = Counter(header)
    for name in header:
        if not name or times[name] > 1:
            what = f'the column {quoted(name)} twice' if name else 'a column without a name'
            raise bad_input(path, what, 'a different name for every column', line=row[0])
    return header


def _fitted(cells, header):
    """The cells of a row of CSV, without empty ones behind the header's, and with those of nameless columns."""
    while len(cells) > len(header) and not cells[-1].strip():
        cells = cells[:-1]
    missing = header[len(cells) :]
    return [*cells, *('' for _ in missing)] if all(name.startswith(NAMELESS) for name in missing) else cells


def _wrong_count(row, header):
    line, cells = row
    if len(cells) == len(header):
        return None
    return BadRow(line, f'{len(cells)} cells', f'{len(header)} as in the header ({", ".join(header)})')
