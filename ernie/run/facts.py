"""What a user may want to know of a model and of what a training has left on the disk: pairs (key, text)."""

import json
import math
import os

from ernie.checkpoint.names import is_training_state
from ernie.zoo.encoders import ORIGIN
from propeller.train.checkpoint import STATE


def model_pairs(source):
    """[('model', name, size, where from)] of a `Source`; random values where it has no folder."""
    config = source.config
    layers = f'{config.num_hidden_layers} layers' if 'num_hidden_layers' in config else config.encoder
    if source.tensors is None:
        return [('model', f'random values, {layers}')]
    count = sum(math.prod(source.tensors.shape(n)) for n in source.tensors if not is_training_state(n))
    return [('model', f'{_name(source)}, {layers}, {_shown_count(count)} parameters{_from(source)}')]


def _name(source):
    """The name of a model, or the folder; of a checkpoint of ours the folder, with the model that it began as."""
    name, vocabulary = source.origin.get('name'), source.origin.get('vocabulary')
    known = f'{name} (vocabulary {vocabulary})' if name and vocabulary else name
    if not known:
        return source.path
    return f'{source.path} (began as {known})' if os.path.isfile(os.path.join(source.folder, STATE)) else known


def _from(source):
    origin = source.origin
    if not origin.get('source'):
        return ''
    revision = f', revision {str(origin["revision"])[:12]}' if origin.get('revision') else ''
    return f', from {origin["source"]}{revision}'


def _shown_count(count):
    return f'{count / 1e6:.1f} M' if count >= 1e5 else f'{count:,}'


def origin_files(origin):
    """What a checkpoint has of where its model came from: dict file name -> bytes. origin: of `ernie.zoo.Found`."""
    return {ORIGIN: (json.dumps(origin, indent=2, ensure_ascii=False) + '\n').encode()} if origin else {}


def size_pairs(root, best=None):
    """[('size', text)] of the folder of a training. best: folder of its best checkpoint, or None."""
    whole = shown_size(folder_size(root))
    text = f'{best} {shown_size(folder_size(best))}, the whole run {whole}' if best else f'{root} {whole}'
    return [('size', text)]


def folder_size(folder):
    """Bytes of the files in a folder and below it; links count as nothing, but for the folder itself."""
    total = 0
    for place, _, names in os.walk(os.path.realpath(folder)):
        for name in names:
            path = os.path.join(place, name)
            total += 0 if os.path.islink(path) or not os.path.exists(path) else os.path.getsize(path)
    return total


def shown_size(count):
    """Bytes as text: `43 MB`."""
    for unit, size in (('GB', 1e9), ('MB', 1e6), ('kB', 1e3)):
        if count >= size:
            return f'{count / size:.1f} {unit}' if count < 10 * size else f'{count / size:.0f} {unit}'
    return f'{count} bytes'
