"""Tensors in safetensors files: https://github.com/huggingface/safetensors."""

import math
import os
import re

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from propeller.errors import UserError, bad_input, quoted
from propeller.inputs import open_regular, parse_json
from propeller.storage.atomic import replacing
from propeller.storage.mapping import Tensors
from propeller.storage.reading import read_array
from propeller.storage.values import bfloat16_to_float32

FILE = 'model.safetensors'
INDEX = 'model.safetensors.index.json'
DTYPES = {
    'BOOL': np.bool_,
    'U8': np.uint8,
    'I8': np.int8,
    'I16': np.int16,
    'U16': np.uint16,
    'I32': np.int32,
    'U32': np.uint32,
    'I64': np.int64,
    'U64': np.uint64,
    'F16': np.float16,
    'F32': np.float32,
    'F64': np.float64,
    # numpy has no bfloat16; float32 holds every value of it.
    'BF16': np.float32,
}


# What Paddle's writers (PaddleNLP, FastDeploy, safetensors.paddle) say in the header's `format`. They hand numpy arrays
# over, and Paddle's arrays of uint16 are bit patterns of bfloat16: it has no tensors of uint16.
_PADDLE_FORMATS = ('np', 'pd', 'paddle')


# Enough for 100,000 tensors; Python needs twenty times as much memory for the parsed text.
_MAX_HEADER = 1 << 24
# As many as every numpy takes.
_MAX_DIMS = 32
_FORM = 'a safetensors file'


class SafetensorsFile(Tensors):
    """One safetensors file. bfloat16 tensors are given as float32, those that Paddle wrote as `U16` too.

    The header is read and checked here, once: the library's reader takes shapes that numpy cannot have, and waits at a
    FIFO.

    Raises:
        UserError: the file cannot be read or is broken, or holds a type that numpy cannot.
    """

    source = 'safetensors'

    def __init__(self, path):
        super().__init__(path)
        self._file = open_regular(self.path, _FORM)
        header = _read_header(self._file, self.path)
        self.metadata = _checked_metadata(header.pop('__metadata__', {}), self.path)
        self._heads, self._places = {}, {}
        size = os.fstat(self._file.fileno()).st_size - header.start
        for name, entry in header.items():
            shape, kind, begin = _checked_entry(name, entry, size, self.path)
            self._heads[name] = (shape, kind)
            self._places[name] = begin
        self._check_places(size)
        for name, begin in self._places.items():
            self._places[name] = header.start + begin
        for name, (_, kind) in self._heads.items():
            if kind not in DTYPES:
                raise bad_input(path, f'type {kind} of {name}', f'one of {", ".join(DTYPES)}')
            if kind == 'U16' and self.metadata.get('format') in _PADDLE_FORMATS:
                self._heads[name] = (self._heads[name][0], 'BF16')

    def _check_places(self, size):
        """Every byte belongs to one tensor, as the format demands."""
        end = 0
        for name in sorted(self._places, key=lambda name: (self._places[name], _bytes_of(*self._heads[name]))):
            if self._places[name] != end:
                raise _broken(self.path, f'{name} begins at byte {self._places[name]} of the data, not at {end}')
            end += _bytes_of(*self._heads[name])
        if end != size:
            raise _broken(self.path, f'{size} bytes of data for tensors of {end}')

    def __getitem__(self, name):
        shape, kind = self._heads[name]
        stored = np.dtype('<u2') if kind == 'BF16' else np.dtype(DTYPES[kind]).newbyteorder('<')
        values = read_array(self._file, self.path, self._places[name], stored, math.prod(shape))
        return (bfloat16_to_float32(values) if kind == 'BF16' else values).reshape(shape)

    def __iter__(self):
        return iter(self._heads)

    def __len__(self):
        return len(self._heads)

    def shape(self, name):
        return self._heads[name][0]

    def dtype(self, name):
        return np.dtype(DTYPES[self._heads[name][1]])

    def is_bfloat16(self, name):
        return self._heads[name][1] == 'BF16'


# Bytes of a value of the types that the format knows and numpy does not.
_FOREIGN_BYTES = {'F8_E4M3': 1, 'F8_E5M2': 1, 'F8_E8M0': 1, 'C64': 8}


class _Header(dict):
    """The JSON object; `start`: the byte behind it."""

    start = 0


def _broken(path, why):
    return bad_input(path, f'a broken file ({why})', _FORM)


def _read_header(file, path):
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), 'little') if size >= 8 else 0
    if not 2 <= length <= size - 8:
        raise _broken(path, f'a header of {length} bytes in a file of {size}')
    if length > _MAX_HEADER:
        raise _broken(path, f'a header of {length:,} bytes, at most {_MAX_HEADER:,} are read')
    header = parse_json(file.read(length), path, f'the header of {_FORM}')
    if not isinstance(header, dict):
        raise _broken(path, f'a header that is a {type(header).__name__}')
    header = _Header(header)
    header.start = 8 + length
    return header


def _checked_metadata(metadata, path):
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _broken(path, '__metadata__ that is no mapping of text to text')
    return metadata


def _checked_entry(name, entry, size, path):
    """(shape, type's name, begin of its bytes within the data) of a tensor."""
    if not isinstance(entry, dict) or entry.keys() != {'dtype', 'shape', 'data_offsets'}:
        raise _broken(path, f'{quoted(name)} without dtype, shape and data_offsets')
    kind, shape, offsets = entry['dtype'], entry['shape'], entry['data_offsets']
    if not isinstance(kind, str) or (kind not in DTYPES and kind not in _FOREIGN_BYTES):
        raise _broken(path, f'{quoted(name)} of the unknown type {quoted(kind, 40)}')
    if not _are_sizes(shape) or len(shape) > _MAX_DIMS:
        raise _broken(path, f'{quoted(name, 80)} of shape {quoted(shape, 80)}')
    # numpy counts the dimensions of an empty array as if they were at least 1.
    if math.prod(max(dim, 1) for dim in shape) >= 1 << 59:
        raise _broken(path, f'{quoted(name, 80)} of shape {quoted(shape, 80)}')
    if not _are_sizes(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= size:
        raise _broken(path, f'{quoted(name, 80)} at the bytes {quoted(offsets, 80)} of {size}')
    if offsets[1] - offsets[0] != _bytes_of(shape, kind):
        raise _broken(path, f'{quoted(name, 60)} of {kind} {quoted(shape, 60)} in {offsets[1] - offsets[0]} bytes')
    return tuple(shape), kind, offsets[0]


def _are_sizes(value):
    return isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)


def _bytes_of(shape, kind):
    size = 2 if kind == 'BF16' else _FOREIGN_BYTES.get(kind) or np.dtype(DTYPES[kind]).itemsize
    return math.prod(shape) * size


def write_safetensors(path, tensors, metadata=None):
    """Write a file that is whole or not there.

    Args:
        path: the file.
        tensors: mapping of names to arrays (numbers or bool) of any layout.
        metadata: mapping of text to text for the file's header.

    Raises:
        UserError: the file cannot be written.
    """
    arrays = {}
    for name, array in tensors.items():
        array = np.asarray(array)
        arrays[name] = np.asarray(array, array.dtype.newbyteorder('='), order='C')
    with replacing(path) as partial:
        try:
            save_file(arrays, partial, metadata=metadata)
        except SafetensorError as e:
            number = re.search(r'os error (\d+)', str(e))
            raise UserError(f'{path}: cannot be written ({os.strerror(int(number[1])) if number else e}).') from None
