"""What goes into an exported model and comes out of it, read from its `model.json` without loading Paddle."""

import math
import os
from typing import NamedTuple

import numpy as np

from propeller.errors import bad_input, quoted
from propeller.inputs import read_json_object
from propeller.service.errors import ServiceError

_EXPECTED = "Paddle's inference model of format `pir`, as its exporters write it"
_TYPES = {
    't_i32': 'int32',
    't_i64': 'int64',
    't_f32': 'float32',
    't_bool': 'bool',
    't_f64': 'float64',
    't_f16': 'float16',
    't_i8': 'int8',
    't_ui8': 'uint8',
    't_i16': 'int16',
}


# Operators behind which the numbers of a tensor are those before it.
_SAME_NUMBERS = ('reshape', 'squeeze', 'unsqueeze', 'flatten', 'assign', 'cast')


class Table(NamedTuple):
    """An embedding. name: of the parameter; rows: number of ids that it has, from 0."""

    name: str
    rows: int


class Array(NamedTuple):
    """An input or output.

    shape: tuple, -1 for sizes that vary; dtype: of numpy, '' where it has none; table: the smallest `Table` that an
    input of whole numbers is looked up in, as it comes; None where there is none, or the model does not show it.
    """

    name: str
    shape: tuple
    dtype: str
    table: Table | None = None

    def __str__(self):
        sizes = ['*' if size < 0 else str(size) for size in self.shape]
        return f'{self.dtype} [{", ".join(["rows", *sizes[1:]] if self.shape and self.shape[0] < 0 else sizes)}]'


class Description(NamedTuple):
    """inputs, outputs: lists of `Array`, in the order in which the model takes and gives them."""

    inputs: list
    outputs: list

    @property
    def may_batch(self):
        """Whether each input and each output may have a row for each row of a request."""
        arrays = self.inputs + self.outputs
        return all(array.shape and array.shape[0] < 0 for array in arrays)

    def check(self, arrays):
        """The arrays of a request, as the model takes them.

        2019's models had a last dimension of 1 that today's have not: it is taken off where it is one too many.

        Args:
            arrays: list of numpy arrays.
        Returns:
            (list of arrays, number of rows).
        Raises:
            ServiceError: number, types or shapes are others; a size is 0; a number is NaN, or an id that its table
                has not.
        """
        if len(arrays) != len(self.inputs):
            expected = '; '.join(map(str, self.inputs))
            raise ServiceError('invalid', f'found {len(arrays)} arrays, expected {len(self.inputs)}: {expected}.')
        fitted = [_fitted(place, *pair) for place, pair in enumerate(zip(arrays, self.inputs, strict=True))]
        rows = None
        for place, (array, expected) in enumerate(zip(fitted, self.inputs, strict=True)):
            if expected.shape and expected.shape[0] < 0:
                rows = len(array) if rows is None else rows
                if len(array) != rows:
                    raise ServiceError('invalid', f'array {place}: found {len(array)} rows, expected {rows} as before.')
        return fitted, 1 if rows is None else rows

    def result_bytes(self, rows, length):
        """Bytes of the outputs of a request, at most; sizes that vary are taken for `length`."""
        total = 0
        for array in self.outputs:
            sizes = [length if size < 0 else size for size in array.shape]
            if sizes and array.shape[0] < 0:
                sizes[0] = rows
            total += math.prod(sizes) * np.dtype(array.dtype).itemsize
        return total


def _fitted(place, array, expected):
    if array.dtype != np.dtype(expected.dtype):
        raise ServiceError('invalid', f'array {place}: found {array.dtype}, expected {expected.dtype}.')
    shape = array.shape
    if len(shape) == len(expected.shape) + 1 and shape[-1] == 1:
        shape = shape[:-1]
    fits = len(shape) == len(expected.shape) and all(
        found == size or size < 0 for found, size in zip(shape, expected.shape, strict=True)
    )
    if not fits or 0 in shape:
        raise ServiceError('invalid', f'array {place}: found shape {list(array.shape)}, expected {expected}.')
    if array.dtype.kind == 'f' and np.isnan(array).any():
        raise ServiceError('invalid', f'array {place}: found NaN, expected numbers.')
    if expected.table is not None and (array.min() < 0 or array.max() >= expected.table.rows):
        raise _unknown_id(place, array, expected.table)
    return array.reshape(shape)


def _unknown_id(place, array, table):
    """The error of ids that a table has not."""
    at = np.argwhere((array < 0) | (array >= table.rows))[0]
    row = f' in row {at[0] + 1}' if array.ndim else ''
    expected = f'0 to {table.rows - 1:,}: {quoted(table.name, 60)} has {table.rows:,} rows'
    return ServiceError('invalid', f'array {place}: found the id {array[tuple(at)]:,}{row}, expected {expected}.')


def read_description(folder):
    """The `Description` of an exported model.

    Raises:
        UserError: it is none, or takes types that no message has.
    """
    path = os.path.join(folder, 'model.json')
    fields = read_json_object(path, _EXPECTED, finite=False)
    inputs, outputs = [], []
    try:
        ops = fields['program']['regions'][0]['blocks'][0]['ops']
        tables = _tables(ops)
        for op in ops:
            if op['#'].endswith('.data'):
                array = _array(op)
                whole = array.dtype.startswith('int')
                inputs.append(array._replace(table=tables.get(op['O'][0]['%'])) if whole else array)
            elif op['#'].endswith('.fetch'):
                outputs.append((int(_attribute(op, 'col')), _array(op)))
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError):
        raise bad_input(path, 'another JSON', _EXPECTED) from None
    if not inputs or not outputs:
        raise bad_input(path, 'no inputs' if not inputs else 'no outputs', _EXPECTED)
    for array in inputs:
        if array.dtype not in ('int32', 'int64', 'float32'):
            raise bad_input(path, f'an input of type {array.dtype}', 'int32, int64 or float32, which messages have')
    for _, array in outputs:
        if not array.dtype:
            raise bad_input(path, 'an output of a type that numpy has not', f'one of {", ".join(_TYPES.values())}')
    return Description(inputs, [array for _, array in sorted(outputs, key=lambda entry: entry[0])])


def _array(op):
    (value,) = op['O']
    kind, shape = value['TT']['D'][:2]
    shape = tuple(int(size) for size in shape)
    return Array(str(_attribute(op, 'name')), shape, _TYPES.get(kind['#'].rpartition('.')[2], ''))


def _tables(ops):
    """dict number of a value -> the smallest `Table` that it is looked up in, of what comes from outside."""
    names, shapes, sources, found = {}, {}, {}, {}
    for op in ops:
        kind = op['#'].rpartition('.')[2].removesuffix('_')
        if kind == 'p':
            names[op['O']['%']], shapes[op['O']['%']] = str(op['A'][3]), op['O']['TT']['D'][1]
        elif kind in _SAME_NUMBERS:
            made = op['O'][0]
            taken = op['I'][0]['%']
            sources[made['%']], shapes[made['%']] = sources.get(taken, taken), made['TT']['D'][1]
        elif kind == 'embedding':
            ids, table = (value['%'] for value in op['I'])
            ids, name = sources.get(ids, ids), names.get(sources.get(table, table))
            if name is not None and shapes[table][0] > 0:
                one = Table(name, int(shapes[table][0]))
                found[ids] = min(one, found.get(ids, one), key=lambda table: table.rows)
    return found


def _attribute(op, name):
    return {entry['N']: entry['AT']['D'] for entry in op['A']}[name]
