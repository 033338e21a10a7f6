"""The values of elements as arrays: their shapes and types, and whether those of all elements agree."""

import itertools
import math
import operator
import warnings

import numpy as np

from propeller.data.padding import fill_rows
from propeller.errors import UserError, quoted
from propeller.log import get_logger

log = get_logger(__name__)


def values_of(element):
    """The values of an element, as a list or tuple: itself, unless it is one already."""
    return element if isinstance(element, (tuple, list)) else [element]


def as_array(value):
    """A value as a numpy array; see `found_in`."""
    return value if type(value) is np.ndarray else np.asarray(value)


def call(fn, element):
    """`fn` of the values of an element."""
    return fn(*element) if isinstance(element, (tuple, list)) else fn(element)


def check_function(where, fn):
    """Raises `UserError` where `fn` cannot be called."""
    if not callable(fn):
        raise UserError(f'{where}: found {quoted(fn)}, expected a function.')


def closable(iterable):
    """An iterator of it that has `close`, which lets go what the iterator holds."""
    iterator = iter(iterable)
    return iterator if hasattr(iterator, 'close') else _items(iterator)


def _items(iterator):
    yield from iterator


def kinds_of(element, where, batch_width=None):
    """Lists of the shapes and the names of the types of its values.

    Args:
        element: its values must be numpy arrays.
        where: whose element it is, for the message.
        batch_width: of a batch, whose size and width are no properties of the data set: the width, or -1.
    Raises:
        UserError: a value is no array.
    """
    arrays = values_of(element)
    for value in arrays:
        if not isinstance(value, (np.ndarray, np.generic)):
            raise UserError(
                f'{where}: found {type(value).__name__} in the first element, expected numpy arrays to take shapes and '
                'types from. Set data_shapes and data_types, or make arrays of the values with map.'
            )
    shapes = [list(array.shape) for array in arrays]
    if batch_width is not None:
        shapes = [[-1, batch_width] if len(shape) == 2 else [-1, *shape[1:]] for shape in shapes]
    return shapes, [array.dtype.name for array in arrays]


