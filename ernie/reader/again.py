"""Rows of a file read once more, by line, to show their texts."""

import numpy as np

from ernie.reader.dataset_folder import is_regular
from ernie.reader.rows import BadRows
from propeller.errors import UserError
from propeller.log import get_logger

log = get_logger(__name__)


def rows_again(reader, path, lines, wanted):
    """The rows that a set was made of, as its reader gives them.

    Args:
        reader: `SetReader`.
        path: the file; one that cannot be read twice gives nothing.
        lines: [N] int, the line of each row of the set, which may be a part of the file.
        wanted: numbers of rows.
    Yields:
        (row number, what the reader's `rows` gives for it), by line. Rows that share a line with others of the file,
        not all of which are of the set, cannot be told apart, and are left out.
    """
    if not is_regular(path):
        log.debug('%s: cannot be read twice: its rows are shown without texts', path)
        return
    lines, wanted = np.asarray(lines), np.asarray(wanted, np.int64)
    rows = np.flatnonzero(np.isin(lines, lines[wanted]))
    kept = {}
    for row in rows[np.argsort(lines[rows], kind='stable')].tolist():
        kept.setdefault(int(lines[row]), []).append(row)
    asked = set(wanted.tolist())
    try:
        for line, records in _by_line(reader.rows(path, BadRows(path)), kept):
            if len(kept[line]) == len(records):
                yield from (pair for pair in zip(kept[line], records, strict=True) if pair[0] in asked)
    except UserError as e:
        log.warning('%s: it changed since it was read (%s): some rows are shown without texts', path, e)


def _by_line(records, lines):
    """(line, list of its records) of neighbours of one line, for the lines that are asked for."""
    line, found = None, []
    for record in records:
        if record.line != line:
            if found:
                yield line, found
            line, found = record.line, []
        if line in lines:
            found.append(record)
    if found:
        yield line, found
