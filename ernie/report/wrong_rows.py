"""The wrong rows of a dev set as files: TSV for a spreadsheet, JSON lines for programs, surest first."""

import contextlib
import csv
import json
import tempfile

import numpy as np

from ernie.report.names import ERRORS
from propeller.storage.atomic import output_file

# A spreadsheet takes a cell that begins like this for a formula (OWASP, CSV Injection).
_FORMULA = ('=', '+', '-', '@', '\t', '\r', '\n')


def write_wrong_rows(stem, outcomes, lines, texts):
    """Write `{stem}.errors.tsv` and `{stem}.errors.jsonl`, each whole or not at all.

    Memory does not grow with the texts: they are read once, in the order of the file, and wait on the disk.

    Args:
        stem: path without ending; its folder exists.
        outcomes: `Outcomes`.
        lines: [N] int, the line of each row in its file; None where rows have no lines.
        texts: function (ascending row numbers) -> iterable of (row number, dict of its texts); a row whose texts cannot
            be had is left out. Rows have texts of the same names.
    Returns:
        list of the two paths.
    Raises:
        UserError: a file cannot be written.
    """
    places = np.asarray(outcomes.places)
    paths = [stem + end for end in ERRORS]
    with _Waiting(texts(np.unique(places))) as waiting, contextlib.ExitStack() as stack:
        table, records = (stack.enter_context(output_file(path)) for path in paths)
        table.write('\ufeff')  # else Excel takes UTF-8 for the encoding of the country
        sheet, names = csv.writer(table, 'excel-tab', lineterminator='\n'), None
        for e, row in enumerate(places.tolist()):
            line = {} if lines is None else {'line': int(lines[row])}
            entry = {**line, **outcomes.entry(e, waiting.texts_of(row))}
            if names is None:
                names = list(entry)
                sheet.writerow(names)
            records.write(json.dumps(entry, ensure_ascii=False) + '\n')
            sheet.writerow([cell(entry.get(name, '')) for name in names])
    return paths


def cell(value):
    """A value as the cell of a spreadsheet: texts that would be formulas get an apostrophe before them."""
    if isinstance(value, list | tuple):
        value = ', '.join(map(str, value))
    if not isinstance(value, str):
        return value
    return f"'{value}" if value.startswith(_FORMULA) else value


class _Waiting:
    """Texts on the disk, by row. texts: iterable of (row number, dict)."""

    def __init__(self, texts):
        self._file, self._places = tempfile.TemporaryFile(), {}  # noqa: SIM115 (closed by __exit__)
        self._names = {}
        for row, cells in texts:
            self._names |= dict.fromkeys(cells, '')
            content = json.dumps(cells).encode()
            self._places[row] = self._file.tell(), len(content)
            self._file.write(content)

    def texts_of(self, row):
        """The texts of a row, empty ones where they could not be had."""
        if row not in self._places:
            return self._names
        start, size = self._places[row]
        self._file.seek(start)
        return json.loads(self._file.read(size))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()
