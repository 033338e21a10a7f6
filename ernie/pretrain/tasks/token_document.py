"""Words that a document repeats (Sun et al. 2020, ERNIE 2.0, section 4.2.1)."""

from collections import Counter

from ernie.pretrain.tasks.sample_builder import SampleBuilder, joined, pack, truncated
from ernie.pretrain.tasks.task import NO_LABEL, TokenTask


class TokenDocumentSampleBuilder(SampleBuilder):
    """1 for a token that another segment of the document has, too, otherwise 0; `[UNK]` has no label.

    A segment is what one sample holds. A document that one sample could hold is cut in two at half its length; one of
    a single sentence is left out.
    """

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


class TokenDocument(TokenTask):
    """Does this token of a segment also occur in other segments of the document?"""

    name = 'token_document'
    id = 2
    sample_builder = TokenDocumentSampleBuilder
