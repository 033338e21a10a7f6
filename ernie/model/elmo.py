"""ELMo: two language models over words, one in each direction (Peters et al. 2018; sizes and names of Baidu's, 2019).

B batch, T words, E `emb_size`, C `cell_size`, P states of one direction, H `hidden_size` = 2 P.
"""

import math
from typing import NamedTuple

from ernie.model.bag_of_words import emb_size, emb_size_faults
from ernie.model.encoders import Encoder
from ernie.model.recurrent import Turn, largest_of_words
from ernie.model.transformer_encoder import dropout, linear
from propeller import graph, ops
from propeller.errors import quoted
from propeller.graph import F, paddle

FORWARD, BACKWARD = WAYS = ('fw', 'bw')
TABLE = 'embedding_para'
CLIPS = ('cell_clip', 'state_clip')


class Elmo(Encoder):
    """What tasks read is a learned mix of the layers: gamma (gamma1 layer_1 + gamma2 layer_2 ...) / layers.

    Each layer is an LSTM with a projected state and a residual from the second on; the states of both directions stand
    side by side. Baidu's code of 2019 left the second direction turned around; here both belong to the same word.
    `hidden_dropout_prob` (0 where absent) acts on the mix. `cell_clip` and `state_clip` are 3 where absent; 0: none.
    The argument `layer_dropout` is for pre-training: see `direction`.
    """

    required = (*Encoder.required, 'cell_size')
    begun_by_tasks = ('gamma*', 'middle_fc.*')

    @classmethod
    def faults(cls, config):
        faults = emb_size_faults(config)
        if config.hidden_size % 2:
            faults.append((f'hidden_size = {config.hidden_size}', 'an even number: two directions'))
        if not _is_number(config.cell_size, int) or not 1 <= config.cell_size < 1 << 29:
            faults.append((f'cell_size = {quoted(config.cell_size)}', 'a whole number from 1'))
        for key in CLIPS:
            if not _is_number(config.get(key, 3.0), (int, float)) or not 0 <= config.get(key, 3.0) < math.inf:
                faults.append((f'{key} = {quoted(config.get(key))}', 'a number from 0, which clips nothing'))
        return faults

    @classmethod
    def shapes(cls, config):
        hidden = config.hidden_size
        shapes = {TABLE: (config.vocab_size, emb_size(config))}
        for way in WAYS:
            shapes |= direction_shapes(config, way)
        shapes |= dict.fromkeys(('gamma', *_gammas(config)), (1,))
        return shapes | {'middle_fc.w_0': (hidden, hidden), 'middle_fc.b_0': (hidden,)}

    @classmethod
    def owns(cls, name):
        return name.startswith(('lstmp_', 'middle_fc.', 'fw_layer', 'bw_layer', 'gamma')) or name == TABLE

    def __init__(self, ids, positions, types, task_ids, mask, config, training=False, layer_dropout=0.0):
        self._mask, self._config = mask, config
        turn, self._vectors = Turn(mask), word_vectors(ids, config, training)
        forward, backward = (
            direction(paddle.transpose(x, [1, 0, 2]), way, config, training, dropout_prob=layer_dropout).outputs
            for way, x in zip(WAYS, (self._vectors, turn(self._vectors)), strict=True)
        )
        self._outputs = [
            paddle.concat([f.transpose([1, 0, 2]), turn(b.transpose([1, 0, 2]))], axis=-1)
            for f, b in zip(forward, backward, strict=True)
        ]
        self._mixed = self._mix(training)

    def _mix(self, training):
        """[B, T, H]"""
        one = graph.constant(1)
        weights = [graph.parameter(name, [1], one) for name in _gammas(self._config)]
        total = paddle.add_n([weight * output for weight, output in zip(weights, self._outputs, strict=True)])
        dropped = dropout(total / len(weights), self._config.get('hidden_dropout_prob', 0.0), training)
        return dropped * graph.parameter('gamma', [1], one)

    @property
    def embedding_output(self):
        return self._vectors

    @property
    def layer_outputs(self):
        return self._outputs

    def get_sequence_output(self, layer=-1):
        """The mix; with a layer's number (from 0) that layer: float32 [B, T, H]."""
        return self._mixed if layer == -1 else self._outputs[layer]

    def get_pooled_output(self):
        largest = largest_of_words(self._mixed, self._mask)
        return paddle.tanh(linear(largest, 'middle_fc', self._config.hidden_size, self._config.initializer_range))


class Direction(NamedTuple):
    """One direction over all words.

    Attributes:
        outputs: of each layer, list of float32 [T, B, P].
        states, cells: of each layer after the last word, lists of float32 [B, P] and [B, C].
    """

    outputs: list
    states: list
    cells: list


def word_vectors(ids, config, training):
    """int64 [..., T] -> float32 [..., T, E]"""
    size = [config.vocab_size, emb_size(config)]
    table = graph.parameter(TABLE, size, graph.truncated_normal(config.initializer_range))
    return ops.trained_rows(table, ids) if training else F.embedding(ids, table)


def direction_shapes(config, way):
    """Names and shapes of the parameters of one direction: dict. way: `fw` or `bw`.

    The names are those of Baidu's folders, in which Paddle had counted the LSTMs: those backward follow those forward.
    """
    states, gates, width, shapes = config.hidden_size // 2, 4 * config.cell_size, emb_size(config), {}
    for i in range(config.num_hidden_layers):
        lstm = f'lstmp_{WAYS.index(way) * config.num_hidden_layers + i}'
        shapes[f'{way}_layer{i + 1}_gate_w'] = (width, gates)
        shapes |= {f'{lstm}.w_0': (states, gates), f'{lstm}.w_1': (config.cell_size, states), f'{lstm}.b_0': (1, gates)}
        width = states
    return shapes


def direction(vectors, way, config, training, starts=None, dropout_prob=0.0):
    """The `Direction` over word vectors [T, B, E] in their order.

    Args:
        vectors: float32 value.
        way: `fw` or `bw`: whose parameters.
        config: `ErnieConfig`.
        training: whether gradients are wanted and dropout is on.
        starts: states and cells of each layer before the first word, as a `Direction` has them; None: zeros.
        dropout_prob: before and behind each layer, as in 2019's pre-training.
    """
    named = list(direction_shapes(config, way).items())
    rows, sizes = paddle.shape(vectors)[1], (config.hidden_size // 2, config.cell_size)
    outputs, states, cells = [], [], []
    for i in range(config.num_hidden_layers):
        gate, recurrent, projection, bias = (_parameter(*pair) for pair in named[4 * i : 4 * i + 4])
        inputs = dropout(vectors, dropout_prob, training)
        begin = [starts[0][i], starts[1][i]] if starts else [paddle.zeros([1, n]).expand([rows, n]) for n in sizes]
        gates = ops.linear(inputs, gate, bias.reshape([-1]))
        clips = [float(config.get(key, 3.0)) for key in CLIPS]
        output, cell = ops.lstm(gates, recurrent, projection, *begin, *clips, training=training)
        states.append(output[-1])
        cells.append(cell[-1])
        vectors = dropout(output + inputs if i else output, dropout_prob, training)
        outputs.append(vectors)
    return Direction(outputs, states, cells)


def _parameter(name, shape):
    start = graph.constant(0) if name.endswith('b_0') else graph.truncated_normal(1 / math.sqrt(shape[0]))
    return graph.parameter(name, list(shape), start)


def _gammas(config):
    return [f'gamma{i + 1}' for i in range(config.num_hidden_layers)]


def _is_number(value, types):
    return isinstance(value, types) and not isinstance(value, bool)
