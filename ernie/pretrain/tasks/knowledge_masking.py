"""Masked words, phrases and entities (Sun et al. 2019, ERNIE 1.0, section 3.2)."""

from ernie.pretrain.tasks.task import TokenTask


class KnowledgeMasking(TokenTask):
    """Which token stood here? The masks are drawn when a sample is read; the head is the masked-LM output."""

    name = 'knowledge_masking'
    id = 0
    head = 'mask_lm'
    num_classes = None

    def logits(self, model, inputs):
        return model.get_lm_logits(inputs[1])
