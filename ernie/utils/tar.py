"""The headers of a tar archive of unknown origin, read strictly, in one pass, with bounds.

Formats: ustar (POSIX.1-1988), pax (POSIX.1-2001), GNU's long names, and the Unix v7 header before them. Python's own
`tarfile` is not used: a small archive can occupy its patterns, its recursion and its memory for as long as it likes.
"""

import re
from typing import NamedTuple

BLOCK = 512
# Of a pax header or a long name; a path has at most 4,096 bytes.
MAX_EXTENDED = 1 << 16
MAX_GLOBAL_HEADERS = 100
_MAX_SIZE = 1 << 62

FILE, FOLDER = 'a file', 'a folder'
KINDS = {
    b'0': FILE,
    b'\0': FILE,
    b'7': FILE,
    b'5': FOLDER,
    b'1': 'a hard link',
    b'2': 'a symbolic link',
    b'3': 'a device',
    b'4': 'a device',
    b'6': 'a pipe',
    b'S': 'a sparse file',
}
_LOCAL, _GLOBAL, _LONG_NAME, _LONG_LINK = (b'x', b'X'), b'g', b'L', b'K'
_NUMBER = re.compile(rb'[0-7]{0,21}')
_DECIMAL = re.compile(rb'[0-9]{1,19}')
_CHARSETS = (b'BINARY', b'ISO-IR 10646 2000 UTF-8')


class Damaged(ValueError):
    """Wrong bytes in a header, or an archive that ends too early."""


class TooLarge(ValueError):
    """An extended header of more than `MAX_EXTENDED` bytes; the text is its size."""


class Member(NamedTuple):
    """One entry.

    Attributes:
        name: path as the archive gives it; bytes that are not UTF-8 are surrogates.
        size: bytes of content, 0 for what is no file.
        kind: `FILE`, `FOLDER`, or what else it is, in words.
        mode: Unix rights.
    """

    name: str
    size: int
    kind: str
    mode: int


def members(read):
    """Yields the `Member`s of an archive in order.

    Args:
        read: function (size) -> bytes of the archive, fewer only at its end. After a member was yielded, its content is
            to be read from it to the last byte; what fills the content up to a block is read here.
    Raises:
        Damaged: see there.
        TooLarge: see there.
    """
    special, globals_left, count = {}, MAX_GLOBAL_HEADERS, 0
    while True:
        block = read(BLOCK)
        if not block and count and not special:
            return
        if len(block) < BLOCK:
            raise Damaged('it ends in the middle')
        if not block.strip(b'\0'):
            if special:
                raise Damaged('it ends after an extended header')
            return
        count += 1
        kind = block[156:157]
        size = _checked_size(block)
        if kind == _GLOBAL:
            globals_left -= 1
            if globals_left < 0:
                raise Damaged(f'more than {MAX_GLOBAL_HEADERS} global headers')
            if {b'path', b'size'} & _records(_extended(read, size)).keys():
                raise Damaged('a path or size for all members')
        elif kind in (*_LOCAL, _LONG_NAME, _LONG_LINK):
            kind = b'x' if kind in _LOCAL else kind
            if kind in special:
                raise Damaged('several extended headers for one member')
            special[kind] = _extended(read, size)
        else:
            member = _member(block, kind, size, special)
            special = {}
            yield member
            _padding(read, member.size)


def _extended(read, size):
    if size > MAX_EXTENDED:
        raise TooLarge(f'{size:,}')
    data = read(size)
    if len(data) < size:
        raise Damaged('it ends in the middle')
    _padding(read, size)
    return data


def _padding(read, size):
    rest = -size % BLOCK
    if len(read(rest)) < rest:
        raise Damaged('it ends in the middle')


def _checked_size(block):
    """The size in a header whose checksum is right. Old programs summed the bytes as signed numbers."""
    rest = block[:148] + b' ' * 8 + block[156:]
    expected = _number(block[148:156])
    if expected not in (sum(rest), sum(byte - 256 * (byte > 127) for byte in rest)):
        raise Damaged('a header with a wrong checksum')
    return _number(block[124:136])


def _number(field):
    """An octal number, or a binary one after a byte 0x80 (GNU)."""
    if field[0] == 0x80:
        value = int.from_bytes(field[1:], 'big')
    else:
        text = field.partition(b'\0')[0].strip(b' ')
        if not _NUMBER.fullmatch(text):
            raise Damaged('a header with a wrong number')
        value = int(text or b'0', 8)
    if value >= _MAX_SIZE:
        raise Damaged('a header with a wrong number')
    return value


def _records(data):
    """dict of a pax header's records, `LENGTH KEY=VALUE\\n` one after the other."""
    found, at = {}, 0
    while at < len(data):
        space = data.find(b' ', at, at + 8)
        if space < 0 or not _DECIMAL.fullmatch(data, at, space):
            raise Damaged('a pax record without its length')
        end = at + int(data[at:space])
        key, equals, value = data[space + 1 : end - 1].partition(b'=')
        if not space + 1 < end <= len(data) or data[end - 1 : end] != b'\n' or not equals or not key:
            raise Damaged('a pax record of a wrong length')
        found[key], at = value, end
    return found


def _member(block, kind, size, special):
    name = block[:100].partition(b'\0')[0]
    prefix = block[345:500].partition(b'\0')[0]
    if prefix and block[257:263] == b'ustar\0':
        name = prefix + b'/' + name
    if _LONG_NAME in special:
        name = special[_LONG_NAME].partition(b'\0')[0]
    records = _records(special.get(b'x', b''))
    if records.get(b'hdrcharset', b'BINARY') not in _CHARSETS:
        raise Damaged('names in an unknown character set')
    name = records.get(b'path', name)
    words = KINDS.get(kind, f'of the type {kind!r}')
    if kind == b'\0' and name.endswith(b'/'):
        words = FOLDER  # as before there was a type of folders
    if any(key.startswith(b'GNU.sparse.') for key in records):
        words = KINDS[b'S']
    if b'size' in records:
        if not _DECIMAL.fullmatch(records[b'size']) or int(records[b'size']) >= _MAX_SIZE:
            raise Damaged('a pax record of a wrong size')
        size = int(records[b'size'])
    mode = _number(block[100:108])
    return Member(name.decode('utf-8', 'surrogateescape'), size if words == FILE else 0, words, mode)
