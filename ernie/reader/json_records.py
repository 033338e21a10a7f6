"""Records of JSON: an object a line, an array of objects, or an object that holds such an array as `data`."""

import itertools
import json
import re
from codecs import BOM_UTF8

from ernie.reader.rows import BadRow, DecodedLines
from propeller.errors import UserError, bad_input
from propeller.inputs import parse_json
from propeller.json_stream import CHUNK, json_items

LINES, ARRAY, OBJECT = 'lines', 'array', 'object'
LINE_ENDINGS = ('.jsonl', '.ndjson')
ACCEPTED = 'a JSON array of objects, an object with such an array as "data", or an object a line'
_LONGEST_LOOK = 1 << 20
_KEY = 'data'
_LONG_OBJECT = re.compile(r'\{\s*"(data|version)"\s*:')


def first_look(file):
    """The bytes of a file up to its first line that is not blank, or as much of that as it takes to know the form."""
    head = b''
    while True:
        line = file.readline(_LONGEST_LOOK)
        head += line
        if not line or line.removeprefix(BOM_UTF8).strip() or len(head) > _LONGEST_LOOK:
            return head


def form_of(head):
    """`LINES`, `ARRAY`, `OBJECT`, or None for what is no JSON. head: of `first_look`."""
    text = head.removeprefix(BOM_UTF8).decode('utf-8', errors='replace').strip()
    if text.startswith('['):
        return ARRAY
    if not text.startswith('{'):
        return None
    if not head.endswith(b'\n') and len(head) >= _LONGEST_LOOK:
        return OBJECT if _LONG_OBJECT.match(text) else LINES
    try:
        value = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        # The line of an object that is written over several ends like this, one with a slip hardly.
        return OBJECT if text.endswith(('{', '[', ',', ':')) else LINES
    return OBJECT if isinstance(value.get(_KEY), list) else LINES


def json_rows(name, head, file, form, expected):
    """The values of a file, also those that cannot be used.

    Args:
        name: of the file, for messages.
        head: what was read of it (`first_look`).
        file: the rest, binary.
        form: `LINES`, `ARRAY` or `OBJECT`.
        expected: what every value should be, for messages.
    Yields:
        (1-based line number, value or None, `BadRow` or None). Blank lines between lines of JSON are none. Of an array
        on one line it is the number of the value.
    Raises:
        UserError: the file as a whole cannot be used: an array that is no JSON, no value at all.
    """
    rows = _lines(name, head, file, expected) if form == LINES else _items(name, head, file, form, expected)
    row = None
    for row in rows:
        yield row
    if row is None:
        raise bad_input(name, 'no record', 'at least one')


def _lines(name, head, file, expected):
    # The look may have ended inside a line.
    rest = [] if head.endswith(b'\n') else [head[head.rfind(b'\n') + 1 :] + file.readline()]
    lines = itertools.chain(head[: head.rfind(b'\n') + 1].splitlines(keepends=True), filter(None, rest), file)
    decoded = DecodedLines(name, lines)
    for text in decoded:
        bad = decoded.undecodable(decoded.number)
        if bad or not text.strip():
            yield from [(decoded.number, None, bad)] if bad else ()
            continue
        try:
            yield decoded.number, parse_json(text, name, expected, finite=False), None
        except UserError as e:
            yield decoded.number, None, BadRow(decoded.number, e.found, expected)


def _items(name, head, file, form, expected):
    chunks = itertools.chain([head], iter(lambda: file.read(CHUNK), b''))
    for line, value in _told_apart(json_items(chunks, name, _KEY if form == OBJECT else None, ACCEPTED)):
        if isinstance(value, UserError):
            yield line, None, BadRow(line, value.found, expected)
        else:
            yield line, value, None


def _told_apart(items):
    """(line, value) of an array; where it stands on one line, as pandas writes it, numbers of records for lines."""
    items = iter(items)
    first = list(itertools.islice(items, 2))
    on_one_line = len({line for line, _ in first}) < len(first)
    for number, (line, value) in enumerate(itertools.chain(first, items), start=1):
        yield number if on_one_line else line, value
