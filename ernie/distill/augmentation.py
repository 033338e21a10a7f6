"""The three rules of augmentation, as functions of words and of a random generator.

Replacement by words of the same part of speech, and masking, are those of Tang et al., "Distilling Task-Specific
Knowledge from BERT into Simple Neural Networks" (2019), section 3.3; so is the n-gram sampling.
"""

import bisect
import itertools
import random
from typing import NamedTuple

from ernie.distill.segmented import UNKNOWN, Words

RULES = ('noise', 'pos', 'sample')


def add_noise(words, probability, rng):
    """`Words` in which each word has become `[UNK]` with a probability."""
    texts = [UNKNOWN if rng.random() < probability else text for text in words.texts]
    return words._replace(texts=texts)


def replace_same_pos(words, probability, table, rng):
    """`Words` in which each word has become, with a probability, a word of its part of speech: `WordTable.draw`."""
    texts = [
        table.draw(tag, rng) if tag in table.words and rng.random() < probability else text
        for text, tag in zip(words.texts, words.tags, strict=True)
    ]
    return words._replace(texts=texts)


def sample_fragment(words, rng):
    """A contiguous part of `Words`: its length is uniform from 0 to all words, its position uniform."""
    count = len(words.texts)
    length = int(rng.random() * (count + 1))
    start = int(rng.random() * (count - length + 1))
    return words.cut(start, start + length)


class WordTable:
    """The words of a data set by part of speech.

    Args:
        counts: dict (part of speech, word) -> how often it occurs.

    Attributes:
        words: dict part of speech -> list of words.
    """

    def __init__(self, counts):
        self.words, self._sums = {}, {}
        for tag, pairs in itertools.groupby(sorted(counts.items()), key=lambda pair: pair[0][0]):
            pairs = list(pairs)
            self.words[tag] = [word for (_, word), _ in pairs]
            self._sums[tag] = list(itertools.accumulate(count for _, count in pairs))

    def draw(self, tag, rng):
        """A word of a part of speech, as often as it occurs in the data set."""
        sums = self._sums[tag]
        return self.words[tag][bisect.bisect_right(sums, int(rng.random() * sums[-1]))]


class Mixture(NamedTuple):
    """How rows are augmented.

    noise_ratio, pos_ratio, sample_ratio: each new row is made by one rule, which is chosen in these proportions.
    noise_probability, pos_probability: of each word.
    """

    noise_ratio: float = 1.0
    pos_ratio: float = 1.0
    sample_ratio: float = 1.0
    noise_probability: float = 0.1
    pos_probability: float = 0.1

    def total(self):
        """The sum of the ratios."""
        return self.noise_ratio + self.pos_ratio + self.sample_ratio

    def chosen(self, rng):
        """One of `RULES`."""
        sums = list(itertools.accumulate((self.noise_ratio, self.pos_ratio, self.sample_ratio)))
        return RULES[bisect.bisect_right(sums, rng.random() * sums[-1])]


class Augmenter:
    """Makes new rows. What becomes of a row depends on the seed, its number and the number of the copy alone.

    Args:
        mixture: `Mixture`.
        table: `WordTable`; None where no row is made by parts of speech.
        seed: int.
    """

    def __init__(self, mixture, table, seed):
        self.mixture, self.table, self.seed = mixture, table, seed

    def __call__(self, words, row, copy):
        """`Words` (at least one) of a row -> `Words`, at least one.

        An empty fragment is drawn again.
        """
        rng = random.Random(f'{self.seed} {row} {copy}')
        rule = self.mixture.chosen(rng)
        if rule == 'noise':
            return add_noise(words, self.mixture.noise_probability, rng)
        if rule == 'pos':
            return replace_same_pos(words, self.mixture.pos_probability, self.table, rng)
        fragment = sample_fragment(words, rng)
        while not fragment.texts:
            fragment = sample_fragment(words, rng)
        return fragment


def line_of(words: Words):
    """`segmented text<TAB>text`, as the student and the teacher read them."""
    return f'{" ".join(words.texts)}\t{words.joined()}'
