"""Reading what others wrote: regular files only, of bounded size; JSON and YAML of bounded depth and plain numbers.

Every file that a user, a checkpoint or a download brings is opened and parsed by these functions, so that a FIFO cannot
block, a file of brackets cannot exhaust the stack, and what cannot be kept without loss is refused where it is read.
"""

import contextlib
import hashlib
import json
import os
import re
import stat
from collections import Counter

from propeller.errors import bad_input, quoted

MAX_JSON_BYTES = 1 << 24
# An empty list takes three bytes of text and seventy of memory.
_BYTES_A_VALUE = 8
# PyYAML needs a second for 50 kB of the worst text.
MAX_YAML_BYTES = 1 << 15
# What a data set in one JSON file may have.
MAX_DATA_BYTES = 1 << 32
MAX_DEPTH = 100
_BLOCK = 1 << 24
INTEGER_BITS = 64


def open_regular(path, expected='a file'):
    """Open a regular file for reading bytes; links are followed.

    Args:
        path: its name.
        expected: what it should be, for the message.
    Raises:
        UserError: nothing is there, it cannot be read, or it is a folder, a FIFO, a socket or a device.
    """
    try:
        # Without O_NONBLOCK, opening a FIFO waits for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as e:
        raise _unreadable(path, e, expected) from None
    kind = os.fstat(handle).st_mode
    if not stat.S_ISREG(kind):
        os.close(handle)
        raise bad_input(path, kind_of(kind), expected)
    return os.fdopen(handle, 'rb')


def open_data(path, expected='a file'):
    """Open data that a user names for reading bytes: a regular file, a FIFO, a terminal, `/dev/stdin`.

    Raises:
        UserError: nothing is there, it cannot be read, or it is a folder.
    """
    try:
        return open(path, 'rb')
    except IsADirectoryError:
        raise bad_input(path, 'a folder', expected) from None
    except (OSError, ValueError) as e:
        raise _unreadable(path, e, expected) from None


def _unreadable(path, error, expected):
    if isinstance(error, FileNotFoundError):
        return bad_input(path, 'no such file', expected)
    # A ValueError is a NUL, or half of a surrogate pair, in the name.
    reason = getattr(error, 'strerror', None) or error
    return bad_input(path, f'a path that cannot be read ({reason})', expected)


def kind_of(mode):
    """What a path that is no regular file is, in words. mode: `st_mode`."""
    for test, name in ((stat.S_ISDIR, 'a folder'), (stat.S_ISFIFO, 'a FIFO'), (stat.S_ISSOCK, 'a socket')):
        if test(mode):
            return name
    return 'a device'


def read_bytes(path, limit, expected='a file', data=False):
    """The content of a file.

    Args:
        path: its name.
        limit: most bytes that it may have.
        expected: what it should be, for the message.
        data: whether it is data that a user names, for which a FIFO will do (`open_data`).
    Raises:
        UserError: see `open_regular`; or it has more than `limit` bytes.
    """
    with (open_data if data else open_regular)(path, expected) as f:
        try:
            # Not at once: a buffer of all that is allowed would be made.
            parts, left = [], limit + 1
            while left and (part := f.read(min(left, _BLOCK))):
                parts.append(part)
                left -= len(part)
            content = b''.join(parts)
        except OSError as e:
            raise bad_input(path, f'a file that cannot be read ({e.strerror})', expected) from None
    if len(content) > limit:
        raise bad_input(path, f'more than {limit:,} bytes', expected)
    return content


def content_digest(path):
    """A text that changes with the content of a regular file: BLAKE2 of all its bytes. Raises `UserError`."""
    digest = hashlib.blake2b(digest_size=16)
    with open_regular(path) as f:
        while chunk := f.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def folder_digest(folder):
    """A text that changes with the names and contents of the files in a folder, those below it included."""
    digest = hashlib.blake2b(digest_size=16)
    for place, _, names in sorted(os.walk(folder)):
        for path in (os.path.join(place, name) for name in sorted(names)):
            if os.path.isfile(path):
                digest.update(f'{os.path.relpath(path, folder)} {content_digest(path)}\n'.encode())
    return digest.hexdigest()


