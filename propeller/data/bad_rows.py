"""Rows that cannot be used: what is said of one, and the list of those of a file."""

import bisect
import os
from typing import NamedTuple

from propeller.errors import QUOTED, bad_input, one_line


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
