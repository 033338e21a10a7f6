"""Turns of a conversation (ERNIE 1.0, dialogue language model)."""

from ernie.pretrain.tasks.task import SequenceTask


class DialogueResponse(SequenceTask):
    """1: the turns belong together, 0: one was replaced. The sentence types mark the speakers."""

    name = 'dialogue_response'
    id = 8
    head = 'dialogue_response_fc'
