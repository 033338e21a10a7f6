"""Classification, regression and multi-label classification of one text or a pair: the graph of the task.

Inputs, in order: token ids, sentence types, positions (int64 [B, T]), mask (float32 [B, T]), task ids (int64 [B, T],
only with `use_task_id`), and for training and evaluation the label: int64 [B, 1] for classes, float32 [B, 1] for
regression, float32 [B, num_labels] for multi-label.
"""

import numpy as np

from ernie.model.ernie import ErnieModel
from ernie.model.heads import classification_head, is_classification_head
from ernie.optimization import optimization
from propeller import graph
from propeller.graph import F, paddle
from propeller.train.metrics import Acc
from propeller.train.model import Model
from propeller.types import RunMode

KINDS = ('classify', 'regression', 'multilabel')


class ErnieClassifier(Model):
    """Encoder, pooled output and the classification head.

    `config` is an `HParams` with `ernie` (`ErnieConfig`), `kind` (one of `KINDS`), `num_labels`; for training also
    `learning_rate`, `num_train_steps`, `warmup_steps`, `weight_decay`, `lr_scheduler`, `decay_without_warmup`,
    `clip_norm`, `head_learning_rate` (None: the same), `freeze_encoder`, `class_weights` (list of floats or None).
    """

    def forward(self, features):
        """-> [logits float32 [B, num_labels], outputs]: probabilities, or the value itself in regression."""
        config = self.config
        ids, types, positions, mask = features[:4]
        task_ids = features[4] if config.ernie.use_task_id else None
        training = self.mode == RunMode.TRAIN
        head_share = (config.get('head_learning_rate') or 0) / config.learning_rate if training else 0
        with graph.parameter_rules(
            frozen=lambda name: training and config.freeze_encoder and not is_classification_head(name),
            rate=lambda name: head_share if head_share and is_classification_head(name) else 1.0,
        ):
            model = ErnieModel(ids, positions, types, task_ids, mask, config.ernie, training)
            logits = classification_head(model.get_pooled_output(), config.num_labels, training)
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
        return F.cross_entropy(logits, label.squeeze(-1), weight=table)

    def backward(self, loss):
        config = self.config
        optimization(
            loss,
            config.learning_rate,
            config.num_train_steps,
            config.warmup_steps,
            config.weight_decay,
            config.lr_scheduler,
            config.decay_without_warmup,
            config.clip_norm,
        )

    def metrics(self, predictions, label):
        if self.config.kind != 'classify':
            return {}
        return {'acc': Acc(label, predictions[0].argmax(-1, keepdim=True))}


def feeds(ernie_config, kind, num_labels, labelled, prefix='eval_placeholder_'):
    """The inputs of the graph as a list of `propeller.graph.Feed`."""
    inputs = [graph.Feed(f'{prefix}{i}', (-1, -1), 'int64') for i in range(3)]
    inputs.append(graph.Feed(f'{prefix}3', (-1, -1), 'float32'))
    if ernie_config.use_task_id:
        inputs.append(graph.Feed(f'{prefix}4', (-1, -1), 'int64'))
    if labelled:
        dtype, width = ('int64', 1) if kind == 'classify' else ('float32', num_labels if kind == 'multilabel' else 1)
        inputs.append(graph.Feed('label', (-1, width), dtype))
    return inputs


def batch_arrays(rows, indices, task_id=None, labelled=True):
    """The arrays of one batch, in the order of `feeds`.

    Args:
        rows: `TokenizedSet`.
        indices: int array, the rows of the batch.
        task_id: value of the task id, None where the model has no task embedding.
        labelled: whether the label comes last.
    """
    ids, types, positions, mask = rows.padded(indices)
    arrays = [ids, types, positions, mask]
    if task_id is not None:
        arrays.append(np.full_like(ids, task_id))
    if labelled:
        labels = np.asarray(rows.labels)[indices]
        arrays.append(labels if labels.ndim == 2 else labels[:, None])
    return arrays
