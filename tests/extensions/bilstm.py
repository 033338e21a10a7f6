"""An encoder: word vectors, bidirectional LSTMs (Hochreiter, Schmidhuber 1997), their mean as pooled output."""

from ernie.model.encoders import Encoder
from ernie.model.transformer_encoder import dropout
from propeller import graph
from propeller.graph import paddle


class BiLstm(Encoder):
    @classmethod
    def faults(cls, config):
        odd = config.hidden_size % 2
        return [(f'hidden_size = {config.hidden_size}', 'an even number: two directions')] if odd else []

    @classmethod
    def shapes(cls, config):
        width, half, shapes = config.hidden_size, config.hidden_size // 2, {}
        shapes['lstm_words'] = (config.vocab_size, width)
        for i in range(config.num_hidden_layers):
            for way in ('forward', 'backward'):
                shapes[f'lstm_{i}_{way}_in_w'] = (4 * half, width)
                shapes[f'lstm_{i}_{way}_state_w'] = (4 * half, half)
                shapes[f'lstm_{i}_{way}_in_b'] = shapes[f'lstm_{i}_{way}_state_b'] = (4 * half,)
        return shapes

    @classmethod
    def owns(cls, name):
        return name.startswith('lstm_')

    def __init__(self, ids, positions, types, task_ids, mask, config, training=False):
        self.mask, std = mask, graph.truncated_normal(config.initializer_range)
        tables = {
            name: graph.parameter(name, list(shape), graph.constant(0) if name.endswith('_b') else std)
            for name, shape in self.shapes(config).items()
        }
        words = paddle.nn.functional.embedding(ids, tables['lstm_words'])
        self.outputs = [dropout(words, config.get('hidden_dropout_prob', 0.0), training)]
        for i in range(config.num_hidden_layers):
            self.outputs.append(self._layer(self.outputs[-1], tables, i, config))

    def _layer(self, x, tables, i, config):
        half = config.hidden_size // 2
        ends = ('in_w', 'state_w', 'in_b', 'state_b')
        weights = [tables[f'lstm_{i}_{way}_{end}'] for way in ('forward', 'backward') for end in ends]
        ordered = [weights[k] for k in (0, 1, 4, 5, 2, 3, 6, 7)]  # all matrices, then all biases
        zeros = paddle.zeros([2, 1, half]).expand([2, paddle.shape(x)[0], half])
        lengths = self.mask.sum(-1).astype('int32')
        # Each layer has a state of its own: two equal constants would become one, and be freed after the first layer.
        state, sizes = paddle.full([1], i, 'uint8'), (x.shape[-1], half, 1)
        inputs = x.transpose([1, 0, 2]), [zeros, zeros], ordered, lengths, state
        out, *_ = paddle._C_ops.rnn(*inputs, 0.0, True, *sizes, 'LSTM', 0, False)
        return out.transpose([1, 0, 2])

    @property
    def embedding_output(self):
        return self.outputs[0]

    @property
    def layer_outputs(self):
        return self.outputs[1:]

    def get_pooled_output(self):
        weights = self.mask.unsqueeze(-1)
        return (self.outputs[-1] * weights).sum(1) / weights.sum(1)
