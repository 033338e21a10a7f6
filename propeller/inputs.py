"""Reading what others wrote: regular files only, of bounded size; JSON and YAML of bounded depth and plain numbers.

Every file that a user, a checkpoint or a download brings is opened and parsed by these functions, so that a FIFO cannot
block, a file of brackets cannot exhaust the stack, and what cannot be kept without loss is refused where it is read.
"""

import contextlib
import json
import os
import re
import stat
from collections import Counter

from propeller.errors import bad_input, quoted

MAX_JSON_BYTES = 1 << 30
MAX_YAML_BYTES = 1 << 20
MAX_DEPTH = 100
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
    except (OSError, ValueError) as e:  # ValueError: a NUL in the name
        reason = getattr(e, 'strerror', None) or e
        raise bad_input(path, f'a file that cannot be read ({reason})', expected) from None
    kind = os.fstat(handle).st_mode
    if not stat.S_ISREG(kind):
        os.close(handle)
        raise bad_input(path, _kind(kind), expected)
    return os.fdopen(handle, 'rb')


def _kind(mode):
    for test, name in ((stat.S_ISDIR, 'a folder'), (stat.S_ISFIFO, 'a FIFO'), (stat.S_ISSOCK, 'a socket')):
        if test(mode):
            return name
    return 'a device'


def read_bytes(path, limit, expected='a file'):
    """The content of a regular file.

    Raises:
        UserError: see `open_regular`; or it has more than `limit` bytes.
    """
    with open_regular(path, expected) as f:
        try:
            content = f.read(limit + 1)
        except OSError as e:
            raise bad_input(path, f'a file that cannot be read ({e.strerror})', expected) from None
    if len(content) > limit:
        raise bad_input(path, f'more than {limit:,} bytes', expected)
    return content


def read_text(path, limit, expected='a text file'):
    """The content of a regular file in UTF-8, without a byte-order mark.

    Raises:
        UserError: see `read_bytes`; or it is not UTF-8, with the line of the first wrong byte.
    """
    content = read_bytes(path, limit, expected)
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as e:
        line = content.count(b'\n', 0, e.start) + 1
        raise bad_input(path, f'byte 0x{e.object[e.start]:02x} that is not UTF-8', expected, line) from None


def read_json(path, expected='JSON', limit=MAX_JSON_BYTES):
    """The value of a JSON file in UTF-8. For what is refused see `parse_json`.

    Raises:
        UserError: it cannot be read or is refused; file and line named.
    """
    return parse_json(read_text(path, limit, expected), path, expected)


def read_json_object(path, expected='a JSON object', limit=MAX_JSON_BYTES):
    """The same for a file whose value must be an object: a dict."""
    value = read_json(path, expected, limit)
    if not isinstance(value, dict):
        raise bad_input(path, f'a JSON {type(value).__name__}', expected)
    return value


def parse_json(text, source, expected='JSON', line=None):
    """The value of a JSON text.

    Args:
        text: str.
        source: the file it is from, for the message.
        expected: what should stand there, for the message.
        line: number of the line in `source` that `text` is; None if `text` is the whole file.
    Raises:
        UserError: it is not JSON, has a name twice in one object, an integer of more than 64 bits, NaN or an infinity
            (as a number too large is one), half of a surrogate pair, or more than 100 levels.
    """

    def refuse(found, at=None):
        return bad_input(source, found, expected, line if line is not None else at)

    try:
        value = _decoder(refuse).decode(text)
    except json.JSONDecodeError as e:
        raise refuse(f'bad JSON ({e.msg}, column {e.colno})', e.lineno) from None
    except RecursionError:
        raise refuse('JSON nested too deeply') from None
    if text.count('[') + text.count('{') > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise refuse(f'JSON of more than {MAX_DEPTH} levels')
    if _HALF_ESCAPED.search(text):
        with contextlib.suppress(UnicodeEncodeError):
            json.dumps(value, ensure_ascii=False).encode()
            return value
        raise refuse(r'half of a surrogate pair (\ud800 to \udfff)')
    return value


_HALF_ESCAPED = re.compile(r'\\u[dD][89a-fA-F]')
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')


def _depth(text):
    depth = deepest = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        token = match.group()
        if token in '[{':
            depth += 1
            deepest = max(deepest, depth)
        elif token in ']}':
            depth -= 1
    return deepest


def _decoder(refuse):
    def whole(digits):
        if len(digits) > 25 or int(digits).bit_length() > INTEGER_BITS:
            raise refuse(f'the number {quoted(digits)}')
        return int(digits)

    def real(digits):
        value = float(digits)
        if value in (float('inf'), float('-inf')):
            raise refuse(f'the number {quoted(digits)}')
        return value

    def constant(name):
        raise refuse(f'the number {name}')

    def distinct(pairs):
        value = dict(pairs)
        if len(value) < len(pairs):
            twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
            raise refuse(f'{quoted(twice)} twice in one object')
        return value

    return json.JSONDecoder(parse_int=whole, parse_float=real, parse_constant=constant, object_pairs_hook=distinct)
