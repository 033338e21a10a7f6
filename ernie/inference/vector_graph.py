"""The graph that gives vectors of texts, pooled inside, for exports. Shapes: B batch, T length, H hidden."""

from ernie.checkpoint import backbone_shapes, match_parameters
from ernie.config import ErnieConfig
from ernie.inference.embedding import check_pooled
from ernie.inference.export import reading_all
from ernie.inference.vectors import NO_POOLING
from ernie.model.encoders import build_encoder
from ernie.model.task_model import encoder_feeds
from propeller.session import Session
from propeller.storage.values import load_values

_FAR_BELOW = 1e9


class VectorGraph:
    """The encoder of a model up to the layer that is wanted, with its parameters, on the processor.

    Args:
        folder: `ernie.inference.vectors.VectorFolder` of a model that is not exported.
    Attributes:
        session, program, inputs, outputs: as `ernie.inference.export.Graph` has them. The output is float32 [B, H];
            without pooling [B, T, H].
    Raises:
        UserError: the model does not have the parameters.
    """

    def __init__(self, folder):
        config, pooling, layer = folder.config, folder.pooling, folder.layer
        layers = config.num_hidden_layers if pooling == 'pooled' else max(layer, 1)
        built = ErnieConfig({**config.to_dict(), 'num_hidden_layers': layers})
        check_pooled(folder.tensors, pooling)
        self.session = Session(False, seed=0)

        def build(*features):
            model = build_encoder(features, built)
            if pooling == 'pooled':
                return list(features), reading_all(features, [model.get_pooled_output()])
            tokens = [model.embedding_output, *model.layer_outputs][layer]
            return list(features), reading_all(features, [pooled(tokens, features[3], pooling)])

        self.program = self.session.build(encoder_feeds(built), build, portable=True)
        self.inputs, self.outputs = self.program.outputs
        known = backbone_shapes(config)  # layers above the one that is wanted need no mention
        match = match_parameters(self.program.parameters(), folder.tensors, allow_unused=[*known])
        self.session.initialize(self.program)
        load_values(self.session, match.load, folder.tensors)

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
