"""Which folder is meant: a model itself, the folder of a training, of which the best checkpoint counts, or a name."""

import itertools
import os
from pkgutil import resolve_name

from ernie.checkpoint.model_folder import PARAMETERS
from ernie.run.exported import INFERENCE
from propeller.errors import bad_input, did_you_mean, quoted
from propeller.log import get_logger
from propeller.storage import is_there
from propeller.storage.tensorflow import holds_checkpoint, nearest_prefix
from propeller.train.checkpoint import BEST, Checkpoints

log = get_logger(__name__)

EXPECTED = 'a checkpoint, an exported model, or the folder of a training'
_TENSORS = ('.safetensors', '.safetensors.index.json', '.pdparams', '.pdiparams', '.onnx', '.bin')
_OF_2019 = 'word_embedding', 'embedding_para'  # files of variables; the second is that of ELMo
_DEEPEST, _MOST_FOLDERS, _SHOWN = 3, 2000, 4


def find_model(path):
    """The path of the model that a user means.

    Args:
        path: a model; the folder of a training (`--checkpoints`): its `best`, else its newest checkpoint; or a name
            that `ernie.zoo.resolve` knows.
    Raises:
        UserError: there is nothing of the kind; the text names models near by.
    """
    path = os.fspath(path)
    if os.path.isdir(path) and not holds_model(path):
        return _of_run(path)
    near = '' if is_there(path) else _nearest(path)
    found = path if near or is_there(path) else resolve_name('ernie.zoo:resolve')(path)
    if not is_there(found):
        raise bad_input(path, 'no such folder', EXPECTED, advice=near.strip())
    return found


def holds_model(folder):
    """Whether the files of a model lie in a folder."""
    names = _names(folder)
    if any(name.endswith(_TENSORS) for name in names) or not names.isdisjoint((INFERENCE, *_OF_2019)):
        return True
    return holds_checkpoint(names) or PARAMETERS in names and os.path.isdir(os.path.join(folder, PARAMETERS))


def checkpoint_of(folder):
    """The checkpoint in the folder of a training that counts: `best`, else the newest; None where there is none."""
    steps = [os.path.join(folder, name) for name in reversed(Checkpoints(folder).folders().values())]
    return next((place for place in (os.path.join(folder, BEST), *steps) if holds_model(place)), None)


def _of_run(folder):
    found = checkpoint_of(folder)
    if found:
        log.info('model: %s', found)
        return found
    models = list(itertools.islice(models_below(folder), _SHOWN + 1))
    if not models and any(os.path.isfile(os.path.join(folder, name)) for name in _names(folder)):
        return folder  # who opens it says what is wrong
    if not models:
        raise bad_input(folder, 'a folder without a model', EXPECTED)
    more = ' ...' if len(models) > _SHOWN else ''
    what = 'a folder without a model' + (', with others below it' if len(models) > 1 else '')
    advice = f'Models below it: {", ".join(models[:_SHOWN])}{more}'
    raise bad_input(folder, what, EXPECTED, advice=advice if more else f'{advice}.')


def models_below(folder):
    """Yields the folders of trainings and of models below a folder, not deep, in the order of their names."""
    pending, looked = [(folder, 0)], 0
    while pending and looked < _MOST_FOLDERS:
        place, depth = pending.pop(0)
        for name in sorted(_names(place)):
            inner = os.path.join(place, name)
            if name.startswith('.') or os.path.islink(inner) or not os.path.isdir(inner):
                continue
            looked += 1
            if holds_model(inner) or checkpoint_of(inner):
                yield inner
            elif depth + 1 < _DEEPEST:
                pending.append((inner, depth + 1))


def _names(folder):
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def _nearest(path):
    parent, name = os.path.split(path.rstrip('/'))
    near = did_you_mean(name, [n for n in _names(parent or '.') if os.path.isdir(os.path.join(parent, n))])
    if not near and (prefix := nearest_prefix(path)):
        return prefix
    if not near and parent and not os.path.isdir(parent):
        return f' There is no folder {quoted(parent)} either.'
    return near.replace('mean ', f'mean {parent}/') if near and parent else near
