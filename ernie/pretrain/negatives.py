"""Negative samples for next sentence prediction, made of parts of positive ones (`generate_neg_sample` of 2019)."""

import numpy as np

from ernie.pretrain.sample_set import COLUMN, SampleSet, ranges
from ernie.pretrain.samples import MASKED, PAIR
from ernie.pretrain.tasks.task import NO_LABEL
from propeller.errors import bad_input

POSITIVE, NEGATIVE = 1, 0


def make_negatives(samples, max_seq_len, ids, rng, paths):
    """A negative sample of each two neighbours in a random circle through the samples.

    Its left part comes from one sample, its right part from the next one: what stands between `[CLS]` and the first
    `[SEP]`, or if that is too long, what stands behind. The left part has at most `(max_seq_len - 3) // 2` tokens, the
    right one what remains. A pair that does not fit, or has an empty part, is a miss. One sample alone gives none.

    Args:
        samples: `SampleSet` of positive samples.
        max_seq_len: most tokens of a sample.
        ids: `masking.VocabularyIds`.
        rng: `np.random.Generator`.
        paths: list, the files by number.

    Returns:
        (`SampleSet` of the negatives, number of misses).

    Raises:
        UserError: a sample that is not positive or has no `[SEP]`; names its line.
    """
    first_sep = _check_positive(samples, ids, paths)
    if samples.count < 2:
        return samples.part(0, 0), 0
    circle = rng.permutation(samples.count)
    after = np.roll(circle, -1)
    starts, ends = samples.offsets[:-1], samples.offsets[1:]
    ends = ends - (samples.token_ids[ends - 1] == ids.sep)
    # Of a sample with one part the second one has length -1.
    first, second = (starts + 1, first_sep), (first_sep + 1, ends)
    left_start, left = _fitting(first, second, circle, (max_seq_len - 3) // 2)
    right_start, right = _fitting(first, second, after, max_seq_len - 3 - left)
    fits = (left > 0) & (right > 0) & (left + right + 3 <= max_seq_len)
    made = _joined(samples, left_start[fits], left[fits], right_start[fits], right[fits], ids)
    origin = circle[fits]
    labels = np.full((len(origin), len(COLUMN)), NO_LABEL, np.int64)
    labels[:, COLUMN[PAIR]] = NEGATIVE
    labels[:, COLUMN[MASKED]] = samples.labels[origin, COLUMN[MASKED]]
    of_origin = {name: getattr(samples, name)[origin] for name in ('task_ids', 'lines', 'files')}
    return SampleSet(**made, **of_origin, labels=labels, token_labels=samples.token_labels[:0]), int((~fits).sum())


def _check_positive(samples, ids, paths):
    """Place of the first `[SEP]` of each sample: int64 [N]."""
    label = samples.labels[:, COLUMN[PAIR]]
    seps = np.append(np.flatnonzero(samples.token_ids == ids.sep), len(samples.token_ids))
    first_sep = seps[np.searchsorted(seps, samples.offsets[:-1])]
    wrong = (label != POSITIVE) | (first_sep >= samples.offsets[1:])
    if wrong.any():
        row = int(np.argmax(wrong))
        found, expected = f'the {PAIR} label {label[row]}', f'{POSITIVE}, as negative samples are generated'
        if label[row] == NO_LABEL:
            found = f'a sample without {PAIR} label'
        elif label[row] == POSITIVE:
            found, expected = 'a sample without [SEP]', 'one that can be cut in two, as negative samples are generated'
        advice = 'Or leave out --generate_neg_sample.'
        raise bad_input(paths[samples.files[row]], found, expected, int(samples.lines[row]), advice)
    return first_sep


def _fitting(first, second, rows, limit):
    """(start, length) of the first part of each row where it is not longer than `limit`, else of the second."""
    first_length, second_length = (part[1][rows] - part[0][rows] for part in (first, second))
    short = first_length <= limit
    return np.where(short, first[0][rows], second[0][rows]), np.where(short, first_length, second_length)


def _joined(samples, left_start, left, right_start, right, ids):
    """The arrays of `[CLS] left [SEP] right [SEP]` for each pair."""
    lengths = left + right + 3
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    starts, total = offsets[:-1], int(offsets[-1])
    token_ids = np.full(total, ids.sep, np.int32)
    segments = np.full(total, -1, np.int8)
    token_ids[starts] = ids.cls
    for to, start, length in ((starts + 1, left_start, left), (starts + left + 2, right_start, right)):
        to, source = ranges(to, length), ranges(start, length)
        token_ids[to], segments[to] = samples.token_ids[source], samples.segments[source]
    positions = ranges(np.zeros_like(starts), lengths)
    types = positions > np.repeat(left + 1, lengths)
    return {
        'token_ids': token_ids,
        'sentence_types': types.astype(np.int8),
        'positions': positions.astype(np.int16),
        'segments': segments,
        'offsets': offsets,
    }
