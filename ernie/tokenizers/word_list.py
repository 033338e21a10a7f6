"""The word dictionary of ERNIE tiny: read without running anything of it, and applied by longest match."""

from codecs import BOM_UTF8
from collections import defaultdict

from propeller.errors import bad_input, quoted
from propeller.inputs import read_bytes
from propeller.storage import restricted_pickle

MAX_WORD_CHARS = 5
MAX_BYTES = 1 << 27
_PICKLE = b'\x80'  # begins each pickle of protocol 2 and later, and no UTF-8 text


class WordList:
    """Cuts a text by forward maximum matching: at each position the longest listed word of at most five characters,
    else the single character.

    Args:
        words: iterable of str.
    """

    def __init__(self, words):
        # A single character is a part anyway, and what is longer is never tried.
        self.words = frozenset(word for word in words if 2 <= len(word) <= MAX_WORD_CHARS)
        lengths = defaultdict(set)
        for word in self.words:
            lengths[word[:2]].add(len(word))
        # None: these two characters are a word and begin no longer one, as most do.
        self._lengths = {
            begin: None if found == {2} else tuple(sorted(found, reverse=True)) for begin, found in lengths.items()
        }

    def segment(self, text):
        """The parts of a text (str): list of str; joined they are the text again."""
        parts, start, end = [], 0, len(text)
        known, words, add = self._lengths.get, self.words, parts.append
        while start < end:
            part = text[start : start + 2]
            lengths = known(part, ())
            if lengths is not None:
                for length in lengths:
                    part = text[start : start + length]
                    if part in words:
                        break
                else:
                    part = text[start]
            add(part)
            start += len(part)
        return parts


def load_word_dict(path):
    """Reads a word dictionary: the pickled container of str of the official download, or a plain text of one word a
    line (UTF-8). Nothing that stands in the file is run.

    Returns:
        frozenset of str (of the keys, if the pickled container is a dict).

    Raises:
        UserError: the file holds anything else.
    """
    content = read_bytes(path, MAX_BYTES, 'a word dictionary')
    return _of_pickle(path) if content.startswith(_PICKLE) else _of_text(path, content)


def _of_pickle(path):
    content = restricted_pickle.load(path)
    if not isinstance(content, (set, frozenset, list, tuple, dict)):
        raise bad_input(path, f'a pickled {type(content).__name__}', 'a pickled set of words')
    stranger = next((word for word in content if not isinstance(word, str)), None)
    if stranger is not None:
        raise bad_input(path, f'the entry {quoted(stranger)}', 'words (str) only')
    return frozenset(content)


def _of_text(path, content):
    expected = 'a word dictionary: one word a line, or the pickle of the official download'
    words = set()
    for number, line in enumerate(content.removeprefix(BOM_UTF8).split(b'\n'), start=1):
        try:
            word = line.removesuffix(b'\r').decode('utf-8')
        except UnicodeDecodeError as e:
            raise bad_input(path, f'byte 0x{line[e.start]:02x} that is not UTF-8', expected, line=number) from None
        if '\t' in word or '\0' in word:
            found = f'{word.count(chr(9)) + 1} fields' if '\t' in word else 'a NUL byte'
            raise bad_input(path, found, 'one word a line', line=number)
        words.add(word)
    words.discard('')
    if not words:
        raise bad_input(path, 'no word', expected)
    return frozenset(words)


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
        if not word or any(char in word for char in '\n\r\t\0\ufeff') or not _is_encodable(word):
            if len(word) > 1:
                raise bad_input(path, f'the word {quoted(word)}', 'words that can stand on a line of their own')
            continue  # no word: it changes nothing
        kept.append(word)
    return ''.join(f'{word}\n' for word in kept).encode()


def _is_encodable(word):
    return not any('\ud800' <= char <= '\udfff' for char in word)
