"""A query and a title (Sun et al. 2020, ERNIE 2.0, section 4.2.3)."""

from ernie.pretrain.tasks.task import SequenceTask


class IrRelevance(SequenceTask):
    """0: strong (the title was clicked), 1: weak (shown, not clicked), 2: a title of another query."""

    name = 'ir_relevance'
    id = 6
    head = 'ir_relevance_fc'
    num_classes = 3
