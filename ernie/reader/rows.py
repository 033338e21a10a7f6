"""Rows of files, whatever their form: those that can be used, those that cannot, and lines of text out of bytes."""

import bisect
import os
from typing import NamedTuple

from ernie.reader.encoding import save_as_utf8
from propeller.errors import QUOTED, bad_input, one_line

BOM = b'\xef\xbb\xbf'


class Record(NamedTuple):
    """One row: the 1-based number of its (first) line and its cells by column name."""

    line: int
    cells: dict


class BadRow(NamedTuple):
    """A row that cannot be used: where, and the parts of the message."""

    line: int
    found: str
    expected: str
    advice: str = ''

    def as_error(self, path):
        """The `UserError` for it."""
        return bad_input(path, self.found, self.expected, line=self.line, advice=self.advice)


class BadRows:
    """Collects the rows of one file that were skipped: counts all, lists the first `shown` by line number."""

    def __init__(self, path, shown=20):
        self.path = os.fspath(path)
        self.shown = shown
        self.count = 0
        self.rows = []  # (line, reason), ascending; no more than shown, so that a wholly wrong file costs no memory

    def __len__(self):
        return self.count

    def clear(self):
        """Forgets everything, for a second reading."""
        self.count = 0
        self.rows = []

    def add(self, row):
        """Takes a `BadRow`; in any order of lines."""
        self.count += 1
        reason = f'found {one_line(row.found, QUOTED)}, expected {one_line(row.expected)}'
        bisect.insort(self.rows, (row.line, reason))
        del self.rows[self.shown :]

    def messages(self):
        """`path:line: reason` for each listed row, and a last line if there are more."""
        lines = [f'{self.path}:{line}: {reason}' for line, reason in self.rows]
        more = self.count - len(self.rows)
        return [*lines, f'{self.path}: {more} more'] if more > 0 else lines


def leave_out(row, path, bad_rows):
    """A `BadRow` goes to the `BadRows` of its file; where they are not collected, it ends the reading.

    Raises:
        UserError: `bad_rows` is None.
    """
    if bad_rows is None:
        raise row.as_error(path)
    bad_rows.add(row)


class DecodedLines:
    """Decoded lines of a file with their number. Bytes that are not UTF-8 are remembered, not lost."""

    def __init__(self, path, file):
        self.path = path
        self.number = 0
        self._file = file
        self._bad = None  # (line, found), until asked for
        self._advice = None  # what to do about it, which is the same for all lines

    def __iter__(self):
        for number, raw in enumerate(self._file, 1):
            self.number = number
            if number == 1:
                raw = raw.removeprefix(BOM)
            try:
                yield raw.decode('utf-8')
            except UnicodeDecodeError as e:
                self._advice = self._advice or save_as_utf8(self.path, raw)
                self._bad = self._bad or (number, f'byte 0x{raw[e.start]:02x} at byte {e.start + 1} of the line')
                yield raw.decode('utf-8', errors='replace')

    def undecodable(self, first_line):
        """The `BadRow` of a line that was not UTF-8, if any came since `first_line`."""
        bad, self._bad = self._bad, None
        if bad is None or bad[0] < first_line:
            return None
        return BadRow(bad[0], bad[1], 'UTF-8 text', self._advice)
