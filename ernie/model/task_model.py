"""What the graphs of all fine-tuning tasks share: inputs, encoder, optimizer. A task adds its head and its loss.

Inputs, in order: token ids, sentence types, positions (int64 [B, T]), mask (float32 [B, T]), task ids (int64 [B, T],
only with `use_task_id`), and for training and evaluation the label.
"""

import abc

from ernie.model.encoders import LAYERS, POOLED, build_encoder
from ernie.model.known_vectors import KnownVectors
from ernie.optimization import optimization
from propeller import graph
from propeller.errors import UsageError
from propeller.recompute import recomputation
from propeller.train.model import Model
from propeller.types import HParams, RunMode


class FineTuneModel(Model):
    """Encoder and head.

    `config` is an `HParams` with `ernie` (`ErnieConfig`); for training also `learning_rate`, `num_train_steps`,
    `warmup_steps`, `weight_decay`, `lr_scheduler`, `decay_without_warmup`, `clip_norm`, `head_learning_rate` (None: the
    same), `head_dropout` (None: 0.1), `freeze_encoder`, `encoder_dropout` (whether the encoder has its dropout),
    `known_vectors` (where the vectors of texts are fed: `parameters` of `KnownVectors`, else None),
    `recompute` (of the layers' intermediate results in the backward pass), `optimizer` (name).
    """

    head_parameters = ()  # names of the parameters of the head
    settings = ()  # fields of `labels.json` that the head is built by
    reads_layers = True  # whether the head reads outputs of whole layers, and not the pooled output alone

    @classmethod
    def is_head(cls, name):
        """Whether `name` is a parameter of the task's head, which a pre-trained folder need not hold."""
        return name in cls.head_parameters

    @classmethod
    def prediction_params(cls, config, settings):
        """The `config` of a model that only predicts. config: `ErnieConfig`. settings: dict, as in `labels.json`."""
        return HParams(ernie=config, **{name: settings[name] for name in cls.settings})

    @staticmethod
    def results(predictions):
        """Those of the predictions that the task's codec decodes, and an export gives: list of values [B, ...]."""
        return list(predictions)

    @staticmethod
    @abc.abstractmethod
    def label_feed(config):
        """The label of a batch as a `propeller.graph.Feed`. config: has `settings`."""

    @abc.abstractmethod
    def head(self, encoder):
        """`Encoder` -> list of predictions."""

    def soft_loss(self, teacher, label, temperature):
        """The loss of what this model answers against what a larger one does, a scalar. For a task that can be
        distilled; both models have been built.

        Args:
            teacher: another object of the class, over the same features.
            label: as for `loss`.
            temperature: see `ernie.model.distillation.soft_label_loss`.
        """
        raise UsageError('--loss logits: this task has no soft labels. Take hidden, attention or relation.')

    def forward(self, features):
        config = self.config
        training = self.mode == RunMode.TRAIN
        head_share = (config.get('head_learning_rate') or 0) / config.learning_rate if training else 0
        with graph.parameter_rules(
            frozen=lambda name: training and config.freeze_encoder and not self.is_head(name),
            rate=lambda name: head_share if head_share and self.is_head(name) else 1.0,
        ):
            with recomputation(training and config.get('recompute')):
                encoder = self._encoder(features, training)
            return self.head(encoder)

    def _encoder(self, features, training):
        config = self.config
        known = config.get('known_vectors')
        if known is not None:
            return KnownVectors(features, known if training else {})
        return build_encoder(
            features,
            config.ernie,
            training and config.get('encoder_dropout', True),
            LAYERS if self.reads_layers else POOLED,
        )

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
            config.get('optimizer') or 'adamw',
        )


def encoder_feeds(ernie_config, prefix='eval_placeholder_'):
    """The inputs of the encoder as a list of `propeller.graph.Feed`."""
    inputs = [graph.Feed(f'{prefix}{i}', (-1, -1), 'int64') for i in range(3)]
    inputs.append(graph.Feed(f'{prefix}3', (-1, -1), 'float32'))
    if ernie_config.use_task_id:
        inputs.append(graph.Feed(f'{prefix}4', (-1, -1), 'int64'))
    return inputs
