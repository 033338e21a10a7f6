"""Where a model comes from, for people and for the checkpoints that are made of it."""

import json
import os

from ernie.zoo.encoders import ORIGIN
from propeller.train.checkpoint import STATE


def origin_texts(source):
    """(name, place) of the model of a `Source`.

    The name that the model is known by, else that of its folder; of a checkpoint, its folder and what it began as.
    The place is a package, the hub or an address, else the folder, '' where the name says it.
    """
    origin = source.origin
    if not source.path:
        return 'random values', ''
    folder = os.path.basename(os.path.normpath(source.path))
    if not origin.get('name'):
        return folder, '' if folder == source.path else source.path
    name = f'{origin["name"]} (vocabulary {origin["vocabulary"]})' if origin.get('vocabulary') else origin['name']
    if os.path.isfile(os.path.join(source.folder, STATE)):
        return f'{folder}, which began as {name}', source.path
    revision = f', revision {str(origin["revision"])[:12]}' if origin.get('revision') else ''
    return name, f'{origin.get("source", source.path)}{revision}'


def origin_line(source):
    """A line for run.yaml."""
    name, place = origin_texts(source)
    digest = f', SHA-256 {source.origin["sha256"]}' if source.origin.get('sha256') else ''
    return f'Model: {name}{", from " if place else ""}{place}{digest}'


def origin_files(origin):
    """What a checkpoint has of where its model came from: dict file name -> bytes. origin: of `ernie.zoo.Found`."""
    return {ORIGIN: (json.dumps(origin, indent=2, ensure_ascii=False) + '\n').encode()} if origin else {}
