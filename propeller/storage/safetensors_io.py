"""Tensors in safetensors files: https://github.com/huggingface/safetensors."""

import json
import os
import struct

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from propeller.errors import UserError, bad_input
from propeller.storage.atomic import replacing
from propeller.storage.mapping import Tensors

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


def bfloat16_to_float32(bits):
    """float32 values of an array of bfloat16 bit patterns (uint16): they are the upper halves of the float32 ones."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


class SafetensorsFile(Tensors):
    """One safetensors file. bfloat16 tensors are given as float32.

    Raises:
        UserError: the file cannot be read or is broken, or holds a type that numpy cannot.
    """

    source = 'safetensors'

    def __init__(self, path):
        super().__init__(path)
        try:
            self._file = safe_open(self.path, framework='numpy')
        except SafetensorError as e:
            raise bad_input(path, f'a broken file ({e})', 'a safetensors file') from None
        except OSError as e:
            raise UserError(f'{path}: cannot be read ({e.strerror or e}).') from None
        self.metadata = self._file.metadata() or {}
        self._heads = {}
        for name in self._file.offset_keys():
            part = self._file.get_slice(name)
            if part.get_dtype() not in DTYPES:
                raise bad_input(path, f'type {part.get_dtype()} of {name}', f'one of {", ".join(DTYPES)}')
            self._heads[name] = (tuple(part.get_shape()), part.get_dtype())

    def __getitem__(self, name):
        shape, dtype = self._heads[name]
        if dtype == 'BF16':
            return bfloat16_to_float32(self._read_bits(name, np.dtype('<u2'))).reshape(shape)
        return self._file.get_tensor(name)

    def _read_bits(self, name, dtype):
        # The header was checked by safe_open: the offsets lie inside the file and fit the shape.
        with open(self.path, 'rb') as f:
            length = struct.unpack('<Q', f.read(8))[0]
            begin, end = json.loads(f.read(length))[name]['data_offsets']
            f.seek(8 + length + begin)
            return np.fromfile(f, dtype, (end - begin) // dtype.itemsize)

    def __iter__(self):
        return iter(self._heads)

    def __len__(self):
        return len(self._heads)

    def shape(self, name):
        return self._heads[name][0]

    def dtype(self, name):
        return np.dtype(DTYPES[self._heads[name][1]])


class ShardedSafetensors(Tensors):
    """Several safetensors files in one folder and the index file that says which tensor is where.

    Raises:
        UserError: the index is not of its form, names a file outside the folder, or disagrees with the files.
    """

    source = 'safetensors'

    def __init__(self, path):
        super().__init__(path)
        index = os.path.join(self.path, INDEX)
        where = _read_weight_map(index)
        files = {file: SafetensorsFile(os.path.join(self.path, file)) for file in sorted(set(where.values()))}
        for name, file in where.items():
            if name not in files[file]:
                raise bad_input(index, f'tensor {name} in {file}', 'the name of a tensor that is there')
        self._files = {name: files[file] for name, file in where.items()}
        listed = set(where)
        self.ignored = [name for tensors in files.values() for name in tensors if name not in listed]

    def __getitem__(self, name):
        return self._files[name][name]

    def __iter__(self):
        return iter(self._files)

    def __len__(self):
        return len(self._files)

    def shape(self, name):
        return self._files[name].shape(name)

    def dtype(self, name):
        return self._files[name].dtype(name)


def _read_weight_map(index):
    try:
        with open(index, encoding='utf-8') as f:
            where = json.load(f)['weight_map']
        names = [*where.values()]
    except OSError as e:
        raise UserError(f'{index}: cannot be read ({e.strerror}).') from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise bad_input(index, 'something else', "a JSON object with 'weight_map': {tensor: file}") from None
    for name in names:
        if not isinstance(name, str) or name != os.path.basename(name) or name in ('', '.', '..'):
            raise bad_input(index, f'the file name {name!r}', 'a file in the same folder')
    return where


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
            raise UserError(f'{path}: cannot be written ({e}).') from None
