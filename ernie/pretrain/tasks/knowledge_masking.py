"""Masked words, phrases and entities (Sun et al. 2019, ERNIE 1.0, section 3.2)."""

from ernie.pretrain.tasks.sample_builder import SampleBuilder, joined, pack, truncated
from ernie.pretrain.tasks.task import TokenTask


class KnowledgeMaskingSampleBuilder(SampleBuilder):
    """Neighbouring sentences up to the wanted length.

    With `next_sentence` it makes no samples of its own: those of the pairs are masked (ERNIE 1.0).
    """

    def is_needed(self):
        return 'next_sentence' not in self.settings.tasks

    def samples(self, items, rng, notes):
        for sentences in items:
            for run in pack(sentences, lambda: self.target(1, rng)):
                yield self.sample(truncated([joined(run)], self.room(1), notes), (0,), None)


class KnowledgeMasking(TokenTask):
    """Which token stood here? The masks are drawn when a sample is read; the head is the masked-LM output."""

    name = 'knowledge_masking'
    id = 0
    head = 'mask_lm'
    num_classes = None
    few_labels = True
    sample_builder = KnowledgeMaskingSampleBuilder

    def logits(self, model, inputs):
        return model.get_lm_logits(inputs[1])
