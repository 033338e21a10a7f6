"""The sentences of tagging files, in any of their forms; which those are says `ernie.reader.sequence_label`."""

import itertools
import os
import re

from ernie.reader import columnar
from ernie.reader.column_words import TAGS, TOKENS
from ernie.reader.columns import bare
from ernie.reader.conll import DOCUMENT_MARK, Sentence, columns_of, is_one_column, read_sentences, width_of
from ernie.reader.delimited import SEPARATORS, TAB, cells_of, parse_records
from ernie.reader.forms import COLUMNAR, JSON, Look, is_csv_name, is_json, kind_of_ending, separator_of
from ernie.reader.naming import MissingColumn, TokenNaming
from ernie.reader.objects import named_records, no_record
from ernie.reader.records import look_json, of_all_files, open_rows
from ernie.reader.rows import BadRow, DecodedLines, Record, leave_out
from propeller.errors import UserError, bad_input, quoted

SEPARATOR = '\x02'
_PREFIXES = {'M': 'I', 'U': 'S', 'L': 'E'}
_OTHER_LABELS = {form for prefix in _PREFIXES for form in (prefix, f'{prefix}-')}
_TAG_NAMES = {'tag', *TAGS}
_LABEL = re.compile(r'O|[BIESMUL]-[^\s\x02]+')
_FEWEST_ROWS = 10  # a few sentences may be of one token
_SHOWN = 40  # characters of a line in a message
_FIRST_LINES = 200  # enough to see what a file is


class Sentences:
    """Reads them.

    Args:
        labelled: whether labels are read; without, they need not be there.
        label_map: dict label -> id; None: the labels are not known yet.
        words: function: raw text, of files without labels -> its tokens.
        columns, learnt: of a table, see `ernie.reader.naming.Naming`.
    """

    def __init__(self, labelled, label_map=None, words=str.split, columns=None, learnt=None):
        self.labelled, self.label_map, self.words = labelled, label_map, words
        self.columns, self.learnt = columns, learnt

    def of(self, path, bad_rows, notes, noting=lambda records, naming: records):
        """Iterates over the sentences of a file, as `Sentence`.

        Args:
            path: the file.
            bad_rows: None, or a `BadRows` that takes what cannot be used.
            notes: the `Notes` that take what is odd.
            noting: function of the records of a table and their `Naming` -> the same records, which sees the columns.
        Raises:
            UserError: file and line named.
        """
        path, told = os.fspath(path), False
        for row in of_all_files(path, bad_rows, lambda file, bad: self._of_file(file, bad, notes, noting)):
            if row.labels and any(label[:2] in _OTHER_LABELS for label in row.labels):
                if not told:
                    notes.tell('labels M-, U- and L- are read as I-, S- and E- of the scheme IOBES')
                told, row = True, row._replace(labels=[_in_iobes(label) for label in row.labels])
            yield row

    def _of_file(self, path, bad_rows, notes, noting):
        with open_rows(path, 'a file of tokens and labels') as file:
            look = Look(path, file)
            if look.magic or is_json(look.head) or kind_of_ending(path) in (JSON, *COLUMNAR):
                yield from self._list_rows(look, bad_rows, notes, noting)
                return
            is_csv = look.is_utf16 or look.said or is_csv_name(path)
            separator = separator_of(look, self._naming())[0] if is_csv else None
            lines = look.lines()
            head = list(itertools.islice(lines, _FIRST_LINES))
            lines = itertools.chain(head, lines)
            if look.said or self._has_header(path, head, notes):
                yield from self._table_rows(path, lines, separator, bad_rows, notes, noting)
            else:
                what = width_of(decoded(path, head)), self.label_map or {}, self.labelled
                yield from read_sentences(path, lines, *what, bad_rows, notes)

    def _naming(self):
        required = ('text_a', 'label') if self.labelled else ('text_a',)
        return TokenNaming(required, self.columns, self.learnt, optional=('label',))

    def _list_rows(self, look, bad_rows, notes, noting):
        """Sentences of records that hold a list of tokens and one of labels, or texts as in the cells of a table."""
        naming, path = self._naming(), look.path
        kind = 'a row' if look.magic else 'a JSON object'
        expected = f'{kind} with {" and ".join(map(repr, naming.required))}, lists of tokens and of labels'
        rows = columnar.read_rows(path, look.magic) if look.magic else look_json(look, expected)
        any_row = False
        for line, cells, bad in named_records(path, rows, naming, expected, notes):
            if not bad:
                (record,) = noting([Record(line, cells)], naming)
                tokens, labels, found = self._lists(record.cells)
                bad = BadRow(line, found, expected) if found else None
            if bad:
                leave_out(bad, path, bad_rows)
            else:
                any_row = True
                yield Sentence(line, tokens, labels if self.labelled else None)
        if not any_row:
            raise no_record(path)

    def _lists(self, cells):
        """(tokens, labels, what is wrong with them or None) of a record."""
        text, labels = cells.get('text_a'), cells.get('label')
        if isinstance(labels, str):
            labels = labels.split(SEPARATOR) if SEPARATOR in labels else labels.split()
        if isinstance(text, str):
            length = len(labels) if isinstance(labels, list) else 0
            text = text.split(SEPARATOR) if SEPARATOR in text else spaced(text, length) if length else self.words(text)
        if not isinstance(text, list) or any(not isinstance(token, str | int | float) for token in text):
            return None, None, f'{quoted(cells.get("text_a"), 42)} as tokens'
        tokens = [str(token) for token in text]
        if not self.labelled:
            return tokens, None, None
        if not isinstance(labels, list) or any(not isinstance(label, str | int) for label in labels):
            return None, None, f'{quoted(cells.get("label"), 42)} as labels'
        unnamed = next((label for label in labels if not isinstance(label, str)), None)
        labels = [str(label) for label in labels]
        if unnamed is not None and str(unnamed) not in (self.label_map or {}):
            return None, None, f'the number {unnamed} as a label, which nothing names (no ClassLabel)'
        return tokens, labels, None

    def _has_header(self, path, head, notes):
        """Whether a file is a table with a header line; else it is CoNLL.

        Raises:
            UserError: its first lines show that it is neither.
        """
        lines = decoded(path, head)
        if is_token_a_row(lines):
            advice = 'Write a token and its label a line, no names of columns, and an empty line after each sentence.'
            raise bad_input(path, 'a table with a token in each row', 'a sentence in each row', 1, advice)
        names = [name.strip() for name in lines[0].split('\t')] if lines else []
        if not lines or path.lower().endswith('.csv') or 'text_a' in names or self._names_columns(path, names):
            return True
        number, first = next(((i, line) for i, line in enumerate(lines, 1) if line.strip()), (1, ''))
        expected = 'a header line with the columns text_a and label, or CoNLL lines: token, TAB or spaces, label'
        width = width_of(lines)
        if SEPARATOR in first or (width < 2 and not self._is_one_column(lines, notes)):
            if not self.labelled:
                expected += '; to be predicted, also a token a line and an empty line between sentences'
            raise bad_input(path, f'the first line {_short(first)!r}', expected, line=number)
        rows = [columns for line in lines if len(columns := columns_of(line, width)) > 1]
        last = [columns[-1] for columns in rows if columns[0] != DOCUMENT_MARK]
        if self.labelled and self.label_map is not None and not any(label in self.label_map for label in last):
            what = f'the first line {_short(first)!r}, and no label of the label map on the first lines'
            raise bad_input(path, what, expected, line=number)
        return False

    def _names_columns(self, path, names):
        """Whether the cells of a first line are the names that people give to text and labels."""
        if len(names) < 2:
            return False
        try:
            return {'text_a', 'label'} <= set(self._naming().of(names, path).values())
        except MissingColumn:
            return False
        except UserError:  # several: a table all the same
            return True

    def _is_one_column(self, lines, notes):
        if self.labelled or not is_one_column(lines, lambda text: len(self.words(text)) < 2):
            return False
        notes.tell('one column: each line is a token, an empty line parts sentences')
        return True

    def _table_rows(self, path, lines, separator, bad_rows, notes, noting):
        naming, joined = self._naming(), False
        records = parse_records(path, lines, separator, naming, bad_rows, notes, is_csv_name(path))
        for line, cells in noting(records, naming):
            text, labels = cells['text_a'], cells.get('label', '')
            # A row of one token shows no separator: it is read as the rows before it.
            joined = joined or SEPARATOR in text or SEPARATOR in labels
            labels = labels.split(SEPARATOR) if SEPARATOR in labels else labels.split()
            if joined:
                tokens = text.split(SEPARATOR) if text else []
            else:
                tokens = spaced(text, len(labels)) if 'label' in cells else self.words(text)
            yield Sentence(line, tokens, labels if self.labelled else None)


