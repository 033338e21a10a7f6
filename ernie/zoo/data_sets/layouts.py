"""How publishers lay out their data sets, and the rows that become of them.

A layout has

    splits              names of those that it makes
    ending              of their files
    wants(name)         whether it reads a file of an archive
    read(member)        yields (split, `Row`), or (split, `Document`), of that file
    sort                whether the rows are put in the order of their numbers
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from propeller.errors import bad_input, quoted
from propeller.inputs import parse_json
from propeller.log import get_logger

log = get_logger(__name__)

LONGEST_LINE = 1 << 24  # bytes
LONGEST_TEXT = 1 << 24
MOST_JSON = 1 << 28
_BREAKS = re.compile(r'(?:\s*<br\s*/?>\s*)+', re.IGNORECASE)
_NO_LABEL = ('', '-1')


class Row(NamedTuple):
    """cells: dict column -> text. line: of its file. place: the file, for messages. order: see `ClassFolders`."""

    cells: dict
    place: str
    line: int | None = None
    order: tuple = ()


class Document(NamedTuple):
    """A file that is taken as it is. content: bytes. count: questions in it."""

    content: bytes
    count: int


def _tail(name):
    """A pattern for files of that name in any folder."""
    return re.compile(rf'(?:.*/)?{name}')


@dataclass(frozen=True)
class Table:
    """A line a row, cells between separators, without quoting.

    Attributes:
        files: dict split -> pattern of the name of its file.
        columns: dict column of ours -> places where it may stand: names in a header, numbers from 0; the first that
            there is. A first line that has none of the names is a row.
        separator: between cells.
        only: (name in the header, value): rows that have another value there are passed over; None: all are taken.
        called: dict label -> what it is called here.
        unlabelled: splits without labels.
    """

    files: Mapping[str, str]
    columns: Mapping[str, tuple]
    separator: str = '\t'
    only: tuple[str, str] | None = None
    called: Mapping[str, str] = field(default_factory=dict)
    unlabelled: tuple[str, ...] = ()
    ending: str = '.tsv'
    sort: bool = False

    @property
    def splits(self):
        """Names of the splits."""
        return tuple(self.files)

    def wants(self, name):
        """Whether it is the file of a split."""
        return self._split(name) is not None

    def _split(self, name):
        return next((split for split, file in self.files.items() if _tail(file).fullmatch(name)), None)

    def read(self, member):
        """The rows of a file."""
        split, unusable = self._split(member.name), []
        lines = numbered_lines(member)
        _, head = next(lines, (1, ''))
        header = head.split(self.separator)
        places, has_header = self._places(header, member, split)
        if not has_header:
            lines = itertools.chain([(1, head)], lines)
        chosen = header.index(self.only[0]) if self.only else None
        for line, text in lines:
            cells = text.split(self.separator)
            if chosen is not None and (chosen >= len(cells) or cells[chosen] != self.only[1]):
                continue
            if max(places.values()) >= len(cells):
                unusable.append(line)
                continue
            row = {name: cells[place] for name, place in places.items()}
            if row.get('label') in _NO_LABEL:
                unusable.append(line)
                continue
            if 'label' in row:
                row['label'] = self.called.get(row['label'], row['label'])
            yield split, Row(row, member.place, line)
        if unusable:
            what = '%s:%d: %d rows with too few cells or without a label, of which this is the first, are left out'
            log.warning(what, member.place, unusable[0], len(unusable))

    def _places(self, header, member, split):
        """(dict column -> number of its cell, whether the first line is a header)."""
        header = [name.strip() for name in header]
        names = {place for places in self.columns.values() for place in places if isinstance(place, str)}
        has_header, found = any(name in names for name in header), {}
        for column, places in self.columns.items():
            if column == 'label' and split in self.unlabelled:
                continue
            if has_header:
                at = next((header.index(place) for place in places if place in header), None)
            else:
                at = None
            if at is None:
                at = next((place for place in places if isinstance(place, int)), None)
            if at is None:
                expected = f'a header with the column {" or ".join(map(str, places))}'
                raise bad_input(member.place, f'the first line {quoted(" ".join(header))}', expected, 1)
            found[column] = at
        if self.only and self.only[0] not in header:
            raise bad_input(member.place, 'a header without it', f'one with the column {self.only[0]}', 1)
        return found, has_header


@dataclass(frozen=True)
class ClassFolders:
    """A folder for each class, a file for each text.

    Attributes:
        pattern: of the name of a file, with the groups `label` and `number`, and `split` perhaps.
        splits: names of the splits.
        by_number: function of a number -> split; None: the pattern says it.
        sort: whether rows are in the order of their numbers, so that classes alternate; they are all in memory then.
    """

    pattern: re.Pattern
    splits: tuple[str, ...]
    by_number: object = None
    sort: bool = True
    ending: str = '.tsv'

    def wants(self, name):
        """Whether it is a text of a class."""
        return self.pattern.fullmatch(name) is not None

    def read(self, member):
        """The row of a file."""
        match = self.pattern.fullmatch(member.name)
        label, number = match['label'], int(match['number'])
        split = self.by_number(number) if self.by_number else match['split']
        content = member.file.read(LONGEST_TEXT + 1)
        if len(content) > LONGEST_TEXT:
            raise bad_input(member.place, f'more than {LONGEST_TEXT:,} bytes', 'a text')
        text = _decoded(content, member.place, 1)
        yield split, Row({'label': label, 'text_a': plain(text)}, member.place, None, (number, label))


def plain(text):
    """A text on one line: HTML's line breaks, and all white space, become single spaces."""
    return ' '.join(_BREAKS.sub(' ', text).split())


