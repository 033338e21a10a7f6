"""Every parser of outside data, for `benchmark.acceptance.hostile_inputs`: PARSERS, name -> `registry.Parser`."""

from benchmark.acceptance.outside import (
    caches,
    columns,
    data,
    data_sets,
    models,
    pretraining,
    published,
    reports,
    services,
    tensorflow_files,
    training,
)
from benchmark.acceptance.outside.models import PADDLE_MODEL
from benchmark.acceptance.outside.registry import PARSERS, write

__all__ = [
    'PADDLE_MODEL',
    'PARSERS',
    'caches',
    'columns',
    'data',
    'data_sets',
    'models',
    'pretraining',
    'published',
    'reports',
    'services',
    'tensorflow_files',
    'training',
    'write',
]
