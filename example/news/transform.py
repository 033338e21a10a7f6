"""Makes train.tsv and valid.tsv of raw news: `label<TAB>text` a line, or a folder for each class with a file a text.

The three things below are meant to be changed for data of your own.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from dataclasses import MISSING, dataclass
from typing import Self

from ernie.settings.base import GivenSettings
from ernie.settings.fields import setting
from ernie.settings.flags import SettingsParser
from example.news import raw_text
from propeller.args import split_list
from propeller.errors import UsageError, one_line_errors
from propeller.log import console

# What a label of the raw data is called from here on; one that is not here keeps its name. For labels that are numbers:
# NAMES = {'0': '财经', '1': '房产'}
NAMES: dict[str, str] = {}


def parse_line(line):
    """(label, text) of a line of a raw file; None: the line is passed over.

    Raises:
        ValueError: it is no such line; the text says what is expected.
    """
    label, tab, text = line.partition('\t')
    if not tab:
        raise ValueError('label<TAB>text')
    return label, text


def clean(text):
    """A text as it is learnt from and predicted. Line breaks and TABs must go: a text is a cell of a table."""
    return ' '.join(text.split())


@dataclass(frozen=True, kw_only=True)
class TransformSettings(GivenSettings, title='raw news'):
    """Makes train.tsv and valid.tsv (columns label and text_a) of raw news."""

    raw: str = setting(MISSING, 'File of lines label<TAB>text, or folder with a folder for each class.')
    valid_raw: str | None = setting(None, 'The same for valid.tsv. Left out: --valid_share of --raw.')
    valid_share: float = setting(0.1, 'Share of the rows of each class for valid.tsv.', above=0, below=1)
    output: str = setting('news', 'Folder of the two files.')
    classes: str | None = setting(None, 'Classes to take, by their new names. Left out: all.', joined=True)
    rows_per_class: int = setting(0, 'Rows of each class to take, both files together; 0: all.', least=0)
    encoding: str = setting(
        raw_text.AUTO, 'Of the raw files. auto: UTF-8 where a whole file is, else GB18030.', choices=raw_text.ENCODINGS
    )
    skip_bad_rows: bool = setting(False, 'Leave out rows that cannot be read, and say how many.')

    def checked(self) -> Self:
        settings = super().checked()
        if self.valid_raw and self.given and 'valid_share' in self.given:
            raise UsageError('--valid_raw and --valid_share: give one.')
        return settings


def main(argv=None):
    """Run with the flags in `argv` (default: those of the command line)."""
    args = SettingsParser(TransformSettings, 'news_transform', prog='transform.py').parse_args(argv).checked()
    with console():
        form = raw_text.Form(parse_line, clean, NAMES, split_list(args.classes), args.encoding, args.skip_bad_rows)
        rows = raw_text.read_rows(args.raw, form)
        if args.valid_raw:
            train, valid = raw_text.take(rows, args.rows_per_class), raw_text.read_rows(args.valid_raw, form)
        else:
            train, valid = raw_text.divide(raw_text.take(rows, args.rows_per_class), args.valid_share, args.raw)
        for name, part in (('train', train), ('valid', valid)):
            raw_text.write_table(os.path.join(args.output, f'{name}.tsv'), part)
        print(raw_text.counts_table(train, valid), end='')


if __name__ == '__main__':
    with one_line_errors():
        main()
