"""The word that links two sentences (Sun et al. 2020, ERNIE 2.0, section 4.2.3)."""

from ernie.pretrain.tasks.discourse_markers import RELATIONS, MarkerTable
from ernie.pretrain.tasks.maker import Maker, truncated
from ernie.pretrain.tasks.task import SequenceTask


class DiscourseRelationMaker(Maker):
    """Neighbouring sentences of which the second begins with a marker; it is taken away, its kind is the class."""

    def __init__(self, task, making, tokenizer):
        super().__init__(task, making, tokenizer)
        self.markers = MarkerTable(making.relations, tokenizer)

    def classes(self):
        return list(self.making.relations)

    def content(self):
        return {'relations': self.making.relations}

    def samples(self, items, rng, notes):
        for sentences in items:
            for first, second in zip(sentences, sentences[1:], strict=False):
                found = self.markers.match(second)
                if found:
                    label, end = found
                    rest = (second.ids[end:], [0, *second.segments[end + 1 :]])
                    parts = truncated([(first.ids, first.segments), rest], self.room(2), notes)
                    yield self.sample(parts, (0, 1), label)


class DiscourseRelation(SequenceTask):
    """Two neighbouring sentences, from which the marker was taken: of which kind was it?"""

    name = 'discourse_relation'
    id = 5
    num_classes = len(RELATIONS)
    maker = DiscourseRelationMaker
