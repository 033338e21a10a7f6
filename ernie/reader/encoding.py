"""Text files in other encodings than UTF-8: UTF-16 is read; others are told from their bytes, for the error."""

import codecs
import io
import os
import re
import shlex

from propeller.errors import bad_input
from propeller.inputs import open_regular

UTF16_MARKS = (b'\xff\xfe', b'\xfe\xff')
_PAIR = re.compile(rb'[\x81-\xfe][\x40-\x7e\x80-\xfe]')
_CHUNK = 1 << 16
_ENOUGH = 16  # bytes to tell by
_SAMPLE = 1 << 18  # bytes
_FEW_LETTERS = 10  # fewer tell nothing


class Utf16(io.RawIOBase):
    """A UTF-16 file, open for reading bytes, as one of UTF-8.

    Raises:
        UserError: while it is read, where it breaks off in a character or has half of a surrogate pair.
    """

    def __init__(self, path, file):
        self._path, self._file, self._rest = path, file, b''
        self._decode = codecs.getincrementaldecoder('utf-16')().decode

    def readable(self):
        return True

    def readinto(self, buffer):
        while not self._rest:
            chunk = self._file.read1(_CHUNK)
            try:
                self._rest = self._decode(chunk, final=not chunk).encode()
            except UnicodeError as e:
                raise bad_input(self._path, f'UTF-16 that cannot be read ({e.reason})', 'whole text') from None
            if not chunk:
                break
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def seems_utf16(head):
    """Whether bytes without a byte order mark look like UTF-16: half of the bytes of Latin letters are zero there."""
    zeros = head[0::2].count(0), head[1::2].count(0)
    return len(head) >= _ENOUGH and 4 * max(zeros) > len(head) > 8 * min(zeros)


def likely_encoding(raw):
    """What a text that is not UTF-8 may be in, by the names of `iconv`, the likeliest first; [] where nothing is known.

    The first bytes of a character stand in a range for the syllables of Korean, for the commonest ideographs of Taiwan,
    for the kana: half of what a text has.
    """
    high = sum(byte >= 0x80 for byte in raw)
    pairs = _PAIR.findall(raw)
    letters = [pair for pair in pairs if pair[0] not in range(0xA1, 0xA4)]
    if sum(map(len, pairs)) < 0.9 * high or sum(pair[1] >= 0x80 for pair in pairs) * 3 < len(pairs):
        return ['WINDOWS-1252'] if 0 < high < 0.3 * len(raw) else []
    if len(letters) < _FEW_LETTERS:
        return ['GB18030', 'CP949']

    def share(test):
        return sum(map(test, letters)) / len(letters)

    if share(lambda pair: pair[0] in (0x82, 0x83)) > 0.3:
        return ['SHIFT_JIS']
    if share(lambda pair: pair[1] < 0xA1) > 0.15:
        return ['BIG5']
    return ['CP949'] if share(lambda pair: 0xB0 <= pair[0] <= 0xC8) > 0.9 else ['GB18030']


def save_as_utf8(path, raw):
    """A sentence that tells how to make UTF-8 of a file, one of whose lines is `raw`."""
    path, advice = os.fspath(path), 'Save the file in the encoding UTF-8.'
    if os.path.isfile(path):
        with open_regular(path) as file:
            raw = file.read(_SAMPLE)
    if _is_mostly_utf8(raw):
        return advice
    names = likely_encoding(raw)
    if not names:
        return advice
    ending = os.path.splitext(path)[1]
    command = f'iconv -f {names[0]} -t UTF-8 {shlex.quote(path)} > {shlex.quote("utf8" + ending)}'
    return f'{advice} It looks like {" or ".join(names)}: {command}'


def _is_mostly_utf8(raw):
    """Whether more characters can be read than bytes cannot: a slip, not another encoding."""
    text = raw.decode(errors='replace')
    wrong = text.count('\ufffd')
    return sum(not char.isascii() for char in text) - wrong > 3 * wrong
