"""Dynamic masking: which tokens a model must predict, and what it sees in their place.

A *unit* is a token, or with knowledge masking the tokens of a word, phrase or entity: from a segment label 0 to before
the next 0 or -1 (ERNIE 1.0, section 3.2). Each token has a uniform number p. A unit is selected when that of its first
token is at most `masking_rate`, and all its tokens are then predicted. What the model sees is decided by

    u = p / masking_rate for the first token, which is uniform on [0, 1] as the unit is selected;  u = p for the others

    u <= keep: the token itself;  u <= keep + random: a random one;  else [MASK]

With `max_ngram` n > 1 the units of a text are cut into spans of 1 .. n neighbours, and a span is selected as a unit is.
The number of units of a span is geometric, clipped by truncation (SpanBERT, Joshi et al. 2020, section 3.1, q = 0.2):

    P(k) = q (1 - q)^(k - 1) / (1 - (1 - q)^n),  k = 1 .. n

so that any token is still selected with probability `masking_rate`. A span ends early where its neighbours end.
"""

import math
from typing import NamedTuple

import numpy as np

from propeller.errors import UsageError

SPAN_Q = 0.2


class VocabularyIds(NamedTuple):
    """The ids that reading needs. size: ids are below it, random ones are from 1 to before it."""

    pad: int
    cls: int
    sep: int
    mask: int
    size: int

    @classmethod
    def of(cls, vocab, size=None):
        """Those of a dict token -> id. size: of the model's table; None: that of the vocabulary."""
        special = (vocab[name] for name in ('[PAD]', '[CLS]', '[SEP]', '[MASK]'))
        return cls(*special, max(vocab.values()) + 1 if size is None else size)


class Masked(NamedTuple):
    """token_ids: [total] of the type that came in, as the model sees them. selected: [total] bool, to be predicted."""

    token_ids: np.ndarray
    selected: np.ndarray


class Masking(NamedTuple):
    """How tokens are masked. The defaults are the proportions of 2019.

    Attributes:
        masking_rate: share of the tokens that are predicted, above 0, at most 1.
        mask, random, keep: what stands in the place of a predicted token, shares that sum to 1: `[MASK]`, any token of
            the vocabulary but number 0, the token itself.
        max_ngram: most units of a span.
        at_least_one: in a sample where nothing is selected, the unit with the smallest p is.
        whole_unit: the tokens of a selected unit (with `max_ngram`: span) share the u of the first, so that it is
            replaced as a whole, or not at all. By default each has its own.
    """

    masking_rate: float = 0.15
    mask: float = 0.8
    random: float = 0.1
    keep: float = 0.1
    max_ngram: int = 1
    at_least_one: bool = False
    whole_unit: bool = False

    def check(self):
        """Raises: UsageError: a value that cannot be."""
        if not 0 < self.masking_rate <= 1:
            raise UsageError(f'found a masking rate of {self.masking_rate}, expected one above 0, at most 1.')
        shares = (self.mask, self.random, self.keep)
        if min(shares) < 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
            found = '/'.join(f'{share:g}' for share in shares)
            raise UsageError(
                f'found {found} of the masked tokens replaced by [MASK], by random ones and kept, expected shares that '
                f'sum to 1.'
            )
        if self.max_ngram < 1:
            raise UsageError(f'found spans of at most {self.max_ngram} units, expected 1 or more.')

    def __call__(self, token_ids, segments, offsets, whole_words, masked_rows, ids, rng):
        """Mask the samples of a ragged array.

        Args:
            token_ids: [total] int.
            segments: [total] int: 0 first token of a unit, 1 further one, -1 of none.
            offsets: [N + 1] int, sample i has the tokens `offsets[i]` to `offsets[i + 1]`, at least one.
            whole_words: [N] bool, whether units are those of the segments (`mask_word`) or tokens (`mask_char`).
            masked_rows: [N] bool, whether the sample is masked at all.
            ids: `VocabularyIds`; `[PAD]`, `[CLS]` and `[SEP]` are never selected.
            rng: `np.random.Generator`.

        Returns:
            `Masked`.
        """
        head = unit_heads(token_ids, segments, offsets, whole_words, masked_rows, ids)
        p = rng.random(len(token_ids))
        if self.max_ngram > 1:
            head = _span_heads(head, offsets, self.max_ngram, rng)
        selected = (head >= 0) & (p[head] <= self.masking_rate)
        if self.at_least_one and self._select_one(head, p, selected, offsets, rng):
            selected = (head >= 0) & (p[head] <= self.masking_rate)
        places = np.flatnonzero(selected)
        first = head[places]
        scaled = p[first] / self.masking_rate
        u = scaled if self.whole_unit else np.where(first == places, scaled, p[places])
        seen = token_ids.copy()
        seen[places[u > self.keep + self.random]] = ids.mask
        by_chance = places[(u > self.keep) & (u <= self.keep + self.random)]
        seen[by_chance] = rng.integers(1, ids.size, len(by_chance))
        return Masked(seen, selected)

    def _select_one(self, head, p, selected, offsets, rng):
        """Lower the smallest p of each sample without a selected token to a selecting one. Returns how many."""
        selected_before = np.concatenate([[0], np.cumsum(selected)])
        without = np.flatnonzero(selected_before[offsets[1:]] == selected_before[offsets[:-1]])
        firsts = np.flatnonzero(head == np.arange(len(head)))
        rows = np.searchsorted(offsets, firsts, side='right') - 1
        among = np.isin(rows, without)
        firsts, rows = firsts[among], rows[among]
        order = np.lexsort((p[firsts], rows))
        _, first_of_row = np.unique(rows[order], return_index=True)
        smallest = firsts[order[first_of_row]]
        p[smallest] = self.masking_rate * rng.random(len(smallest))
        return len(smallest)


