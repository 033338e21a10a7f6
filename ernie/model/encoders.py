"""Encoders: what the heads of all tasks stand on, and the table of them by the name in a model's configuration."""

import abc
import contextlib
import contextvars

from propeller.table import Table

ERNIE = 'ernie'
# Value of `encoder` in ernie_config.json (`ernie` where it is absent) -> subclass of `Encoder`.
ENCODERS = Table(
    ernie='ernie.model.ernie:ErnieModel',
    bow='ernie.model.bag_of_words:BagOfWords',
    bilstm='ernie.model.bilstm:BiLstm',
    elmo='ernie.model.elmo:Elmo',
)

# What is read of an encoder: outputs of whole layers; some tokens of the last layer and the pooled output; this alone.
LAYERS, TOKENS, POOLED = READ = ('layers', 'tokens', 'pooled')

_packed = contextvars.ContextVar('ernie_packed_encoder', default=None)


class Encoder(abc.ABC):
    """An encoder, built into the current program when an object of it is made: `build_encoder` says with what.

    To add one: a subclass in a file of its own, and its line in `ENCODERS`. Shapes: B batch, T length, H
    `config.hidden_size`.

    Attributes:
        required: keys that a configuration must have.
        required_one_of: keys of which a configuration must have one.
        begun_by_tasks: names of parameters, or beginnings with a `*` after them, that pre-training may not have learnt:
            a task begins them anew where a checkpoint lacks them.
    """

    required = ('vocab_size', 'hidden_size', 'num_hidden_layers', 'max_position_embeddings', 'initializer_range')
    required_one_of = ()
    begun_by_tasks = ()

    @classmethod
    def faults(cls, config):
        """What does not go together in an `ErnieConfig` of single values that can be: list of (found, expected)."""
        return []

    @classmethod
    @abc.abstractmethod
    def shapes(cls, config):
        """Names and shapes of all its parameters, the pooled output's included: dict name -> tuple."""

    @classmethod
    def owns(cls, name):
        """Whether a tensor of this name belongs to such an encoder, so that a model must not leave it out."""
        return False

    @property
    @abc.abstractmethod
    def embedding_output(self):
        """What the first layer reads: float32 [B, T, H]."""

    @property
    @abc.abstractmethod
    def layer_outputs(self):
        """Outputs of all layers: list of float32 [B, T, H]."""

    @abc.abstractmethod
    def get_pooled_output(self):
        """One vector for each text: float32 [B, H]. Parameters that only this needs exist only if it is called."""

    def get_sequence_output(self, layer=-1):
        """Output of a layer (default the last): float32 [B, T, H]."""
        return self.layer_outputs[layer]

    def get_projections(self, layer):
        """Queries, keys and values of a layer (from 1), of encoders with self-attention: three float32 [B, T, H]."""
        raise NotImplementedError


def encoder_class(config):
    """The `Encoder` of an `ErnieConfig`."""
    return ENCODERS[config.encoder]


def build_encoder(features, config, training=False, read=LAYERS, **options):
    """The encoder of a configuration over the inputs of `ernie.model.task_model.encoder_feeds`.

    Args:
        features: list of values: token ids, sentence types, positions int64 [B, T], mask float32 [B, T], and with
            `use_task_id` task ids int64 [B, T]; more are not read.
        config: `ErnieConfig`.
        training: whether dropout is on.
        read: of `READ`. Where less than whole layers is read, some encoders compute less.
        options: what only some encoders take.
    """
    if config.encoder == ERNIE:
        options['read'] = read
    if _packed.get() is not None:
        return _packed.get()(features, config)
    ids, types, positions, mask = features[:4]
    task_ids = features[4] if config.use_task_id else None
    return encoder_class(config)(ids, positions, types, task_ids, mask, config, training, **options)


@contextlib.contextmanager
def packed_by(make):
    """Inside, `build_encoder` gives `make(features, config)`: see `ernie.model.packed`."""
    token = _packed.set(make)
    try:
        yield
    finally:
        _packed.reset(token)


def backbone_shapes(config):
    """Names and shapes of the encoder's parameters for an `ErnieConfig`, the pooled output's included: dict."""
    return encoder_class(config).shapes(config)
