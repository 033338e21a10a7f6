"""How far two sentences are apart (Sun et al. 2020, ERNIE 2.0, section 4.2.2)."""

from ernie.pretrain.tasks.task import SequenceTask


class SentenceDistance(SequenceTask):
    """0: neighbours in a document, 1: of one document, 2: of two documents."""

    name = 'sentence_distance'
    id = 4
    head = 'sentence_distance_fc'
    num_classes = 3