def sampled_digest(path, size):
    """`content_digest` at the price of reading 1 MB at most: of a larger file, its ends and 30 places between count.

    That tells two gzip files apart, which end with a checksum, and texts that were made in another way; not two that
    differ by a few bytes far from the ends.

    Args:
        path: the file.
        size: bytes that it has.
    """
    digest, piece = hashlib.blake2b(digest_size=16), 1 << 15
    places = range(0, size, piece) if size <= 32 * piece else [(size - piece) * i // 31 for i in range(32)]
    with open_regular(path) as f:
        for place in places:
            f.seek(place)
            digest.update(f.read(piece))
    return digest.hexdigest()


def read_text(path, limit, expected='a text file', data=False):
    """The content of a file in UTF-8, without a byte-order mark. For the arguments see `read_bytes`.

    Raises:
        UserError: see `read_bytes`; or it is not UTF-8, with the line of the first wrong byte.
    """
    content = read_bytes(path, limit, expected, data)
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as e:
        line = content.count(b'\n', 0, e.start) + 1
        raise bad_input(path, f'byte 0x{e.object[e.start]:02x} that is not UTF-8', expected, line) from None


def read_json(path, expected='JSON', limit=MAX_JSON_BYTES, finite=True, bits=INTEGER_BITS):
    """The value of a JSON file in UTF-8. For what is refused see `parse_json`.

    Raises:
        UserError: it cannot be read or is refused; file and line named.
    """
    text, most = _some(read_text(path, limit, expected), path, expected), limit // _BYTES_A_VALUE
    if len(text) > most and sum(map(text.count, ',[{')) > most:
        raise bad_input(path, f'more than {most:,} values', expected)
    return parse_json(text, path, expected, finite=finite, bits=bits)


def read_json_object(path, expected='a JSON object', limit=MAX_JSON_BYTES, finite=True, bits=INTEGER_BITS):
    """The same for a file whose value must be an object: a dict."""
    value = read_json(path, expected, limit, finite, bits)
    if not isinstance(value, dict):
        raise bad_input(path, f'a JSON {type(value).__name__}', expected)
    return value


def parse_json(text, source, expected='JSON', line=None, finite=True, bits=INTEGER_BITS):
    """The value of a JSON text.

    Args:
        text: str, or bytes of UTF-8.
        source: the file it is from, for the message.
        expected: what should stand there, for the message.
        line: number of the line in `source` that `text` is; None if `text` is the whole file.
        finite: False allows NaN and the infinities, which Python's own writer writes.
        bits: of the largest integer.
    Raises:
        UserError: it is not JSON, has a name twice in one object, an integer of more than `bits`, NaN or an infinity (a
            number too large is one), half of a surrogate pair, or more than 100 levels.
    """

    def refuse(found, at=None):
        return bad_input(source, found, expected, line if line is not None else at)

    try:
        if isinstance(text, bytes | bytearray):
            text = text.decode()
        value = _decoder(refuse, finite, bits).decode(text)
    except UnicodeDecodeError as e:
        raise refuse(f'byte 0x{e.object[e.start]:02x} that is not UTF-8') from None
    except json.JSONDecodeError as e:
        raise refuse(f'bad JSON ({e.msg}, column {e.colno})', e.lineno) from None
    except RecursionError:
        raise refuse('JSON nested too deeply') from None
    if _deeper_than(value, MAX_DEPTH):
        raise refuse(f'JSON of more than {MAX_DEPTH} levels')
    if _HALF_ESCAPED.search(text):
        with contextlib.suppress(UnicodeEncodeError):
            json.dumps(value, ensure_ascii=False).encode()
            return value
        raise refuse(r'half of a surrogate pair (\ud800 to \udfff)')
    return value


_HALF_ESCAPED = re.compile(r'\\u[dD][89a-fA-F]')


def _deeper_than(value, depth):
    level = [value]
    for _ in range(depth):
        inner = (v.values() if type(v) is dict else v for v in level if type(v) in (dict, list))
        level = [item for items in inner for item in items if type(item) in (dict, list)]
        if not level:
            return False
    return True


def _decoder(refuse, finite, bits):
    def whole(digits):
        if len(digits) > bits // 3 + 4 or int(digits).bit_length() > bits:
            raise refuse(f'the number {quoted(digits)}')
        return int(digits)

    def real(digits):
        value = float(digits)
        if finite and value in (float('inf'), float('-inf')):
            raise refuse(f'the number {quoted(digits)}')
        return value

    def constant(name):
        if finite:
            raise refuse(f'the number {name}')
        return float(name)

    def distinct(pairs):
        value = dict(pairs)
        if len(value) < len(pairs):
            twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
            raise refuse(f'{quoted(twice)} twice in one object')
        return value

    return json.JSONDecoder(parse_int=whole, parse_float=real, parse_constant=constant, object_pairs_hook=distinct)


def read_yaml(path, expected='YAML', limit=MAX_YAML_BYTES):
    """The value of a YAML file in UTF-8: dicts, lists, text, numbers, true, false, null (and dates).

    A mark that is used again (`*name`, `<<`) counts as often as it is used: what a short text expands to is bounded.

    Raises:
        UserError: it cannot be read; it is not YAML, has a name twice in one mapping, a number that `parse_json` would
            refuse, more than 100 levels, or more than 100,000 values. Or PyYAML is not installed.
    """
    from propeller.plain_yaml import parse_yaml

    return parse_yaml(_some(read_text(path, limit, expected), path, expected), path, expected)


def read_yaml_mapping(path, expected='a YAML mapping', limit=MAX_YAML_BYTES):
    """The same for a file whose value must be a mapping: (dict, dict name -> its line). Raises `UserError`."""
    from propeller.plain_yaml import parse_yaml

    value, lines = parse_yaml(_some(read_text(path, limit, expected), path, expected), path, expected, lines=True)
    if not isinstance(value, dict):
        raise bad_input(path, f'a YAML {type(value).__name__}', expected)
    return value, lines


def _some(text, path, expected):
    if not text or text.isspace():
        raise bad_input(path, 'an empty file', expected)
    return text
