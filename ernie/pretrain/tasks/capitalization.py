"""Capital letters (Sun et al. 2020, ERNIE 2.0, section 4.2.1)."""

from ernie.pretrain.tasks.sample_builder import SampleBuilder, joined, pack, truncated
from ernie.pretrain.tasks.task import NO_LABEL, TokenTask


class CapitalizationSampleBuilder(SampleBuilder):
    """1 for each token of a word that had a capital letter, 0 without; words without letters that have a case: none.

    Samples without any label (Chinese text) are left out.
    """

    reads_capitals = True

    def samples(self, items, rng, notes):
        for sentences in items:
            for run in pack(sentences, lambda: self.target(1, rng)):
                labels = [label for sentence in run for label in sentence.capitals]
                parts = truncated([joined(run)], self.room(1), notes)
                labels = labels[: len(parts[0][0])]
                if any(label != NO_LABEL for label in labels):
                    yield self.sample(parts, (0,), [labels])
                else:
                    notes['capitalization: runs of sentences without Latin, Greek or Cyrillic letters'] += 1


class Capitalization(TokenTask):
    """Was the word of this token written with a capital letter? The input is in lower case."""

    name = 'capitalization'
    id = 1
    sample_builder = CapitalizationSampleBuilder
