"""The graph that gives vectors of texts, pooled inside, for exports. Shapes: B batch, T length, H hidden."""

import contextlib

from ernie.checkpoint import backbone_shapes
from ernie.config import ErnieConfig
from ernie.inference.embedding import check_pooled
from ernie.inference.export import load_parameters, reading_all
from ernie.inference.vectors import NO_POOLING
from ernie.model.encoders import build_encoder
from ernie.model.task_model import encoder_feeds
from propeller.session import Session

_FAR_BELOW = 1e9


class VectorGraph:
    """The encoder of a model up to the layer that is wanted, with its parameters, on the processor.

    Args:
        folder: `ernie.inference.vectors.VectorFolder` of a model that is not exported.
        packing, tensors: see `ernie.inference.export.Graph`.
    Attributes:
        session, program, inputs, outputs: as `ernie.inference.export.Graph` has them. The output is float32 [B, H];
            without pooling [B, T, H].
    Raises:
        UserError: the model does not have the parameters.
    """

    def __init__(self, folder, packing=None, tensors=None):
        config, pooling, layer = folder.config, folder.pooling, folder.layer
        layers = config.num_hidden_layers if pooling == 'pooled' else max(layer, 1)
        built = ErnieConfig({**config.to_dict(), 'num_hidden_layers': layers})
        tensors = tensors or folder.tensors
        check_pooled(tensors, pooling)
        self.session = Session(False, seed=0)
        self.packing = packing  # its weights live as long

        def build(*features):
            model = build_encoder(features, built)
            if pooling == 'pooled':
                return list(features), reading_all(features, [model.get_pooled_output()])
            tokens = model.get_sequence_output(layer - 1) if layer else model.embedding_output
            return list(features), reading_all(features, [pooled(tokens, features[3], pooling)])

        with packing or contextlib.nullcontext():
            self.program = self.session.build(encoder_feeds(built), build, portable=True)
        self.inputs, self.outputs = self.program.outputs
        # Layers above the one that is wanted need no mention.
        load_parameters(self, tensors, packing, allow_unused=[*backbone_shapes(config)])

    def run(self, arrays):
        """Outputs for one batch."""
        return self.session.run(self.program, arrays, self.outputs)

    def shapes(self):
        """Shape of each output, -1 for sizes that vary."""
        return [tuple(int(size) for size in value.shape) for value in self.outputs]


def pooled(tokens, mask, pooling):
    """`ernie.inference.pooling.pool` inside a graph. tokens: [B, T, H]. mask: float32 [B, T]."""
    if pooling == NO_POOLING:
        return tokens
    if pooling == 'cls':
        return tokens[:, 0]
    mask = mask.unsqueeze(-1)
    if pooling == 'mean':
        return (tokens * mask).sum(1) / mask.sum(1)
    return (tokens + (mask - 1.0) * _FAR_BELOW).max(1)
