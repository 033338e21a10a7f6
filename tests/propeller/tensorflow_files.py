"""Checkpoints of TensorFlow in format V2, written for the tests by the description of the format alone."""

import struct

import numpy as np
from tensorboardX.crc32c import _crc32c

TYPES = {'float32': 1, 'float64': 2, 'int32': 3, 'int64': 9, 'bool': 10, 'float16': 19}
MAGIC = struct.pack('<Q', 0xDB4775248B80FB57)


def masked(content):
    """The checksum of bytes as files have it, by tensorboardX's table."""
    crc = _crc32c(content) & 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(number):
    """A number of 0 to 2**64 - 1."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number, value):
    """A field of a message: an int, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value % (1 << 64))
    return varint(number << 3 | 2) + varint(len(value)) + value


def header(shards=1, endianness=0, min_consumer=0):
    """`BundleHeaderProto`."""
    return field(1, shards) + field(2, endianness) + field(3, field(1, 1) + field(2, min_consumer))


def entry(dtype=1, shape=(), shard=0, offset=0, size=0, crc=0, slices=()):
    """`BundleEntryProto`. slices: of ((start, length), ...), length None for all."""
    dims = b''.join(field(2, field(1, dim)) for dim in shape)
    out = field(1, dtype) + field(2, dims) + field(3, shard) + field(4, offset) + field(5, size)
    out += varint(6 << 3 | 5) + struct.pack('<I', crc)
    for extents in slices:
        parts = (field(1, s) + (b'' if n is None else field(2, n)) for s, n in extents)
        out += field(7, b''.join(field(1, part) for part in parts))
    return out


def block(entries, every=16):
    """The content of a block. entries: (key, value) in order. every: keys between two that lean on none."""
    out, restarts, last = bytearray(), [], b''
    for i, (key, value) in enumerate(entries):
        shared = 0
        if i % every:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        else:
            restarts.append(len(out))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    restarts = restarts or [0]
    return bytes(out) + struct.pack(f'<{len(restarts) + 1}I', *restarts, len(restarts))


def table(entries, per_block=5, kind=0, every=16):
    """The bytes of a table. entries: list of (key, value). kind: byte for the compression of the first block.
    every: see `block`."""
    out, index = bytearray(), []

    def add(content, kind=0):
        place = varint(len(out)) + varint(len(content))
        out.extend(content + bytes([kind]) + struct.pack('<I', masked(content + bytes([kind]))))
        return place

    for at in range(0, len(entries), per_block):
        part = entries[at : at + per_block]
        index.append((part[-1][0], add(block(part, every), 0 if at else kind)))
    places = add(block([])) + add(block(index, 1))
    return bytes(out) + places.ljust(40, b'\0') + MAGIC


def checkpoint(prefix, arrays, **changes):
    """Write `PREFIX.index` and `PREFIX.data-00000-of-00001`.

    Args:
        prefix: path.
        arrays: dict name -> array.
        changes: by name with `__` for `/`: dict of what `entry` is given in the place of the truth.
    """
    entries, values = [(b'', header())], bytearray()
    for name, array in sorted(arrays.items()):
        content = np.ascontiguousarray(array).tobytes()
        said = {'dtype': TYPES[array.dtype.name], 'shape': array.shape, 'offset': len(values), 'size': len(content)}
        said |= {'crc': masked(content)} | changes.get(name.replace('/', '__'), {})
        entries.append((name.encode(), entry(**said)))
        values += content
    prefix.parent.mkdir(parents=True, exist_ok=True)
    prefix.with_name(prefix.name + '.index').write_bytes(table(entries))
    prefix.with_name(prefix.name + '.data-00000-of-00001').write_bytes(values)
    return prefix
