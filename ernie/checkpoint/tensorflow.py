"""Models of Google's BERT in checkpoints of TensorFlow: which network it is, and what its configuration says."""

import json
import os
import re

from ernie.checkpoint.huggingface_config import from_huggingface
from ernie.checkpoint.huggingface_labels import from_huggingface as from_huggingface_labels
from ernie.checkpoint.names import TENSORFLOW_WORDS
from ernie.checkpoint.sizes import sizes_of
from ernie.config import ErnieConfig
from ernie.tasks import table
from propeller.errors import bad_input
from propeller.inputs import read_json_object

SOURCE = 'tensorflow'
BERT_CONFIG = 'bert_config.json'
_CONFIGS = re.compile(r'bert_config\w*\.json')  # of small models the number of layers stands in the name
# What only transformers writes: there `gelu` is the exact form, and the epsilon is said.
_HUGGINGFACE_KEYS = ('layer_norm_eps', 'model_type', 'architectures', 'transformers_version')
_LAYER_NORM_EPS = 1e-12  # of tf.contrib.layers.layer_norm, which no file says
_ACTIVATIONS = {'gelu': 'gelu_new'}
_HEADS = 'num_attention_heads'
_WIDTH = 64  # of a head, in all models of Google
# A part of a name that only one network has, and that network.
_OTHERS = {
    '.ATTRIBUTES/': 'objects of TensorFlow 2 or Keras, named by the attributes of a program',
    '/inner_group_': 'an ALBERT model, whose layers share their parameters',
    'electra/': 'an ELECTRA model',
    'discriminator_predictions/': 'an ELECTRA model',
    '/bottleneck/': 'a MobileBERT model',
    'model/transformer/': 'an XLNet model',
    'model/h0/': 'a GPT-2 model',
}
_EXPECTED = f'the network and the names of google-research/bert ({TENSORFLOW_WORDS} ...)'
_SHOWN = 5


def check_network(tensors):
    """Refuse by name a network that ours is not. tensors: `TensorflowCheckpoint`.

    Raises: UserError: names the network, or the first tensors where nobody knows it.
    """
    names = [*tensors, *tensors.ignored]
    for part, network in _OTHERS.items():
        if any(part in name for name in names):
            raise bad_input(tensors.path, network, _EXPECTED)
    if TENSORFLOW_WORDS not in tensors:
        shown = ', '.join(names[:_SHOWN]) + (', ...' if len(names) > _SHOWN else '')
        raise bad_input(tensors.path, f'{len(names)} tensors without word embeddings ({shown})', _EXPECTED)


def find_config(folder):
    """The path of Google's configuration in a folder: `bert_config.json`, else the only one of a like name; or None."""
    names = [name for name in sorted(os.listdir(folder)) if _CONFIGS.fullmatch(name)]
    if BERT_CONFIG in names:
        names = [BERT_CONFIG]
    return os.path.join(folder, names[0]) if len(names) == 1 else None


def config_of(model, path):
    """What a configuration file says of a model, in the words of `ernie_config.json`.

    What Google's does not say is added: the epsilon, the form of gelu; sizes that it leaves out are the tensors'.

    Args:
        model: `ernie.checkpoint.Model` from a checkpoint of TensorFlow.
        path: a file of Google's, of Hugging Face's or of ours; None: there is none.

    Returns:
        (dict, ''), or (None, a sentence that says what nobody knows).

    Raises:
        UserError: the file is broken, or of a network that ours is not.
    """
    values = read_json_object(path, 'the configuration of a BERT model: a JSON object') if path else {}
    if any(key in values for key in _HUGGINGFACE_KEYS):
        ours = 'layer_norm_eps' in values and not any(key in values for key in _HUGGINGFACE_KEYS[1:])
        return (ErnieConfig(path).to_dict() if ours else from_huggingface(values, path)), ''
    if values.get(_HEADS) is None:
        return None, _unknown_heads(model, path)
    values = {**sizes_of(model), **{key: value for key, value in values.items() if value is not None}}
    act = values.get('hidden_act', 'gelu')
    values['hidden_act'] = _ACTIVATIONS.get(act, act) if isinstance(act, str) else act
    return from_huggingface(values, path, layer_norm_eps=_LAYER_NORM_EPS), ''


def _unknown_heads(model, path):
    found = f'{path} without {_HEADS}' if path else f'no {BERT_CONFIG} beside it'
    hidden = model.shape('word_embedding')[-1]
    usual = f' (in all models of Google hidden_size / {_WIDTH}: {hidden // _WIDTH})' if hidden % _WIDTH == 0 else ''
    line = json.dumps({_HEADS: 'N'}).replace('"N"', 'N')
    advice = f'Write {line} into {os.path.join(model.folder, BERT_CONFIG)}; all other sizes are in the tensors.'
    expected = f'the number of attention heads, which no tensor says{usual}'
    return str(bad_input(model.path, found, expected, advice=advice))


def head_labels(model, config):
    """What `labels.json` says of the head of a task: classes by their numbers, as these checkpoints have no names.

    Args:
        model: `ernie.checkpoint.Model`.
        config: its `ErnieConfig`.

    Returns:
        dict; {} for a model of another format, or without a head.
    """
    task = table.with_head(model) if model.source == SOURCE else None
    if task is None:
        return {}
    values = {'max_position_embeddings': config.max_position_embeddings, 'num_labels': model.shape(task.head[0])[1]}
    return from_huggingface_labels(values, model.path, f'Bert{task.huggingface[0]}')
