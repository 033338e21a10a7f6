"""What the graphs of all fine-tuning tasks share: inputs, encoder, optimizer. A task adds its head and its loss.

Inputs, in order: token ids, sentence types, positions (int64 [B, T]), mask (float32 [B, T]), task ids (int64 [B, T],
only with `use_task_id`), and for training and evaluation the label.
"""

import abc

import numpy as np

from ernie.model.ernie import ErnieModel
from ernie.optimization import optimization
from propeller import graph
from propeller.errors import UserError, bad_input
from propeller.recompute import recomputation
from propeller.train.model import Model
from propeller.types import RunMode


class FineTuneModel(Model):
    """Encoder and head.

    `config` is an `HParams` with `ernie` (`ErnieConfig`); for training also `learning_rate`, `num_train_steps`,
    `warmup_steps`, `weight_decay`, `lr_scheduler`, `decay_without_warmup`, `clip_norm`, `head_learning_rate` (None: the
    same), `freeze_encoder`, `recompute` (of the layers' intermediate results in the backward pass).
    """

    @staticmethod
    @abc.abstractmethod
    def is_head(name):
        """Whether `name` is a parameter of the task's head, which a pre-trained folder need not hold."""

    @abc.abstractmethod
    def head(self, encoder):
        """`ErnieModel` -> list of predictions."""

    def forward(self, features):
        config = self.config
        ids, types, positions, mask = features[:4]
        task_ids = features[4] if config.ernie.use_task_id else None
        training = self.mode == RunMode.TRAIN
        head_share = (config.get('head_learning_rate') or 0) / config.learning_rate if training else 0
        with graph.parameter_rules(
            frozen=lambda name: training and config.freeze_encoder and not self.is_head(name),
            rate=lambda name: head_share if head_share and self.is_head(name) else 1.0,
        ):
            with recomputation(training and config.get('recompute')):
                encoder = ErnieModel(ids, positions, types, task_ids, mask, config.ernie, training)
            return self.head(encoder)

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


def encoder_feeds(ernie_config, prefix='eval_placeholder_'):
    """The inputs of the encoder as a list of `propeller.graph.Feed`."""
    inputs = [graph.Feed(f'{prefix}{i}', (-1, -1), 'int64') for i in range(3)]
    inputs.append(graph.Feed(f'{prefix}3', (-1, -1), 'float32'))
    if ernie_config.use_task_id:
        inputs.append(graph.Feed(f'{prefix}4', (-1, -1), 'int64'))
    return inputs


ONE_TYPE = 'single texts: the model has 1 sentence type (type_vocab_size 1), so a second text has none'


def check_sentence_types(config, rows, path):
    """Before a graph looks up what its table does not have.

    Args:
        config: `ErnieConfig`.
        rows: `TokenizedSet`.
        path: its file, for the message.

    Raises:
        UserError: the model has one sentence type, and there are pairs of texts.
    """
    if config.sentence_types > 1 or not len(rows):
        return
    pairs = np.flatnonzero(np.asarray(rows.split) < np.asarray(rows.lengths))
    if len(pairs):
        line = None if rows.lines is None else int(rows.lines[pairs[0]])
        raise bad_input(path, 'a pair of texts', ONE_TYPE, line=line)


def check_two_types(config):
    """The same for reading comprehension, whose rows are all pairs. Raises: UserError."""
    if config.sentence_types < 2:
        raise UserError(
            'the model has 1 sentence type (type_vocab_size 1), and question and context need one each. '
            'Take a model with type_vocab_size 2 or more.'
        )


def encoder_arrays(rows, indices, task_id=None):
    """The arrays of one batch, in the order of `encoder_feeds`.

    Args:
        rows: `TokenizedSet`.
        indices: int array, the rows of the batch.
        task_id: value of the task id, None where the model has no task embedding.
    """
    arrays = list(rows.padded(indices))
    if task_id is not None:
        arrays.append(np.full_like(arrays[0], task_id))
    return arrays