@dataclass(frozen=True)
class Squad:
    """JSON of SQuAD, taken as it is. files: dict split -> pattern of the name of its file."""

    files: Mapping[str, str]
    ending: str = '.json'
    sort: bool = False

    @property
    def splits(self):
        """Names of the splits."""
        return tuple(self.files)

    def wants(self, name):
        """Whether it is the file of a split."""
        return any(_tail(file).fullmatch(name) for file in self.files.values())

    def read(self, member):
        """The file, whose questions are counted."""
        split = next(split for split, file in self.files.items() if _tail(file).fullmatch(member.name))
        content = member.file.read(MOST_JSON + 1)
        if len(content) > MOST_JSON:
            raise bad_input(member.place, f'more than {MOST_JSON:,} bytes', 'JSON of questions')
        expected = 'JSON of SQuAD: {"data": [{"paragraphs": [{"context", "qas"}]}]}'
        value = parse_json(content.removeprefix(b'\xef\xbb\xbf'), member.place, expected)
        try:
            paragraphs = [paragraph for article in value['data'] for paragraph in article['paragraphs']]
            count = sum(len(paragraph['qas']) for paragraph in paragraphs)
        except (KeyError, TypeError):
            raise bad_input(member.place, 'JSON of another form', expected) from None
        yield split, Document(content, count)


@dataclass(frozen=True)
class Paraphrases:
    """Microsoft's paraphrases, whose training file GLUE divides by a list of numbers of sentences."""

    ids: str = r'(?:mrpc_)?dev_ids\.tsv'
    train: str = r'msr_paraphrase_train\.txt'
    splits: tuple[str, ...] = ('train', 'dev')
    ending: str = '.tsv'
    sort: bool = False
    of_dev: set = field(default_factory=set, compare=False)

    def wants(self, name):
        """Whether it is the list or the training file."""
        return any(_tail(file).fullmatch(name) for file in (self.ids, self.train))

    def read(self, member):
        """The rows of the training file; nothing of the list."""
        lines = numbered_lines(member)
        if _tail(self.ids).fullmatch(member.name):
            self.of_dev.update(tuple(text.split('\t')[:2]) for _, text in lines)
            return
        if not self.of_dev:
            raise bad_input(member.place, 'no list of the dev set before it', 'mrpc_dev_ids.tsv beside it')
        next(lines, None)
        for line, text in lines:
            cells = text.split('\t')
            if len(cells) != 5:
                raise bad_input(member.place, f'{len(cells)} cells', '5: a label, two numbers, two texts', line)
            row = {'text_a': cells[3], 'text_b': cells[4], 'label': cells[0]}
            yield 'dev' if tuple(cells[1:3]) in self.of_dev else 'train', Row(row, member.place, line)


def numbered_lines(member):
    """Yields (number, text) of the lines of a file, without ends, byte order mark, and blank lines at its end."""
    blank = []
    for number in itertools.count(1):
        raw = member.file.readline(LONGEST_LINE + 1)
        if not raw:
            return
        if len(raw) > LONGEST_LINE:
            raise bad_input(member.place, f'more than {LONGEST_LINE:,} bytes', 'a line of text', number)
        text = _decoded(raw, member.place, number).removesuffix('\n').removesuffix('\r')
        if not text:
            blank.append((number, text))
            continue
        yield from blank
        blank = []
        yield number, text


def _decoded(raw, place, line):
    try:
        return raw.decode('utf-8-sig' if line == 1 else 'utf-8')
    except UnicodeDecodeError as e:
        found = f'byte 0x{raw[e.start]:02x} that is not UTF-8'
        raise bad_input(place, found, 'text in UTF-8', line + raw.count(b'\n', 0, e.start)) from None
