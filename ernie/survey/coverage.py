"""What a tokenizer makes of a sample of the training texts: their lengths, and how much of them it does not know."""

import os
from collections import Counter
from typing import NamedTuple

import numpy as np

from ernie.reader.classify import RowEncoder
from ernie.survey.survey import Survey
from propeller.errors import quoted

WARNED = 0.05  # share of unknown pieces from which on a model cannot read a text well
_SPECIAL = {1: 2, 2: 3}  # texts of a row -> special tokens
_SHOWN, _NAMED = 5, 3


class Coverage(NamedTuple):
    """Of a sample.

    lengths: [n] int, tokens of its rows, special ones included. pieces: of all rows. unknown: how many of them the
    vocabulary does not have. examples: up to five words of them, the commonest first.
    """

    lengths: np.ndarray
    pieces: int
    unknown: int
    examples: tuple

    @property
    def share(self):
        """Share of the pieces that are unknown."""
        return self.unknown / max(self.pieces, 1)


def coverage_of(survey: Survey, tokenizer, for_cn=True):
    """The `Coverage` of the sample of a survey. for_cn: as `RowEncoder` takes it."""
    encoder = RowEncoder(tokenizer, 1 << 30, None, 'predict', None, for_cn)
    unknown_id = tokenizer.vocab['[UNK]']
    lengths, pieces, unknown, examples = [], 0, 0, Counter()
    for texts in survey.sample:
        if survey.task == 'sequence_labeling':
            found = [tokenizer.encode(token) or [unknown_id] for token in texts]
            words, ids = texts, [i for part in found for i in part]
        else:
            found = [encoder.encode(text)[0][1:-1] for text in texts]
            words, ids = ' '.join(texts).split(), [i for part in found for i in part]
        lengths.append(len(ids) + _SPECIAL.get(len(found), 2))
        pieces, missing = pieces + len(ids), ids.count(unknown_id)
        unknown += missing
        if missing and len(examples) < 1000:
            examples.update(word for word in words if unknown_id in tokenizer.encode(word))
    shown = tuple(word for word, _ in examples.most_common(_SHOWN))
    return Coverage(np.array(lengths, np.int64), pieces, unknown, shown)


def unread(coverage, model, advised):
    """A sentence about texts that a model cannot read; '' where it can.

    Args:
        coverage: `Coverage`.
        model: what the user calls it.
        advised: name of a model that reads them.
    """
    if coverage.share <= WARNED:
        return ''
    words = ', '.join(quoted(word, 15) for word in coverage.examples[:_NAMED])
    advice = '' if advised == model else f' --model {advised} knows them.'
    name = os.path.basename(os.path.normpath(model)) if model else 'the model'
    return f'{name} does not know {100 * coverage.share:.0f} % of the pieces of the texts ({words}).{advice}'
