"""The bag-of-words student of 2019: the sum of the word vectors, and one layer. B batch, T words, E `emb_size`."""

from ernie.model.encoders import Encoder
from ernie.model.transformer_encoder import linear
from propeller import graph, ops
from propeller.errors import UserError, quoted
from propeller.graph import F, paddle


def emb_size(config):
    """Width of the word vectors of a student; `hidden_size` where the configuration does not say it."""
    return config.get('emb_size', config.hidden_size)


def emb_size_faults(config):
    """What `Encoder.faults` says of it."""
    size = emb_size(config)
    fits = isinstance(size, int) and not isinstance(size, bool) and 1 <= size < 1 << 31
    return [] if fits else [(f'emb_size = {quoted(size)}', 'a whole number from 1')]


def word_vectors(ids, config, training):
    """int64 [B, T] -> float32 [B, T, E], of the table `word_embedding`."""
    std = graph.truncated_normal(config.initializer_range)
    table = graph.parameter('word_embedding', [config.vocab_size, emb_size(config)], std)
    return ops.trained_rows(table, ids) if training else F.embedding(ids, table)


class BagOfWords(Encoder):
    """tanh(softsign(sum of the word vectors) W + b), a vector for each text; there are none for its words.

    `hidden_size` is the width of that vector, `num_hidden_layers` is 1.
    """

    @classmethod
    def faults(cls, config):
        layers = config.num_hidden_layers
        several = [] if layers == 1 else [(f'num_hidden_layers = {layers}', '1: a bag of words has one layer')]
        return [*emb_size_faults(config), *several]

    @classmethod
    def shapes(cls, config):
        width, hidden = emb_size(config), config.hidden_size
        return {
            'word_embedding': (config.vocab_size, width),
            'middle_fc.w_0': (width, hidden),
            'middle_fc.b_0': (hidden,),
        }

    @classmethod
    def owns(cls, name):
        return name.startswith('middle_fc.')

    def __init__(self, ids, positions, types, task_ids, mask, config, training=False):
        self._mask, self._config = mask, config
        self._vectors = word_vectors(ids, config, training)

    @property
    def embedding_output(self):
        return self._vectors

    @property
    def layer_outputs(self):
        raise UserError(
            'the encoder bow: found a task that reads a vector for each word, expected classification or regression. '
            'Take the encoder bilstm or ernie.'
        )

    def get_pooled_output(self):
        total = F.softsign((self._vectors * self._mask.unsqueeze(-1)).sum(1))
        return paddle.tanh(linear(total, 'middle_fc', self._config.hidden_size, self._config.initializer_range))
