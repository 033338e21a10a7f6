"""The sentences of tagging files, in any of their forms; which those are says `ernie.reader.sequence_label`."""

import itertools
import os

from ernie.reader.conll import DOCUMENT_MARK, Sentence, columns_of, is_one_column, read_sentences, width_of
from ernie.reader.json_records import JSON_ENDINGS
from ernie.reader.naming import MissingColumn, Naming
from ernie.reader.records import open_rows, parse_records
from ernie.reader.rows import DecodedLines
from propeller.errors import UserError, bad_input

SEPARATOR = '\x02'
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
        path = os.fspath(path)
        if path.lower().endswith(JSON_ENDINGS):
            raise bad_input(path, 'a JSON file', 'a table with the columns text_a and label, or CoNLL')
        with open_rows(path, 'a file of tokens and labels') as file:
            head = list(itertools.islice(file, _FIRST_LINES))
            lines = itertools.chain(head, file)
            if self._has_header(path, head, notes):
                yield from self._table_rows(path, lines, bad_rows, notes, noting)
            else:
                what = width_of(decoded(path, head)), self.label_map or {}, self.labelled
                yield from read_sentences(path, lines, *what, bad_rows, notes)

    def _naming(self):
        required = ('text_a', 'label') if self.labelled else ('text_a',)
        return Naming(required, self.columns, self.learnt, optional=('label',))

    def _has_header(self, path, head, notes):
        """Whether a file is a table with a header line; else it is CoNLL.

        Raises:
            UserError: its first lines show that it is neither.
        """
        lines = decoded(path, head)
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

    def _table_rows(self, path, lines, bad_rows, notes, noting):
        naming, joined = self._naming(), False
        records = parse_records(path, lines, path.lower().endswith('.csv'), naming, bad_rows, notes)
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
