"""How the texts of a tagging file were cut into tokens, learnt from its tokens, to cut new text the same way.

A file shows tokens, not the text they are from, so the rule is the simplest one that leaves its tokens whole:

- `characters`: each character is a token, digits and Latin letters too, as in the files of 2019;
- `words`: ideographs and punctuation stand alone, whatever else stands together is a word;
- `tokenizer`: as the tokenizer cuts, where nothing else is known.
"""

import collections
import re
import unicodedata
from typing import NamedTuple

from ernie.tokenizers.text import is_cjk, is_dropped, is_punctuation

RULES = ('characters', 'words', 'tokenizer')
LEARNT_SENTENCES = 20_000
SEVERAL = 0.05  # a share of tokens of several characters below which they are slips
_KINDS = {'space': 's', 'mark': 'm', 'invisible': 'z'}
# A class for each character: word, mark, ideograph or other that stands alone, punctuation (alone; inside words; at the
# beginning of words; both of these), space, invisible (Z: a token). Possessive, so that no run is looked at twice.
_CHARACTERS = re.compile('[^szm]m*+|[mz]|s')
_WORDS = re.compile('[bx]?[wm](?:z*+[wm])*+(?:[ix]++[wm](?:z*+[wm])*+)*+|[cpibxZ]')


class TokenCut(NamedTuple):
    """A rule, with what a file says beyond it.

    rule: of `RULES`.
    tokens: kinds of characters that are tokens of their own, of 'space', 'mark' (combining), 'invisible' (zero-width,
        private, control); others part tokens, belong to the character before, or are left out.
    inside: punctuation that stays between two letters or digits of a word, as in `U.S` or `3.5`.
    before: punctuation that stays at the beginning of a word, as in `'s` or `@name`.
    """

    rule: str = 'tokenizer'
    tokens: tuple = ()
    inside: str = ''
    before: str = ''

    def to_json(self):
        """A JSON-able dict."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in self._asdict().items() if v}

    @classmethod
    def from_json(cls, value):
        """Backwards. ValueError: `value` is nothing that `to_json` gives."""
        right = isinstance(value, dict) and value.get('rule') in RULES and value.keys() <= set(cls._fields)
        right = right and all(isinstance(value.get(name, ''), str) for name in ('inside', 'before'))
        tokens = value.get('tokens', []) if right else None
        if not (isinstance(tokens, list) and all(kind in tuple(_KINDS) for kind in tokens)):
            raise ValueError(f'not a rule for tokens: {value!r}')
        return cls(**{**value, 'tokens': tuple(tokens)})

    @classmethod
    def is_record(cls, value):
        """Whether `from_json` takes it."""
        try:
            return bool(cls.from_json(value))
        except ValueError:
            return False

    def __str__(self):
        return {
            'characters': 'each character is a token',
            'words': 'ideographs and punctuation alone, words and numbers whole',
            'tokenizer': 'as the tokenizer cuts',
        }[self.rule]


AS_TOKENIZER = TokenCut()


def slices(text, cut, tokenizer):
    """The tokens of a raw text: list of (start, end), ascending, without white space at their ends.

    Args:
        text: str.
        cut: `TokenCut`.
        tokenizer: for the rule 'tokenizer'.
    """
    if cut.rule == 'tokenizer':
        return tokenizer.word_spans(text)
    found = _classes(text, cut)
    if cut.rule == 'words':
        return [match.span() for match in _WORDS.finditer(found)]
    kept = {_KINDS[kind] for kind in cut.tokens}
    return [
        match.span()
        for match in _CHARACTERS.finditer(found)
        # A mark at the very beginning has no character to belong to.
        if match[0][0] not in 'szm' or match[0][0] in kept
    ]


def _classes(text, cut):
    """One letter for each character of a text, see `_WORDS`."""
    known = {}
    for char in set(text):
        kind = _class(char)
        if kind == 'p':
            inside, before = char in cut.inside, char in cut.before
            kind = 'x' if inside and before else 'i' if inside else 'b' if before else 'p'
        known[char] = kind
    if cut.rule == 'words':
        if 'invisible' in cut.tokens:
            known = {c: 'Z' if kind == 'z' else kind for c, kind in known.items()}
    elif 'mark' in cut.tokens:
        known = {c: 'w' if kind == 'm' else kind for c, kind in known.items()}
    return ''.join(map(known.__getitem__, text))


def _class(char):
    if char.isspace():
        return 's'
    if is_dropped(char):
        return 'z'
    if is_cjk(char):
        return 'c'
    if is_punctuation(char):
        return 'p'
    return 'm' if unicodedata.category(char).startswith('M') else 'w'


def learn(counts):
    """The `TokenCut` of a file, and a remark (str, perhaps '') on what is not sure about it.

    counts: `collections.Counter` of its tokens.
    """
    shapes = collections.Counter()  # of the classes of a token, marks and all
    inner, first, alone = collections.Counter(), collections.Counter(), collections.Counter()
    for token, count in counts.items():
        classes = ''.join(map(_class, token))
        shapes[classes if len(classes) == 1 else _shape(classes)] += count
        if classes == 'p':
            alone[token] += count
        elif 'p' in classes and 'w' in classes:
            _count_punctuation(token, classes, count, inner, first)
    kinds = tuple(kind for kind, letter in _KINDS.items() if shapes[letter])
    single_words, words = shapes['w'], shapes['words']
    if shapes['ideographs'] > SEVERAL * (shapes['c'] + shapes['ideographs']):
        return AS_TOKENIZER, 'tokens of several ideographs: new text must come as tokens too, joined by U+0002'
    if words <= SEVERAL * (single_words + words):
        remark = f'{words} tokens of several letters or digits' if words else ''
        if not (single_words or words):
            remark = 'no token is a letter or a digit: whether words and numbers are kept whole does not show'
        return TokenCut('characters', kinds), remark
    inside = ''.join(sorted(c for c in inner if inner[c] > first[c]))
    before = ''.join(sorted(c for c in first if first[c] > alone[c]))
    remark = f'{single_words} of {single_words + words} words are one letter or digit' if single_words > words else ''
    return TokenCut('words', kinds, inside, before), remark


def _shape(classes):
    """What a token of several characters says: it has several ideographs, or is a word, or neither."""
    if classes.count('c') and len(classes.replace('m', '').replace('z', '')) > 1:
        return 'ideographs'
    return 'words' if classes.count('w') + classes.count('p') > 1 and 'w' in classes else 'w' if 'w' in classes else ''


def _count_punctuation(token, classes, count, inner, first):
    """Where a token has punctuation: between letters or digits, or before the first one."""
    begin, end = classes.index('w'), classes.rindex('w')
    for i, char in enumerate(token):
        if classes[i] == 'p' and i < end:
            (inner if i > begin else first)[char] += count
