"""A folder of ELMo as Baidu's program of 2019 left it: a file for each variable, and no configuration."""

import re

from propeller.errors import bad_input

VOCABULARY = 'vocabulary_min5k.txt'  # of Baidu's
_TABLE = 'embedding_para'
_GATE = re.compile(r'fw_layer([0-9]{1,4})_gate_w')
_PLACES = {'vocab_size': (_TABLE, 0), 'emb_size': (_TABLE, 1), 'cell_size': ('lstmp_0.w_1', 0)}
# What the files do not say, as in Baidu's program. The dropout is that of its fine-tuning.
_FIXED = {'encoder': 'elmo', 'cell_clip': 3.0, 'state_clip': 3.0, 'hidden_dropout_prob': 0.5}
_FIXED |= {'initializer_range': 0.05, 'max_position_embeddings': 512}


def is_elmo(tensors):
    """Whether these are the variables of an ELMo. tensors: mapping by their names."""
    return _TABLE in tensors and any(map(_GATE.fullmatch, tensors))


def elmo_config(tensors):
    """The content of an `ernie_config.json` by the sizes of the variables; None where they are not those of an ELMo.

    Raises:
        UserError: they are, but one is missing or has another number of axes.
    """
    if not is_elmo(tensors):
        return None
    layers = [int(match[1]) for match in map(_GATE.fullmatch, tensors) if match]
    sizes = {key: _size(tensors, name, axis) for key, (name, axis) in _PLACES.items()}
    hidden = 2 * _size(tensors, 'lstmp_0.w_1', 1)
    return {**_FIXED, **sizes, 'hidden_size': hidden, 'num_hidden_layers': max(layers)}


def _size(tensors, name, axis):
    shape = tensors.shape(name) if name in tensors else None
    if shape is None or len(shape) != 2:
        found = f'no {name}' if shape is None else f'{name} of shape {list(shape)}'
        raise bad_input(tensors.path, found, f'the matrix {name} of an ELMo')
    return shape[axis]
