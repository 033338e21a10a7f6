"""Parameters in files that PyTorch's `torch.save` wrote, read without PyTorch and without executing anything of them.

Such a file is a zip archive: `*/data.pkl` is a pickle of the dictionary, in which each tensor is a call of
`torch._utils._rebuild_tensor_v2` with a storage, an offset, a shape and strides; the values of storage N are the bytes
of `*/data/N`; `*/byteorder` says `little` or `big`. The calls are names of a table of own functions, see
`restricted_pickle`.
"""

import math
import os
import struct
import zipfile
import zlib
from typing import NamedTuple

import numpy as np

from propeller.errors import bad_input, quoted
from propeller.inputs import open_regular
from propeller.storage.mapping import Tensors
from propeller.storage.pickle_values import FUNCTIONS, Name, Refused, checked_shape
from propeller.storage.reading import read_array
from propeller.storage.restricted_pickle import Machine, load_bytes
from propeller.storage.values import bfloat16_to_float32

FILE = 'pytorch_model.bin'
INDEX = 'pytorch_model.bin.index.json'
BFLOAT16 = 'bfloat16'
STORAGES = {
    'torch.FloatStorage': np.float32,
    'torch.DoubleStorage': np.float64,
    'torch.HalfStorage': np.float16,
    'torch.BFloat16Storage': BFLOAT16,
    'torch.LongStorage': np.int64,
    'torch.IntStorage': np.int32,
    'torch.ShortStorage': np.int16,
    'torch.CharStorage': np.int8,
    'torch.ByteStorage': np.uint8,
    'torch.BoolStorage': np.bool_,
}
# Before the pickle of files that PyTorch older than 1.6 wrote, and of those asked to be so: its own number.
_LEGACY = b'\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'
_FORM = 'a file of PyTorch (a zip archive with data.pkl)'
_MAX_PICKLE = 1 << 24
# Enough for 15,000 tensors.
_MAX_DIRECTORY = 1 << 20
# Some 30 instructions make a tensor: enough for 10,000 of them.
_MAX_OPCODES = 300_000
# Of the tensors' bytes to those of the file: one may be there under two names.
_MOST_SHARING = 4


class _Storage(NamedTuple):
    dtype: object
    key: str
    count: int

    @property
    def stored(self):
        """numpy type of the values in the file, in the byte order of this machine."""
        return np.dtype(np.uint16 if self.dtype == BFLOAT16 else self.dtype)


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple
    strides: tuple

    @property
    def dtype(self):
        """numpy type of the array that reading gives."""
        return np.dtype(np.float32 if self.storage.dtype == BFLOAT16 else self.storage.dtype)

    @property
    def span(self):
        """Values of the storage from the first to the last one used."""
        if 0 in self.shape:
            return 0
        return 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))


def _storage(identity):
    """A persistent id is ('storage', its class, its key, a device, the number of values)."""
    if not isinstance(identity, tuple) or len(identity) != 5 or identity[0] != 'storage':
        raise Refused('a persistent id that is no storage')
    _, kind, key, _, count = identity
    if not isinstance(kind, Name) or kind.name not in STORAGES:
        raise Refused(f'a storage that is a {kind.name if isinstance(kind, Name) else type(kind).__name__}')
    if not isinstance(key, str) or not key.isdecimal() or len(key) > 20:
        raise Refused(f'a storage with the key {quoted(key, 60)}')
    checked_shape((count,), 'a storage')
    return _Storage(STORAGES[kind.name], key, count)


def _rebuild_tensor(storage, offset, shape, strides, *_):
    if not isinstance(storage, _Storage):
        raise Refused('a tensor without its storage')
    for sizes in (shape, strides, (offset,)):
        checked_shape(sizes, 'a tensor')
    if len(shape) != len(strides):
        raise Refused(f'a tensor with {len(shape)} dimensions and {len(strides)} strides')
    # numpy counts the dimensions of an empty array as if they were at least 1.
    if math.prod(max(size, 1) for size in shape) >= 1 << 59 or any(stride >= 1 << 59 for stride in strides):
        raise Refused(f'a tensor of shape {quoted(shape, 60)}')
    tensor = _Tensor(storage, offset, shape, strides)
    if offset + tensor.span > storage.count:
        raise Refused(f'a tensor of shape {quoted(shape, 60)} beyond the {storage.count} values of its storage')
    return tensor


