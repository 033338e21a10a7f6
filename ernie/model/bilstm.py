"""A student of bidirectional LSTMs (Hochreiter, Schmidhuber 1997) over word vectors. B batch, T words, H hidden."""

from ernie.model.bag_of_words import emb_size, emb_size_faults, word_vectors
from ernie.model.encoders import Encoder
from ernie.model.recurrent import Turn, largest_of_words
from ernie.model.transformer_encoder import dropout, linear
from propeller import graph
from propeller.graph import paddle

_WAYS = ('forward', 'backward')
_START = 0.08  # standard deviation of the LSTMs' matrices; that of a word table would keep their gates shut


class BiLstm(Encoder):
    """`num_hidden_layers` layers of two LSTMs of `hidden_size` / 2; the largest of each over the words, and a layer.

    `hidden_dropout_prob` (0 where absent) acts before each layer.
    """

    @classmethod
    def faults(cls, config):
        odd = config.hidden_size % 2
        return emb_size_faults(config) + (
            [(f'hidden_size = {config.hidden_size}', 'an even number: two directions')] if odd else []
        )

    @classmethod
    def shapes(cls, config):
        hidden, half = config.hidden_size, config.hidden_size // 2
        shapes, width = {'word_embedding': (config.vocab_size, emb_size(config))}, emb_size(config)
        for i in range(config.num_hidden_layers):
            for way in _WAYS:
                shapes[f'lstm_{i}_{way}_in.w_0'] = (4 * half, width)
                shapes[f'lstm_{i}_{way}_state.w_0'] = (4 * half, half)
                shapes[f'lstm_{i}_{way}_in.b_0'] = shapes[f'lstm_{i}_{way}_state.b_0'] = (4 * half,)
            width = hidden
        return shapes | {'middle_fc.w_0': (hidden, hidden), 'middle_fc.b_0': (hidden,)}

    @classmethod
    def owns(cls, name):
        return name.startswith(('lstm_', 'middle_fc.'))

    def __init__(self, ids, positions, types, task_ids, mask, config, training=False):
        self._mask, self._config, self._training = mask, config, training
        self._turn = Turn(mask)
        self._outputs = [word_vectors(ids, config, training)]
        for i in range(config.num_hidden_layers):
            self._outputs.append(self._layer(self._outputs[-1], i))

    def _layer(self, x, i):
        x = dropout(x, self._config.get('hidden_dropout_prob', 0.0), self._training)
        forward = self._lstm(x, 2 * i, f'lstm_{i}_forward')
        backward = self._turn(self._lstm(self._turn(x), 2 * i + 1, f'lstm_{i}_backward'))
        return paddle.concat([forward, backward], axis=-1)

    def _lstm(self, x, number, name):
        """The outputs of an LSTM over x [B, T, W]: [B, T, H / 2]. number: another one for each."""
        shapes, half = self.shapes(self._config), self._config.hidden_size // 2
        std = {'w_0': graph.truncated_normal(_START), 'b_0': graph.constant(0)}
        names = [(f'{name}_{part}.{end}', end) for end in std for part in ('in', 'state')]  # matrices, then biases
        weights = [graph.parameter(full, list(shapes[full]), std[end]) for full, end in names]
        zeros = paddle.zeros([1, 1, half]).expand([1, paddle.shape(x)[0], half])
        # Each has a state of its own: two equal constants would become one, and be freed after the first.
        state, sizes = paddle.full([1], number, 'uint8'), (x.shape[-1], half, 1)
        inputs = x.transpose([1, 0, 2]), [zeros, zeros], weights, None, state
        out, *_ = paddle._C_ops.rnn(*inputs, 0.0, False, *sizes, 'LSTM', 0, False)
        return out.transpose([1, 0, 2])

    @property
    def embedding_output(self):
        return self._outputs[0]

    @property
    def layer_outputs(self):
        return self._outputs[1:]

    def get_pooled_output(self):
        largest = largest_of_words(self._outputs[-1], self._mask)
        return paddle.tanh(linear(largest, 'middle_fc', self._config.hidden_size, self._config.initializer_range))
