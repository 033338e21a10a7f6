"""The released bundles: models, task data and demo data, fetched once into the cache folder.

It holds one folder for each bundle, and `archives/`: each archive with a JSON record of its size and SHA-256. The
publisher gives no checksums, so the first archive that unpacks is trusted and recorded, and every later one must be the
same to the byte.
"""

import datetime
import os
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from ernie.utils.fetch import ChangedFile, TooLarge, disk_errors, fetch, sha256_of, write_json
from ernie.utils.unpack import DamagedArchive, unpack
from ernie.zoo.cache import cache_folder, locked
from propeller.errors import UsageError, UserError, bad_input, did_you_mean, quoted
from propeller.inputs import read_json_object
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


def _address(bundle, url_base):
    if url_base is None:
        return bundle.url
    parts = urllib.parse.urlsplit(url_base)
    if parts.scheme not in ('http', 'https') or not parts.netloc or any(c.isspace() for c in url_base):
        raise UsageError(f'--url-base: found {url_base!r}, expected an address like https://host/folder')
    return f'{url_base.rstrip("/")}/{bundle.file}'


def read_record(path):
    """The record of an earlier use of the archive, or None."""
    if not os.path.lexists(path):
        return None
    expected = 'a JSON object with sha256'
    try:
        record = read_json_object(path, expected)
        if isinstance(record.get('sha256'), str):
            return record
        raise bad_input(path, f'sha256 {quoted(record.get("sha256"))}', expected)
    except UserError as e:
        raise UserError(f'{e} Delete it to trust the archive anew.') from None


def _get_archive(archive, url, record, max_bytes, pause):
    """Fetches the archive unless it is there; returns its SHA-256, which is that of the record if there is one."""
    expected = record and record['sha256']
    if not archive.exists():
        try:
            # What cannot be compressed is a little larger in the archive.
            return fetch(url, archive, expected, pause=pause, max_bytes=max_bytes + max_bytes // 100 + 2**20)
        except ChangedFile as e:
            raise UserError(f'{e} That is what {archive.name}.json recorded; delete it to trust the new file.') from e
        except TooLarge as e:
            raise UserError(f'{e} --max_unpacked_gb sets the limit.') from e
    found = sha256_of(archive)
    if expected and found != expected:
        raise bad_input(archive, f'SHA-256 {found}', f'{expected} as recorded', advice='Delete it and run again.')
    return found


def _fetch_and_unpack(bundle, target, url, max_bytes, pause):
    archive = target.parent / 'archives' / bundle.file
    record_path = archive.with_name(archive.name + '.json')
    record = read_record(record_path)
    sha256 = _get_archive(archive, url, record, max_bytes, pause)
    try:
        unpack(archive, target, max_bytes)
    except DamagedArchive as e:
        damaged = archive.with_name(archive.name + '.damaged')
        os.replace(archive, damaged)
        raise UserError(f'{e} It is now {damaged.name}; run again to fetch it anew.') from e
    if record is None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
        size = archive.stat().st_size
        with disk_errors(record_path):
            write_json(record_path, {'url': url, 'size': size, 'sha256': sha256, 'first_use': now})
        log.info('%s: recorded SHA-256 %s, %d bytes', archive, sha256, size)


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
    url = _address(bundle, url_base)
    if not 0 < max_unpacked_gb < 1e6:
        raise UsageError(f'--max_unpacked_gb: found {max_unpacked_gb}, expected a number of gigabytes above 0')
    target = Path(folder or cache_folder()) / name
    with locked(target.parent / 'archives' / f'.{name}.lock'):
        if not target.is_dir():
            _fetch_and_unpack(bundle, target, url, int(max_unpacked_gb * 1e9), pause)
    return content_folder(target, bundle.holds)


def digest_of(bundle):
    """What is recorded of the archive of a `Bundle` in the cache: dict with `sha256`; {} where nothing is."""
    record = read_record(cache_folder() / 'archives' / f'{bundle.file}.json')
    return {'sha256': record['sha256']} if record else {}