def whole_number(where, name, value, least):
    """`value` as an int.

    Raises:
        UserError: it is none, or less than `least`. where: the operation, for the message.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least:
        at_least = '' if least == -math.inf else f' from {least} on'
        raise UserError(f'{where}: found {name} {quoted(value)}, expected a whole number{at_least}.')
    return number


def checked_shapes(shapes):
    """Shapes that a user set, as lists of int, -1 for sizes that vary. Raises `UserError`."""
    try:
        found = [[-1 if size is None else operator.index(size) for size in shape] for shape in shapes]
    except TypeError:
        found = None
    if found is None or any(size < -1 for shape in found for size in shape):
        raise UserError(
            f'data_shapes: found {quoted(shapes)}, expected a list of shapes, one for each value of an element, with '
            '-1 for sizes that vary: [[-1, 128], [-1]].'
        )
    return found


def checked_types(types):
    """Types that a user set, as names of numpy types. Raises `UserError`."""
    try:
        if isinstance(types, str):
            raise TypeError
        return [np.dtype(kind).name for kind in types]
    except TypeError:
        raise UserError(
            f"data_types: found {quoted(types)}, expected a list of types, one for each value of an element: ['int64']."
        ) from None


class Agreement:
    """What all elements of a data set must agree in: how many values, and of each its rank and type.

    Sizes that differ are told of once in the log: programs of 2019 name the longest that can be.

    Args:
        where: whose elements they are, for messages.
        shapes: list of shapes, -1 for sizes that vary.
        types: list of names of types.
        told: set of the names of those of whom it was told already, which is added to.
    """

    def __init__(self, where, shapes, types, told=None):
        self._where, self._told = where, set() if told is None else told
        self._kinds = [(len(shape), np.dtype(kind), tuple(shape)) for shape, kind in zip(shapes, types, strict=True)]

    def arrays(self, element, number):
        """The values of element `number` as arrays.

        Raises:
            UserError: they do not agree, with the number of the element, what was found and what expected.
        """
        values = values_of(element)
        check_count(self._where, number, values, len(self._kinds))
        arrays = [as_array(value) for value in values]
        for i, (array, (rank, kind, shape)) in enumerate(zip(arrays, self._kinds, strict=True)):
            if array.dtype != kind or array.ndim != rank:
                raise UserError(
                    f'{self._difference(number, i, array, shape, kind)} data_shapes and data_types say what an '
                    'element is, with -1 for sizes that vary.'
                )
            if self._where not in self._told and any(
                size not in (-1, found) for size, found in zip(shape, array.shape, strict=True)
            ):
                self._told.add(self._where)
                log.warning('%s In data_shapes -1 stands for sizes that vary.',
                            self._difference(number, i, array, shape, kind))  # fmt: skip
                warnings.filterwarnings('ignore', message='The fed Variable')  # Paddle says it again for each shape
        return arrays

    def _difference(self, number, i, array, shape, kind):
        found, expected = described(array.shape, array.dtype), described(shape, kind)
        return f'{self._where}, element {number}, value {i}: found {found}, expected {expected}.'


def check_count(where, number, values, expected):
    """Raises `UserError` where an element has not `expected` values."""
    if len(values) != expected:
        found = '1 value' if len(values) == 1 else f'{len(values)} values'
        raise UserError(f'{where}, element {number}: found {found}, expected {expected}.')


def described(shape, dtype):
    """`int64 of shape [3, 7]`."""
    return f'{dtype} of shape {list(shape)}'


class Batcher:
    """Makes batches of elements whose values agree in rank and type with those of the first element.

    Args:
        pad_value: one value, or a list of one for each value of an element.
        max_seqlen: width of padded arrays; None for the longest row.
    """

    def __init__(self, pad_value, max_seqlen):
        self._pad_value, self._width = pad_value, max_seqlen
        self._kinds = None  # of each value: number of dimensions, type
        self._pads = []

    def batch(self, elements, first):
        """The list of arrays that they make. first: number of the first element, for errors.

        Raises:
            UserError: they do not agree, with the number of the element, what was found and what expected.
        """
        rows = [values_of(element) for element in elements]
        if self._kinds is None:
            arrays = [self._array(first, i, value) for i, value in enumerate(rows[0])]
            self._kinds = [(array.ndim, array.dtype) for array in arrays]
            self._pads = _pad_values(self._pad_value, self._kinds)
        for number, row in enumerate(rows, first):
            if len(row) != len(self._kinds):
                check_count('padded_batch', number, row, len(self._kinds))
        return [self._stack(i, [row[i] for row in rows], first) for i in range(len(self._kinds))]

    def _stack(self, i, column, first):
        rank, kind = self._kinds[i]
        arrays = [
            value if type(value) is np.ndarray else self._array(first + j, i, value) for j, value in enumerate(column)
        ]
        for place, array in enumerate(arrays):
            if array.ndim != rank or (array.dtype != kind and not _both_text(array.dtype, kind)):
                if array.size or array.ndim != rank or not isinstance(column[place], (tuple, list)):
                    raise self._differs(first + place, i, array, f'{kind} of {rank} dimensions')
                arrays[place] = array.astype(kind)  # of an empty list numpy does not know the type
        if rank == 1:
            pad = self._pads[i]
            # A text that is longer than those of the first element would be cut.
            kind = np.result_type(np.asarray(pad), *arrays) if kind.kind in 'SU' else kind
            return fill_rows(arrays, pad, kind, self._width)
        shape = arrays[0].shape
        for place, array in enumerate(arrays):
            if array.shape != shape:
                raise self._differs(first + place, i, array, f'shape {list(shape)}, that of element {first}')
        return np.stack(arrays) if kind.kind in 'SU' else np.array(arrays, kind)

    @staticmethod
    def _array(number, i, value):
        try:
            array = np.asarray(value)
        except ValueError:  # rows of several lengths
            array = np.array(None)
        if array.dtype.kind == 'O':
            place = f'padded_batch, element {number}, value {i}'
            raise UserError(f'{place}: found {quoted(value)}, expected a number, a text or an array.')
        return array

    def _differs(self, number, i, array, expected):
        found = described(array.shape, array.dtype)
        return UserError(f'padded_batch, element {number}, value {i}: found {found}, expected {expected}.')


def batches(elements, size, batcher, first):
    """Yields what `batcher` makes of each `size` elements. first: number of the first element."""
    elements = iter(elements)
    while rows := list(itertools.islice(elements, size)):
        yield batcher.batch(rows, first)
        first += len(rows)


def _both_text(found, expected):
    """Whether they are types of text, or of bytes, which differ by the longest value only."""
    return found.kind == expected.kind and found.kind in 'SU'


def _pad_values(pad_value, kinds):
    pads = pad_value if isinstance(pad_value, (tuple, list)) else [pad_value] * len(kinds)
    if len(pads) != len(kinds):
        raise UserError(f'padded_batch: found {len(pads)} values in pad_value, expected {len(kinds)}, one for each.')
    for i, (pad, (rank, kind)) in enumerate(zip(pads, kinds, strict=True)):
        if rank == 1 and not _can_hold(kind, pad):
            expected = {'U': 'a text', 'S': 'bytes'}.get(kind.kind, f'a number of type {kind}')
            raise UserError(f'padded_batch, value {i}: found pad_value {quoted(pad)}, expected {expected}.')
    return pads


def _can_hold(kind, value):
    if kind.kind in 'SU':
        return isinstance(value, str if kind.kind == 'U' else bytes)
    try:
        held = np.array([value]).astype(kind)
        return held.shape == (1,) and (bool(held[0] == value) or kind.kind in 'fc')
    except (TypeError, ValueError, OverflowError):
        return False
