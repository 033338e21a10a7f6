"""An encoder whose vectors are known: they are fed, not computed. Shapes: B batch, H hidden."""

from ernie.model.encoders import Encoder
from propeller import graph


def vector_feed(config):
    """The input that stands for those of `ernie.model.task_model.encoder_feeds`. config: `ErnieConfig`."""
    return graph.Feed('vectors', (-1, config.hidden_size), 'float32')


class KnownVectors(Encoder):
    """Gives the pooled output that it was given, and has the encoder's parameters, to be saved with the head.

    Args:
        features: list of values, the vectors float32 [B, H] first.
        parameters: dict name -> (shape, initialiser) of the encoder's parameters, in the order in which it makes them:
            what is random after them then begins as it does beside the encoder itself. {}: none are needed.
    """

    def __init__(self, features, parameters):
        self._vectors = features[0]
        for name, (shape, initializer) in parameters.items():
            graph.parameter(name, shape, initializer)

    @classmethod
    def shapes(cls, config):
        raise NotImplementedError

    @property
    def embedding_output(self):
        raise NotImplementedError

    @property
    def layer_outputs(self):
        raise NotImplementedError

    def get_pooled_output(self):
        return self._vectors
