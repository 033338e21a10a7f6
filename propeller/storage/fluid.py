"""Tensor files of the fluid 1.x framework: one file per variable, the file's name is the variable's.

Layout, little-endian: uint32 version 0; uint64 number of sequence levels, each a uint64 byte count and that many bytes;
uint32 tensor version 0; int32 descriptor length; descriptor (protobuf `TensorDesc`: field 1 data type, field 2 repeated
int64 dimension); values in row-major order.
"""

import math
import os
import struct
from typing import NamedTuple

import numpy as np

from propeller.errors import UserError, bad_input, quoted
from propeller.inputs import open_regular
from propeller.storage.atomic import output_file
from propeller.storage.mapping import Tensors
from propeller.storage.values import bfloat16_to_float32

# numpy types of the values in the file, by the format's code.
DTYPES = {
    0: np.dtype(np.bool_),
    1: np.dtype('<i2'),
    2: np.dtype('<i4'),
    3: np.dtype('<i8'),
    4: np.dtype('<f2'),
    5: np.dtype('<f4'),
    6: np.dtype('<f8'),
    20: np.dtype(np.uint8),
    21: np.dtype(np.int8),
    22: np.dtype('<u2'),  # bit patterns
}
DTYPE_NAMES = {0: 'BOOL', 1: 'INT16', 2: 'INT32', 3: 'INT64', 4: 'FP16', 5: 'FP32', 6: 'FP64', 20: 'UINT8', 21: 'INT8'}
BFLOAT16 = 22
DTYPE_NAMES[BFLOAT16] = 'BF16'
# Of a value; beside those that numpy knows bfloat16, complex numbers and two of 8 bits.
_BYTES = {code: dtype.itemsize for code, dtype in DTYPES.items()} | {22: 2, 23: 8, 24: 16, 32: 1, 33: 1}
_CODES = {dtype: code for code, dtype in DTYPES.items() if code != BFLOAT16}

MASTER = '.master'
# Files that fluid 1.x and propeller put beside the variables.
_COMPANIONS = ('__model__', 'meta')
_DOCUMENTS = ('.txt', '.json', '.jsonl', '.md', '.log', '.sh', '.py')
_MAX_LEVELS = 64
# As many as every numpy takes.
_MAX_DIMS = 32
# 32 dimensions of 11 bytes and a data type fit.
_MAX_DESCRIPTOR = 512


class Header(NamedTuple):
    """What stands before the values of a variable file."""

    code: int
    shape: tuple
    levels: int
    offset: int

    @property
    def dtype(self):
        """numpy type of the values as they are given: bfloat16, which numpy has not, as float32."""
        return np.dtype(np.float32) if self.code == BFLOAT16 else DTYPES[self.code]


class _Head:
    """Reads numbers from the start of a file, and knows where the file ends."""

    def __init__(self, file, path, size):
        self.file, self.path, self.size, self.position = file, path, size, 0

    def take(self, count, what):
        left = self.size - self.position
        if count > left:
            raise bad_input(
                self.path, f'{left} bytes where {what} begins', f'{count}', advice='The file is cut off or no variable.'
            )
        self.position += count
        return self.file.read(count)

    def number(self, form, what):
        return struct.unpack(form, self.take(struct.calcsize(form), what))[0]

    def skip(self, count, what):
        if count > self.size - self.position:
            raise bad_input(self.path, f'{what} of {count} bytes', f'at most the {self.size - self.position} left')
        self.position += count
        self.file.seek(self.position)


def read_header(file, path):
    """Check and read all that stands before the values.

    Args:
        file: the open binary file, at its start.
        path: its name, for messages.

    Returns:
        a `Header`; the file holds exactly the values of its shape from `Header.offset` to its end.

    Raises:
        UserError: anything that is not as the format says.
    """
    head = _Head(file, path, os.fstat(file.fileno()).st_size)
    code, shape, levels = _read_head(head, path, DTYPES)
    expected = math.prod(shape) * DTYPES[code].itemsize
    found = head.size - head.position
    if found != expected:
        raise bad_input(
            path,
            f'{found} bytes of values',
            f'{expected} for {DTYPE_NAMES[code]} {list(shape)}',
            advice='The file is cut off or damaged.' if found < expected else 'Bytes follow the values.',
        )
    return Header(code, shape, levels, head.position)


