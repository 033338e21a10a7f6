"""Tensors in checkpoints of TensorFlow, format V2 ("bundles", tensor_bundle.cc).

`NAME.index` is a table (`propeller.storage.tensorflow.table`): the empty key has the header, every name of a tensor
its type, shape, file, place there and checksum. `NAME.data-00000-of-00001` and the others have the values,
little-endian, in row-major order. A tensor in parts has an entry without values, and each part one under a key that
begins with a zero.
"""

import math
import os
from itertools import pairwise

import numpy as np

from propeller.errors import UserError, bad_input, quoted
from propeller.inputs import open_regular
from propeller.storage.mapping import Tensors
from propeller.storage.reading import read_array
from propeller.storage.tensorflow.crc32c import crc32c, masked
from propeller.storage.tensorflow.finding import INDEX, data_file
from propeller.storage.tensorflow.messages import read_entry, read_header, slice_key
from propeller.storage.tensorflow.table import FORM, read_table
from propeller.storage.values import bfloat16_to_float32

# numpy types of the values in the file, by TensorFlow's number (types.proto).
DTYPES = {
    1: np.float32,
    2: np.float64,
    3: np.int32,
    4: np.uint8,
    5: np.int16,
    6: np.int8,
    9: np.int64,
    10: np.bool_,
    14: np.uint16,  # bfloat16, bit patterns
    17: np.uint16,
    19: np.float16,
    22: np.uint32,
    23: np.uint64,
}
_BFLOAT16 = 14
_VERSION = 1
_MOST_SHARDS = 10_000
_DAMAGED = 'The file is damaged: copy or download it again.'


