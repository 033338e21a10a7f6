"""Which scripts a text is written in, and the encoder that fits."""

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from itertools import islice
from typing import NamedTuple

ENGLISH, MULTILINGUAL = 'all-minilm-l6-v2', 'multilingual-e5-small'
# ASCII letters, and the other letters of Latin alphabets, are counted apart: English has none of these.
ASCII, LATIN, HAN, KANA, HANGUL = 'ascii', 'latin', 'han', 'kana', 'hangul'
# A script of fewer letters than this share is a name or a quotation here and there.
LEAST_SHARE = 0.005
# Measured: 0.29 to 0.33 of the words of English sentences (SST-2, CoLA, QNLI), 0.14 of captions and headlines (STS-B),
# 0.10 of tweets (WNUT 17). `a`, `in`, `i`, `me` are left out: they are words of other languages, too.
_ENGLISH = """
    the of and to is that for it was on with as be at by this are from or have they which you were his her not we
    can has will but all your what when there my how where please do does did would could should about
"""
_ENGLISH_WORDS = frozenset(_ENGLISH.split())
_LEAST_ENGLISH = 0.06
_WORD = re.compile('[a-z]+')
_TEXTS, _CHARACTERS = 20_000, 2_000_000
_OF_NAME = {'CJK': HAN, 'IDEOGRAPHIC': HAN, 'HIRAGANA': KANA, 'KATAKANA': KANA, 'KATAKANA-HIRAGANA': KANA}
_WIDTHS = ('FULLWIDTH', 'HALFWIDTH')


class Writing(NamedTuple):
    """How texts are written.

    Attributes:
        scripts: dict script -> number of letters: 'ascii', 'latin' (letters with accents and the like), 'han', 'kana',
            'hangul', 'cyrillic' ...: the first word of the letters' Unicode names.
        words: number of words of ASCII letters that were looked at.
        english: how many of them are common English words.
    """

    scripts: dict
    words: int = 0
    english: int = 0

    @property
    def shares(self):
        """dict script -> share of the letters, the largest first, without those below `LEAST_SHARE`."""
        total = sum(self.scripts.values()) or 1
        found = {script: count / total for script, count in self.scripts.items() if count >= LEAST_SHARE * total}
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    @property
    def is_english(self):
        """Whether the texts are English, as far as letters and the commonest words tell."""
        if any(script != ASCII for script in self.shares) or not self.scripts:
            return False
        return self.english >= _LEAST_ENGLISH * self.words


@functools.lru_cache(1 << 16)
def script_of(char):
    """The script of a letter, as `Writing.scripts` names it; None for what is no letter, or belongs to several."""
    if unicodedata.category(char)[0] not in 'LM':
        return None
    if char.isascii():
        return ASCII
    words = [word for word in unicodedata.name(char, '').split() if word not in _WIDTHS]
    if not words or words[0] in ('COMBINING', 'MODIFIER', 'VARIATION'):
        return None
    return _OF_NAME.get(words[0], words[0].lower())


def writing_of(texts):
    """The `Writing` of an iterable of str; the first 20,000 of them, and two million characters, are looked at."""
    characters, words, left = Counter(), Counter(), _CHARACTERS
    for text in islice(texts, _TEXTS):
        text = text[:left]
        left -= len(text)
        characters.update(text)
        words.update(_WORD.findall(text.lower()))
        if left <= 0:
            break
    scripts = Counter()
    for char, count in characters.items():
        script = script_of(char)
        if script:
            scripts[script] += count
    return Writing(dict(scripts), words.total(), sum(words[word] for word in _ENGLISH_WORDS))


def default_encoder(writing):
    """The name of the encoder to fine-tune where nobody names one: one for English, one for all else.

    Args:
        writing: `Writing`; or a dict script -> number of letters, whose ASCII letters are taken for English.
    """
    if isinstance(writing, Mapping):
        writing = Writing(dict(writing))
    return ENGLISH if writing.is_english else MULTILINGUAL
