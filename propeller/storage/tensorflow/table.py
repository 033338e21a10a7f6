"""Sorted tables of LevelDB, as TensorFlow's `.index` files are: keys and values of bytes.

    blocks of entries, one that is empty here (metaindex), one with the places of the others (index), footer

A block ends with a byte that names its compression and a masked CRC-32C of all before it. In a block an entry is
`shared, rest, length` (numbers of variable length), the rest of the key and the value: as many bytes as `shared` says
are those of the key before. Behind the entries stand places at which no key leans on another, and how many these are.
The footer, the last 48 bytes, holds the places of metaindex and index, zeros, and a number that all tables end with.
https://github.com/google/leveldb/blob/main/doc/table_format.md
"""

import os

from propeller.data.wire import varint
from propeller.errors import UserError, bad_input, quoted
from propeller.inputs import open_regular
from propeller.storage.tensorflow.crc32c import crc32c, masked

FORM = 'the index of a TensorFlow checkpoint'
ENDING = bytes.fromhex('57fb808b247547db')
_FOOTER, _TRAILER = 48, 5
_COMPRESSIONS = {1: 'snappy'}
_DAMAGED = 'The file is damaged: copy or download it again.'
# Those of BERT-large with the state of its optimizer take 100 kB.
_MAX_BYTES = 1 << 24
_MAX_KEY = 4096
_MAX_KEYS_BYTES = 1 << 25


def read_table(path):
    """The content of a table: dict key -> value, both bytes, in the order of the keys.

    Raises:
        UserError: the file cannot be read, is no table, is damaged or compressed.
    """
    return _Table(path).entries()


class _Table:
    def __init__(self, path):
        self.path, self._checked = path, 0
        with open_regular(path, FORM) as file:
            size = os.fstat(file.fileno()).st_size
            if size > _MAX_BYTES:
                raise bad_input(path, f'{size:,} bytes', f'{FORM}, of at most {_MAX_BYTES:,}')
            self.content = memoryview(file.read(size))
        if len(self.content) < _FOOTER or self.content[-len(ENDING) :] != ENDING:
            raise bad_input(path, f'{len(self.content)} bytes without the end of a table', FORM, advice=_DAMAGED)

    def entries(self):
        end = len(self.content) - len(ENDING)
        meta, at = self._place(self.content, end + len(ENDING) - _FOOTER, end)
        index, _ = self._place(self.content, at, end)
        self._block(*meta)
        found, last, size = {}, b'', 0
        for _, value in self._walk(self._block(*index)):
            place, _ = self._place(value, 0, len(value))
            before = len(found)
            for key, content in self._walk(self._block(*place)):
                if found and key <= last:
                    raise self._broken(f'the key {quoted(key)} behind {quoted(last)}')
                size += len(key)
                if size > _MAX_KEYS_BYTES:
                    raise self._broken(f'keys of more than {_MAX_KEYS_BYTES:,} bytes')
                found[key], last = content, key
            if len(found) == before:
                raise self._broken('a block without entries')
        return found

    def _broken(self, found):
        return bad_input(self.path, found, FORM, advice=_DAMAGED)

    def _number(self, content, at, end):
        try:
            return varint(content, at, end)
        except UserError as e:
            raise self._broken(str(e)) from None

    def _place(self, content, at, end):
        """((offset, size) of a block, where that ends in `content`)."""
        offset, at = self._number(content, at, end)
        size, at = self._number(content, at, end)
        return (offset, size), at

    def _block(self, offset, size):
        """The content of a block, checked."""
        end = offset + size
        if end + _TRAILER > len(self.content) - _FOOTER:
            raise self._broken(f'a block of {size:,} bytes at byte {offset:,} of {len(self.content):,}')
        self._checked += size
        if self._checked > len(self.content):
            raise self._broken('blocks that share bytes')
        stored = int.from_bytes(self.content[end + 1 : end + _TRAILER], 'little')
        if masked(crc32c(self.content[offset : end + 1])) != stored:
            raise self._broken(f'a wrong checksum of the block at byte {offset:,}')
        kind = self.content[end]
        if kind:
            raise bad_input(
                self.path,
                f'a block compressed with {_COMPRESSIONS.get(kind, f"method {kind}")}',
                f'{FORM} as its own writer makes it, not compressed',
                advice='Load the checkpoint with TensorFlow and save it again.',
            )
        return self.content[offset:end]

    def _walk(self, block):
        """Yields the (key, value) of a block, both bytes."""
        end = len(block) - 4
        end -= 4 * int.from_bytes(block[end:], 'little') if end >= 0 else 0
        if end < 0:
            raise self._broken(f'a block of {len(block)} bytes without its end')
        at, key = 0, b''
        while at < end:
            shared, at = self._number(block, at, end)
            rest, at = self._number(block, at, end)
            length, at = self._number(block, at, end)
            if shared > len(key) or rest + length > end - at or shared + rest > _MAX_KEY:
                raise self._broken(f'an entry of {shared:,}, {rest:,} and {length:,} bytes where {end - at:,} are left')
            key = key[:shared] + bytes(block[at : at + rest])
            yield key, block[at + rest : at + rest + length]
            at += rest + length
