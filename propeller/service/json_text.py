"""JSON of requests: large texts are read with others in mind, and no further than a request can need."""

import codecs
import contextlib
import json
import json.scanner
import re
from typing import NamedTuple

from propeller.errors import one_line, quoted
from propeller.service.errors import ServiceError

# Bytes of a body up to which it is read at once; a larger one is read in a thread, as it takes more than a millisecond.
SMALL = 64 << 10
_DEEPEST = 32
_MOST_NAMES = 1024  # of one object: pydantic makes an error of each that it does not know, and can stop at none
_NUMBERS = re.compile(r'[-+.0-9eE, \t\n\r]{0,65536}')


class Bounds(NamedTuple):
    """What a large body may have. More of it would keep others waiting for long, to be refused in the end.

    values: JSON values, lists of numbers alone apart. numbers: in such lists.
    """

    values: int
    numbers: int

    @classmethod
    def of(cls, texts, longest):
        """As much as requests need that the limits let in.

        Args:
            texts: of a request, at most.
            longest: tokens of a text, at most.
        """
        # A pair is an object and two texts; ids, types and mask are a number for each token, and have shapes.
        return cls(max(4 * texts, 1 << 16), 3 * texts * longest + SMALL)


_USUAL = Bounds.of(1024, 512)


def parse(body, bounds=_USUAL):
    """The value of a JSON text.

    Args:
        body: bytes; a byte order mark before it, which some editors write, is passed over.
        bounds: `Bounds`.
    Raises:
        ServiceError: it is none: not UTF-8, not JSON, with NaN or Infinity, a name twice in one object, or nested more
            than 32 deep; or it has more values, or names in one object, than are read.
    """
    mark = len(codecs.BOM_UTF8) if body.startswith(codecs.BOM_UTF8) else 0
    body = body[mark:]
    try:
        if len(body) <= SMALL:
            value = _DECODER.decode(body.decode())
            deep = body.count(b'[') + body.count(b'{') > _DEEPEST and _is_deep(value)
        else:
            decoder = _PatientDecoder(bounds)
            value = decoder.decode(_text(body))
            deep = decoder.deepest > _DEEPEST
    except ServiceError:  # a ValueError, too
        raise
    except UnicodeDecodeError as e:
        raise ServiceError('malformed', f'byte {mark + e.start + 1} of the body is not UTF-8.') from None
    except RecursionError:
        raise ServiceError('malformed', f'JSON nested more than {_DEEPEST} deep.') from None
    except json.JSONDecodeError as e:
        where = f'line {e.lineno}, column {e.colno}'
        raise ServiceError('malformed', f'the body is not JSON ({where}: {one_line(e.msg, 100)}).') from None
    except ValueError as e:  # of `_refuse`, and of whole numbers with thousands of digits
        raise ServiceError('malformed', f'the body is not JSON ({one_line(e, 100)}).') from None
    if deep:
        raise ServiceError('malformed', f'JSON nested more than {_DEEPEST} deep.')
    return value


def is_object(message):
    """Whether a message, bytes or a buffer, begins as a JSON object does; a byte order mark may be before it."""
    return message[:1] == b'{' or message[:4] == codecs.BOM_UTF8 + b'{'


def _refuse(name):
    raise ValueError(f'{name} is no JSON')


def _object(pairs):
    if len(pairs) > _MOST_NAMES:
        raise _beyond('json_names', _MOST_NAMES, 'names in one object')
    value = dict(pairs)
    if len(value) < len(pairs):  # of two values json keeps the last, other readers the first
        seen = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f'{quoted(twice, 60)} stands twice in one object')
    return value


_STRICT = {'parse_constant': _refuse, 'object_pairs_hook': _object}
_DECODER = json.JSONDecoder(**_STRICT)


def _text(body):
    """`body.decode()`, in pieces."""
    decoder = codecs.getincrementaldecoder('utf-8')()
    try:
        pieces = [decoder.decode(body[start : start + SMALL]) for start in range(0, len(body), SMALL)]
        return ''.join([*pieces, decoder.decode(b'', True)])
    except UnicodeDecodeError:
        return body.decode()  # whose error has the place in the whole


class _PatientDecoder(json.JSONDecoder):
    """Gives other threads their turn while it reads.

    The usual one is a single call of C, which keeps the interpreter to itself whatever thread it runs in. Here lists
    and objects are read by the Python code of the standard library, strings and runs of numbers by its C code.
    """

    def __init__(self, bounds):
        super().__init__(**_STRICT)
        self._bounds, self._values, self._numbers = bounds, 0, 0
        self._depth = self.deepest = 0
        self.parse_object, self.parse_array = self._read_object, self._read_list
        self.scan_once = json.scanner.py_make_scanner(self)

    def _read_list(self, text_and_start, scan_once):
        """(values, end) of a list, as `json.decoder.JSONArray` gives them."""
        with self._inside():
            numbers = self._read_numbers(*text_and_start)
            return numbers or json.decoder.JSONArray(text_and_start, self._counted(scan_once))

    def _read_object(self, text_and_start, strict, scan_once, *hooks):
        with self._inside():
            return json.decoder.JSONObject(text_and_start, strict, self._counted(scan_once), *hooks)

    @contextlib.contextmanager
    def _inside(self):
        self._depth += 1
        self.deepest = max(self.deepest, self._depth)
        try:
            yield
        finally:
            self._depth -= 1

    def _counted(self, scan_once):
        def scan(text, place):
            self._values += 1
            if self._values > self._bounds.values:
                raise _beyond('json_values', self._bounds.values, 'JSON values')
            return scan_once(text, place)

        return scan

    def _read_numbers(self, text, place):
        """(values, end) of a list of numbers, read in pieces; None where it is another one, or has a fault."""
        values, closed = [], False
        while not closed:
            end = _NUMBERS.match(text, place).end()
            closed = text.startswith(']', end)
            end = end if closed else text.rfind(',', place, end)
            if end <= place:
                return None
            try:
                piece = _DECODER.decode(f'[{text[place:end]}]')
            except ValueError:
                return None
            if not piece:
                return None
            values += piece
            place = end + 1
            if self._numbers + len(values) > self._bounds.numbers:
                raise _beyond('json_numbers', self._bounds.numbers, 'numbers in lists')
        self._numbers += len(values)
        return values, place


def _beyond(name, most, what):
    return ServiceError('too_large', f'the body has more than {most:,} {what}.', {'name': name, 'value': most})


def _is_deep(value):
    level = [[value]]
    for _ in range(_DEEPEST + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, list | dict)
        ]
        if not level:
            return False
    return True
