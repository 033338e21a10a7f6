"""Classification, regression and multi-label classification of one text or a pair: the graph of the task.

The label is int64 [B, 1] for classes, float32 [B, 1] for regression, float32 [B, num_labels] for multi-label.
"""

import numpy as np

from ernie.model.distillation import soft_binary_loss, soft_label_loss
from ernie.model.heads import head
from ernie.model.task_model import FineTuneModel
from ernie.tasks.classification import SPEC
from propeller import graph
from propeller.graph import F, paddle
from propeller.train.metrics import Acc
from propeller.types import RunMode


class ErnieClassifier(FineTuneModel):
    """Encoder, pooled output and the classification head.

    `config` has what `FineTuneModel` needs, `kind` (of `ernie.tasks.classification.KINDS`) and `num_labels`; for
    training also `class_weights` (list of floats or None).
    """

    head_parameters = SPEC.head
    settings = ('kind', 'num_labels')
    reads_layers = False

    def head(self, encoder):
        """-> [logits float32 [B, num_labels], outputs]: probabilities, or the value itself in regression."""
        config, training = self.config, self.mode == RunMode.TRAIN
        pooled, rate = encoder.get_pooled_output(), config.get('head_dropout')
        self.logits = logits = head(pooled, *SPEC.head, config.num_labels, training, rate=rate)
        return [logits, self._outputs(logits)]

    def _outputs(self, logits):
        kind = self.config.kind
        return logits if kind == 'regression' else F.softmax(logits) if kind == 'classify' else F.sigmoid(logits)

    def loss(self, predictions, label):
        """Mean over the batch of cross-entropy (classes), squared error (regression), binary cross-entropy (labels).

        Class weights count in training only: the loss of a dev set is comparable between runs.
        """
        logits, kind = predictions[0], self.config.kind
        weights = self.config.get('class_weights') if self.mode == RunMode.TRAIN else None
        if kind == 'regression':
            return F.mse_loss(logits, label)
        table = paddle.assign(np.asarray(weights, np.float32)) if weights else None
        if kind == 'multilabel':
            return F.binary_cross_entropy_with_logits(logits, label, weight=table)
        if table is not None:
            graph.set_loss_weight(paddle.gather(table, label.squeeze(-1)).sum())
        return F.cross_entropy(logits, label.squeeze(-1), weight=table)

    def soft_loss(self, teacher, label, temperature):
        """Mean over the batch; of a regression the squared difference of both values, which has no temperature."""
        if self.config.kind == 'regression':
            return F.mse_loss(self.logits, teacher.logits)
        of_rows = soft_label_loss if self.config.kind == 'classify' else soft_binary_loss
        return of_rows(self.logits, teacher.logits, temperature).mean()

    def metrics(self, predictions, label):
        if self.config.kind != 'classify':
            return {}
        return {'acc': Acc(label, predictions[0].argmax(-1, keepdim=True))}

    @staticmethod
    def results(predictions):
        return predictions[1:]  # probabilities, or the value of a regression; the logits say nothing more

    @staticmethod
    def label_feed(config):
        width = config.num_labels if config.kind == 'multilabel' else 1
        return graph.Feed('label', (-1, width), 'int64' if config.kind == 'classify' else 'float32')