def is_token_a_row(lines):
    """Whether the columns of a table are called word and tag, and each row has one of each. lines: its first ones."""
    separator = max(SEPARATORS, key=lines[0].count) if lines else TAB
    header, *rows = [cells_of(line, separator) for line in lines] or [[]]
    tags = [place for place, name in enumerate(header) if bare(name) in _TAG_NAMES]
    tokens = [place for place, name in enumerate(header) if bare(name) in TOKENS]
    if not tags or not tokens:
        return False
    rows = [(row[tokens[0]], row[tags[-1]]) for row in rows if len(row) == len(header)]
    whole = sum(bool(_LABEL.fullmatch(tag)) and len(token.split()) == 1 for token, tag in rows)
    return len(rows) >= _FEWEST_ROWS and whole >= 0.9 * len(rows) and any('-' in tag for _, tag in rows)


def _in_iobes(label):
    """A label of BMES or BILOU by its name in IOBES."""
    return _PREFIXES[label[0]] + label[1:] if label[:2] in _OTHER_LABELS else label


def spaced(text, count):
    """The tokens of a cell without U+0002; one of them may be white space if that gives a token for each label."""
    tokens = text.split()
    if len(tokens) < count and len(others := [token for token in text.split(' ') if token]) == count:
        return others
    return tokens


def decoded(path, lines):
    """Lines of bytes as text, without their ends."""
    return [line.strip('\r\n') for line in DecodedLines(path, lines)]


def _short(text):
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + '…'
