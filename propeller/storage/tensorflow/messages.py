"""The two messages in the index of a checkpoint: `BundleHeaderProto` and `BundleEntryProto`, tensor_bundle.proto.

Readers raise a `UserError` whose text is what was found, for the one who knows the file.
"""

from typing import NamedTuple

from propeller.data.wire import BYTES, FIXED32, FIXED64, VARINT, span, tag, varint
from propeller.errors import UserError

_MAX_DIMS = 32  # as many as every numpy takes
_FULL = -1  # length of an extent that is the whole axis
_NEGATIVE = 1 << 63
_ESCAPES = {0: b'\0\xff', 255: b'\xff\0'}


class Header(NamedTuple):
    """Of a whole checkpoint. min_consumer: version of the format that a reader must know."""

    shards: int = 0
    is_big_endian: bool = False
    min_consumer: int = 0


class Entry(NamedTuple):
    """A tensor, or a part of one.

    Attributes:
        dtype: number of its type in TensorFlow.
        shape: tuple; of a tensor in parts, of the whole.
        shard, offset, size: the file with its values and the bytes in that.
        crc: masked checksum of the bytes.
        slices: parts that it is kept in, each a tuple of (start, length) for each axis; (0, -1): all of an axis.
    """

    dtype: int = 0
    shape: tuple = ()
    shard: int = 0
    offset: int = 0
    size: int = 0
    crc: int = 0
    slices: tuple = ()


def read_header(content):
    """The `Header` in a memoryview."""
    values, version = {}, {}
    for number, value in _fields(content):
        if number == 3:
            version = dict(_numbers(value))
        else:
            values[number] = value
    return Header(_whole(values.get(1, 0)), bool(values.get(2, 0)), _whole(version.get(2, 0)))


def read_entry(content):
    """The `Entry` in a memoryview."""
    values, shape, slices = {}, (), []
    for number, value in _fields(content):
        if number == 2:
            shape = _shape(value)
        elif number == 7:
            slices.append(_slice(value))
        else:
            values[number] = value
    return Entry(values.get(1, 0), shape, *(_whole(values.get(n, 0)) for n in (3, 4, 5, 6)), tuple(slices))


def slice_key(name, extents):
    """The key under which a part of a tensor is kept, bytes (`EncodeTensorNameSlice`, saved_tensor_slice_util.cc).

    Args:
        name: bytes.
        extents: one of `Entry.slices`.
    """
    escaped = b''.join(_ESCAPES.get(byte, bytes([byte])) for byte in name)
    key = b'\0' + escaped + b'\0\1' + _ordered(len(extents))
    return key + b''.join(_signed(number) for extent in extents for number in extent)


def _ordered(number):
    """A number >= 0 in the encoding whose bytes are ordered as the numbers are (ordered_code.cc)."""
    content = number.to_bytes(-(-number.bit_length() // 8), 'big')
    return bytes([len(content)]) + content


def _signed(number):
    """The same for any number of 64 bits."""
    bits = (~number if number < 0 else number).bit_length()
    length = bits // 7 + 1  # of 7 bits each, one of them the sign
    value = number & ((1 << 8 * length) - 1)
    header = ((1 << length) - 1) << (8 * length - length)
    return (value ^ header).to_bytes(length, 'big')


def _fields(content):
    """Yields (number, value) of each field: an int, or a memoryview. Groups, which nobody writes, are refused."""
    at, end = 0, len(content)
    while at < end:
        number, kind, at = tag(content, at, end)
        if kind == VARINT:
            value, at = varint(content, at, end)
        elif kind == BYTES:
            begin, at = span(content, at, end, kind)
            value = content[begin:at]
        elif kind in (FIXED32, FIXED64):
            width = 4 if kind == FIXED32 else 8
            if width > end - at:
                raise UserError('a number that ends too early')
            value, at = int.from_bytes(content[at : at + width], 'little'), at + width
        else:
            raise UserError(f'a field of wire type {kind}')
        yield number, value


def _numbers(content):
    """The same where all fields that count are numbers."""
    if isinstance(content, int):
        raise UserError('a number where a message belongs')
    for number, value in _fields(content):
        if isinstance(value, int):
            yield number, value - (1 << 64) if value >= _NEGATIVE else value


def _whole(value):
    if not isinstance(value, int) or value >= _NEGATIVE:
        raise UserError('a value that is no whole number from 0')
    return value


def _messages(content, field):
    """Yields the content of each message that stands in a field of a message."""
    if isinstance(content, int):
        raise UserError('a number where a message belongs')
    for number, value in _fields(content):
        if number == field:
            yield value


def _shape(content):
    dims = [dict(_numbers(dim)).get(1, 0) for dim in _messages(content, 2)]
    if len(dims) > _MAX_DIMS or min(dims, default=0) < 0:
        raise UserError(f'a shape of {len(dims)} dimensions, the least {min(dims)}')
    return tuple(dims)


def _slice(content):
    extents = []
    for extent in _messages(content, 1):
        values = dict(_numbers(extent))
        extents.append((values.get(1, 0), values.get(2, _FULL)))
    if len(extents) > _MAX_DIMS:
        raise UserError(f'a part of {len(extents)} dimensions')
    return tuple(extents)