def check_combined(path):
    """Walk through a file of many variables, one behind the other (`.pdiparams`): each lies within the file.

    Paddle's own reader takes the memory that a descriptor asks for before it looks at the values.

    Raises:
        UserError: the file cannot be read, or is no such file.
    """
    with open_regular(path, 'a file of variables') as file:
        head = _Head(file, path, os.fstat(file.fileno()).st_size)
        while head.position < head.size:
            code, shape, _ = _read_head(head, path, _BYTES)
            head.skip(math.prod(shape) * _BYTES[code], 'the values of a variable')


def _read_head(head, path, codes):
    """(data type code, shape, number of sequence levels) of the variable where `head` stands, which moves behind it."""
    version = head.number('<I', 'the version')
    if version:
        raise bad_input(
            path, f'version {version}', 'version 0 of a fluid variable file', advice='Is it a file of another kind?'
        )
    levels = head.number('<Q', 'the number of sequence levels')
    if levels > _MAX_LEVELS:
        raise bad_input(path, f'{levels} sequence levels', f'at most {_MAX_LEVELS}')
    for i in range(levels):
        head.skip(head.number('<Q', f'the size of sequence level {i}'), f'sequence level {i}')
    version = head.number('<I', 'the tensor version')
    if version:
        raise bad_input(path, f'tensor version {version}', 'tensor version 0')
    length = head.number('<i', 'the descriptor length')
    if not 0 < length <= _MAX_DESCRIPTOR:
        raise bad_input(path, f'a descriptor of {length} bytes', f'1 to {_MAX_DESCRIPTOR}')
    return *_parse_descriptor(head.take(length, 'the descriptor'), path, codes), levels


def _varint(data, at, path):
    """An unsigned protobuf number and the position behind it."""
    value = 0
    for i in range(10):
        if at + i >= len(data):
            raise bad_input(path, 'a number that runs over the end of the descriptor', 'whole protobuf numbers')
        value |= (data[at + i] & 0x7F) << (7 * i)
        if data[at + i] < 0x80:
            return value, at + i + 1
    raise bad_input(path, 'a number of more than 10 bytes in the descriptor', 'protobuf numbers of 64 bits')


def _parse_descriptor(data, path, codes):
    """Data type code and shape of a serialized `TensorDesc`; the dimensions may be packed or not."""
    code, shape, at = None, [], 0
    while at < len(data):
        tag, at = _varint(data, at, path)
        if tag == (1 << 3 | 0):
            if code is not None:
                raise bad_input(path, 'two data types in the descriptor', 'one')
            code, at = _varint(data, at, path)
        elif tag == (2 << 3 | 0):
            dim, at = _varint(data, at, path)
            shape.append(dim)
        elif tag == (2 << 3 | 2):
            length, at = _varint(data, at, path)
            if length > len(data) - at:
                raise bad_input(path, f'{length} bytes of dimensions', f'at most the {len(data) - at} left')
            end = at + length
            while at < end:
                dim, at = _varint(data[:end], at, path)
                shape.append(dim)
        else:
            raise bad_input(path, f'the unknown tag {tag} in the descriptor', 'a data type and dimensions')
    if code not in codes:
        names = ', '.join(f'{c} ({n})' for c, n in DTYPE_NAMES.items())
        raise bad_input(path, 'no data type' if code is None else f'data type {code}', f'one of {names}')
    if len(shape) > _MAX_DIMS:
        raise bad_input(path, f'{len(shape)} dimensions', f'at most {_MAX_DIMS}')
    for dim in shape:
        if dim >= 1 << 63:
            raise bad_input(path, f'the dimension {dim - (1 << 64)}', 'dimensions from 0 to 2**63 - 1')
    # numpy counts the dimensions of an empty array as if they were at least 1.
    if math.prod(max(dim, 1) for dim in shape) * _BYTES[code] >= 1 << 63:
        raise bad_input(path, f'the shape {shape}', 'a shape of less than 2**63 bytes')
    return code, tuple(shape)


def read_variable_with_levels(path):
    """The array in a variable file and the number of its sequence levels (0 for parameters), which are skipped.

    Raises:
        UserError: the file cannot be read or is not exactly one variable.
    """
    with open_regular(path, 'a fluid variable file') as f:
        header = read_header(f, path)
        f.seek(header.offset)
        count = math.prod(header.shape)
        values = np.fromfile(f, DTYPES[header.code], count)
    if values.size != count:
        raise bad_input(path, f'{values.size} values', f'{count}', advice='The file changed while it was read.')
    if header.code == 0 and values.view(np.uint8).max(initial=0) > 1:
        raise bad_input(path, 'bytes above 1', 'BOOL values of 0 or 1')
    if header.code == BFLOAT16:
        values = bfloat16_to_float32(values)
    return values.reshape(header.shape), header.levels


