"""Precision, recall and F1 of chunks (Tjong Kim Sang, De Meulder 2003): right are those with right type and ends."""

import collections

from ernie.decoding.scheme import OUTSIDE, chunks, split_label
from ernie.metrics.report import score_row, scores_by_class


class ChunkScores:
    """Collects sequences; gives micro-averaged scores and a report by type.

    Equal to seqeval: for IO and IOB in its default mode, for IOE and IOBES in its strict mode.

    Args:
        scheme: key of `ernie.decoding.scheme.SCHEMES`.
        types: the types in the order of the report; others come after them, sorted.
    """

    def __init__(self, scheme, types=()):
        self.scheme, self.types = scheme, list(types)
        self.hits, self.predicted, self.labelled = (collections.Counter() for _ in range(3))
        self.confusion = collections.Counter()  # (true type, predicted type) of tokens
        self.tokens = self.right_tokens = 0

    def add(self, labels, predictions):
        """One sequence: two lists of label names of one length."""
        true, found = set(chunks(labels, self.scheme)), set(chunks(predictions, self.scheme))
        for counter, of in ((self.hits, true & found), (self.predicted, found), (self.labelled, true)):
            counter.update(chunk.type for chunk in of)
        for label, prediction in zip(labels, predictions, strict=True):
            self.confusion[split_label(label)[1], split_label(prediction)[1]] += 1
            self.right_tokens += label == prediction
        self.tokens += len(labels)

    def counts(self):
        """[right, predicted, labelled] chunks of all types, what `micro` is made of."""
        return [sum(counter.values()) for counter in (self.hits, self.predicted, self.labelled)]

    def micro(self):
        """dict `precision`, `recall`, `f1` (floats, 0.0 where not defined) and `support` over all types."""
        return score_row(*self.counts())

    def report(self):
        """dict ready for JSON, as `ernie.metrics.report.class_report`, with `micro_avg`.

        `classes` are the types that occur in labels or predictions. `accuracy` is the share of tokens with the right
        label; `confusion_matrix` counts tokens by type, over `confusion_names`: the types and `O`.
        """
        kinds = (self.predicted | self.labelled).keys()
        names = [kind for kind in self.types if kind in kinds] + sorted(kinds - set(self.types))
        counts = [[counter[kind] for kind in names] for counter in (self.hits, self.predicted, self.labelled)]
        met = {kind for pair in self.confusion for kind in pair}
        keys = [kind for kind in self.types if kind in met] + sorted(met - {*self.types, ''}) + ['']
        return {
            **scores_by_class(*counts, names),
            'accuracy': self.right_tokens / self.tokens if self.tokens else 0.0,
            'micro_avg': self.micro(),
            'confusion_names': [kind or OUTSIDE for kind in keys],
            'confusion_matrix': [[self.confusion[true, found] for found in keys] for true in keys],
        }
