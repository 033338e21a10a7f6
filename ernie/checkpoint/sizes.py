"""Sizes in a model configuration held against the tensors, or the memory, before anything of that size is made."""

import math
import os
import re

from ernie.config import ErnieConfig
from ernie.model.encoders import backbone_shapes
from propeller.errors import bad_input

_LAYER = re.compile(r'encoder_layer_(\d{1,6})_')
# Where the file's own size of a key stands: tensor and dimension.
_PLACES = {
    'vocab_size': ('word_embedding', 0),
    'hidden_size': ('word_embedding', 1),
    'max_position_embeddings': ('pos_embedding', 0),
    'sent_type_vocab_size': ('sent_embedding', 0),
    'type_vocab_size': ('sent_embedding', 0),
    'task_type_vocab_size': ('task_embedding', 0),
    'intermediate_size': ('encoder_layer_0_ffn_fc_0.w_0', 1),
}
# A configuration of so many times the file's bytes is none of it; new heads and tables stay far below.
_TIMES, _MARGIN = 4, 1 << 30
_FLOAT = 4


def parameter_count(config):
    """Parameters of the encoder of an `ErnieConfig`, the pooled output's included."""
    return sum(map(math.prod, backbone_shapes(config).values()))


def check_sizes(config, tensors=None, memory=None):
    """Refuse a configuration that is larger than its file by far, or without a file, than the memory.

    What differs less is for the strict comparison of parameters to say, tensor by tensor.

    Args:
        config: `ErnieConfig`.
        tensors: `ernie.checkpoint.Model`; None where training starts from random values.
        memory: bytes of this machine; None asks it.
    Raises:
        UserError: names the size at fault and what the file has, or the memory that it would take.
    """
    need = _FLOAT * parameter_count(config)
    origin = config.origin
    if tensors is None:
        memory = memory or _memory()
        if need > memory:
            found = f'sizes that take {_gigabytes(need)} of memory for the parameters alone'
            raise bad_input(origin, found, f'at most {_gigabytes(memory)}, all that this machine has')
        return
    have = sum(_FLOAT * math.prod(tensors.shape(name)) for name in tensors)
    if need <= _TIMES * have + _MARGIN:
        return
    path = tensors.path if origin == ErnieConfig.NO_FILE else origin
    for key, found in sizes_of(tensors).items():
        if config.get(key) is not None and config[key] > found:
            raise bad_input(path, f'{key} = {config[key]}', f'{found}, as in the tensors of {tensors.path}')
    found = f'sizes that take {_gigabytes(need)}'
    raise bad_input(path, found, f'about {_gigabytes(have)}, as in the tensors of {tensors.path}')


def sizes_of(tensors):
    """What the file says of each size, where it says something."""
    layers = [int(match[1]) for name in tensors if (match := _LAYER.match(name))]
    sizes = {'num_hidden_layers': max(layers, default=-1) + 1}
    for key, (name, dim) in _PLACES.items():
        if name in tensors and len(tensors.shape(name)) == 2:
            sizes[key] = tensors.shape(name)[dim]
    return sizes


def _memory():
    try:
        return os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    except (ValueError, OSError):
        return 1 << 40


def _gigabytes(size):
    return f'{size / 1e9:,.1f} GB'
