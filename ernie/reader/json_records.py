"""Records of JSON: an object a line, an array of objects, or an object that holds such an array as `data`."""

import itertools
import json
import re

from ernie.reader.columns import TEXTS, listed, misspelt
from ernie.reader.rows import BOM, BadRow, DecodedLines, Record
from propeller.errors import UserError, bad_input, quoted
from propeller.inputs import parse_json
from propeller.json_stream import CHUNK, json_items

LINES, ARRAY, OBJECT = 'lines', 'array', 'object'
LINE_ENDINGS = ('.jsonl', '.ndjson')
JSON_ENDINGS = (*LINE_ENDINGS, '.json')
ACCEPTED = 'a JSON array of objects, an object with such an array as "data", or an object a line'
_LONGEST_LOOK = 1 << 20
_KEY = 'data'
_READ = (*TEXTS, 'label', 'qid')
_LONG_OBJECT = re.compile(r'\{\s*"(data|version)"\s*:')


def first_look(file):
    """The bytes of a file up to its first line that is not blank, or as much of that as it takes to know the form."""
    head = b''
    while True:
        line = file.readline(_LONGEST_LOOK)
        head += line
        if not line or line.removeprefix(BOM).strip() or len(head) > _LONGEST_LOOK:
            return head


def form_of(head):
    """`LINES`, `ARRAY`, `OBJECT`, or None for what is no JSON. head: of `first_look`."""
    text = head.removeprefix(BOM).decode('utf-8', errors='replace').strip()
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
        (1-based line number, value or None, `BadRow` or None). Blank lines between lines of JSON are none.
    Raises:
        UserError: the file as a whole cannot be used: an array that is no JSON, no value at all.
    """
    rows = _lines(name, head, file, expected) if form == LINES else _items(name, head, file, form, expected)
    row = None
    for row in rows:
        yield row
    if row is None:
        raise bad_input(name, 'no record', 'at least one')


def cells_of_json(path, file, naming, bad_rows=None, notes=None):
    """The records of a JSON file as rows of a table.

    Args:
        path: its name.
        file: open for reading bytes.
        naming: the `Naming` of its keys, which the first object decides.
        bad_rows, notes: as in `ernie.reader.records.read_records`.
    Yields:
        `Record`.
    Raises:
        UserError: file and line named.
    """
    required = naming.required
    expected = f'a JSON object with {" and ".join(map(repr, required))}, all of them text or numbers'
    head = first_look(file)
    form = LINES if path.lower().endswith(LINE_ENDINGS) else form_of(head)
    if form is None:
        raise bad_input(path, 'text that is no JSON' if head.strip() else 'an empty file', ACCEPTED)
    columns = called = None
    for line, value, bad in json_rows(path, head, file, form, expected):
        if not bad and called is None and isinstance(value, dict) and value:
            called = naming.of(value, path, line, notes)
        cells = None if bad else _cells(value, required, called)
        if isinstance(cells, dict):
            own = [key for key in dict.fromkeys((*required, *_READ)) if key in cells]
            columns = columns or own
            if own == columns:
                yield Record(line, cells)
                continue
            # A table has the same columns in each row, and what a model reads is decided by them.
            bad = BadRow(line, f'the keys {listed(own)}', f'{listed(columns)} as in the first record')
        bad = bad or BadRow(line, cells, expected, misspelt(required, value) if isinstance(value, dict) else '')
        if bad_rows is None:
            raise bad.as_error(path)
        bad_rows.add(bad)
    if not columns:
        raise bad_input(path, 'no usable record', 'at least one')


def _cells(value, required, called):
    """A dict of cells; or in words what stands there instead."""
    if not isinstance(value, dict):
        return quoted(value, 42)
    cells = {}
    for key, cell in value.items():
        key = (called or {}).get(key, key)
        if isinstance(cell, str):
            cells[key] = cell
        elif isinstance(cell, int | float) and not isinstance(cell, bool):
            cells[key] = str(cell)
        elif cell is not None and key in (*required, *_READ):
            return f'{quoted(cell, 42)} as {quoted(key, 42)}'
    missing = [key for key in required if key not in cells]
    if missing:
        return f'only {listed(cells)}' if cells else 'nothing in it'
    return cells


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
    for line, value in json_items(chunks, name, _KEY if form == OBJECT else None, ACCEPTED):
        if isinstance(value, UserError):
            yield line, None, BadRow(line, value.found, expected)
        else:
            yield line, value, None
