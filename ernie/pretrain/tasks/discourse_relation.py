"""The word that links two sentences (Sun et al. 2020, ERNIE 2.0, section 4.2.3)."""

from ernie.pretrain.tasks.discourse_markers import RELATIONS, MarkerTable
from ernie.pretrain.tasks.sample_builder import SampleBuilder, truncated
from ernie.pretrain.tasks.task import SequenceTask


class DiscourseRelationSampleBuilder(SampleBuilder):
    """Neighbouring sentences of which the second begins with a marker; it is taken away, its kind is the class."""

    def __init__(self, task, sample_settings, tokenizer):
        super().__init__(task, sample_settings, tokenizer)
        self.markers = MarkerTable(sample_settings.relations, tokenizer)

    def classes(self):
        return list(self.settings.relations)

    def content(self):
        return {'relations': self.settings.relations}

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
    sample_builder = DiscourseRelationSampleBuilder
