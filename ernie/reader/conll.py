"""CoNLL files -> sentences: a line per token, its columns separated by TAB or by spaces, an empty line in between.

The first column is the token, the last one its label; files to be predicted may have the token alone. Separators are
TAB and U+0020: every other white space (U+3000, U+00A0 ...) may be a token, as in characters that were cut out of a
text. A line such as `# id 12` before a sentence is a comment; `#` as a token is none.
"""

import itertools
import os
import re
from typing import NamedTuple

from ernie.reader.rows import BadRow, DecodedLines, leave_out
from ernie.reader.warnings import Notes
from propeller.errors import bad_input

DOCUMENT_MARK = '-DOCSTART-'
_COMMENT = re.compile(r'# +\S')
# What a comment says where it has as many words as a line has columns.
_COMMENT_KEY = re.compile(
    r'# +(?:[a-z]+_?id|id|newdoc|newpar|text|source|domain|global\.columns|\w+ *=)\b', re.IGNORECASE
)
_LABEL = re.compile(r'O|[A-Za-z]-.+')
_TOKEN_LENGTH = 12  # characters of a token; a line of text is longer
_TOKEN_SHARE = 0.9


class Sentence(NamedTuple):
    """One sentence: the 1-based line of its first token, its tokens and their labels (None if there are none).

    one_a_line: whether the following tokens stand on the following lines.
    """

    line: int
    tokens: list
    labels: list
    one_a_line: bool = False

    def line_of(self, position):
        """The line of token number `position`."""
        return self.line + position if self.one_a_line else self.line


def columns_of(line, width=None):
    """The cells of a line.

    Args:
        line: with or without its end.
        width: how many there should be; it decides where a token is itself white space. None: not known yet.
    Returns:
        list of str; empty for a line between sentences.
    """
    line = line.removesuffix('\n').removesuffix('\r')
    if not line.strip(' \t') or (width != 1 and not line.strip()):
        return []
    cells = [cell.strip(' ') or cell for cell in line.split('\t')] if '\t' in line else None
    if cells and (width is None or (cells[0] and len(cells) == width)):
        return cells
    words = [word for word in line.split(' ') if word]
    if width and len(words) == width - 1 and line.startswith('  '):
        words = [' ', *words]  # the token is a space, and one more separates it
    if width == len(words):
        return words
    if cells:
        return cells
    others = line.split()  # columns between wide spaces, say
    return others if len(others) == width or (width is None and len(words) == 1) else words


def width_of(lines):
    """The number of columns of a file, from its first lines; 0 if there is no line with any.

    The first line that is plain decides: no comment, and no token of white space.
    """
    filled = [line for line in lines if (columns := columns_of(line)) and columns[0] != DOCUMENT_MARK]
    plain = (line for line in filled if not line[0].isspace() and not _COMMENT.match(line))
    chosen = next(plain, filled[0] if filled else '')
    return len(columns_of(chosen))


def is_comment(line, columns, width, label_map):
    """Whether a line before a sentence is a comment, not its first token."""
    if not _COMMENT.match(line):
        return False
    if len(columns) != width:
        return True
    last = columns[-1]
    return last not in label_map and not _LABEL.fullmatch(last) and bool(_COMMENT_KEY.match(line))


def is_one_column(lines, is_word):
    """Whether the first lines of a file, all of one column, are tokens and not texts.

    Args:
        lines: list of str.
        is_word: function: does a text stay in one piece when it is cut into words?
    """
    lines = [line.strip(' \r\n') for line in lines if not _COMMENT.match(line)]
    filled = [line for line in lines if line]
    if not filled or any(' ' in line or '\t' in line for line in filled):
        return False
    words = [is_word(line) for line in filled]
    short = sum(word or len(line) <= _TOKEN_LENGTH for word, line in zip(words, filled, strict=True))
    return short >= _TOKEN_SHARE * len(filled) and (all(words) or '' in lines)


def read_sentences(path, raw_lines, width, label_map, labelled, bad_rows=None, notes=None):
    """Iterates over the sentences of a file.

    Args:
        path: its name, for messages.
        raw_lines: iterable of bytes, each a line with its end.
        width: number of columns, see `width_of`.
        label_map: dict label -> id; tells `#` with a label from a comment.
        labelled: whether the last column is the label; else it is not looked at.
        bad_rows: None, or a `BadRows` that takes sentences that cannot be used.
        notes: the `Notes` that take what is odd; None: it is logged.

    Yields:
        `Sentence`.

    Raises:
        UserError: a line has another number of columns, or is not UTF-8; there is no usable sentence.
    """
    path = os.fspath(path)
    lines = DecodedLines(path, raw_lines)
    tokens, labels, bad, start, comments = [], [], None, 1, 0
    found = False
    for text in itertools.chain(lines, [None]):
        columns = columns_of(text, width) if text is not None else []
        fault = lines.undecodable(1)
        if columns and not tokens and not bad and not fault and is_comment(text, columns, width, label_map):
            comments += 1
            continue
        if columns and columns[0] != DOCUMENT_MARK:
            fault = fault or _wrong_width(lines.number, columns, width)
            start = start if tokens or bad else lines.number
            tokens.append(columns[0])
            labels.append(columns[-1])
            bad = bad or fault
            continue
        if bad:
            leave_out(bad, path, bad_rows)
        elif tokens:
            found = True
            yield Sentence(start, tokens, labels if labelled else None, True)
        tokens, labels, bad = [], [], None
    if not found:
        raise bad_input(path, 'no usable sentence', 'at least one')
    if comments:
        (notes or Notes(path)).tell(f'{comments} comment lines skipped')


def _wrong_width(number, columns, width):
    if len(columns) == width:
        return None
    return BadRow(number, f'{len(columns)} columns', f'{width} as on the lines before', 'CoNLL: token, ..., label.')