def _rebuild_parameter(tensor, *_):
    if not isinstance(tensor, _Tensor):
        raise Refused('a parameter that is no tensor')
    return tensor


def _uncalled(*_):
    raise Refused('a call of a storage class')


class _Machine(Machine):
    """Knows PyTorch's storages and the functions that make tensors of them."""

    functions = {name: FUNCTIONS[name] for name in ('collections.OrderedDict', '_codecs.encode')} | {
        'torch._utils._rebuild_tensor': _rebuild_tensor,
        'torch._utils._rebuild_tensor_v2': _rebuild_tensor,
        'torch._utils._rebuild_parameter': _rebuild_parameter,
        **dict.fromkeys(STORAGES, _uncalled),
    }
    persistent = staticmethod(_storage)

    def build(self):
        # The attributes of a state dictionary are the versions of its modules: nothing that a tensor needs.
        state = self.pop()
        self.top(dict, 'dictionary')
        if not isinstance(state, dict) or not state.keys() <= {'_metadata'}:
            raise Refused('an object with attributes')


class PytorchFile(Tensors):
    """The tensors of a file of `torch.save`, read when asked for. bfloat16 tensors are given as float32.

    Raises:
        UserError: the file cannot be read, is broken, of PyTorch's older form, or holds more than tensors and plain
            values (nothing of it is executed).
    """

    source = 'pytorch'

    def __init__(self, path):
        super().__init__(path)
        self._file = open_regular(self.path, _FORM)
        self._size = os.fstat(self._file.fileno()).st_size
        self._check_form()
        archive = _Archive(self._file, self.path)
        self._members, order = archive.storages, archive.byte_order
        self._order = {'little': '<', 'big': '>'}[order]
        content = load_bytes(archive.pickle, self.path, _Machine, _MAX_OPCODES)
        if not isinstance(content, dict):
            raise bad_input(path, f'a {type(content).__name__}', 'a dictionary of names and tensors')
        self._tensors = {}
        for name, value in content.items():
            if isinstance(name, str) and isinstance(value, _Tensor):
                self._check_storage(name, value.storage)
                self._tensors[name] = value
            else:
                self.ignored.append(name if isinstance(name, str) else quoted(name))
        self._check_total()

    def _check_form(self):
        if _LEGACY in self._file.read(64):
            raise bad_input(
                self.path,
                'the form that PyTorch wrote before version 1.6',
                _FORM,
                advice='Write it anew with PyTorch: torch.save(torch.load(FILE, weights_only=True), FILE), '
                'or save the model as safetensors.',
            )

    def _check_storage(self, name, storage):
        size = self._members.get(storage.key, (0, -1))[1]
        if size != storage.count * storage.stored.itemsize:
            found = f'{size} bytes' if size >= 0 else 'nothing'
            raise bad_input(
                self.path,
                f'{found} for the values of {quoted(name, 100)}',
                f'{storage.count * storage.stored.itemsize} bytes in data/{storage.key}',
                advice='The file is cut off or damaged.',
            )

    def _check_total(self):
        total = sum(math.prod(t.shape) * t.storage.stored.itemsize for t in self._tensors.values())
        if total > _MOST_SHARING * self._size:
            raise bad_input(self.path, f'tensors of {total:,} bytes in a file of {self._size:,}', 'each tensor once')
        if not self._tensors:
            raise bad_input(
                self.path,
                f'no tensor among {len(self.ignored)} entries',
                'a dictionary of names and tensors',
                advice='Of a training checkpoint, save the state dictionary of the model alone.',
            )

    def __getitem__(self, name):
        tensor = self._tensors[name]
        begin, _ = self._members[tensor.storage.key]
        stored = tensor.storage.stored
        values = read_array(
            self._file,
            self.path,
            begin + tensor.offset * stored.itemsize,
            np.uint8 if stored == np.bool_ else stored.newbyteorder(self._order),
            tensor.span,
        )
        if stored == np.bool_:
            values = values != 0
        values = values.astype(stored, copy=False)
        strides = [stride * stored.itemsize for stride in tensor.strides]
        if 0 in tensor.shape:
            values = np.empty(tensor.shape, stored)
        else:
            values = np.ascontiguousarray(np.lib.stride_tricks.as_strided(values, tensor.shape, strides))
        values = values.reshape(tensor.shape)  # ascontiguousarray gives a scalar one dimension
        return bfloat16_to_float32(values) if tensor.storage.dtype == BFLOAT16 else values

    def __iter__(self):
        return iter(self._tensors)

    def __len__(self):
        return len(self._tensors)

    def shape(self, name):
        return self._tensors[name].shape

    def dtype(self, name):
        return self._tensors[name].dtype

    def is_bfloat16(self, name):
        return self._tensors[name].storage.dtype == BFLOAT16


