"""Texts as words with their parts of speech, by a lexer or as they come."""

from typing import NamedTuple

from ernie.pretrain.building.lexers import LEXERS
from ernie.tokenizers.text import remove_spaces

UNKNOWN = '[UNK]'
# A lexer without words has nothing to segment by.
SEGMENTERS = tuple(name for name in LEXERS if name != 'none')
TAGGERS = tuple(name for name, lexer in LEXERS.items() if lexer.package)
_CACHED_WORDS = 1 << 17


class Words(NamedTuple):
    """A text as words.

    Attributes:
        texts: list of str, without white space.
        tags: list of str, the part of speech of each; '' where it is not known.
        gaps: list of bool, whether white space stood before each in the text; None: the text came as words.
    """

    texts: list
    tags: list
    gaps: list | None

    def joined(self):
        """The text: with a space where there was one; of what came as words with a space where it parts something."""
        if self.gaps is None:
            return remove_spaces(' '.join(self.texts))
        return ''.join(' ' * gap + text for gap, text in zip(self.gaps, self.texts, strict=True)).strip()

    def cut(self, start, end):
        """The words from `start` to before `end`."""
        return Words(self.texts[start:end], self.tags[start:end], self.gaps and self.gaps[start:end])


class Segmenter:
    """Text -> `Words`. May be sent to other processes.

    Args:
        lexer: name of `SEGMENTERS`; `spaces` for what is segmented already, `word` or `word/pos`.
        tagger: name of `TAGGERS`, for words that have no part of speech; '' leaves them without.
    Raises:
        UserError: a package is not installed.
    """

    def __init__(self, lexer, tagger=''):
        self._lexer = LEXERS[lexer]()
        self._tagger = LEXERS[tagger]() if tagger else None
        self._tags = {}

    def __call__(self, text):
        pieces = [(piece, word.pos) for word in self._lexer.words(text) for piece in word.text.split()]
        texts, tags = [piece for piece, _ in pieces], [pos or self._tag(piece) for piece, pos in pieces]
        return Words(texts, tags, None if self._lexer.segmented else _gaps(text, texts))

    def _tag(self, word):
        if self._tagger is None or word == UNKNOWN:
            return ''
        if word not in self._tags:
            if len(self._tags) >= _CACHED_WORDS:
                self._tags.clear()
            parts = [part for part in self._tagger.words(word) if part.text.strip()]
            self._tags[word] = parts[-1].pos if parts else ''
        return self._tags[word]

    def __getstate__(self):
        return {**self.__dict__, '_tags': {}}


def _gaps(text, words):
    """Whether white space stands in `text` before each of the words, which are the text but for white space."""
    gaps, position = [], 0
    for word in words:
        start = position
        while position < len(text) and text[position].isspace():
            position += 1
        gaps.append(position > start)
        position += len(word)
    return gaps
