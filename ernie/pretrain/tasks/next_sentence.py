"""Two parts of one document, or of two (ERNIE 1.0)."""

from ernie.pretrain.tasks.task import SequenceTask


class NextSentence(SequenceTask):
    """1: the second part follows the first, 0: it was replaced."""

    name = 'next_sentence'
    id = 7
    head = 'next_sent_fc'
