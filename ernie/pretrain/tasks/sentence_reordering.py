"""The order of the pieces of a paragraph (Sun et al. 2020, ERNIE 2.0, section 4.2.2)."""

from ernie.pretrain.tasks.task import SequenceTask


class SentenceReordering(SequenceTask):
    """A paragraph was cut into 1 to m pieces, which were shuffled: which pieces, in which order? m = 3 here."""

    name = 'sentence_reordering'
    id = 3
    head = 'sentence_reordering_fc'
    num_classes = 1 + 2 + 6
