"""Tokenizers and sample builders of the ERNIE client and the propeller examples: bytes in, list of pieces out."""

import re
from itertools import zip_longest

import numpy as np

from ernie.reader.classify import truncate_pair
from ernie.tokenizers.subword import WSSPTokenizer
from ernie.tokenizers.text import MAX_CHARS_PER_WORD, longest_matches
from propeller.data.dataset import Dataset

__all__ = [
    'CharTokenizer',
    'SpaceTokenizer',
    'WSSPTokenizer',
    'build_1_pair',
    'build_2_pair',
    'expand_dims',
    'interleave',
    'wordpiece',
]

_WORD_START = '\u2581'


def wordpiece(word, vocab, unk_token='[UNK]', sentencepiece_style_vocab=False):
    """Cuts a word into pieces of the vocabulary by longest match from the left.

    Args:
        word: str.
        vocab: container of pieces.
        unk_token: stands for a word of more than 100 characters, or with a part that is not in the vocabulary.
        sentencepiece_style_vocab: the first piece is looked up with U+2581 before it and the others as they are;
            otherwise the first as it is and the others with `##`.

    Returns:
        (list of pieces with their prefixes, list of their (start, end) in characters).
    """
    first, later = (_WORD_START, '') if sentencepiece_style_vocab else ('', '##')
    spans = longest_matches(word, vocab, first, later) if len(word) <= MAX_CHARS_PER_WORD else None
    if spans is None:
        return [unk_token], [(0, len(word))]
    return [(later if start else first) + word[start:end] for start, end in spans], spans


class SpaceTokenizer:
    """Words between single spaces, whole or `[UNK]`. Each further space in a row makes an empty word, so `[UNK]`.

    Args:
        vocab: container of tokens.
        lower: lower-case the text first.
    """

    unk_token = '[UNK]'

    def __init__(self, vocab, lower=True):
        self.vocab = frozenset(vocab)
        self.lower = lower

    def __call__(self, text):
        """UTF-8 bytes (or str) -> list of tokens. UnicodeDecodeError for bytes that are not UTF-8."""
        text = _decode(text, self.lower)
        if not text:
            return []
        return [word if word in self.vocab else self.unk_token for word in text.split(' ')]


class CharTokenizer:
    """Runs of ASCII letters and digits are cut by `wordpiece`; any other character is a word of its own.

    Args:
        vocab: container of tokens.
        lower: lower-case the text first.
        sentencepiece_style_vocab: the vocabulary marks word starts (ERNIE tiny), see `wordpiece`.
    """

    unk_token = '[UNK]'
    _pattern = re.compile(r'[a-zA-Z0-9]+|\S')

    def __init__(self, vocab, lower=True, sentencepiece_style_vocab=False):
        self.vocab = frozenset(vocab)
        self.lower = lower
        self.sentencepiece_style_vocab = sentencepiece_style_vocab

    def __call__(self, text):
        """UTF-8 bytes (or str) -> list of pieces. UnicodeDecodeError for bytes that are not UTF-8."""
        pieces = []
        for word in self._pattern.findall(_decode(text, self.lower)):
            pieces += wordpiece(word, self.vocab, self.unk_token, self.sentencepiece_style_vocab)[0]
        return pieces


def _decode(text, lower):
    if isinstance(text, bytes):
        text = text.decode('utf-8')
    return text.lower() if lower else text


def build_1_pair(a, max_seqlen, cls_id, sep_id):
    """`[CLS] a [SEP]`, `a` cut at its end so that the whole is at most `max_seqlen` long.

    Args:
        a: token ids.
        max_seqlen: at least 2.

    Returns:
        (ids, types), int64 [T] each; types are 0.
    """
    if max_seqlen < 2:
        raise ValueError(f'max_seqlen is {max_seqlen}: [CLS] and [SEP] alone need 2')
    ids = np.array([cls_id, *a[: max_seqlen - 2], sep_id], dtype=np.int64)
    return ids, np.zeros_like(ids)


def build_2_pair(a, b, max_seqlen, cls_id, sep_id):
    """`[CLS] a [SEP] b [SEP]`, at most `max_seqlen` long: the longer text loses its end first, `b` on a tie.

    Args:
        a, b: token ids.
        max_seqlen: at least 3.

    Returns:
        (ids, types), int64 [T] each; types are 0 for `[CLS] a [SEP]` and 1 for `b [SEP]`.
    """
    if max_seqlen < 3:
        raise ValueError(f'max_seqlen is {max_seqlen}: [CLS] and two [SEP] alone need 3')
    length_a, length_b = truncate_pair(len(a), len(b), max_seqlen - 3)
    ids = np.array([cls_id, *a[:length_a], sep_id, *b[:length_b], sep_id], dtype=np.int64)
    types = np.zeros_like(ids)
    types[length_a + 2 :] = 1
    return ids, types


def expand_dims(*arrays):
    """Each array with an axis of 1 added at its end: [...] -> [..., 1]. Returns a list."""
    return [np.expand_dims(array, -1) for array in arrays]


def interleave(ds1, ds2):
    """A `Dataset` that takes an element of `ds1` and one of `ds2` in turn; what is left of the longer comes last."""
    ended = object()

    def elements():
        for pair in zip_longest(ds1, ds2, fillvalue=ended):
            yield from (element for element in pair if element is not ended)

    return Dataset.from_generator_func(elements)
