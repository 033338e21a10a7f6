"""ERNIE's encoder for prediction: one operator with packed weights (`propeller.ops.encoder`), in place of the graph.

Shapes: B batch, T length, H hidden.
"""

import numpy as np

from ernie.model.encoders import ERNIE, Encoder, packed_by
from ernie.model.ernie import ErnieModel
from ernie.model.transformer_encoder import linear
from propeller.errors import UserError
from propeller.graph import paddle
from propeller.ops import EncoderSizes, PackedEncoder
from propeller.storage.values import checked_values

POOLED = 'pooled_fc'


class PackedErnie(Encoder):
    """Gives what `ErnieModel` gives outside training, zeros where that means nothing.

    Args:
        features: as `ernie.model.encoders.build_encoder` takes them.
        config: `ErnieConfig`.
        encoder_of: function: number of layers -> `PackedEncoder`.
    """

    def __init__(self, features, config, encoder_of):
        ids, types, positions, self._mask = features[:4]
        self._ids = [ids, positions, types, *(features[4:5] if config.use_task_id else ())]
        self._config, self._encoder_of, self._outputs = config, encoder_of, {}

    @classmethod
    def shapes(cls, config):
        return ErnieModel.shapes(config)

    def _after(self, layers, firsts=False):
        """What so many layers give: float32 [B, T, H]; with `firsts` that of the first column, [B, H]."""
        if (layers, firsts) not in self._outputs:
            self._outputs[layers, firsts] = self._encoder_of(layers)(self._mask, self._ids, firsts)
        return self._outputs[layers, firsts]

    @property
    def embedding_output(self):
        return self._after(0)

    @property
    def layer_outputs(self):
        return [self._after(i + 1) for i in range(self._config.num_hidden_layers)]

    def get_sequence_output(self, layer=-1):
        return self._after(range(1, self._config.num_hidden_layers + 1)[layer])

    def get_pooled_output(self):
        hidden, std = self._config.hidden_size, self._config.initializer_range
        return paddle.tanh(linear(self._after(self._config.num_hidden_layers, True), POOLED, hidden, std))


class Packing:
    """The weights of a program's encoder. As a context: encoders that are built inside are packed.

    Args:
        precision: of `propeller.ops.encoder.FORMS`.
        threads: of the encoder's products; None: those that the process has.
    """

    def __init__(self, precision, threads=None):
        self._precision, self._threads, self._config, self._encoders = precision, threads, None, {}
        self._context = None

    def __enter__(self):
        self._context = packed_by(self._encoder)
        self._context.__enter__()
        return self

    def __exit__(self, *exception):
        self._context.__exit__(*exception)

    def _encoder(self, features, config):
        if config.encoder != ERNIE:
            raise UserError(
                f'--engine fused: found an encoder of the kind {config.encoder}, expected {ERNIE}. '
                f'Take --engine predictor.'
            )
        self._config = config
        return PackedErnie(features, config, self._encoder_of)

    def _encoder_of(self, layers):
        config = self._config
        if layers not in self._encoders:
            sizes = EncoderSizes(
                tables=4 if config.use_task_id else 3,
                hidden=config.hidden_size,
                inner=config.intermediate_size,
                heads=config.num_attention_heads,
                layers=layers,
                epsilon=config.layer_norm_eps,
                activation=config.hidden_act,
            )
            self._encoders[layers] = PackedEncoder(sizes, self._threads)
        return self._encoders[layers]

    def shapes(self):
        """Shapes of the parameters that the encoders need and the program does not have: dict name -> tuple."""
        return self._shapes(max(self._encoders)) if self._encoders else {}

    def _shapes(self, layers):
        shapes = ErnieModel.shapes(type(self._config)({**self._config.to_dict(), 'num_hidden_layers': max(layers, 1)}))
        unread = (POOLED, *(() if layers else ('encoder_layer_',)))
        return {name: shape for name, shape in shapes.items() if not name.startswith(unread)}

    def load(self, tensors):
        """Take the parameters of `shapes` from a mapping of names to arrays.

        Raises:
            UserError: a value is not finite; no memory.
        """
        for layers, encoder in self._encoders.items():
            names = self._shapes(layers)
            values = checked_values(names, tensors, lambda name: np.dtype(np.float32))
            encoder.pack([array for _, array in values], self._precision)
