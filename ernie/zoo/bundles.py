"""The released bundles: models, task data and demo data, fetched once into the cache folder.

It holds one folder for each bundle, and `archives/` (`ernie.zoo.archives`). The publisher gives no checksums, so the
first archive that unpacks is trusted and recorded.
"""

from dataclasses import dataclass
from pathlib import Path

from ernie.utils.unpack import DamagedArchive, unpack
from ernie.zoo.archives import address_in, get_archive, read_record, record_of, set_aside, write_record
from ernie.zoo.cache import cache_folder, locked
from propeller.errors import UsageError, UserError, did_you_mean
from propeller.log import get_logger

log = get_logger(__name__)

MAX_UNPACKED_GB = 20.0
_MODEL = ('params', 'vocab.txt', 'ernie_config.json')


@dataclass(frozen=True)
class Bundle:
    """One released archive.

    Attributes:
        name: our name for it.
        url: where it was published.
        about: what it is, for `list`.
        holds: paths that its folder is expected to hold.
    """

    name: str
    url: str
    about: str
    holds: tuple = ()

    @property
    def is_model(self):
        """Whether it is a model of this suite, rather than data or what another program reads."""
        return self.holds[: len(_MODEL)] == _MODEL

    @property
    def file(self):
        """Name of the archive."""
        return self.url.rpartition('/')[2]


_STORE = 'https://ernie.bj.bcebos.com/'
_SUBWORD = ('subword/dict.wordseg.pickle', 'subword/spm_cased_simp_sampled.model')
_ENCODER = ('pooler', *(f'enc{i}' for i in range(1, 13)))
_ZH_BASE = 'https://baidu-nlp.bj.bcebos.com/ERNIE_stable-1.0.1.tar.gz'
_ALL = (
    Bundle('ernie-1.0-zh-base', _ZH_BASE, 'ERNIE 1.0 Chinese, 12 layers', _MODEL),
    Bundle('ernie-1.0-zh-base-params', f'{_STORE}ERNIE_stable.tgz', 'the same, parameters only'),
    Bundle('ernie-1.0-zh-base-512', f'{_STORE}ERNIE_1.0_max-len-512.tar.gz', 'the same for length 512', _MODEL),
    Bundle('ernie-2.0-en-base', f'{_STORE}ERNIE_Base_en_stable-2.0.0.tar.gz', 'ERNIE 2.0 English, 12 layers', _MODEL),
    Bundle('ernie-2.0-en-large', f'{_STORE}ERNIE_Large_en_stable-2.0.0.tar.gz', 'ERNIE 2.0 English, 24 layers', _MODEL),
    Bundle('ernie-tiny-zh', f'{_STORE}ernie_tiny.tar.gz', 'ERNIE tiny Chinese, 3 layers', _MODEL + _SUBWORD),
    Bundle('ernie-1.0-encoder', f'{_STORE}ernie1.0_zh_inference_model.tar.gz', 'for the embedding service', _ENCODER),
    Bundle('task-data-zh', f'{_STORE}task_data_zh.tgz', 'data of the Chinese tasks', ('chnsenticorp',)),
    Bundle('propeller-demo-data', f'{_STORE}propeller_demo_data.tar.gz', 'data of the propeller examples'),
    Bundle('distill-data', f'{_STORE}distill_data.tar.gz', 'data of the distillation example', ('distill',)),
)
BUNDLES = {bundle.name: bundle for bundle in _ALL}


def find_bundle(name):
    """The `Bundle` of that name.

    Raises:
        UsageError: there is none; the text lists the names.
    """
    if name not in BUNDLES:
        raise UsageError(f'no bundle {name!r}; there are {", ".join(BUNDLES)}.{did_you_mean(name, BUNDLES)}')
    return BUNDLES[name]


def check_limit(max_unpacked_gb):
    """The bytes of a number of gigabytes. Raises `UsageError`: it is no number above 0."""
    if not 0 < max_unpacked_gb < 1e6:
        raise UsageError(f'--max_unpacked_gb: found {max_unpacked_gb}, expected a number of gigabytes above 0')
    return int(max_unpacked_gb * 1e9)


def _fetch_and_unpack(bundle, target, url, max_bytes, pause):
    archive = target.parent / 'archives' / bundle.file
    # What cannot be compressed is a little larger in the archive.
    sha256 = get_archive(archive, url, max_bytes + max_bytes // 100 + 2**20, pause)
    try:
        unpack(archive, target, max_bytes)
    except DamagedArchive as e:
        raise UserError(f'{e} It is now {set_aside(archive).name}; run again to fetch it anew.') from e
    write_record(archive, url, sha256)


def content_folder(folder, holds):
    """The folder that has what the bundle should hold: `folder` itself, or the only folder in it."""
    inner = list(folder.iterdir())
    for place in (folder, *(inner if len(inner) == 1 and inner[0].is_dir() else [])):
        if all((place / name).exists() for name in holds):
            return place
    missing = [name for name in holds if not (folder / name).exists()]
    log.warning('%s: holds %s, but not %s', folder, ', '.join(sorted(p.name for p in inner)), ', '.join(missing))
    return folder


def download(name, folder=None, url_base=None, max_unpacked_gb=MAX_UNPACKED_GB, pause=1.0):
    """Returns the `Path` of an unpacked bundle, fetching it if it is not there.

    Args:
        name: a key of `BUNDLES`.
        folder: in place of the cache folder.
        url_base: address of a folder on another server that has the archive.
        max_unpacked_gb: limit for the archive and for what it unpacks to, in units of 10^9 bytes.
        pause: seconds before a second attempt when the connection breaks.

    Raises:
        UsageError: unknown name, bad address or bad limit.
        UserError: not to be had, changed since its first use, damaged, hostile, or the disk is full.
    """
    bundle = find_bundle(name)
    url = bundle.url if url_base is None else address_in(url_base, bundle.file)
    max_bytes = check_limit(max_unpacked_gb)
    target = Path(folder or cache_folder()) / name
    with locked(target.parent / 'archives' / f'.{name}.lock'):
        if not target.is_dir():
            _fetch_and_unpack(bundle, target, url, max_bytes, pause)
    return content_folder(target, bundle.holds)


def digest_of(bundle):
    """What is recorded of the archive of a `Bundle` in the cache: dict with `sha256`; {} where nothing is."""
    record = read_record(record_of(cache_folder() / 'archives' / bundle.file))
    return {'sha256': record['sha256']} if record else {}
