"""A query and a title (Sun et al. 2020, ERNIE 2.0, section 4.2.3)."""

from ernie.pretrain.tasks.sample_builder import SampleBuilder, another, truncated
from ernie.pretrain.tasks.task import SequenceTask

STRONG, WEAK, RANDOM = range(3)


class IrRelevanceSampleBuilder(SampleBuilder):
    """Pairs of the log as they are labelled, and queries with the title of another query (2), `random_share` of all.

    A random title is never one that the block of the log has for the same query.
    """

    source = 'queries'

    def samples(self, items, rng, notes):
        share = self.settings.random_share
        titles = {}
        for query, title, _ in items:
            titles.setdefault(query.text, set()).add(title.text)
        drawn = 0
        for number, (query, title, label) in enumerate(items):
            yield self._sample(query, title, label, notes)
            while drawn < share / (1 - share) * (number + 1):
                drawn += 1
                other = another(len(items), number, rng)
                if other is None or items[other][1].text in titles[query.text]:
                    notes['ir_relevance: no random title found'] += 1
                else:
                    yield self._sample(query, items[other][1], RANDOM, notes)

    def _sample(self, query, title, label, notes):
        parts = [(query.ids, query.segments), (title.ids, title.segments)]
        return self.sample(truncated(parts, self.room(2), notes), (0, 1), label)


class IrRelevance(SequenceTask):
    """0: strong (the title was clicked), 1: weak (shown, not clicked), 2: a title of another query."""

    name = 'ir_relevance'
    id = 6
    num_classes = 3
    sample_builder = IrRelevanceSampleBuilder
