"""The encoding of protobuf: tags, numbers of variable length, and pieces with their length before them.

Every reader takes `content`, a memoryview of bytes, where to begin and where to end, and looks no further. An error is
a `UserError` whose text is what was found, for the one who knows the file.
"""

import sys

import numpy as np

from propeller.errors import UserError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_LONGEST = 10  # bytes of 7 bits for a number of 64


def varint(content, at, end):
    """(number of 0 to 2**64 - 1, where it ends)."""
    number = shift = 0
    last = min(end, at + _LONGEST)
    while at < last:
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if number >> 64:
                raise UserError('a number of more than 64 bits')
            return number, at
        shift += 7
    raise UserError('a number of more than 10 bytes' if at < end else 'a number that ends too early')


def tag(content, at, end):
    """(number of the field, wire type, where the tag ends)."""
    number = content[at]
    if number < 0x80:
        at += 1
    else:
        number, at = varint(content, at, end)
    return number >> 3, number & 7, at


def span(content, at, end, kind):
    """(begin, end) of the bytes that follow their length. kind: the wire type of the tag before."""
    if kind != BYTES:
        raise UserError(f'wire type {kind} where bytes with their length belong')
    if at < end and content[at] < 0x80:
        length, at = content[at], at + 1
    else:
        length, at = varint(content, at, end)
    if length > end - at:
        raise UserError(f'{length:,} bytes announced where {end - at:,} are left')
    return at, at + length


def varints(content):
    """The bytes of an int64 array (native order) of the numbers of variable length in `content`."""
    encoded = np.frombuffer(content, np.uint8)
    if not len(encoded):
        return b''
    ends = np.flatnonzero(encoded < 0x80)
    if len(ends) == len(encoded):
        return encoded.astype(np.int64).tobytes()
    if not len(ends) or ends[-1] != len(encoded) - 1:
        raise UserError('a number that ends too early')
    starts = np.empty_like(ends)
    starts[0] = 0
    np.add(ends[:-1], 1, out=starts[1:])
    lengths = ends - starts + 1
    longest = int(lengths.max())
    if longest > _LONGEST:
        raise UserError('a number of more than 10 bytes')
    if longest == _LONGEST and encoded[ends[lengths == _LONGEST]].max() > 1:
        raise UserError('a number of more than 64 bits')
    places = (np.arange(len(encoded)) - np.repeat(starts, lengths)).astype(np.uint64)
    bits = (encoded & 0x7F).astype(np.uint64) << places * np.uint64(7)
    return np.add.reduceat(bits, starts).tobytes()  # two's complement


def put_varint(out, number):
    """Append a number of 0 to 2**64 - 1 to a bytearray."""
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def put_varints(numbers):
    """The bytes of int64 numbers, one after the other. numbers: `array.array('q')`, not empty."""
    values = np.frombuffer(numbers, np.uint64)  # two's complement
    longest = -(-int(values.max()).bit_length() // 7) or 1
    if longest == 1:
        return values.astype(np.uint8).tobytes()
    left = values[:, None] >> np.arange(0, 7 * longest, 7, dtype=np.uint64)
    wanted = left > 0
    wanted[:, 0] = True
    encoded = (left & np.uint64(0x7F)).astype(np.uint8)
    encoded[:, :-1] |= wanted[:, 1:].view(np.uint8) << 7
    return encoded[wanted].tobytes()


def put_bytes(out, field, content):
    """Append a piece with its tag and length to a bytearray."""
    put_varint(out, field << 3 | BYTES)
    put_varint(out, len(content))
    out += content


def floats(content):
    """The bytes of a float32 array (native order) of those in `content`, which are little-endian."""
    if len(content) % 4:
        raise UserError(f'{len(content)} bytes of floats of 4 bytes each')
    return bytes(content) if sys.byteorder == 'little' else np.frombuffer(content, '<f4').astype('f4').tobytes()


def little_floats(values):
    """The bytes of floats in a file. values: `array.array('f')`."""
    return values.tobytes() if sys.byteorder == 'little' else np.array(values, '<f4').tobytes()
