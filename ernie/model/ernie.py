"""The ERNIE model: embeddings, encoder, pooled output, masked-LM output. One definition for all programs.

Parameter names and shapes are those of the released checkpoints. Shapes: B batch, T length, H hidden, V vocabulary,
N masked tokens in the batch.
"""

from ernie.config import REQUIRED, SENTENCE_TYPES
from ernie.model.encoders import LAYERS, POOLED, READ, TOKENS, Encoder
from ernie.model.transformer_encoder import (
    attention_projections,
    encoder,
    last_layer,
    last_layer_of_firsts,
    linear,
    norm_parameters,
)
from propeller import graph, ops
from propeller.graph import F, paddle

# The score of no word: exp of it is 0 in float32, and float16 has it.
NO_WORD = -10000.0
# Matrix products of half precision are fast on a GPU when the sizes are multiples of this.
ALIGNED = 8


class ErnieModel(Encoder):
    """Builds the encoder into the current program.

    Args:
        src_ids, position_ids, sentence_ids: int64 [B, T] (or [B, T, 1], the layout of 2019).
        task_ids: int64 like the others; only read when the configuration has `use_task_id`. May be None otherwise.
        input_mask: float32 like the others, 1 for tokens and 0 for padding.
        config: `ErnieConfig`.
        training: whether dropout is on.
        weight_sharing: whether the masked-LM output reuses the word table.
        read: `LAYERS`: all layers are computed for all tokens. `TOKENS`: the last one for those alone that the pooled
            output and `get_tokens` read, for each anew, and its output as a whole is not to be had. `POOLED`: the last
            one for the first tokens, and only the pooled output is to be had.

    What is computed on padding means nothing; fused operators do not compute it at all (see `propeller.ops.tokens`).
    """

    required, required_one_of = REQUIRED, SENTENCE_TYPES

    @classmethod
    def shapes(cls, config):
        hidden, inner = config.hidden_size, config.intermediate_size
        shapes = {
            'word_embedding': (config.vocab_size, hidden),
            'pos_embedding': (config.max_position_embeddings, hidden),
            'sent_embedding': (config.sentence_types, hidden),
        }
        if config.use_task_id:
            shapes['task_embedding'] = (config.task_type_vocab_size, hidden)

        def linear(name, rows, columns):
            shapes[f'{name}.w_0'], shapes[f'{name}.b_0'] = (rows, columns), (columns,)

        def norm(name):
            shapes[f'{name}_layer_norm_scale'] = shapes[f'{name}_layer_norm_bias'] = (hidden,)

        norm('pre_encoder')
        for i in range(config.num_hidden_layers):
            layer = f'encoder_layer_{i}'
            for part in ('query', 'key', 'value', 'output'):
                linear(f'{layer}_multi_head_att_{part}_fc', hidden, hidden)
            norm(f'{layer}_post_att')
            linear(f'{layer}_ffn_fc_0', hidden, inner)
            linear(f'{layer}_ffn_fc_1', inner, hidden)
            norm(f'{layer}_post_ffn')
        linear('pooled_fc', hidden, hidden)
        return shapes

    def __init__(
        self,
        src_ids,
        position_ids,
        sentence_ids,
        task_ids,
        input_mask,
        config,
        training=False,
        weight_sharing=True,
        read=LAYERS,
    ):
        if read not in READ:
            raise ValueError(f'ErnieModel: read is {read!r}, expected {", ".join(READ)}.')
        self.config, self.training, self.weight_sharing = config, training, weight_sharing
        self._pooled = None
        tables = [
            ('word_embedding', src_ids, config.vocab_size),
            ('pos_embedding', position_ids, config.max_position_embeddings),
            ('sent_embedding', sentence_ids, config.sentence_types),
        ]
        if config.use_task_id:
            tables.append(('task_embedding', task_ids, config.task_type_vocab_size))
        self._layout = ops.token_layout(_two_axes(input_mask))
        rows = [self._table(name, size) for name, _, size in tables]
        ids = [self._layout.pack_ids(own) for _, own, _ in tables]
        if training:  # a batch has few of the words
            rows[0], ids[0] = ops.used_rows(rows[0], ids[0])
        embedded = ops.embedding_norm(
            rows,
            ids,
            *norm_parameters('pre_encoder', config.hidden_size),
            config.layer_norm_eps,
            config.hidden_dropout_prob if training else 0.0,
        )
        self._read = read if config.num_hidden_layers else LAYERS
        layers = config.num_hidden_layers - (self._read != LAYERS)
        self._packed = [embedded, *encoder(embedded, self._layout, config, training, layers)]
        if self._read != LAYERS:
            of_last = last_layer if self._read == TOKENS else last_layer_of_firsts
            self._last = of_last(self._packed[-1], self._layout, config, training)
        self._padded = {}

    @property
    def embedding_output(self):
        """What the first layer reads: float32 [B, T, H]."""
        return self._unpacked(0)

    @property
    def layer_outputs(self):
        """Outputs of all layers: list of float32 [B, T, H]."""
        self._check_whole()
        return [self._unpacked(i) for i in range(1, len(self._packed))]

    def _check_whole(self):
        if self._read != LAYERS:
            raise ValueError(
                f'ErnieModel: found read={self._read!r}, expected {LAYERS!r} where outputs of whole layers are read.'
            )

    def _unpacked(self, i):
        if i not in self._padded:
            self._padded[i] = self._layout.unpack(self._packed[i])
        return self._padded[i]

    def _table(self, name, rows):
        return graph.parameter(
            name, [rows, self.config.hidden_size], graph.truncated_normal(self.config.initializer_range)
        )

    def get_sequence_output(self, layer=-1):
        """Output of a layer (default the last): float32 [B, T, H]."""
        self._check_whole()
        return self._unpacked(range(1, len(self._packed))[layer])

    def get_projections(self, layer):
        """Queries, keys and values of a layer (from 1), each float32 [B, T, H], its heads side by side.

        They are computed from what the layer reads, so that those of the layer above the last one can be had too.
        """
        name = f'encoder_layer_{layer - 1}_multi_head_att'
        side_by_side = attention_projections(self._packed[layer - 1], self.config, name)
        return paddle.split(graph.float32(self._layout.unpack(side_by_side)), 3, axis=-1)

    def get_pooled_output(self):
        """tanh of a linear layer over the first token: float32 [B, H]. Its parameters exist only if this is called."""
        if self._pooled is None:
            first = self._last if self._read == POOLED else self._of_last(self._layout.firsts)
            self._pooled = paddle.tanh(
                linear(first, 'pooled_fc', self.config.hidden_size, self.config.initializer_range)
            )
        return self._pooled

    def get_tokens(self, positions):
        """Outputs of some tokens: float32 [N, H]. positions: int, [N] or [N, 1], indices into the B*T positions."""
        return self._of_last(lambda x: self._layout.rows(x, positions))

    def _of_last(self, take):
        """Some tokens of the last layer's output. take: function of a value for all tokens."""
        if self._read == POOLED:
            raise ValueError(f'ErnieModel: found read={POOLED!r}, expected {TOKENS!r} where some tokens are read.')
        return take(self._packed[-1]) if self._read == LAYERS else self._last(take)

    def get_lm_logits(self, mask_pos):
        """Scores of the vocabulary for the tokens at `mask_pos`, see `get_tokens`.

        Returns float32 [N, V'], V' being V, or in the plain form V rounded up to a multiple of `ALIGNED`: what is added
        scores `NO_WORD`.
        """
        config = self.config
        width, std = config.hidden_size, config.initializer_range
        hidden = linear(self.get_tokens(mask_pos), 'mask_lm_trans_fc', width, std, config.hidden_act)
        hidden = ops.layer_norm(hidden, *norm_parameters('mask_lm_trans', width), config.layer_norm_eps)
        bias = graph.parameter('mask_lm_out_fc.b_0', [config.vocab_size], graph.constant(0))
        added = 0 if ops.enabled() else -config.vocab_size % ALIGNED  # fused products take any size
        if added:
            bias = paddle.concat([bias, paddle.full([added], NO_WORD)])
        if self.weight_sharing:
            words = self._table('word_embedding', config.vocab_size)
            if added:
                words = paddle.concat([words, paddle.zeros([added, config.hidden_size])])
            return graph.float32(ops.linear(hidden, words, bias, transposed=True))
        init = graph.truncated_normal(config.initializer_range)
        weight = graph.parameter('mask_lm_out_fc.w_0', [config.hidden_size, config.vocab_size], init)
        if added:
            weight = paddle.concat([weight, paddle.zeros([config.hidden_size, added])], axis=1)
        return graph.float32(ops.linear(hidden, weight, bias))

    def get_lm_output(self, mask_label, mask_pos):
        """Mean masked-LM loss, a scalar. mask_label: int64 [N] or [N, 1], the true ids of the tokens at `mask_pos`."""
        losses, _ = ops.softmax_cross_entropy(self.get_lm_logits(mask_pos), mask_label.reshape([-1]))
        return losses.mean()

    def get_task_logits(self, x, head, num_classes):
        """A linear layer over x [..., H] -> float32 [..., num_classes], parameters `{head}.w_0` and `{head}.b_0`."""
        return graph.float32(linear(x, head, num_classes, self.config.initializer_range))

    def get_task_output(self, task, task_labels):
        """Loss and accuracy, both scalars, of a sentence-level task.

        task: dict with `task_name` (str) and `num_labels` (int); parameters are `{task_name}_fc.{w,b}_0`.
        task_labels: int64 [B] or [B, 1].
        """
        logits = self.get_task_logits(self.get_pooled_output(), f'{task["task_name"]}_fc', task['num_labels'])
        labels = task_labels.reshape([-1])
        accuracy = (logits.argmax(-1) == labels).astype('float32').mean()
        return F.cross_entropy(logits, labels), accuracy

    def get_next_sentence_output(self, labels):
        """Loss and accuracy of the two-class next-sentence task (`next_sent_fc`). labels: int64 [B] or [B, 1]."""
        return self.get_task_output({'task_name': 'next_sent', 'num_labels': 2}, labels)


def _two_axes(x):
    return x.squeeze(-1) if len(x.shape) == 3 else x
