"""The items of one large JSON array, one by one: memory is that of an item, not of the file."""

import codecs
import json
import re

from propeller.errors import UserError, bad_input
from propeller.inputs import MAX_JSON_BYTES, parse_json

CHUNK = 1 << 16
_SPACE = re.compile(r'[ \t\n\r]*')
_BEHIND = set(' \t\n\r,:]}')
# Finds the end of a value and judges nothing in it.
_FINDER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


def json_items(chunks, source, key=None, expected='a JSON array'):
    """The items of a JSON array, or of the array under `key` of an object.

    Args:
        chunks: iterable of bytes, the text in UTF-8.
        source: the file it is from, for messages.
        key: the name in the object; None for an array as the whole text.
        expected: what should stand there, for messages.
    Yields:
        (line, value): the 1-based number of the line where the item begins, and what `parse_json` makes of it, or the
        `UserError` that it raises.
    Raises:
        UserError: it is no such text; file and line named. What comes before the fault has been given out.
    """
    text = _Text(chunks, source, expected)
    if key is None:
        text.take('[')
        yield from text.items()
    else:
        text.take('{')
        found = False
        while not text.ends('}'):
            name = json.loads(text.value('"')[1])
            text.take(':')
            if name == key and text.peek() == '[' and not found:
                found = True
                text.take('[')
                yield from text.items()
            else:
                text.value()
            text.separator('}')
        if not found:
            raise bad_input(source, f'a JSON object without a list "{key}"', expected)
    if text.peek():
        raise text.fault('more behind its end')


class _Text:
    """JSON text that is read as far as it is needed."""

    def __init__(self, chunks, source, expected):
        self.source, self.expected = source, expected
        self.buffer, self.place, self.line = '', 0, 1
        self._chunks, self._decode = iter(chunks), codecs.getincrementaldecoder('utf-8-sig')().decode

    def _more(self):
        """Whether there was more to read. What is read is forgotten."""
        try:
            chunk = next(self._chunks, None)
            more = self._decode(chunk or b'', final=chunk is None)
        except UnicodeDecodeError as e:
            line = self.line + self.buffer.count('\n', self.place) + e.object.count(b'\n', 0, e.start)
            found = f'byte 0x{e.object[e.start]:02x} that is not UTF-8'
            raise bad_input(self.source, found, self.expected, line) from None
        self.buffer, self.place = self.buffer[self.place :] + more, 0
        return chunk is not None

    def fault(self, found):
        """The `UserError` for what stands here."""
        return bad_input(self.source, found, self.expected, self.line)

    def _go(self, place):
        self.line += self.buffer.count('\n', self.place, place)
        self.place = place

    def peek(self):
        """The next character that is no white space; '' at the end."""
        while True:
            self._go(_SPACE.match(self.buffer, self.place).end())
            if self.place < len(self.buffer):
                return self.buffer[self.place]
            if not self._more():
                return ''

    def take(self, character):
        """Go past a character that must be there."""
        if self.peek() != character:
            raise self.fault(f'bad JSON ({self.peek() or "the end"!r} where {character!r} should be)')
        self.place += 1

    def ends(self, character):
        """Whether `character` comes next, which is taken."""
        if self.peek() != character:
            return False
        self.place += 1
        return True

    def separator(self, end):
        """Go past a comma that something follows, or stand before `end`."""
        if self.peek() == end:
            return
        self.take(',')
        if self.peek() in (end, ''):
            raise self.fault(f'bad JSON (nothing between "," and {end!r})')

    def value(self, begin=None):
        """(line, text) of the value that comes next. begin: the character that it must begin with."""
        if begin and self.peek() != begin:
            self.take(begin)
        self.peek()
        wanted = CHUNK
        while True:
            try:
                end = _FINDER.raw_decode(self.buffer, self.place)[1]
                # `1` may be the beginning of `1.5`.
                if self.buffer[end : end + 1] in _BEHIND or not self._more_than(len(self.buffer) - self.place):
                    break
            except json.JSONDecodeError as e:
                size = len(self.buffer) - self.place
                # Twice as much each time: an item that is long is not searched again and again from its beginning.
                if size > MAX_JSON_BYTES or not self._more_than(max(size, wanted)):
                    self._go(min(e.pos, len(self.buffer)))
                    raise self.fault(f'bad JSON ({e.msg})') from None
            except RecursionError:
                raise self.fault('JSON nested too deeply') from None
        line, text = self.line, self.buffer[self.place : end]
        self._go(end)
        return line, text

    def _more_than(self, size):
        """Read until the buffer holds more than `size` characters from here on; whether anything was read."""
        any_more = False
        while len(self.buffer) - self.place <= size and self._more():
            any_more = True
        return any_more

    def items(self):
        """Pairs as `json_items` gives them, to the end of the array."""
        while not self.ends(']'):
            line, text = self.value()
            try:
                yield line, parse_json(text, self.source, self.expected, line, finite=False)
            except UserError as e:
                yield line, e
            self.separator(']')
