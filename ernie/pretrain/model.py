"""The graph of pre-training: one encoder, the heads of the chosen tasks, one loss.

Inputs, in order: token ids, sentence types, positions (int64 [B, T]), mask (float32 [B, T]), task ids (int64 [B, T],
only with `use_task_id`), the labels of each task (see `ernie.pretrain.tasks.task`), and the scales float32 [tasks].
"""

import numpy as np

from ernie.model.encoders import ERNIE, LAYERS, TOKENS, build_encoder
from ernie.model.task_model import encoder_feeds
from ernie.optimization import decays
from propeller import graph
from propeller.errors import bad_input
from propeller.graph import paddle
from propeller.recompute import recomputation
from propeller.train.model import Model
from propeller.types import RunMode
from propeller.update import minimize

SCALES = 'scales'
CLIP_NORM = 1.0


class PretrainModel(Model):
    """Encoder and heads.

    `config` is an `HParams` with `ernie` (`ErnieConfig`), `tasks` (list of `PretrainTask`), `weight_sharing`; for
    training also `rate` (function updates done -> learning rate), `weight_decay`, `recompute`.

    The loss of an update is the sum over its tasks of their mean cross-entropy, over all labels that its parts have in
    all processes. The scales make it so: see `loss_scales`.
    """

    def forward(self, features):
        """-> [statistics float32 [tasks, 3]]: see `PretrainTask.statistics`."""
        config, training = self.config, self.mode == RunMode.TRAIN
        if config.ernie.encoder != ERNIE:
            raise bad_input(config.ernie.origin, f'encoder {config.ernie.encoder}', f'{ERNIE}: others predict no words')
        features = list(features)
        read = TOKENS if all(task.few_labels for task in config.tasks) else LAYERS
        with recomputation(training and bool(config.get('recompute'))):
            model = build_encoder(features, config.ernie, training, read, weight_sharing=config.weight_sharing)
        del features[: 4 + config.ernie.use_task_id]
        rows = []
        for task in config.tasks:
            inputs = [features.pop(0) for _ in task.feeds()]
            rows.append(task.statistics(model, inputs))
        return [paddle.stack(rows)]

    def loss(self, predictions, label):
        """label: the scales, float32 [tasks]."""
        graph.set_loss_weight(paddle.ones([1]))
        return (predictions[0][:, 0] * label).sum()

    def backward(self, loss):
        minimize(loss, self.config.rate, self.config.weight_decay, decays, CLIP_NORM)

    def metrics(self, predictions, label):
        return {}


def feeds(ernie_config, tasks):
    """The inputs of the graph as a list of `propeller.graph.Feed`."""
    labels = [feed for task in tasks for feed in task.feeds()]
    return [
        *encoder_feeds(ernie_config, 'pretrain_placeholder_'),
        *labels,
        graph.Feed(SCALES, (len(tasks),), 'float32'),
    ]


def loss_scales(counts, parts=1):
    """The scales of an update, float32 [tasks]: the engine's mean over parts becomes a mean over labels.

    mean_i sum_t s_t * S_(t,i) = sum_t (sum_i S_(t,i)) / C_t      with s_t = P / C_t

    for parts i = 1 .. P, S the sums of cross-entropies and C the labels of a task in the whole update. A task without
    labels gets 0: it adds nothing.

    Args:
        counts: int [tasks], labels of each task in the update.
        parts: P, the parts of the update that count.
    """
    counts = np.asarray(counts, np.float64)
    return np.where(counts > 0, parts / np.maximum(counts, 1), 0.0).astype(np.float32)
