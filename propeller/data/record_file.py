"""Record files: a gzip stream of pieces, each an int32 (little-endian) of its length and as many bytes.

The format of 2019, whose pieces are serialised `Example`s. What is written here begins with an empty gzip member whose
comment tells how many records and bytes the file has and what it was made from; other programs pass over it.
"""

import contextlib
import functools
import gzip
import json
import os
import struct
import zlib
from typing import NamedTuple

from propeller.errors import UserError, bad_input, quoted
from propeller.inputs import open_regular, parse_json
from propeller.storage.atomic import replacing

MOST_BYTES = 1 << 26  # of a record
_EXPECTED = 'a record file: gzip, in it records with their length before them'
_BLOCK, _READ = 1 << 20, 1 << 18
_LENGTH = struct.Struct('<i')
# gzip (RFC 1952): deflate, the flag of a comment, no time, unknown system; the comment and its NUL follow.
_HEADER = b'\x1f\x8b\x08\x10' + b'\x00' * 5 + b'\xff'
_NOTHING = b'\x03\x00' + b'\x00' * 8  # no bytes deflated, their checksum, their number
_NOTE_BYTES = 1024
_MADE_BY = 'propeller record file'


class Note(NamedTuple):
    """What a record file says of itself.

    Attributes:
        records: how many there are.
        bytes: of the file.
        source: JSON-able, what it was made from; None for nothing.
    """

    records: int
    bytes: int
    source: object = None


# ------------------------------------------------------------------------------------------------------------- reading


def read_records(path, start=0):
    """The records of a file, from number `start` on. What lies before is decompressed, not looked at.

    Args:
        path: a gzip file, of one member or several.
        start: number of the first one wanted.
    Yields:
        bytes.
    Raises:
        UserError: it cannot be read, is no gzip, is cut off or damaged, or a length is wrong; names file and record.
    """
    note, number = read_note(path), -1
    for number, record in enumerate(_scan(path, start), start):  # noqa: B007 - how many there were
        yield record
    found = max(number + 1, start)
    if note and (found < note.records if start > number else found != note.records):
        raise bad_input(path, f'{found:,} records', f'the {note.records:,} that the file tells of')


def _scan(path, start):
    number, buffer, at = 0, b'', 0
    try:
        for block in _decompressed(path):
            buffer, at = buffer[at:] + block, 0
            end = len(buffer)
            while end - at >= 4:
                (length,) = _LENGTH.unpack_from(buffer, at)
                if not 0 <= length <= MOST_BYTES:
                    raise _Damaged(f'the length {length:,}', f'0 to {MOST_BYTES:,}')
                if length > end - at - 4:
                    break
                at += 4
                if number >= start:
                    yield buffer[at : at + length]
                at += length
                number += 1
        left = len(buffer) - at
        if left >= 4:
            raise _Damaged(f'the end of the file after {left - 4:,} bytes', f'{length:,}, the length before them')
        if left:
            raise _Damaged(f'the end of the file after {left} bytes', 'a length of 4 bytes')
    except _Damaged as e:
        found, expected, *behind = e.args
        raise bad_input(path, f'in record {number:,}{" or behind it" * bool(behind)}: {found}', expected) from None


class _Damaged(Exception):
    """What was found in the record that is being read, what was expected, and something if it may lie behind it."""


def _decompressed(path):
    """Blocks of what the gzip file holds. Python's `gzip` reads 8 kB at a time, at half the speed."""
    with open_regular(path, _EXPECTED) as file:
        content = file.read(_READ)
        if not content.startswith(b'\x1f\x8b'):
            found = f'a file that begins with {quoted(content[:8])}' if content else 'an empty file'
            raise bad_input(path, found, _EXPECTED)
        try:
            while content:
                member = zlib.decompressobj(wbits=31)
                while not member.eof:
                    block = member.decompress(content, _BLOCK)
                    if block:
                        yield block
                    content = member.unconsumed_tail or (b'' if member.eof else file.read(_READ))
                    if not (content or block or member.eof):
                        raise _Damaged('the end of the file', 'the end of a gzip member')
                content = member.unused_data
                while not content.strip(b'\x00') and (content := file.read(_READ)):
                    pass  # zeros behind a member fill up a tape
                content = content.lstrip(b'\x00')
        except zlib.error as e:
            raise _Damaged(f'bytes that are no gzip ({e})', 'a record file', True) from None


