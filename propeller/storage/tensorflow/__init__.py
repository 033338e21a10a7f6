"""Checkpoints of TensorFlow, read without TensorFlow: format V2 (`NAME.index` and `NAME.data-00000-of-00001`)."""

from propeller.storage.tensorflow.checkpoint import TensorflowCheckpoint
from propeller.storage.tensorflow.finding import (
    STATE,
    files_of,
    holds_checkpoint,
    is_part,
    is_prefix,
    nearest_prefix,
    place_in,
    prefix_of,
    prefixes_in,
    refuse_v1,
)

__all__ = [
    'STATE',
    'TensorflowCheckpoint',
    'files_of',
    'holds_checkpoint',
    'is_part',
    'is_prefix',
    'nearest_prefix',
    'place_in',
    'prefix_of',
    'prefixes_in',
    'refuse_v1',
]
