"""What the requests of a load hold: bodies made of a template and the lines of a file, or arrays."""

import io
import json
import re

import numpy as np

from propeller.errors import UsageError, bad_input
from propeller.inputs import read_bytes, read_text
from propeller.service import slots

_MOST = 1 << 30
_PLACES = re.compile(r'\{lines?\}')


class Template:
    """Bodies of text. Each `{line}` is the next line of the file, escaped for JSON, without quotes around it; `{lines}`
    is a JSON array of the next `count` lines. After the last line comes the first.

    Args:
        text: the template.
        lines: list of str; may be empty if the template has no place for any.
        count: lines of `{lines}`.
    Raises:
        UsageError: places for lines, and no lines.
    """

    def __init__(self, text, lines=(), count=1):
        self._parts = [part.encode() for part in _PLACES.split(text)]
        self._counts = [count if place == '{lines}' else 0 for place in _PLACES.findall(text)]
        self.texts = sum(n or 1 for n in self._counts)
        if self._counts and not lines:
            raise UsageError('the body has {line}, which --texts FILE fills.')
        self._quoted = [json.dumps(line, ensure_ascii=False).encode() for line in lines]

    def __call__(self, number):
        """The bytes of the body of request `number`, from 0."""
        out, at = [self._parts[0]], number * self.texts
        for count, part in zip(self._counts, self._parts[1:], strict=True):
            taken = [self._quoted[i % len(self._quoted)] for i in range(at, at + (count or 1))]
            out += [b'[', b', '.join(taken), b']'] if count else [taken[0][1:-1]]
            out.append(part)
            at += count or 1
        return b''.join(out)


class Rows:
    """Bodies that are `Slots`: the next `count` rows of each array.

    Args:
        arrays: list of numpy arrays with the same number of rows, int32, int64 or float32.
        count: rows of a request.
        options: bytes of `slots.encode_options`, which come first.
    Raises:
        UserError: another type.
    """

    def __init__(self, arrays, count=1, options=b''):
        self.texts, self._options = count, options
        slots.encode([array[:1] for array in arrays])  # an array of another type is known before the load
        self._arrays, self._rows = arrays, len(arrays[0])

    def __call__(self, number):
        """The bytes of request `number`, from 0."""
        begin = number * self.texts % self._rows
        if begin + self.texts <= self._rows:
            return self._options + slots.encode([array[begin : begin + self.texts] for array in self._arrays])
        places = np.arange(begin, begin + self.texts) % self._rows
        return self._options + slots.encode([array[places] for array in self._arrays])


def read_lines(path):
    """The lines of a file that are not blank. Raises `UserError`: there are none, or the file cannot be read."""
    text = read_text(path, _MOST, 'a file with one text per line', data=True)
    lines = [line for line in text.removeprefix('\ufeff').replace('\r\n', '\n').split('\n') if line.strip()]
    if not lines:
        raise bad_input(path, 'no text', 'one text per line')
    return lines


def read_arrays(paths):
    """Arrays of `.npy` files. Raises `UserError`: a file is none, or has another number of rows than the first."""
    arrays = []
    for path in paths:
        arrays.append(_array(path))
        rows = len(arrays[-1]) if arrays[-1].ndim else 0
        if not rows or rows != len(arrays[0]):
            expected = f'{len(arrays[0])} rows as in {paths[0]}' if rows else 'an array with rows'
            raise bad_input(path, f'shape {arrays[-1].shape}', expected)
    return arrays


def _array(path):
    try:
        return np.lib.format.read_array(io.BytesIO(read_bytes(path, _MOST, 'a .npy file')), allow_pickle=False)
    except ValueError as e:
        raise bad_input(path, f'{e}', 'a .npy file of int32, int64 or float32') from None
