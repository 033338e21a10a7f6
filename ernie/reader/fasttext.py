"""Lines as fastText has them: words, of which those that begin with `__label__` are the labels of the others."""

import re

from ernie.reader.rows import BadRow, DecodedLines

_LABEL = re.compile(r'(?:^|(?<=\s))__label__(\S+)\s*')
_FIRST = re.compile(r'__label__\w\S*[ \t]')
EXPECTED = 'a line of fastText: __label__NAME, then the text'


def is_fasttext(line):
    """Whether a first line is one. line: str."""
    return _FIRST.match(line) is not None


def fasttext_rows(path, raw_lines):
    """The lines of a file as records with `text` and `label`; several labels are joined by commas.

    Args:
        path: its name, for messages.
        raw_lines: iterable of bytes, each a line with its end.
    Yields:
        (1-based line number, dict or None, `BadRow` or None), as `ernie.reader.json_records.json_rows` does. Blank
        lines are none.
    """
    lines = DecodedLines(path, raw_lines)
    for line in lines:
        bad = lines.undecodable(lines.number)
        if not bad and not line.strip():
            continue
        labels = _LABEL.findall(line)
        if not labels or (len(labels) > 1 and any(',' in label for label in labels)):
            found = 'several labels, one with a comma' if labels else 'no __label__'
            bad = bad or BadRow(lines.number, found, EXPECTED)
        record = {'text': _LABEL.sub('', line).strip(), 'label': ','.join(labels)}
        yield lines.number, None if bad else record, bad
