"""The wrong chunks of tagged sentences: missed, spurious, of the wrong type, with wrong ends."""

from typing import NamedTuple

import numpy as np

from ernie.decoding.scheme import chunks
from ernie.metrics.outcomes import Outcomes, number, surest_first
from ernie.metrics.probabilities import calibration

# Chinese and Japanese; Korean parts its words.
_WITHOUT_SPACES = (
    ('\u2e80', '\u9fff'),
    ('\uf900', '\ufaff'),
    ('\uff00', '\uffef'),
    ('\U00020000', '\U0003ffff'),
)
MISSED, SPURIOUS, TYPE, BOUNDARY, BOTH = 'missed', 'spurious', 'wrong type', 'wrong boundary', 'wrong type and boundary'

_FIRST = 100  # sentences whose answers are kept


class ChunkError(NamedTuple):
    """row: number of the sentence. what: one of the words above. true, found: `Chunk` or None. confidence: mean
    probability of the labels that were predicted on the tokens of `found`, else of `true`.
    """

    row: int
    what: str
    true: object
    found: object
    confidence: float


def pair_chunks(true, found):
    """The wrong chunks of a sentence as (what, true `Chunk` or None, found `Chunk` or None), by their place.

    A found chunk that is not right goes with the true one that it shares most tokens with, each in one pair at most.

    Args:
        true, found: lists of `Chunk`.
    """
    missed, extra = sorted(set(true) - set(found), key=_place), sorted(set(found) - set(true), key=_place)
    overlaps = [(a, b) for a in missed for b in extra if _shared(a, b) > 0]
    pairs, used = [], set()
    for a, b in sorted(overlaps, key=lambda ab: (-_shared(*ab), ab[0].type != ab[1].type, *map(_place, ab))):
        if (0, a) in used or (1, b) in used:
            continue
        used |= {(0, a), (1, b)}
        same_place, same_type = a[1:] == b[1:], a.type == b.type
        pairs.append((TYPE if same_place else BOUNDARY if same_type else BOTH, a, b))
    pairs += [(MISSED, a, None) for a in missed if (0, a) not in used]
    pairs += [(SPURIOUS, None, b) for b in extra if (1, b) not in used]
    return sorted(pairs, key=lambda pair: _place(pair[2] or pair[1]))


def _place(chunk):
    return chunk.start, chunk.end, chunk.type


def _shared(a, b):
    return min(a.end, b.end) - max(a.start, b.start)


class ChunkOutcomes:
    """Collects sentences, in any order; gives the `Outcomes` of a set.

    Args:
        scheme: key of `ernie.decoding.scheme.SCHEMES`.
        count: sentences of the set.
    """

    def __init__(self, scheme, count):
        self.scheme, self.count = scheme, count
        self.errors, self.sure, self.right, self.first = [], [], [], {}
        self.good = np.zeros(count)
        self.by_row = {name: np.zeros(count, np.int32) for name in ('hits', 'predicted', 'labelled')}

    def add(self, row, labels, predictions, probabilities):
        """A sentence: its number, two lists of label names, and [T] the probability of each predicted one."""
        true, found = chunks(labels, self.scheme), chunks(predictions, self.scheme)
        hits = set(true) & set(found)
        for name, value in (('hits', hits), ('predicted', found), ('labelled', true)):
            self.by_row[name][row] = len(value)
        for chunk in found:
            self.sure.append(_mean(probabilities, chunk))
            self.right.append(chunk in hits)
        if found and hits == set(true) == set(found):
            self.good[row] = min(_mean(probabilities, chunk) for chunk in found)
        if row < _FIRST:
            self.first[row] = found
        for what, a, b in pair_chunks(true, found) if len(hits) < max(len(true), len(found)) else ():
            self.errors.append(ChunkError(row, what, a, b, _mean(probabilities, b or a)))

    def outcomes(self):
        """The `Outcomes`; the texts of a row are its `tokens`, a list."""
        self.errors.sort(key=lambda e: (e.row, _place(e.found or e.true)))
        rows, confidence = np.array([e.row for e in self.errors], np.int64), [e.confidence for e in self.errors]
        order = surest_first(np.arange(len(rows)), confidence)
        errors = [self.errors[i] for i in order]
        places = rows[order]
        wrong = len(np.unique(rows))
        trust = calibration(self.sure, self.right) if self.sure else None

        def entry(e, texts):
            return _entry(errors[e], texts.get('tokens'))

        return Outcomes(
            'tagging', 'sentences', self.count, wrong, places, entry, self.by_row, trust,
            answer=self._answer, good=self.good,
        )  # fmt: skip

    def _answer(self, row, texts):
        """`李明/PER, 北京/LOC`, of one of the first sentences."""
        tokens = texts['tokens']
        named = [f'{join(tokens[chunk.start : chunk.end])}/{chunk.type}' for chunk in self.first.get(row, ())]
        return ', '.join(named) or '(none)'


def _mean(probabilities, chunk):
    return float(np.mean(probabilities[chunk.start : chunk.end]))


def _entry(error, tokens):
    _, what, true, found, confidence = error
    sides = {'true': true, 'predicted': found}
    facts = {'error': what}
    for side, chunk in sides.items():
        facts[f'{side}_type'] = chunk.type if chunk else ''
        facts[f'{side}_text'] = join(tokens[chunk.start : chunk.end]) if chunk and tokens else ''
        facts[f'{side}_tokens'] = f'{chunk.start + 1}-{chunk.end}' if chunk else ''
    return {'sentence': join(tokens or []), **facts, 'confidence': number(confidence)}


def join(tokens):
    """Tokens as a text to read: a space between two, unless one of them is of a script that is written without."""
    return ''.join(_with_spaces(tokens))


def growing(tokens):
    """Yields what `join` makes of the first token, of the first two, and so on."""
    text = ''
    for part in _with_spaces(tokens):
        text += part
        yield text


def _with_spaces(tokens):
    """Yields each token, with the space before it if it has one."""
    before = None
    for token in tokens:
        yield token if before is None or _is_wide(before[-1:]) or _is_wide(token[:1]) else f' {token}'
        before = token


def _is_wide(char):
    return any(first <= char <= last for first, last in _WITHOUT_SPACES)
