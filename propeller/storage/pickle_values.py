"""Objects that a pickle file may hold: numpy arrays and plain containers. See `restricted_pickle`."""

import math
import re
from collections import OrderedDict

import numpy as np

_LONGEST_KEY = 4096
_KEY_BITS = 1024
_MAX_DIMS = 32
_PLAIN_DTYPE = re.compile(r'[<>|=]?(b1|[iu][1248]|f[248])')


class Refused(Exception):
    """The file asks for something that is not data."""


class Name:
    """A function that the file names, one of `FUNCTIONS`."""

    __slots__ = ('name', 'call')

    def __init__(self, name, call):
        self.name, self.call = name, call


class Arguments(tuple):
    """A tuple with a function or a numpy type in it: the arguments of a call, no value."""

    __slots__ = ()


class Dtype:
    """A numpy type under construction: the file gives the byte order after the letter and the width."""

    __slots__ = ('value',)

    def __init__(self, text):
        if isinstance(text, bytes):
            text = text.decode('latin-1')
        if not isinstance(text, str) or not _PLAIN_DTYPE.fullmatch(text):
            raise Refused(f'numpy type {_short(text)}; numbers and bool are read')
        self.value = np.dtype(text)

    def set_state(self, state):
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ('<', '>', '|', '='):
            raise Refused('a numpy type with an unknown state')
        if any(part is not None for part in state[2:5]):
            raise Refused('a structured numpy type')
        self.value = self.value.newbyteorder(state[1])


class Array:
    """A numpy array under construction: the file gives its content after it."""

    __slots__ = ('value',)

    def __init__(self):
        self.value = None

    def set_state(self, state):
        if not isinstance(state, tuple) or len(state) != 5:
            raise Refused('a numpy array with an unknown state')
        _, shape, dtype, fortran, data = state
        self.value = _make_array(data, dtype, shape, 'F' if fortran else 'C')


def _short(value):
    return ascii(value)[:60] if isinstance(value, str | bytes | int | float) else type(value).__name__


def _make_array(data, dtype, shape, order):
    if not isinstance(dtype, Dtype):
        raise Refused('a numpy array without a numpy type')
    if isinstance(data, str):
        # Python 2 wrote bytes as text of the same codes.
        data = data.encode('latin-1')
    if not isinstance(data, bytes | bytearray):
        raise Refused(f'a numpy array whose content is a {type(data).__name__}, not bytes')
    if isinstance(shape, int):
        shape = (shape,)
    checked_shape(shape, 'a numpy array')
    if order not in ('C', 'F'):
        raise Refused('a numpy array of unknown order')
    if math.prod(shape) * dtype.value.itemsize != len(data) or math.prod(max(dim, 1) for dim in shape) >= 1 << 59:
        raise Refused(f'a numpy array of shape {shape} and type {dtype.value} with {len(data)} bytes of content')
    if not data:
        return np.empty(shape, dtype.value)
    if dtype.value == np.bool_:
        return (np.frombuffer(data, np.uint8) != 0).reshape(shape, order=order)
    return np.frombuffer(data, dtype.value).reshape(shape, order=order)


def checked_shape(shape, what):
    """Refuse what is no shape: numbers of thousands of digits must not be multiplied."""
    if not isinstance(shape, tuple) or len(shape) > _MAX_DIMS or not all(map(_is_size, shape)):
        raise Refused(f'{what} with an impossible shape')


def _is_size(number):
    return type(number) is int and 0 <= number < 1 << 63


def _reconstruct(kind, shape, typecode):
    if not isinstance(kind, Name) or kind.name != 'numpy.ndarray':
        raise Refused('an array that is no numpy.ndarray')
    return Array()


def _scalar(dtype, data):
    return _make_array(data, dtype, (1,), 'C')[0]


def _from_buffer(data, dtype, shape, order):
    return _make_array(data, dtype, shape, order)


def _encode(text, encoding='utf-8'):
    if not isinstance(text, str) or encoding not in ('latin1', 'latin-1', 'iso-8859-1'):
        raise Refused('an encoding other than latin1')
    return text.encode('latin-1')


def _container(kind):
    def make(items=()):
        if not isinstance(items, list | tuple):
            raise Refused(f'a {kind.__name__} made of a {type(items).__name__}')
        if kind is tuple:
            return tuple(finished(item) for item in items)
        return kind(checked_key(item) for item in items)

    return make


def _ordered_dict(pairs=()):
    if not isinstance(pairs, list | tuple) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
        raise Refused('a dictionary that is not made of pairs')
    found = OrderedDict((checked_key(key), finished(value)) for key, value in pairs)
    if len(found) < len(pairs):
        raise Refused('a key twice')
    return found


def _bytes(data=b'', encoding=None):
    if isinstance(data, str) and encoding is not None:
        return _encode(data, encoding)
    if not isinstance(data, bytes | bytearray) or encoding is not None:
        raise Refused('bytes made of something else')
    return bytes(data)


def _bytearray(data=b'', encoding=None):
    return bytearray(_bytes(data, encoding))


def _dtype(text, align=False, copy=True):
    return Dtype(text)


def _uncalled(*_):
    raise Refused('a call of numpy.ndarray')


def _paddle_tensor(expression, scope):
    """Paddle writes a tensor of a static program as `eval('data', {'data': array})`, which means the array itself."""
    if expression != 'data' or not isinstance(scope, dict) or list(scope) != ['data']:
        raise Refused('a call of eval')
    return scope['data']


def _table():
    functions = {
        'numpy.ndarray': _uncalled,
        'numpy.dtype': _dtype,
        '_codecs.encode': _encode,
        'collections.OrderedDict': _ordered_dict,
    }
    for core in ('numpy.core', 'numpy._core'):
        functions[f'{core}.multiarray._reconstruct'] = _reconstruct
        functions[f'{core}.multiarray.scalar'] = _scalar
        functions[f'{core}.numeric._frombuffer'] = _from_buffer
    for builtins in ('builtins', '__builtin__'):
        for kind in (tuple, set, frozenset):
            functions[f'{builtins}.{kind.__name__}'] = _container(kind)
        functions[f'{builtins}.bytes'] = _bytes
        functions[f'{builtins}.bytearray'] = _bytearray
        functions[f'{builtins}.eval'] = _paddle_tensor
    return functions


FUNCTIONS = _table()


def checked_key(value):
    """`value` if it can be a key: a name or a number.

    Tuples are none: their hash is computed anew each time, over all that they hold, however often that is the same.
    """
    if isinstance(value, str | bytes):
        if len(value) > _LONGEST_KEY:
            raise Refused(f'a name of {len(value)} characters')
        if isinstance(value, str) and not value.isascii():
            _check_characters(value)
    elif isinstance(value, int):
        if value.bit_length() > _KEY_BITS:
            raise Refused(f'a key that is a number of {value.bit_length()} bits')
    elif not (value is None or isinstance(value, float | np.generic)):
        raise Refused(f'a key that is a {type(value).__name__}')
    return value


def _check_characters(name):
    try:
        name.encode()
    except UnicodeEncodeError:
        raise Refused('a name with half of a surrogate pair') from None


def finished(value):
    """`value`, with a complete array in place of its construction."""
    if isinstance(value, Array):
        if value.value is None:
            raise Refused('a numpy array without content')
        return value.value
    if isinstance(value, Name | Dtype | Arguments):
        raise Refused('a function or a numpy type as a value')
    return value


def make_tuple(items):
    """A tuple, marked if it can only be the arguments of a call."""
    if any(isinstance(item, Name | Dtype | Arguments) for item in items):
        return Arguments(items)
    return tuple(finished(item) for item in items)
