"""Cuts the texts of files into words, as students read them."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from dataclasses import dataclass
from typing import Self

from distill.augment import TextSettings, write_lines
from ernie.distill.augmenting import segment_files
from ernie.distill.segmented import Segmenter
from ernie.settings.fields import setting
from ernie.settings.flags import SettingsParser
from propeller.errors import UsageError, bad_input, one_line_errors, quoted
from propeller.log import console

RAW = 'raw'


@dataclass(frozen=True, kw_only=True)
class SegmentSettings(TextSettings):
    """Makes rows `segmented text<TAB>label` or, with --second raw, `segmented text<TAB>text` out of rows of texts."""

    second: str = setting('2', 'Column that follows the segmented text, as --column; or raw, for the text itself.')

    def checked(self) -> Self:
        settings = super().checked()
        if self.second != RAW and self.second.isdigit() != self.column.isdigit():
            raise UsageError(f'--second {self.second} and --column {self.column}: give numbers or names for both.')
        self.check_files()
        return settings


def build_parser():
    """The flags."""
    return SettingsParser(SegmentSettings, 'segment', prog='segment.py')


def main(argv=None):
    """Run with the flags in `argv` (default: those of the command line)."""
    args = build_parser().parse_args(argv).checked()
    write_lines(args.output, segmented_lines(args))


def segmented_lines(args):
    """Yields the lines to write. args: `SegmentSettings`."""
    found = segment_files(args.input, args.column, Segmenter(args.lexer), args.processes)
    for row, words in found:
        second = words.joined() if args.second == RAW else _cell(row, args.second)
        yield f'{" ".join(words.texts)}\t{second}'


def _cell(row, second):
    place = int(second) - 1 if second.isdigit() else row.names.index(second) if second in row.names else len(row.cells)
    if not 0 <= place < len(row.cells):
        raise bad_input(row.path, f'no column {quoted(second)}', 'that of --second', line=row.line)
    return row.cells[place]


if __name__ == '__main__':
    with one_line_errors(), console():
        main()
