"""Records with named values (JSON objects, rows of Parquet) as rows of a table, whose cells are text."""

import math

from ernie.reader.columns import TEXTS, listed, misspelt
from ernie.reader.rows import BadRow, Record, leave_out
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
    required, columns = naming.required, None
    expected = expected_object(required, kind)
    for line, record, bad in named_records(path, rows, naming, expected, notes):
        cells = None if bad else _cells(record, required)
        if isinstance(cells, dict):
            own = [key for key in dict.fromkeys((*required, *_READ)) if key in cells]
            columns = columns or own
            if own == columns:
                yield Record(line, cells)
                continue
            # A table has the same columns in each row, and what a model reads is decided by them.
            bad = BadRow(line, f'the keys {listed(own)}', f'{listed(columns)} as in the first record')
        leave_out(bad or BadRow(line, cells, expected, misspelt(required, record)), path, bad_rows)
    if not columns:
        raise no_record(path)


def values_of_objects(path, rows, naming, bad_rows=None, notes=None, kind='a JSON object'):
    """The same records with their values as they are: lists, objects and all. For the arguments see above.

    Yields:
        `Record`.
    """
    required, any_row = naming.required, False
    expected = f'{kind} with {" and ".join(map(repr, required))}'
    for line, record, bad in named_records(path, rows, naming, expected, notes):
        missing = [] if bad else [name for name in required if record.get(name) is None]
        if missing:
            found = f'only {listed(record)}' if record else 'nothing in it'
            found = found if missing[0] not in record else f'nothing as {quoted(missing[0])}'
            bad = BadRow(line, found, expected, misspelt(required, record))
        if bad:
            leave_out(bad, path, bad_rows)
        else:
            any_row = True
            yield Record(line, record)
    if not any_row:
        raise no_record(path)


def named_records(path, rows, naming, expected, notes=None):
    """Records with their keys by what they mean.

    Args:
        path, rows, naming, notes: see `cells_of_objects`.
        expected: what each should be, for messages.
    Yields:
        (line, dict or None, `BadRow` or None).
    """
    called = None
    for line, value, bad in rows:
        if not bad and not isinstance(value, dict):
            bad = BadRow(line, quoted(value, 42), expected)
        if not bad and called is None and value:
            called = naming.of(value, path, line, notes)
        yield line, None if bad else renamed(value, called or {}), bad


def renamed(record, called):
    """A record with its keys by what they mean.

    called: dict key -> meaning, of `Naming.of`. A key that is called like a meaning that another key has is left out:
    with `--label_column mood`, what stands in `label` is not the label.
    """
    taken = set(called.values())
    return {called.get(key, key): value for key, value in record.items() if key in called or key not in taken}


def no_record(path):
    """The `UserError` for a file without one that can be used."""
    return bad_input(path, 'no usable record', 'at least one')


def expected_object(required, kind='a JSON object'):
    """What a record should be, for messages."""
    return f'{kind} with {" and ".join(map(repr, required))}, all of them text or numbers'


def _cells(record, required):
    """A dict of cells; or in words what stands there instead. record: of `named_records`."""
    cells = {}
    for key, cell in record.items():
        text = text_of(cell, key == 'label')
        if text is not None:
            cells[key] = text
        elif not is_nothing(cell) and key in (*required, *_READ):
            return f'{quoted(cell, 42)} as {quoted(key, 42)}'
    missing = [key for key in required if key not in cells]
    if missing:
        empty = next((key for key in missing if key in record), None)
        only = f'only {listed(cells)}' if cells else 'nothing in it'
        return f'nothing as {quoted(empty, 42)}' if empty is not None else only
    return cells


def is_nothing(value):
    """Whether a value stands for none: null, or the NaN that pandas and numpy have for it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def text_of(value, is_label=False):
    """A value as the cell of a table; None where it cannot be one.

    is_label: whether it may be true or false, or a list of several labels, which become one cell joined by commas.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower() if is_label else None
    if isinstance(value, int | float):
        return None if is_nothing(value) else str(value)
    if is_label and isinstance(value, list):
        parts = [text_of(part) for part in value]
        return None if any(part is None or ',' in part for part in parts) else ','.join(parts)
    return None
