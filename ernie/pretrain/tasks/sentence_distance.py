"""How far two sentences are apart (Sun et al. 2020, ERNIE 2.0, section 4.2.2)."""

from ernie.pretrain.tasks.sample_builder import Balance, SampleBuilder, another, truncated
from ernie.pretrain.tasks.task import SequenceTask

ADJACENT, SAME_DOCUMENT, OTHER_DOCUMENT = range(3)


class SentenceDistanceSampleBuilder(SampleBuilder):
    """For each sentence a second one: its follower (0), one of its document that is not its neighbour (1), or one of
    another document (2). Of these the class that came least often so far is taken, so that they are balanced.
    """

    def samples(self, items, rng, notes):
        balance = Balance((ADJACENT, SAME_DOCUMENT, OTHER_DOCUMENT))
        for number, sentences in enumerate(items):
            for index, first in enumerate(sentences):
                choices = self._choices(items, number, index)
                if not choices:
                    notes['sentence_distance: sentences without a second one'] += 1
                    continue
                label = balance.choose(choices, rng)
                second = _second(items, number, index, label, rng)
                parts = [(s.ids, s.segments) for s in (first, second)]
                yield self.sample(truncated(parts, self.room(2), notes), (0, 1), label)

    def _choices(self, items, number, index):
        count = len(items[number])
        neighbours = (index > 0) + (index < count - 1)
        choices = [ADJACENT] if index < count - 1 else []
        choices += [SAME_DOCUMENT] if count - 1 > neighbours else []
        return choices + ([OTHER_DOCUMENT] if len(items) > 1 else [])


def _second(items, number, index, label, rng):
    sentences = items[number]
    if label == ADJACENT:
        return sentences[index + 1]
    if label == OTHER_DOCUMENT:
        return rng.choice(items[another(len(items), number, rng)])
    while True:
        drawn = rng.randrange(len(sentences))
        if abs(drawn - index) > 1:
            return sentences[drawn]


class SentenceDistance(SequenceTask):
    """0: neighbours in a document, 1: of one document, 2: of two documents."""

    name = 'sentence_distance'
    id = 4
    num_classes = 3
    sample_builder = SentenceDistanceSampleBuilder
