"""Running text of one document; what is masked is drawn when the sample is read."""

from ernie.pretrain.building.makers.maker import Maker, joined, pack, truncated


class KnowledgeMaskingMaker(Maker):
    """Neighbouring sentences up to the wanted length."""

    name = 'knowledge_masking'

    def samples(self, items, rng, notes):
        for sentences in items:
            for run in pack(sentences, lambda: self.target(1, rng)):
                yield self.sample(truncated([joined(run)], self.room(1), notes), (0,), None)
