"""Records with named values (JSON objects, rows of Parquet) as rows of a table, whose cells are text."""

from ernie.reader.columns import TEXTS, listed, misspelt
from ernie.reader.rows import BadRow, Record
from propeller.errors import bad_input, quoted

_READ = (*TEXTS, 'label', 'qid')


def cells_of_objects(path, rows, naming, bad_rows=None, notes=None, kind='a JSON object'):
    """The records of a file as rows of a table.

    Args:
        path: its name.
        rows: iterable of (line, value or None, `BadRow` or None), as `json_rows` gives them.
        naming: the `Naming` of their keys, which the first record decides.
        bad_rows, notes: as in `ernie.reader.records.read_records`.
        kind: what each of them should be, for messages.
    Yields:
        `Record`.
    Raises:
        UserError: file and line named.
    """
    required = naming.required
    expected = expected_object(required, kind)
    columns = called = None
    for line, value, bad in rows:
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


def values_of_objects(path, rows, naming, bad_rows=None, notes=None, kind='a JSON object'):
    """The same records with their values as they are: lists, objects and all. For the arguments see above.

    Yields:
        `Record`.
    """
    required, called, any_row = naming.required, None, False
    expected = f'{kind} with {" and ".join(map(repr, required))}'
    for line, value, bad in rows:
        if not bad and called is None and isinstance(value, dict) and value:
            called = naming.of(value, path, line, notes)
        if not bad and not isinstance(value, dict):
            bad = BadRow(line, quoted(value, 42), expected)
        if not bad:
            cells = {called.get(key, key): cell for key, cell in value.items()} if called else {}
            missing = [name for name in required if cells.get(name) is None]
            if missing:
                found = f'only {listed(value)}' if value else 'nothing in it'
                found = found if missing[0] not in cells else f'nothing as {quoted(missing[0])}'
                bad = BadRow(line, found, expected, misspelt(required, cells))
        if not bad:
            any_row = True
            yield Record(line, cells)
        elif bad_rows is None:
            raise bad.as_error(path)
        else:
            bad_rows.add(bad)
    if not any_row:
        raise bad_input(path, 'no usable record', 'at least one')


def expected_object(required, kind='a JSON object'):
    """What a record should be, for messages."""
    return f'{kind} with {" and ".join(map(repr, required))}, all of them text or numbers'


def _cells(value, required, called):
    """A dict of cells; or in words what stands there instead."""
    if not isinstance(value, dict):
        return quoted(value, 42)
    cells = {}
    for key, cell in value.items():
        key = called.get(key, key)
        text = text_of(cell, key == 'label')
        if text is not None:
            cells[key] = text
        elif cell is not None and key in (*required, *_READ):
            return f'{quoted(cell, 42)} as {quoted(key, 42)}'
    missing = [key for key in required if key not in cells]
    if missing:
        return f'only {listed(cells)}' if cells else 'nothing in it'
    return cells


def text_of(value, is_label=False):
    """A value as the cell of a table; None where it cannot be one.

    is_label: whether it may be true or false, or a list of several labels, which become one cell joined by commas.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower() if is_label else None
    if isinstance(value, int | float):
        return str(value)
    if is_label and isinstance(value, list):
        parts = [text_of(part) for part in value]
        return None if any(part is None or ',' in part for part in parts) else ','.join(parts)
    return None
