"""Parquet and Arrow files, batch by batch: memory is that of a batch, not of the file. Needs the package pyarrow."""

import contextlib
import json
import math
import os

from ernie.reader.dataset_folder import INFO, data_files, is_regular
from propeller.errors import UserError, bad_input, one_line
from propeller.inputs import open_regular, read_json_object

PARQUET, ARROW = 'parquet', 'arrow'
MAGIC = {b'PAR1': PARQUET, b'ARROW1': ARROW, b'\xff\xff\xff\xff': ARROW}
_BATCH = 512  # rows
_BUFFER = 1 << 20  # bytes of a column
_MOST_CLASSES = 1 << 20
_LIBRARY = 'pyarrow reads Parquet and Arrow files, and is not installed. Run: pip install pyarrow'


def read_rows(path, kind):
    """The rows of a file, as `ernie.reader.json_records.json_rows` gives those of JSON.

    Columns of bytes (pictures, sounds) are left out. Numbers of a class (`ClassLabel` of `datasets`) become its name.

    Args:
        path: the file.
        kind: 'parquet' or 'arrow'.
    Yields:
        (1-based number of the row, dict column -> value, None).
    Raises:
        UserError: it is damaged, or no such file; pyarrow is not installed.
    """
    number = 0
    with _readable(path), _open(path, kind) as (schema, batches):
        classes, names = class_names(path, schema), _columns(schema)
        for batch in batches(names):
            batch.validate(full=True)
            columns = {name: batch.column(name).to_pylist() for name in names}
            for name in classes.keys() & columns.keys():
                columns[name] = [_named(value, classes[name]) for value in columns[name]]
            for row in range(batch.num_rows):
                number += 1
                yield number, {name: _plain(values[row]) for name, values in columns.items()}, None
    if not number:
        raise bad_input(path, 'no row', 'at least one')


def count_rows(path):
    """How many rows a Parquet file says that it has; None for what is none, or cannot be read."""
    with contextlib.suppress(UserError), _readable(path):
        return _pyarrow().parquet.read_metadata(path).num_rows
    return None


def classes_of(path, column):
    """The names of the classes of a column of a data set, in the order of their numbers; () where it does not say them.

    Raises:
        UserError: see `data_files`; a file is damaged.
    """
    if not is_regular(path):
        return ()
    path = data_files(path)[0]
    with open(path, 'rb') as file:
        begin = file.read(6)
    kind = next((kind for mark, kind in MAGIC.items() if begin.startswith(mark)), None)
    if kind is None:
        return ()
    with _readable(path), _open(path, kind) as (schema, _):
        return tuple(class_names(path, schema).get(column, ()))


def class_names(path, schema):
    """dict column -> names of its classes: what the file itself says, or the description beside it.

    schema: of pyarrow.
    """
    text = (schema.metadata or {}).get(b'huggingface', b'')
    features = {}
    with contextlib.suppress(ValueError, RecursionError, AttributeError):
        features = json.loads(text)['info']['features'] if text else {}
    info = os.path.join(os.path.dirname(path), INFO)
    if not features and os.path.isfile(info):
        features = read_json_object(info, 'the description of a data set').get('features')
    if not isinstance(features, dict):
        return {}
    return {name: names for name, feature in features.items() if (names := _classes(feature))}


def _classes(feature, depth=3):
    """The names of the classes of a feature, or of what it is a list of; None where it has no classes."""
    if isinstance(feature, list) and len(feature) == 1:
        feature = {'feature': feature[0]}
    if not isinstance(feature, dict) or not depth:
        return None
    names = feature.get('names')
    if feature.get('_type') == 'ClassLabel' and isinstance(names, list) and len(names) <= _MOST_CLASSES:
        return names if all(isinstance(name, str) for name in names) else None
    return _classes(feature.get('feature'), depth - 1)


def _named(value, names):
    """A number of a class, or a list of such, as names. -1, which means none, and what is out of range stay."""
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value


def _plain(value):
    """A value as JSON has it; what JSON has not, as text. NaN is what pandas has for nothing."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return str(value)


def _columns(schema):
    """Names of the columns that are read, each once."""
    types = _pyarrow().types
    binary = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary)

    def has_bytes(kind, depth=8):
        inner = [kind.field(i).type for i in range(kind.num_fields)] if depth and types.is_nested(kind) else []
        return any(test(kind) for test in binary) or any(has_bytes(part, depth - 1) for part in inner)

    return [field.name for field in schema if not has_bytes(field.type)]


@contextlib.contextmanager
def _open(path, kind):
    """(schema, function: names of columns -> iterator of record batches)."""
    pyarrow = _pyarrow()
    if kind == PARQUET:
        # Without a buffer, a group of rows is in memory whole.
        with pyarrow.parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
            _check_names(path, file.schema_arrow.names)
            yield file.schema_arrow, lambda names: file.iter_batches(_BATCH, columns=names)
        return
    with pyarrow.memory_map(path) as source:
        is_file = source.read(6) == b'ARROW1'
        source.seek(0)
        with pyarrow.ipc.open_file(source) if is_file else pyarrow.ipc.open_stream(source) as reader:
            _check_names(path, reader.schema.names)
            whole = (reader.get_batch(i) for i in range(reader.num_record_batches)) if is_file else reader
            yield reader.schema, lambda names: (batch.slice(i, _BATCH) for batch in whole for i in _starts(batch))


def _starts(batch):
    return range(0, batch.num_rows, _BATCH)


def _check_names(path, names):
    twice = next((name for name in names if names.count(name) > 1), None) if len(names) < 10_000 else None
    if twice is not None:
        raise bad_input(path, f'the column {twice!r} twice', 'a different name for every column')


@contextlib.contextmanager
def _readable(path):
    """Inside, what pyarrow says of a file becomes one line."""
    pyarrow = _pyarrow()
    open_regular(path, 'a Parquet or Arrow file').close()
    try:
        yield
    except UserError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, OverflowError, MemoryError) as e:
        text = one_line(str(e).splitlines()[0] if str(e) else type(e).__name__, 120)
        raise bad_input(path, f'a file that pyarrow cannot read ({text})', 'a whole Parquet or Arrow file') from None


def _pyarrow():
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
        import pyarrow.types
    except ImportError:
        raise UserError(_LIBRARY) from None
    return pyarrow
