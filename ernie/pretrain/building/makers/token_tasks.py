"""Tasks with a label for each token: capital letters, and tokens that other parts of the document have, too."""

from collections import Counter

from ernie.pretrain.building.makers.maker import NO_LABEL, Maker, joined, pack, truncated


class CapitalizationMaker(Maker):
    """1 for each token of a word that had a capital letter, 0 without; words without letters that have a case: none.

    Samples without any label (Chinese text) are left out.
    """

    name = 'capitalization'

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


class TokenDocumentMaker(Maker):
    """1 for a token that another segment of the document has, too, otherwise 0; `[UNK]` has no label.

    A segment is what one sample holds. A document that one sample could hold is cut in two at half its length; one of
    a single sentence is left out.
    """

    name = 'token_document'

    def samples(self, items, rng, notes):
        for sentences in items:
            runs = self._segments(sentences, rng)
            if len(runs) < 2:
                notes['token_document: documents of one sentence'] += 1
                continue
            parts = [truncated([joined(run)], self.room(1), notes)[0] for run in runs]
            holders = Counter(token for ids, _ in parts for token in set(ids))
            for part in parts:
                labels = [NO_LABEL if t == self.special.unk else int(holders[t] > 1) for t in part[0]]
                if any(label != NO_LABEL for label in labels):
                    yield self.sample([part], (0,), [labels])
                else:
                    notes['token_document: segments of unknown tokens'] += 1

    def _segments(self, sentences, rng):
        runs = list(pack(sentences, lambda: self.target(1, rng)))
        if len(runs) == 1 and len(sentences) > 1:
            half = sum(len(sentence.ids) for sentence in sentences) / 2
            runs = list(pack(sentences[:-1], lambda: max(half, 1)))
            runs = [runs[0], [*(s for run in runs[1:] for s in run), sentences[-1]]]
        return runs
