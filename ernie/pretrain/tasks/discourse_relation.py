"""The word that links two sentences (Sun et al. 2020, ERNIE 2.0, section 4.2.3)."""

from ernie.pretrain.tasks.task import SequenceTask


class DiscourseRelation(SequenceTask):
    """Two neighbouring sentences, from which the marker was taken: of which kind was it?"""

    name = 'discourse_relation'
    id = 5
    head = 'discourse_relation_fc'
    num_classes = 6
