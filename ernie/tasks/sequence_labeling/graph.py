"""Sequence labelling: the graph of the task. The label is int64 [B, T], negative on pieces that do not count."""

import numpy as np

from ernie.model.crf import crf_negative_log_likelihood, crf_weights
from ernie.model.distillation import soft_label_loss
from ernie.model.heads import head
from ernie.model.task_model import FineTuneModel
from ernie.tasks.sequence_labeling import SPEC
from propeller import graph
from propeller.graph import F, paddle
from propeller.types import RunMode


class ErnieSequenceLabeler(FineTuneModel):
    """Encoder, the sequence labelling head, and with `use_crf` a CRF over it.

    `config` has what `FineTuneModel` needs and `num_labels`, `use_crf`; for training also `label_shares`, the share of
    each label among those of the training set, [num_labels], or None.
    """

    head_parameters = SPEC.head
    settings = ('num_labels', 'use_crf')

    def head(self, encoder):
        """-> [scores float32 [B, T, num_labels]]: probabilities of each token; with `use_crf` its emissions, and then
        the weights of the CRF, [num_labels + 2, num_labels], as they are in this step.
        """
        config, training = self.config, self.mode == RunMode.TRAIN
        shares = config.get('label_shares') if training else None
        # Nearly all labels are O. A new head that begins with their shares need not spend its first steps on that
        # (Lin et al. 2017, Focal loss, section 3.3).
        start = None if shares is None else np.log(shares)
        tokens, rate = encoder.get_sequence_output(), config.get('head_dropout')
        self.logits = head(tokens, *SPEC.head[:2], config.num_labels, training, start, rate)
        if not config.use_crf:
            return [F.softmax(self.logits)]
        self.weights = crf_weights(config.num_labels)
        # A copy: the optimizer changes the parameter itself before it could be fetched.
        return [self.logits, paddle.assign(self.weights)]

    def loss(self, predictions, label):
        """Mean over the pieces that count (never `[CLS]`, `[SEP]` and padding) of cross-entropy, or of the CRF's
        negative log likelihood.
        """
        mask = (label >= 0).astype('float32')
        graph.set_loss_weight(mask.sum())
        # A batch of empty sentences has no token; its loss is 0.
        count = paddle.clip(mask.sum(), min=1.0)
        safe = paddle.clip(label, min=0)
        if self.config.use_crf:
            # The first token stands after [CLS].
            rows = crf_negative_log_likelihood(self.logits[:, 1:], safe[:, 1:], mask[:, 1:], self.weights)
            return rows.sum() / count
        return (F.cross_entropy(self.logits, safe, reduction='none') * mask).sum() / count

    def soft_loss(self, teacher, label, temperature):
        """Mean over the pieces that count; with a CRF its emissions are compared."""
        mask = (label >= 0).astype('float32')
        graph.set_loss_weight(mask.sum())
        of_pieces = soft_label_loss(self.logits, teacher.logits, temperature)
        return (of_pieces * mask).sum() / paddle.clip(mask.sum(), min=1.0)

    def metrics(self, predictions, label):
        return {}

    @staticmethod
    def results(predictions):
        return predictions[:1]  # the weights of a CRF are constants

    @staticmethod
    def label_feed(config):
        return graph.Feed('label', (-1, -1), 'int64')
