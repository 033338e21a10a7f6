"""Every parser of outside data, for `benchmark.hostile_inputs`: PARSERS, name -> `registry.Parser`."""

from benchmark.outside import caches, data, models, pretraining, training
from benchmark.outside.models import PADDLE_MODEL
from benchmark.outside.registry import PARSERS, write

__all__ = ['PADDLE_MODEL', 'PARSERS', 'caches', 'data', 'models', 'pretraining', 'training', 'write']