def read_variable(path):
    """The array in a variable file. See `read_variable_with_levels`."""
    return read_variable_with_levels(path)[0]


def encode_variable(array):
    """The bytes that stand before the values of `array` in a variable file without sequence levels.

    Raises:
        UserError: the format has no such data type.
    """
    code = _CODES.get(array.dtype.newbyteorder('<'))
    if code is None:
        raise UserError(f'a fluid variable file cannot hold {array.dtype}. It can hold: {", ".join(map(str, _CODES))}.')
    descriptor = bytes([1 << 3, code])
    for dim in array.shape:
        descriptor += bytes([2 << 3]) + _encode_varint(dim)
    return struct.pack('<IQIi', 0, 0, 0, len(descriptor)) + descriptor


def _encode_varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def write_variable(path, array):
    """Write `array` as the variable file `path`, as fluid 1.x would. The file is whole or not there.

    Raises:
        UserError: the format has no such data type, or the file cannot be written.
    """
    array = np.asarray(array)
    head = encode_variable(array)
    with output_file(path, binary=True) as f:
        f.write(head)
        f.write(np.asarray(array, array.dtype.newbyteorder('<'), order='C'))


_NO_MODEL = 'found no model: no checkpoint, no exported model, no fluid variable file in this folder.'


def is_other_file(name):
    """Whether a file in a folder of variables is none: hidden, a text file, or fluid's and propeller's own."""
    return name.startswith('.') or name in _COMPANIONS or name.endswith(_DOCUMENTS)


def check_name(name, path):
    """Refuse a tensor name that cannot be a variable's file name, as a `UserError` about `path`."""
    if not name or '/' in name or '\0' in name or len(name.encode('utf-8', 'replace')) > 255 or is_other_file(name):
        raise bad_input(path, f'a tensor named {quoted(name)}', 'names that can be file names of variables')


def _begins_as_variable(file):
    return os.pread(file.fileno(), 4, 0) == bytes(4)


class FluidFolder(Tensors):
    """A folder with one file per variable.

    A float32 `X.master` beside an `X` in half precision is the exact value that mixed-precision training kept: `X`
    reads as that.
    Beside a float32 `X` the value is `X` itself. Such `X.master` names are not listed.

    Raises:
        UserError: the folder has no variable, or a file is broken.
    """

    source = 'fluid'

    def __init__(self, path):
        super().__init__(path)
        headers = {}
        for entry in sorted(os.scandir(path), key=lambda e: e.name):
            if not os.path.isfile(entry.path):  # entry.is_file() raises where links go in a circle
                continue
            if is_other_file(entry.name):
                self.ignored.append(entry.name)
                continue
            with open_regular(entry.path, 'a fluid variable file') as f:
                try:
                    headers[entry.name] = read_header(f, entry.path)
                except UserError:
                    if headers or _begins_as_variable(f):
                        raise
                    raise UserError(f'{path}: {_NO_MODEL} {entry.name} is none.') from None
        self._files = {name: name for name in headers}
        self._headers = headers
        self._use_masters()
        if not self._files:
            raise UserError(f'{path}: {_NO_MODEL}')

    def _use_masters(self):
        for master in [n for n in self._files if n.endswith(MASTER)]:
            name = master.removesuffix(MASTER)
            if name not in self._files:
                continue
            ours, theirs = self._headers[name], self._headers[master]
            if ours.shape != theirs.shape:
                raise bad_input(
                    os.path.join(self.path, master), f'shape {list(theirs.shape)}', f'{list(ours.shape)}, as {name}'
                )
            if DTYPE_NAMES[ours.code] in ('FP16', 'BF16') and DTYPE_NAMES[theirs.code] == 'FP32':
                self._files[name] = master
            del self._files[master]

    def __getitem__(self, name):
        return read_variable(os.path.join(self.path, self._files[name]))

    def __iter__(self):
        return iter(self._files)

    def __len__(self):
        return len(self._files)

    def shape(self, name):
        return self._headers[self._files[name]].shape

    def dtype(self, name):
        return self._headers[self._files[name]].dtype

    def is_bfloat16(self, name):
        return self._headers[self._files[name]].code == BFLOAT16

    def levels(self, name):
        """Number of sequence levels of a variable, 0 for parameters."""
        return self._headers[self._files[name]].levels