class _Archive:
    """What is needed of the zip archive: `pickle` bytes, `byte_order`, `storages` key -> (first byte, bytes)."""

    def __init__(self, file, path):
        self.file, self.path = file, path
        _check_directory(file, path)
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, ValueError, OSError, OverflowError, NotImplementedError, struct.error) as e:
            raise self._bad(f'no zip archive ({e})') from None
        pickles = [member for member in members if member.filename.endswith('/data.pkl')]
        if len(pickles) != 1:
            raise self._bad(f'a zip archive with {len(pickles)} files data.pkl')
        root = pickles[0].filename.removesuffix('data.pkl')
        named = {member.filename.removeprefix(root): member for member in members}
        if len(named) < len(members):
            raise self._bad('a zip archive with a name twice')
        self.pickle = self._content(pickles[0], _MAX_PICKLE)
        order = self._content(named['byteorder'], 16) if 'byteorder' in named else b'little'
        if order not in (b'little', b'big'):
            raise self._bad(f'the byte order {quoted(order)}')
        self.byte_order = order.decode()
        self.storages = {
            name.removeprefix('data/'): self._place(member)
            for name, member in named.items()
            if name.startswith('data/')
        }

    def _bad(self, found):
        return bad_input(self.path, found, _FORM)

    def _content(self, member, limit):
        begin, size = self._place(member)
        if size > limit:
            raise self._bad(f'{quoted(member.filename, 80)} of {size:,} bytes, at most {limit:,} are read')
        content = read_array(self.file, self.path, begin, np.uint8, size).tobytes()
        # PyTorch can be told not to compute the sums of its large members.
        if zlib.crc32(content) != member.CRC and member.CRC:
            raise self._bad(f'{quoted(member.filename, 80)} that is damaged (its CRC-32 is another)')
        return content

    def _place(self, member):
        """(first byte, bytes) of a member, which PyTorch never compresses."""
        name = quoted(member.filename, 80)
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise self._bad(f'{name} compressed')
        if member.flag_bits & 1:
            raise self._bad(f'{name} encrypted')
        size = os.fstat(self.file.fileno()).st_size
        if not 0 <= member.header_offset <= size - 30:
            raise self._bad(f'{name} beyond the end of the file')
        head = read_array(self.file, self.path, member.header_offset, np.uint8, 30).tobytes()
        if head[:4] != b'PK\x03\x04':
            raise self._bad(f'{name} without its header')
        begin = member.header_offset + 30 + sum(struct.unpack('<HH', head[26:30]))
        if begin + member.file_size > size:
            raise self._bad(f'{name} beyond the end of the file')
        return begin, member.file_size


def _check_directory(file, path):
    """Refuse an archive with a directory that would fill the memory, before the library reads it."""
    size = os.fstat(file.fileno()).st_size
    begin = max(size - (1 << 16) - 22, 0)
    tail = read_array(file, path, begin, np.uint8, size - begin).tobytes()
    end = tail.rfind(b'PK\x05\x06')
    if end < 0 or end + 22 > len(tail):
        raise bad_input(path, 'no zip archive', _FORM)
    (length,) = struct.unpack('<I', tail[end + 12 : end + 16])
    locator = tail[end - 20 : end] if end >= 20 else b''
    if locator[:4] == b'PK\x06\x07':
        (at,) = struct.unpack('<Q', locator[8:16])
        if at + 56 > size:
            raise bad_input(path, 'a zip archive whose directory is beyond its end', _FORM)
        (length,) = struct.unpack('<Q', read_array(file, path, at + 40, np.uint8, 8).tobytes())
    if length > _MAX_DIRECTORY:
        raise bad_input(path, f'a zip directory of {length:,} bytes', f'at most {_MAX_DIRECTORY:,}')
