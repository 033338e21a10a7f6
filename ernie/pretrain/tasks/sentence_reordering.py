"""The order of the pieces of a paragraph (Sun et al. 2020, ERNIE 2.0, section 4.2.2)."""

from math import factorial

from ernie.pretrain.tasks.sample_builder import SampleBuilder, joined, pack, truncated
from ernie.pretrain.tasks.task import SequenceTask


def order_class(order):
    """The class of an order of pieces: those of fewer pieces come first, then lexicographic rank.

    With n pieces it is `1! + 2! + ... + (n - 1)!` plus the rank of `order` among the n! permutations in lexicographic
    order. For up to 3 pieces: 0 = (0), 1 = (0, 1), 2 = (1, 0), 3 = (0, 1, 2), 4 = (0, 2, 1), ... 8 = (2, 1, 0).

    Args:
        order: a permutation of 0..n-1: `order[i]` is the original place of the piece that stands at place i.
    """
    n = len(order)
    offset = sum(factorial(k) for k in range(1, n))
    rank = sum(factorial(n - 1 - i) * sum(later < piece for later in order[i + 1 :]) for i, piece in enumerate(order))
    return offset + rank


def class_count(most):
    """Classes of up to `most` pieces: `1! + 2! + ... + most!`."""
    return sum(factorial(k) for k in range(1, most + 1))


class SentenceReorderingSampleBuilder(SampleBuilder):
    """Neighbouring sentences are cut at random into 1 to m pieces, shuffled, with a `[SEP]` after each.

    The number of pieces n is drawn with weights n!, so that all classes come equally often; passages of fewer than m
    sentences are left out, or their class would show in their length.
    """

    def classes(self):
        return class_count(self.settings.max_pieces)

    def samples(self, items, rng, notes):
        most = self.settings.max_pieces
        counts = range(1, most + 1)
        weights = [factorial(n) for n in counts]
        for sentences in items:
            for run in pack(sentences, lambda: self.target(most, rng)):
                if len(run) < most:
                    notes[f'sentence_reordering: passages of fewer than {most} sentences'] += 1
                    continue
                n = rng.choices(counts, weights)[0]
                cuts = [0, *sorted(rng.sample(range(1, len(run)), n - 1)), len(run)]
                order = rng.sample(range(n), n)
                parts = [joined(run[cuts[piece] : cuts[piece + 1]]) for piece in order]
                yield self.sample(truncated(parts, self.room(most), notes), (0,) * n, order_class(order))


class SentenceReordering(SequenceTask):
    """A paragraph was cut into 1 to m pieces, which were shuffled: which pieces, in which order? m = 3 here."""

    name = 'sentence_reordering'
    id = 3
    num_classes = class_count(3)
    sample_builder = SentenceReorderingSampleBuilder
