"""Sentences as token ids with the masking unit of each token."""

from bisect import bisect_left
from itertools import chain
from typing import NamedTuple

from ernie.pretrain.building.cutting import cut_text, cut_words
from ernie.pretrain.building.lexers import join_phrases, join_words, place_words
from ernie.pretrain.building.sentences import split_sentences

_CACHED_UNITS = 1 << 17
_FULL_WIDTH = [*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B)]
HALF_WIDTH = {code: code - 0xFEE0 for code in _FULL_WIDTH}


class Sentence(NamedTuple):
    """A tokenized sentence.

    text: as it stood. ids: list of int. segments: list of int, 0 for the first token of a unit, 1 for the others.
    capitals: None, or a list of int: 1 if the word of the token had a capital letter, 0 if not, -1 without letters that
    have a case.
    """

    text: str
    ids: list
    segments: list
    capitals: list | None = None


class _UnitIds(dict):
    """Unit -> ids of its tokens, remembered; starts anew when full."""

    def __init__(self, encode):
        super().__init__()
        self.encode = encode

    def __missing__(self, unit):
        ids = self.encode(unit)
        if len(self) >= _CACHED_UNITS:
            self.clear()
        self[unit] = ids
        return ids


class UnitEncoder:
    """Paragraphs -> sentences of tokens with their units.

    The tokens are those of `tokenizer.encode(sentence)`, whatever the lexer says. A unit is a word, a phrase or an
    entity; pieces of one English word are never apart.

    Args:
        tokenizer: a `FullTokenizer`.
        lexer: a `Lexer`.
        half_width: whether full-width Latin letters and digits become those of ASCII first.
        capitals: whether `Sentence.capitals` is wanted.
        longest: None, or the tokens of the longest sentence; longer ones are cut into parts of a quarter of that, so
            that a sample has several, as it has of other sentences.

    Attributes:
        cut: how many sentences were cut so far.
    """

    def __init__(self, tokenizer, lexer, half_width=False, capitals=False, longest=None):
        self.tokenizer = tokenizer
        self.lexer = lexer
        self.half_width = half_width
        self.capitals = capitals
        self.longest, self.cut = longest, 0
        self._continued = frozenset(i for piece, i in tokenizer.vocab.items() if piece.startswith('##'))
        self._unit_ids = _UnitIds(tokenizer.encode)

    def __reduce__(self):
        return type(self), (self.tokenizer, self.lexer, self.half_width, self.capitals, self.longest)

    def sentences(self, paragraph):
        """str -> list of `Sentence`; those without any token are left out."""
        if self.half_width:
            paragraph = paragraph.translate(HALF_WIDTH)
        if self.lexer.segmented:
            pairs = self._cut_groups(_group(self.lexer.words(paragraph)))
        else:
            texts = (part for text in split_sentences(paragraph) for part in self._cut(text))
            pairs = ((text, self.lexer.words(text)) for text in texts)
        found = (self.encode(text, words) for text, words in pairs)
        return [sentence for sentence in found if sentence.ids]

    def _cut(self, text):
        """A sentence -> its parts, without white space around them."""
        if self.longest is None:
            return [text]
        parts = cut_text(text, self.tokenizer, self.longest, self._size)
        self.cut += len(parts) > 1
        return filter(None, map(str.strip, parts))

    def _cut_groups(self, pairs):
        """The same for (sentence, its words)."""
        for text, words in pairs:
            parts = [words]
            if self.longest is not None:
                parts = cut_words(words, lambda word: len(self._unit_ids[word.text]), self.longest, self._size)
            self.cut += len(parts) > 1
            yield from ((join_words(part), part) for part in parts) if len(parts) > 1 else [(text, words)]

    @property
    def _size(self):
        return min(self.longest, max(self.longest // 4, 4))

    def whole(self, text):
        """A text that is not to be cut into sentences -> one `Sentence`."""
        if self.half_width:
            text = text.translate(HALF_WIDTH)
        words = self.lexer.words(text)
        return self.encode(join_words(words) if self.lexer.segmented else text, words)

    def encode(self, text, words):
        """One sentence and its words (None: every token is a unit) -> `Sentence`."""
        ids = self.tokenizer.encode(text)
        if words is None:
            segments = [0] * len(ids)
        else:
            segments = self._segments(text, ids, [word.text for word in join_phrases(words)])
        return Sentence(text, ids, segments, self._capitals(text) if self.capitals else None)

    def _segments(self, text, ids, units):
        pieces = list(map(self._unit_ids.__getitem__, units))
        if list(chain.from_iterable(pieces)) == ids:
            segments = []
            for piece in pieces:
                if piece:
                    segments.append(0)
                    segments += [1] * (len(piece) - 1)
            return segments
        return self._aligned_segments(text, units)

    def _aligned_segments(self, text, units):
        """For units that end inside a token, by the place of each token in the text."""
        unit_at, position = [], 0
        for number, unit in enumerate(units):
            start = text.find(unit, position)
            if start < 0:  # a lexer that changes characters: what it says of this unit has no place
                continue
            unit_at += [-1] * (start - len(unit_at)) + [number] * len(unit)
            position = start + len(unit)
        unit_at += [-1] * (len(text) - len(unit_at))
        encoded = self.tokenizer.encode_aligned(text)
        segments, last = [], None
        for index, start in zip(encoded.ids, encoded.starts, strict=True):
            unit = unit_at[start]
            inside = index in self._continued or (unit >= 0 and unit == last)
            segments.append(int(inside))
            last = unit
        return segments

    def _capitals(self, text):
        labels = []
        for word in self.tokenizer.aligned_words(text):
            letters = [text[i] for i in word.origins]
            label = -1
            if any(letter.lower() != letter.upper() for letter in letters):
                label = int(any(letter.isupper() for letter in letters))
            labels += [label] * len(self.tokenizer.wordpiece_tokenizer.pieces(word.text))
        return labels


def _group(words):
    """Words of a paragraph -> (sentence, its words): a word belongs to the sentence in which it begins."""
    text, starts = place_words(words)
    groups, first, end = [], 0, 0
    for sentence in split_sentences(text):
        end = text.index(sentence, end) + len(sentence)
        last = bisect_left(starts, end, first)
        if last > first:
            groups.append((text[starts[first] : starts[last - 1] + len(words[last - 1].text)], words[first:last]))
        first = last
    return groups