def mask_batch(masking, token_ids, segments, whole_words, masked_rows, ids, rng):
    """Mask a padded batch.

    Args:
        masking: `Masking`.
        token_ids: [B, T] int, `[PAD]` on the right.
        segments: [B, T] int, see `Masking`; whatever on padding.
        whole_words, masked_rows: [B] bool, see `Masking`.
        ids, rng: see `Masking`.

    Returns:
        (token ids [B, T] as the model sees them, labels [N] int64: ids of the selected tokens, positions [N] int64:
        `row * T + column` of them, ascending).
    """
    rows, width = token_ids.shape
    flat = token_ids.ravel()
    offsets = np.arange(rows + 1) * width
    seen, selected = masking(flat, segments.ravel(), offsets, whole_words, masked_rows, ids, rng)
    places = np.flatnonzero(selected)
    return seen.reshape(rows, width), flat[places].astype(np.int64), places


def unit_heads(token_ids, segments, offsets, whole_words, masked_rows, ids):
    """For each token the place of the first token of its unit; -1 for those that are not masked. int64 [total].

    Args:
        see `Masking`.
    """
    lengths = np.diff(offsets)
    by_token = np.repeat(~np.asarray(whole_words, bool), lengths)
    maskable = (segments >= 0) & np.repeat(np.asarray(masked_rows, bool), lengths)
    for special in (ids.pad, ids.cls, ids.sep):
        maskable &= token_ids != special
    begins = by_token | (segments != 1) | ~maskable
    begins[offsets[:-1]] = True
    head = np.maximum.accumulate(np.where(begins, np.arange(len(token_ids)), 0))
    # A further piece whose unit has no first one, after [CLS] or at the start, belongs to no unit.
    whole = by_token | (maskable[head] & (segments[head] == 0))
    return np.where(maskable & whole, head, -1)


def _span_heads(head, offsets, most, rng):
    """The places of the first tokens of spans, from those of units."""
    firsts = np.flatnonzero(head == np.arange(len(head)))
    if not len(firsts):
        return head
    # Inverse of the cumulated distribution of the truncated geometric one.
    u = rng.random(len(firsts))
    sizes = 1 + np.floor(np.log1p(-u * (1 - (1 - SPAN_Q) ** most)) / math.log1p(-SPAN_Q)).astype(np.int64)
    spans = np.searchsorted(np.cumsum(np.minimum(sizes, most)), np.arange(len(firsts)), side='right')
    apart = head[np.maximum(firsts - 1, 0)] < 0  # the token before belongs to no unit
    apart |= np.isin(firsts, offsets[:-1])
    begins = apart | (np.diff(spans, prepend=-1) != 0)
    unit = np.maximum.accumulate(np.where(begins, np.arange(len(firsts)), 0))
    span_of = np.full(len(head), -1, np.int64)
    span_of[firsts] = firsts[unit]
    return np.where(head >= 0, span_of[head], -1)