class TensorflowCheckpoint(Tensors):
    """Names to arrays of a checkpoint, each read and held against its checksum when it is asked for.

    bfloat16 tensors are given as float32. What is no number (texts, the graph of objects of TensorFlow 2) and types
    that numpy has not are in `ignored`.

    Args:
        prefix: what stands before `.index` and `.data-...` in the names of the files.

    Raises:
        UserError: a file is missing, cut off, damaged, or of another format.
    """

    source = 'tensorflow'

    def __init__(self, prefix):
        super().__init__(prefix)
        self._index = f'{self.path}{INDEX}'
        table = read_table(self._index)
        header = self._parsed(read_header, table.pop(b'', b''), 'the header')
        self._check_header(header)
        self._shards, self._files = header.shards, {}
        self._entries, self._parts = {}, {}
        for key, content in table.items():
            if not key.startswith(b'\0'):
                self._add(key, self._parsed(read_entry, content, quoted(key)), table)
        self._check_places()

    def _parsed(self, read, content, what):
        try:
            return read(memoryview(content))
        except UserError as e:
            raise self._broken(f'{e} in {what}') from None

    def _broken(self, found):
        return bad_input(self._index, found, FORM, advice=_DAMAGED)

    def _check_header(self, header):
        if header.is_big_endian:
            raise bad_input(self._index, 'values of a big-endian machine', 'little-endian ones')
        if header.min_consumer > _VERSION:
            raise bad_input(self._index, f'a file for readers of version {header.min_consumer}', f'version {_VERSION}')
        if not 1 <= header.shards <= _MOST_SHARDS:
            raise self._broken(f'{header.shards:,} files of data')

    def _add(self, key, entry, table):
        try:
            name = key.decode()
        except UnicodeDecodeError:
            raise self._broken(f'the name {quoted(key)}') from None
        if entry.dtype not in DTYPES:
            self.ignored.append(name)
            return
        # numpy counts the dimensions of an empty array as if they were at least 1.
        if math.prod(max(dim, 1) for dim in entry.shape) >= 1 << 59:
            raise self._broken(f'{quoted(name)} of shape {quoted(entry.shape, 80)}')
        parts = [self._part(name, entry, extents, table) for extents in entry.slices] or [entry]
        for part in parts:
            if part.size != math.prod(part.shape) * np.dtype(DTYPES[part.dtype]).itemsize:
                raise self._broken(f'{quoted(name, 80)} of shape {quoted(part.shape, 60)} in {part.size:,} bytes')
            if part.shard >= self._shards:
                raise self._broken(f'{quoted(name, 80)} in file {part.shard} of {self._shards}')
        self._entries[name], self._parts[name] = entry, parts

    def _part(self, name, entry, extents, table):
        """The entry of one part, whose shape is that of its extents."""
        key = slice_key(name.encode(), extents)
        if key not in table:
            raise self._broken(f'no part {quoted(extents, 60)} of {quoted(name, 80)}')
        part = self._parsed(read_entry, table[key], quoted(name))
        if len(extents) != len(entry.shape) or part.dtype != entry.dtype or part.slices:
            raise self._broken(f'a part {quoted(extents, 60)} of {quoted(name, 80)} that does not fit')
        shape = tuple(dim if length < 0 else length for dim, (_, length) in zip(entry.shape, extents, strict=True))
        return part._replace(shape=shape)

    def _check_places(self):
        """Each file holds all that it should, and no byte belongs to two tensors."""
        by_shard = {}
        for name, parts in self._parts.items():
            self._check_tiling(name)
            for part in parts:
                by_shard.setdefault(part.shard, []).append((part.offset, part.offset + part.size, name))
        for shard, places in by_shard.items():
            places.sort()
            for (_, end, name), (begin, _, other) in pairwise(places):
                if begin < end:
                    raise self._broken(f'{quoted(name, 80)} and {quoted(other, 80)} at the same bytes')
            path, file = self._file(shard)
            size, (_, end, name) = os.fstat(file.fileno()).st_size, places[-1]
            if size < end:
                expected = f'at least {end:,}, where {quoted(name)} ends'
                raise bad_input(path, f'{size:,} bytes', expected, advice='The file is cut off.')

    def _check_tiling(self, name):
        """The parts of a tensor lie one behind the other along one axis, as TensorFlow's partitioners have them."""
        shape, slices = self._entries[name].shape, self._entries[name].slices
        if not slices:
            return
        axis, at = self._axis(name), 0
        for extents, part in sorted(zip(slices, self._parts[name], strict=True)):
            expected = tuple(
                (at if i == axis else 0, part.shape[axis] if i == axis else shape[i]) for i in range(len(shape))
            )
            if tuple((start, dim) for (start, _), dim in zip(extents, part.shape, strict=True)) != expected:
                raise self._broken(f'parts of {quoted(name, 80)} that are not side by side')
            at += part.shape[axis] if shape else 1
        if at != (shape[axis] if shape else 1):
            raise self._broken(f'parts of {quoted(name, 80)} that are not all of it')

    def _axis(self, name):
        """The axis along which a tensor is in parts."""
        shape, first = self._entries[name].shape, self._parts[name][0].shape
        return next((i for i, dim in enumerate(shape) if first[i] != dim), 0)

    def _file(self, shard):
        """(path, open file) of the values."""
        if shard not in self._files:
            path = data_file(self.path, shard, self._shards)
            self._files[shard] = path, open_regular(path, f'the values of the checkpoint {self._index}')
        return self._files[shard]

    def _values(self, name, part):
        path, file = self._file(part.shard)
        values = read_array(
            file, path, part.offset, np.dtype(DTYPES[part.dtype]).newbyteorder('<'), math.prod(part.shape)
        )
        if masked(crc32c(values)) != part.crc:
            raise bad_input(path, f'a wrong checksum of {quoted(name)}', 'the values as written', advice=_DAMAGED)
        return (bfloat16_to_float32(values) if part.dtype == _BFLOAT16 else values).reshape(part.shape)

    def __getitem__(self, name):
        parts = self._parts[name]
        if not self._entries[name].slices:
            return self._values(name, parts[0])
        order = sorted(zip(self._entries[name].slices, parts, strict=True))
        return np.concatenate([self._values(name, part) for _, part in order], self._axis(name))

    def __iter__(self):
        return iter(self._entries)

    def __len__(self):
        return len(self._entries)

    def shape(self, name):
        return self._entries[name].shape

    def dtype(self, name):
        return np.dtype(np.float32 if self.is_bfloat16(name) else DTYPES[self._entries[name].dtype])

    def is_bfloat16(self, name):
        return self._entries[name].dtype == _BFLOAT16
