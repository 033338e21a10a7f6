"""Character rules and the greedy sub-word match that every tokenizer is made of. Pure functions on `str`."""

import re
import unicodedata
from typing import NamedTuple

CJK_RANGES = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
MAX_CHARS_PER_WORD = 100
_CACHED_CHARACTERS = 1 << 16
_CAPITAL_SIGMA = '\u03a3'
_SPACES = re.compile(' +')


def convert_to_unicode(text):
    """`str` as it is, `bytes` decoded as UTF-8 without the bytes that are not.

    Raises:
        ValueError: for any other type.
    """
    if isinstance(text, str):
        return text
    if isinstance(text, bytes):
        return text.decode('utf-8', 'ignore')
    raise ValueError(f'a text must be str or bytes, not {type(text).__name__}')


def is_cjk(char):
    """Chinese ideographs. Hangul, Hiragana and Katakana write words with spaces or runs, and are not among them."""
    code = ord(char)
    return any(low <= code <= high for low, high in CJK_RANGES)


def is_whitespace(char):
    """Space, TAB, LF, CR and the category Zs."""
    return char in ' \t\n\r' or unicodedata.category(char) == 'Zs'


def is_dropped(char):
    """Characters that carry no text: U+FFFD and the categories C* (NUL too), except TAB, LF, CR."""
    return char == '\ufffd' or (char not in '\t\n\r' and unicodedata.category(char).startswith('C'))


def is_punctuation(char):
    """The categories P*, and every ASCII character that is neither letter, digit, space nor control (`$`, `+`, ...)."""
    code = ord(char)
    if code < 128:
        return 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    return unicodedata.category(char).startswith('P')


def remove_spaces(text):
    """A text without the spaces (U+0020) that part nothing: those at its ends, and those next to white space, to an
    ideograph or to punctuation, where `basic_words` cuts anyway.

    `今天 很 热` becomes `今天很热`, while `用 Windows XP 很快` becomes `用Windows XP很快`, and `5 € today`,
    `안녕 하세요` stay. `basic_words` gives the same words with and without them. Linear in the length of the text.
    """
    if ' ' not in text:
        return text
    # A capital sigma is lower-cased by what follows, and some punctuation counts as part of its word there.
    ends_word = _is_apart if _CAPITAL_SIGMA in text else lambda char: _is_apart(char) or is_punctuation(char)
    kept, start = [], 0
    for match in _SPACES.finditer(text):
        first, end = match.span()
        if first > 0 and end < len(text) and not (ends_word(text[first - 1]) or ends_word(text[end])):
            continue
        kept.append(text[start:first])
        start = end
    return ''.join([*kept, text[start:]])


def _is_apart(char):
    """White space, and ideographs that `clean` sets apart (it drops those that Unicode has not assigned)."""
    return is_whitespace(char) or (is_cjk(char) and not is_dropped(char))


class Rules(NamedTuple):
    """How words are made of a text.

    lower: lower-case. strip: leave out accents (the non-spacing marks); None: as `lower`. ideographs: each is a word of
    its own.
    """

    lower: bool = True
    strip: bool | None = None
    ideographs: bool = True

    @property
    def strips(self):
        """Whether accents are left out."""
        return self.lower if self.strip is None else self.strip


def clean(text, ideographs=True):
    """Drops what `is_dropped` names, makes all white space a space, sets a space on both sides of each ideograph."""
    kept = []
    for char in text:
        if is_dropped(char):
            continue
        if is_whitespace(char):
            kept.append(' ')
        else:
            kept.append(f' {char} ' if ideographs and is_cjk(char) else char)
    return ''.join(kept)


def fold(word, lower=True, strip=True):
    """Lower case, then canonical decomposition (NFD) without the non-spacing marks: `Ärger` -> `arger`."""
    if lower:
        word = word.lower()
    if not strip:
        return word
    return ''.join(c for c in unicodedata.normalize('NFD', word) if unicodedata.category(c) != 'Mn')


def isolate_punctuation(text):
    """A space on both sides of each punctuation character."""
    return ''.join(f' {c} ' if is_punctuation(c) else c for c in text)


def basic_words(text, *rules):
    """The words of a text, step by step. `CharacterTable` gives the same faster wherever it can. rules: of `Rules`."""
    rules = Rules(*rules)
    words = (fold(word, rules.lower, rules.strips) for word in clean(text, rules.ideographs).split())
    return isolate_punctuation(' '.join(words)).split()


class NeedsContext(Exception):
    """A character whose treatment depends on its neighbours; the text must go through `basic_words`."""


class CharacterTable(dict):
    """Code point -> replacement text for `str.translate`: all steps of `basic_words` up to the last split, in one pass.

    One character at a time is exact because cleaning, decomposition and punctuation know no neighbours, but for two
    cases, where translate ends with `NeedsContext`: capital sigma (lower-cased differently at the end of a word),
    and marks that stay in the text though canonical ordering may move them (combining class not 0, category not Mn).
    """

    def __init__(self, *rules):
        super().__init__()
        self.rules = Rules(*rules)

    def __missing__(self, code):
        char, rules = chr(code), self.rules
        text = fold(clean(char, rules.ideographs), rules.lower, rules.strips)
        if (rules.lower and char == _CAPITAL_SIGMA) or (rules.strips and any(map(unicodedata.combining, text))):
            raise NeedsContext
        if len(self) >= _CACHED_CHARACTERS:
            self.clear()
        text = isolate_punctuation(text)
        self[code] = text
        return text

    def __reduce__(self):
        return type(self), tuple(self.rules)


def longest_matches(word, vocab, first_prefix='', next_prefix='##', longest=MAX_CHARS_PER_WORD):
    """Cuts a word into pieces of the vocabulary, always the longest that fits, from the left.

    Args:
        word: str.
        vocab: container of pieces.
        first_prefix: stands before the piece that starts the word when it is looked up.
        next_prefix: stands before all other pieces.
        longest: characters of the longest piece worth a look-up; only a bound on the work.

    Returns:
        list of (start, end) in characters; None when some part of the word matches nothing.
    """
    spans, start, prefix = [], 0, first_prefix
    while start < len(word):
        for end in range(min(len(word), start + longest), start, -1):
            if prefix + word[start:end] in vocab:
                break
        else:
            return None
        spans.append((start, end))
        start, prefix = end, next_prefix
    return spans
