"""Rows of files, whatever their form, and lines of text out of bytes."""

from codecs import BOM_UTF8
from typing import NamedTuple

from ernie.reader.encoding import save_as_utf8
from propeller.data.bad_rows import BadRow, BadRows, leave_out

__all__ = ['BadRow', 'BadRows', 'DecodedLines', 'Record', 'leave_out']


class Record(NamedTuple):
    """One row: the 1-based number of its (first) line and its cells by column name."""

    line: int
    cells: dict


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
                raw = raw.removeprefix(BOM_UTF8)
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
