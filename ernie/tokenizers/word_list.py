"""The word dictionary of ERNIE tiny: read without running anything of it, and applied by longest match."""

import hashlib
from codecs import BOM_UTF8
from itertools import chain

from propeller.data.wire import VARINT, put_bytes
from propeller.errors import bad_input, quoted
from propeller.inputs import read_bytes
from propeller.optional import optional_package
from propeller.storage import restricted_pickle

MAX_WORD_CHARS = 5
MAX_BYTES = 1 << 27
_PICKLE = b'\x80'  # begins each pickle of protocol 2 and later, and no UTF-8 text
_OLD_PICKLES = (b'c__builtin__\n', b'cbuiltins\n', b'(lp', b'(dp', b'(tp')  # which are text
_EXPECTED = 'a word dictionary: one word a line, or the pickle of the official download'
_UNKNOWN = '<unknown>'  # longer than a word
# ASCII and the marks of Chinese text: only speed depends on which characters are listed.
_CHARACTERS = [chr(i) for first, last in ((0x20, 0x7E), (0x2000, 0x206F), (0x3000, 0x303F), (0xFF01, 0xFFEE))
               for i in range(first, last + 1)]  # fmt: skip


class WordList:
    """Cuts a text by forward maximum matching: at each position the longest listed word of at most five characters,
    else the single character.

    Args:
        words: iterable of str.
        characters: iterable of str, characters that texts are expected to have; others take longer.

    Raises:
        UserError: sentencepiece is not installed, whose prefix tree finds the words.
    """

    def __init__(self, words, characters=()):
        # A single character is a part anyway, and what is longer is never tried.
        self.words = frozenset(filter(counts, words))
        known = {char for word in self.words for char in word}.union(_CHARACTERS, characters)
        parts = [' ', *sorted(known - {' '}), *sorted(self.words)]
        self._parts, self._lowered = [None, *parts], [None, *map(str.lower, parts)]
        self._matcher = _matcher([_UNKNOWN, *parts])

    def segment(self, text):
        """The parts of a text (str without halves of surrogate pairs): list of str; joined they are the text again."""
        found = self._matcher.encode(text)
        if 0 not in found:
            return [*map(self._parts.__getitem__, found)]
        pieces = self._matcher.encode(text, out_type=str)  # those that are no words: characters of no word, in a row
        return [*chain.from_iterable([piece] if piece in self.words else piece for piece in pieces)]

    def joined(self, text, lower):
        """The parts of such a text that are no spaces, each lower-cased if asked, with spaces between them: str."""
        found = self._matcher.encode(text)
        if ' ' in text:
            found = [index for index in found if index != 1]
        try:
            return ' '.join(map((self._lowered if lower else self._parts).__getitem__, found))
        except TypeError:  # None: characters of no word
            parts = [part for part in self.segment(text) if part != ' ']
            return ' '.join(map(str.lower, parts) if lower else parts)


def counts(word):
    """Whether a word of a dictionary can be a part of a text that its characters alone are not."""
    return 2 <= len(word) <= MAX_WORD_CHARS and is_encodable(word)


def _matcher(parts):
    """A model of sentencepiece that finds the longest of some strings at each position of a text; its ids are their
    indices, the first for what is none of them.

    Symbols that a user defines are looked for in a prefix tree in C++, and never merged: two to three times as fast as
    a loop in Python.
    """
    model = bytearray()
    for index, part in enumerate(parts):
        piece = bytearray()
        put_bytes(piece, 1, part.encode())
        piece += bytes([3 << 3 | VARINT, 4 if index else 2])  # type: user-defined, unknown
        put_bytes(model, 1, piece)
    put_bytes(model, 2, bytes([3 << 3 | VARINT, 2]))  # model_type: BPE
    # add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces: no
    put_bytes(model, 3, bytes([3 << 3 | VARINT, 0, 4 << 3 | VARINT, 0, 5 << 3 | VARINT, 0]))
    sentencepiece = optional_package('sentencepiece', 'the tokenizer of ERNIE tiny')
    return sentencepiece.SentencePieceProcessor(model_proto=bytes(model))


def load_word_dict(path):
    """Reads a word dictionary: the pickled container of str of the official download, or a plain text of one word a
    line (UTF-8). Nothing that stands in the file is run.

    Returns:
        frozenset of str (of the keys, if the pickled container is a dict).

    Raises:
        UserError: the file holds anything else.
    """
    content = read_bytes(path, MAX_BYTES, 'a word dictionary')
    words = _of_pickle(path) if content.startswith(_PICKLE) else _of_text(path, content)
    if not any(map(counts, words)):
        raise bad_input(path, f'no word of 2 to {MAX_WORD_CHARS} characters', _EXPECTED)
    return words


def _of_pickle(path):
    content = restricted_pickle.load(path)
    if not isinstance(content, (set, frozenset, list, tuple, dict)):
        raise bad_input(path, f'a pickled {type(content).__name__}', 'a pickled set of words')
    stranger = next((word for word in content if not isinstance(word, str)), None)
    if stranger is not None:
        raise bad_input(path, f'the entry {quoted(stranger)}', 'words (str) only')
    null = next((word for word in content if '\0' in word), None)
    if null is not None:
        raise bad_input(path, f'the word {quoted(null)}', 'words without NUL characters')
    return frozenset(content)


def _of_text(path, content):
    if content.startswith(_OLD_PICKLES):
        raise bad_input(
            path, 'a pickle of an old protocol', _EXPECTED, advice='Write it again with protocol 2 or later.'
        )
    words = set()
    for number, line in enumerate(content.removeprefix(BOM_UTF8).split(b'\n'), start=1):
        try:
            word = line.removesuffix(b'\r').decode('utf-8')
        except UnicodeDecodeError as e:
            raise bad_input(path, f'byte 0x{line[e.start]:02x} that is not UTF-8', _EXPECTED, line=number) from None
        if '\t' in word or '\0' in word:
            found = f'{word.count(chr(9)) + 1} fields' if '\t' in word else 'a NUL byte'
            raise bad_input(path, found, 'one word a line', line=number)
        words.add(word)
    words.discard('')
    return frozenset(words)


def words_sum(words):
    """SHA-256 of the words that count, hexadecimal: the same for a pickle and a text of the same words."""
    return hashlib.sha256('\n'.join(sorted(filter(counts, words))).encode()).hexdigest()


def words_as_text(words, path='the dictionary'):
    """A word dictionary as plain text, bytes: one word a line, sorted. Words that are never looked up are kept as well.

    Args:
        words: iterable of str.
        path: where they are from, for the message.
    Raises:
        UserError: a word of several characters that cannot stand on a line of its own.
    """
    kept = []
    for word in sorted(words):
        if not word or any(char in word for char in '\n\r\t\0\ufeff') or not is_encodable(word):
            if len(word) > 1:
                raise bad_input(path, f'the word {quoted(word)}', 'words that can stand on a line of their own')
            continue  # no word: it changes nothing
        kept.append(word)
    return ''.join(f'{word}\n' for word in kept).encode()


def is_encodable(word):
    """Whether UTF-8 can hold it: no half of a surrogate pair."""
    return not any('\ud800' <= char <= '\udfff' for char in word)
