"""Texts that look the same and are not: composed otherwise, of full width, with white space or characters without
width. They are found by folding, and shown by code point.
"""

import functools
import unicodedata

from propeller.errors import quoted

_SHOWN = 8  # code points in a message


def composed(char_run):
    """NFC, and every kind of space the plain one: what may be taken for the same text without asking."""
    return ''.join(' ' if unicodedata.category(c) == 'Zs' else c for c in unicodedata.normalize('NFC', char_run))


def appearance(char_run):
    """What the eye sees: NFKC, without characters that have no width, every white space the plain one."""
    kept = (c for c in unicodedata.normalize('NFKC', char_run) if unicodedata.category(c) != 'Cf')
    return ''.join(' ' if c.isspace() else c for c in kept if not 0xFE00 <= ord(c) <= 0xFE0F)


def look_alike(text, others):
    """The first of `others` that looks like `text` and is not, white space at the ends aside; or None."""
    seen = appearance(text).strip()
    return next((other for other in others if other != text and appearance(other).strip() == seen), None)


def alike_advice(text, known):
    """A sentence about the one of `known` that only looks like `text`, for an error; '' where there is none."""
    other = look_alike(text, known)
    return '' if other is None else f'{quoted(text, 80)} and {quoted(other, 80)}: {difference(text, other)}.'


def difference(text, other):
    """Where two texts part, for a message: the code points of both from there to where they are equal again."""
    start = next((i for i, pair in enumerate(zip(text, other, strict=False)) if pair[0] != pair[1]), None)
    start = min(len(text), len(other)) if start is None else start
    end = 0
    while end < min(len(text), len(other)) - start and text[-1 - end] == other[-1 - end]:
        end += 1
    one, two = (_code_points(part[start : len(part) - end]) for part in (text, other))
    return f'they look alike, but from character {start + 1} on the first has {one}, the other {two}'


def _code_points(text):
    names = ' '.join(f'U+{ord(char):04X}' for char in text[:_SHOWN])
    return (names or 'nothing') + (' ...' if len(text) > _SHOWN else '')


def clusters(text):
    """The parts of a text that are composed as one, (start, end) each: a character and the marks that follow it."""
    starts = [i for i, char in enumerate(text) if not (i and _continues(char))]
    return list(zip(starts, [*starts, len(text)][1:], strict=True))


def _continues(char):
    # Vowels and finals of Korean compose with what stands before them, but are no marks.
    return char > '\u02ff' and (unicodedata.category(char)[0] == 'M' or '\u1160' <= char <= '\u11ff')


class Folded:
    """A text, folded, with the way back.

    Attributes:
        text: the folded text.
        starts, ends: for each of its characters the slice of the original that it comes from.
    """

    def __init__(self, original, fold):
        parts, self.starts, self.ends = [], [], []
        for start, end in clusters(original):
            folded = fold(original[start:end])
            parts.append(folded)
            self.starts += [start] * len(folded)
            self.ends += [end] * len(folded)
        self.text = ''.join(parts)

    def find(self, wanted, near):
        """(start, end) in the original of the occurrence of a folded text that begins nearest to `near`, or None.

        An occurrence that begins or ends inside of a character of the original is none.
        """
        best, at = None, self.text.find(wanted) if wanted else -1
        while at >= 0:
            last = at + len(wanted) - 1
            whole = (at == 0 or self.ends[at - 1] <= self.starts[at]) and (
                last + 1 == len(self.text) or self.starts[last + 1] >= self.ends[last]
            )
            if whole and (best is None or abs(self.starts[at] - near) < abs(best[0] - near)):
                best = self.starts[at], self.ends[last]
            at = self.text.find(wanted, at + 1)
        return best


@functools.lru_cache(maxsize=2)  # neighbouring questions share their context
def folded(original, fold):
    """`Folded`, remembered for the last texts."""
    return Folded(original, fold)


def find_alike(text, wanted, near, fold=composed):
    """(start, end) of the part of `text` that is `wanted` once both are folded, nearest to `near`; None: there is none.

    Args:
        text, wanted: str.
        near: int.
        fold: `composed` or `appearance`.
    """
    return folded(text, fold).find(fold(wanted), near)
