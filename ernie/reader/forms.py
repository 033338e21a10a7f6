"""What a file is: by its content first, by the ending of its name where the content leaves it open."""

import io
import itertools
import json
import os
import re
from codecs import BOM_UTF8
from typing import NamedTuple

from ernie.reader.columnar import ARROW, MAGIC, PARQUET
from ernie.reader.delimited import SEPARATORS, TAB, cells_of, said_separator, share_of_rows
from ernie.reader.encoding import UTF16_MARKS, Utf16, seems_utf16
from ernie.reader.fasttext import is_fasttext
from ernie.reader.json_records import ARRAY, LINE_ENDINGS, first_look, form_of
from propeller.errors import bad_input

TABLE, JSON, FASTTEXT = 'table', 'json', 'fastText'
COLUMNAR = (PARQUET, ARROW)
_ENDINGS = {'.parquet': PARQUET, '.arrow': ARROW, '.feather': ARROW, '.json': JSON, **dict.fromkeys(LINE_ENDINGS, JSON)}
_OTHERS = {
    b'PK\x03\x04': ('an Excel workbook or another zip file', 'In Excel: save it as "CSV UTF-8".'),
    b'\xd0\xcf\x11\xe0': ('an old Excel workbook', 'In Excel: save it as "CSV UTF-8".'),
    b'\x1f\x8b': ('a gzip file', 'Unpack it: gunzip.'),
    b'BZh': ('a bzip2 file', 'Unpack it: bunzip2.'),
    b'\xfd7zXZ': ('an xz file', 'Unpack it: unxz.'),
    b'\x28\xb5\x2f\xfd': ('a zstd file', 'Unpack it: unzstd.'),
    b'SQLite format 3': ('an SQLite database', 'Write its table as CSV.'),
    b'version https://git-lfs': ('a pointer of Git LFS in the place of the file', 'Get the file: git lfs pull'),
    b'<!DOCTYPE': ('a web page', 'Was it downloaded from the right address?'),
    b'<!doctype': ('a web page', 'Was it downloaded from the right address?'),
    b'<html': ('a web page', 'Was it downloaded from the right address?'),
}
_FORMATS = 'TSV, CSV, JSON, JSON lines or Parquet'
_BEGINS_JSON = re.compile(r'\[\s*($|\{\s*("|$))|\{\s*($|"[^"]+"\s*:)')
_QUOTED = re.compile(r'"[^"]*"')
_ENOUGH = 0.9  # of the rows have as many cells as the header
_LOOKED_AT = 20  # rows


class Form(NamedTuple):
    """kind: `TABLE`, `JSON`, `FASTTEXT`, `PARQUET` or `ARROW`. separator: of CSV, see `parse_records`. note: to say."""

    kind: str
    separator: str | None = None
    note: str = ''


class Look:
    """A file whose beginning is looked at, and that is read from the beginning all the same.

    Args:
        path: its name.
        file: open for reading bytes.
    Attributes:
        magic: `PARQUET` or `ARROW`; None for text.
        head: bytes of text up to the first line that is not blank.
        said: the separator that a line before that one says, for Excel; None without one.
        is_utf16: whether it was; what is read of it is UTF-8.
    Raises:
        UserError: it is something that cannot be read, by name.
    """

    def __init__(self, path, file):
        self.path = path
        self.file = file if hasattr(file, 'peek') else io.BufferedReader(file)
        begin = self.file.peek(64)[:1024]
        for mark, (what, advice) in _OTHERS.items():
            if begin.startswith(mark):
                raise bad_input(path, what, _FORMATS, advice=advice)
        self.magic = next((kind for mark, kind in MAGIC.items() if begin.startswith(mark)), None)
        self.is_utf16 = not self.magic and begin.startswith(UTF16_MARKS)
        if not self.magic and not self.is_utf16 and seems_utf16(begin):
            found = 'zero bytes, as in UTF-16 without a byte order mark or in a file that is no text'
            raise bad_input(path, found, 'UTF-8 text', 1, 'Save the file in the encoding UTF-8.')
        if self.is_utf16:
            self.file = io.BufferedReader(Utf16(path, self.file))
        self.head = b'' if self.magic else first_look(self.file)
        self.said = said_separator(self._line(0))
        if self.said:
            self.head += first_look(self.file)
        self._more = []

    def lines(self):
        """All lines of the file, as bytes with their ends. Once only."""
        self._complete()
        head = [line + b'\n' for line in self.head.split(b'\n')[:-1]]
        rest = self.head[self.head.rfind(b'\n') + 1 :]
        return itertools.chain(head, [rest] if rest else [], self._more, self.file)

    def _complete(self):
        """The look may have ended inside a line."""
        if not self.head.endswith(b'\n'):
            self.head += self.file.readline()

    @property
    def first_line(self):
        """The first line as text, without its end; the one after `sep=;`."""
        return self._line(1 if self.said else 0)

    def _line(self, number):
        lines = self.head.removeprefix(BOM_UTF8).split(b'\n', number + 1)
        return lines[number].decode(errors='replace').rstrip('\r') if len(lines) > number else ''

    def more(self):
        """Some lines after the first, as text."""
        self._complete()
        self._more += list(itertools.islice(self.file, _LOOKED_AT - len(self._more)))
        return [line.decode(errors='replace') for line in self._more]