def count_records(path):
    """How many records a file has: what it says itself, or else counted. For errors see `read_records`."""
    note = read_note(path)
    return note.records if note else _counted(*_identity(path))


@functools.lru_cache(maxsize=1024)
def _counted(path, *_):
    return sum(1 for _ in read_records(path))


def _identity(path):
    with open_regular(path, _EXPECTED) as f:
        status = os.fstat(f.fileno())
    return path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def read_note(path):
    """The `Note` of a file that was written here; None for other files.

    Raises:
        UserError: it cannot be read, its note is damaged, or it has fewer bytes than it says.
    """
    with open_regular(path, _EXPECTED) as f:
        begin = f.read(len(_HEADER) + _NOTE_BYTES + 1)
        size = f.seek(0, 2)
    comment, closed, _ = begin[len(_HEADER) :].partition(b'\x00')
    if not begin.startswith(_HEADER) or not closed or _MADE_BY.encode() not in comment[:100]:
        return None
    expected = 'what a record file says of itself'
    content = parse_json(comment, path, expected)
    if not isinstance(content, dict) or content.get('format') != _MADE_BY:
        raise bad_input(path, 'another JSON value in its comment', expected)
    numbers = [content.get(name) for name in ('records', 'bytes')]
    if any(type(number) is not int or number < 0 for number in numbers):
        raise bad_input(path, f'records {numbers[0]!r} and bytes {numbers[1]!r}', expected)
    note = Note(*numbers, content.get('source'))
    if note.bytes > size:
        raise bad_input(path, f'{size:,} bytes', f'{note.bytes:,}, with which it was written', advice='Copy it again.')
    return note if note.bytes == size else None  # another file was added to it, as gzip allows


# ------------------------------------------------------------------------------------------------------------- writing


def write_records(path, records, source=None, level=6):
    """Write a record file: whole, or not at all.

    Args:
        path: its name; a file of that name is replaced at the end.
        records: iterable of bytes.
        source: JSON-able, what the records are made from, for `read_note`; or a function that gives it at the end.
        level: of compression, 1 (fast) to 9.
    Returns:
        number of records.
    Raises:
        UserError: a record is too long, or the file cannot be written.
    """
    count = 0
    with replacing(path) as partial, open(partial, 'wb') as file:
        file.write(_member({}))
        with contextlib.closing(gzip.GzipFile('', 'wb', level, file, mtime=0)) as stream:
            parts, size = [], 0
            for count, record in enumerate(records, 1):
                if len(record) > MOST_BYTES:
                    raise UserError(
                        f'{path}: record {count - 1:,}: found {len(record):,} bytes, expected {MOST_BYTES:,} at most.'
                    )
                parts += (_LENGTH.pack(len(record)), record)
                size += len(record) + 4
                if size > _BLOCK:
                    stream.write(b''.join(parts))
                    parts, size = [], 0
            stream.write(b''.join(parts))
        size = file.tell()
        file.seek(0)
        source = source() if callable(source) else source
        file.write(_member({'format': _MADE_BY, 'records': count, 'bytes': size, 'source': source}))
    return count


def _member(note):
    """An empty gzip member with a note as its comment: of one length for all notes."""
    comment = json.dumps(note).encode().ljust(_NOTE_BYTES)
    if len(comment) > _NOTE_BYTES:
        raise ValueError(f'a note of {len(comment)} bytes, expected {_NOTE_BYTES} at most')
    return _HEADER + comment + b'\x00' + _NOTHING