def kind_of_ending(path):
    """`JSON`, `PARQUET`, `ARROW`; `TABLE` for the endings of tables; None for others."""
    ending = os.path.splitext(path.lower())[1]
    return TABLE if ending in ('.tsv', '.csv') else _ENDINGS.get(ending)


def form_of_look(look, naming):
    """The `Form` of a file.

    Args:
        look: `Look`.
        naming: `Naming`: a table is certainly one where the columns are found that it must have.
    Raises:
        UserError: the ending says something, and the content is certainly not that.
    """
    ending, path = kind_of_ending(look.path), look.path
    if look.magic:
        note = '' if ending == look.magic else f'the content is {look.magic.title()}, whatever its name says'
        return Form(look.magic, note=note)
    if is_json(look.head):
        note = '' if ending in (JSON, None) else 'the content is JSON, whatever its name says'
        return Form(JSON, note=note)
    if is_fasttext(look.first_line):
        return Form(FASTTEXT, note='lines of fastText: __label__ marks a label, all else is the text')
    separator, known = separator_of(look, naming)
    if ending in (JSON, *COLUMNAR) and known and len(look.first_line.split(separator or TAB)) > 1:
        kind = f'CSV with {SEPARATORS[separator]}' if separator else 'TSV'
        return Form(TABLE, separator, f'the content is a table ({kind}), whatever its name says')
    if ending in COLUMNAR:
        raise bad_input(path, 'a file that does not begin as one', ending.title(), advice=f'It may be {_FORMATS}.')
    if ending == JSON:
        return Form(JSON)
    told = separator and not is_csv_name(path) and not look.is_utf16
    return Form(TABLE, separator, f'columns are parted by {SEPARATORS[separator]}: read as CSV' if told else '')


def is_csv_name(path):
    """Whether the name says CSV, for which older rules hold."""
    return path.lower().endswith('.csv')


def is_json(head):
    """Whether text begins as JSON certainly: with an object, or an array of objects."""
    text = head.removeprefix(BOM_UTF8).decode(errors='replace').strip()
    if not text.startswith(('{', '[')):
        return False
    if _BEGINS_JSON.match(text):
        return True
    try:
        return isinstance(json.loads(text, parse_int=str, parse_float=str), dict)
    except (ValueError, RecursionError):
        return False


def json_form(path, head):
    """`form_of`, but lines where the name says so and the content does not say otherwise."""
    form = form_of(head)
    return form if form == ARRAY or not path.lower().endswith(LINE_ENDINGS) else 'lines'


def are_quoted(cells):
    """Whether the cells of a header are all in quotes, as R and pandas write them: names of TSV have none."""
    return len(cells) > 1 and all(_QUOTED.fullmatch(cell) for cell in cells)


def separator_of(look, naming, is_csv=None):
    """(separator of a table, None for TSV; whether its header has the columns that are needed).

    is_csv: whether it is CSV; None: as the name says.
    """
    header, is_csv = look.first_line, is_csv_name(look.path) if is_csv is None else is_csv
    if look.said:
        return look.said, naming.knows(cells_of(header, look.said), is_csv)
    own = ',' if is_csv else TAB if look.is_utf16 else None
    cells = cells_of(header, own) if own else [cell.strip() for cell in header.split(TAB)]
    if not own and are_quoted(cells):
        own, cells = TAB, cells_of(header, TAB)
    if not is_csv and len(cells) > 1:
        return own, naming.knows(cells)
    options = {sep: split for sep in SEPARATORS if len(split := cells_of(header, sep)) > 1}
    known = [sep for sep, split in options.items() if naming.knows(split, is_csv)]
    if naming.knows(cells, is_csv) and (not is_csv or known in ([], [','])):
        return own, True
    if is_csv and not known and options:
        known = list(options)
    if not known:
        return own, False
    texts = [header, *look.more()]
    share = {sep: share_of_rows(texts, sep) for sep in known}
    best = max(known, key=lambda sep: (share[sep], len(options[sep])))
    if share[best] < _ENOUGH and not is_csv:
        return own, False
    return best, True
