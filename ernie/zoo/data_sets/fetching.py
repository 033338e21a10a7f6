"""Data sets in the cache: fetched once, converted once, the same ever after.

`data_sets/NAME/` in the cache folder has the files of the splits, `label_map.json`, and `record.json`: of each split
its rows, its SHA-256 and what it was made of. The files of publishers stay in `archives/data_sets/`, each with a record
as `ernie.zoo.archives` says.
"""

import contextlib
import functools
import os
import shutil
from pathlib import Path

from ernie.utils.fetch import disk_errors, sha256_of, write_json
from ernie.utils.unpack import DamagedArchive, TooMuch
from ernie.zoo.archives import address_in, get_archive, record_of, set_aside, write_record
from ernie.zoo.cache import cache_folder, locked
from ernie.zoo.data_sets.converting import convert, write_label_map
from ernie.zoo.data_sets.names import check_split, find_data_set
from propeller.errors import UserError, bad_input
from propeller.inputs import read_json_object
from propeller.log import get_logger
from propeller.storage.folders import whole_folder

log = get_logger(__name__)

FOLDER, RECORD = 'data_sets', 'record.json'
MAX_BYTES = 20 * 10**9


def folder_of(data_set, cache=None):
    """The `Path` of the folder of a `DataSet` in the cache; it may not be there."""
    return Path(cache or cache_folder()) / FOLDER / data_set.name


def splits_here(data_set, cache=None):
    """Names of the splits that are in the cache. Their content is not looked at."""
    folder = folder_of(data_set, cache)
    return [split for split in data_set.splits if (folder / (split + data_set.ending)).is_file()]


def fetch_split(name, split, cache=None, url_base=None, max_bytes=MAX_BYTES, pause=1.0):
    """The path of a split of a data set, fetched and converted if it is not here.

    Args:
        name: of a data set: `imdb`, `GLUE/SST-2`, `xnli-fr`; case and dashes do not count.
        split: of its splits; `validation` is `dev`.
        cache: folder in place of the cache folder.
        url_base: address of a folder on another server that has the files.
        max_bytes: limit for a file, and for what it decompresses to.
        pause: seconds before a second attempt when the connection breaks.
    Returns:
        str: a TSV file with a header line (`text_a`, `text_b`, `label`), or JSON of SQuAD.
    Raises:
        UsageError: unknown name or split; the text says which there are.
        UserError: it is not to be had, has changed since its first use, is damaged or hostile; or the file in the cache
            is not the one that was made.
    """
    data_set = find_data_set(name)
    split = check_split(data_set, split)
    folder = folder_of(data_set, cache)
    path = folder / (split + data_set.ending)
    if not path.is_file():
        with locked(folder.parent / f'.{data_set.name}.lock'):
            if not path.is_file():
                _make(data_set, data_set.part_of(split), folder, url_base, max_bytes, pause)
    check_cached(path, split)
    return os.fspath(path)


def fetch_data_set(name, cache=None, url_base=None, max_bytes=MAX_BYTES, pause=1.0):
    """The folder of a data set, str, with all of its splits. For the arguments see `fetch_split`."""
    data_set = find_data_set(name)
    for split in data_set.splits:
        fetch_split(name, split, cache, url_base, max_bytes, pause)
    return os.fspath(folder_of(data_set, cache))


def convert_own(name, source, cache=None, max_bytes=MAX_BYTES):
    """Make a data set of files that a user has, in place of what the cache has of it.

    Args:
        name: of a data set.
        source: path of an archive or file as the publisher has it, or of a folder with them, packed or unpacked.
        cache, max_bytes: see `fetch_split`.
    Returns:
        str: the folder with the splits that were found.
    Raises:
        UserError: nothing of the data set is there, or something that cannot be read.
    """
    data_set, source = find_data_set(name), Path(source)
    if not source.exists():
        raise bad_input(source, 'no such file or folder', f'the files of {data_set.name}')
    folder = folder_of(data_set, cache)
    with locked(folder.parent / f'.{data_set.name}.lock'), _whole(folder) as work:
        made, record = {}, {}
        for part in data_set.parts:
            archives = [source / file.name for file in part.files] if source.is_dir() else []
            places = archives if archives and all(place.is_file() for place in archives) else [source]
            made |= convert(data_set, part, places, work, max_bytes)
        if not made:
            files = ', '.join(file.name for part in data_set.parts for file in part.files) or 'THUCNews.zip'
            raise bad_input(source, 'nothing that can be read', f'{files}, or what is in it')
        for split, count in made.items():
            expected = data_set.splits[split]
            if expected not in (None, count):
                what = '%s:%s: %d rows in %s, expected %d: it is not the published one'
                log.warning(what, data_set.name, split, count, source, expected)
            record[split] = _facts(work, data_set, split, count, [os.path.abspath(source)])
        _finish(work, data_set, record)
    return os.fspath(folder)


def _make(data_set, part, folder, url_base, max_bytes, pause):
    if not part.files:
        advice = f'Then: ernie download {data_set.name} --from FILE_OR_FOLDER'
        raise UserError(f'{data_set.name}: is not downloaded. {data_set.terms} {advice}')
    if data_set.terms:
        log.warning('%s: %s', data_set.name, data_set.terms)
    store, archives = folder.parent.parent / 'archives' / FOLDER, []
    for file in part.files:
        archive = store / file.folder / file.name
        url = file.url if url_base is None else address_in(url_base, file.name)
        with locked(store / file.folder / f'.{file.name}.lock'):
            sha256 = get_archive(archive, url, max_bytes, pause, file.checksum)
        archives.append((archive, url, sha256, file))
    log.info('%s: converting %s', data_set.name, ', '.join(str(archive) for archive, *_ in archives))
    with _whole(folder) as work:
        made = _converted(data_set, part, archives, work, max_bytes)
        record = _kept(folder, work)
        sources = [{'url': url, 'sha256': sha256} for _, url, sha256, _ in archives]
        new = {split: count for split, count in made.items() if split not in record}
        record |= {split: _facts(work, data_set, split, count, sources) for split, count in new.items()}
        _finish(work, data_set, record)
    for archive, url, sha256, _ in archives:
        write_record(archive, url, sha256)


def _converted(data_set, part, archives, work, max_bytes):
    """dict split -> rows. What cannot be used is moved out of the way, unless it is known to be the right file."""
    open_to_doubt = [
        archive for archive, _, _, file in archives if not file.checksum and not record_of(archive).exists()
    ]
    try:
        made = convert(data_set, part, [archive for archive, *_ in archives], work, max_bytes)
        for split in part.layout.splits:
            count, expected = made.get(split, 0), data_set.splits[split]
            if not count or (open_to_doubt and expected not in (None, count)):
                raise bad_input(
                    ', '.join(str(archive) for archive, *_ in archives),
                    f'{count:,} rows of the split {split}',
                    f'{expected:,}' if expected else 'some',
                )
            if expected not in (None, count):
                log.warning('%s:%s has %d rows, expected %d', data_set.name, split, count, expected)
    except DamagedArchive as e:
        raise UserError(f'{e} {_set_aside([archive for archive, *_ in archives])}') from e
    except UserError as e:
        if not open_to_doubt or isinstance(e, TooMuch):
            raise
        own = f'ernie download {data_set.name} --from it uses it as it is.'
        raise UserError(f'{e} {_set_aside(open_to_doubt)} If the publisher has changed it: {own}') from e
    return made


def _set_aside(archives):
    names = [set_aside(archive).name for archive in archives]
    return f'It is now {", ".join(names)}; run again to fetch it anew.'


@contextlib.contextmanager
def _whole(folder):
    """Yields a `Path` that takes the place of `folder` when the block ends well. What the disk refuses is told."""
    with disk_errors(folder), whole_folder(folder, replace=True) as work:
        yield Path(work)


def _kept(folder, work):
    """The record of the splits that are here already, whose files are taken along: they may be a user's own."""
    record = read_splits(folder / RECORD) if (folder / RECORD).is_file() else {}
    for facts in record.values():
        if (folder / facts['file']).is_file():
            shutil.copyfile(folder / facts['file'], work / facts['file'])
    return record


def _facts(work, data_set, split, count, sources):
    file = split + data_set.ending
    path = work / file
    return {'file': file, 'rows': count, 'size': path.stat().st_size, 'sha256': sha256_of(path), 'made_of': sources}


def _finish(work, data_set, record):
    write_label_map(work, data_set)
    write_json(work / RECORD, record)


def read_splits(path):
    """The record of a folder, dict split -> dict with `file`, `rows`, `sha256` ... Raises `UserError`: it is none."""
    expected = 'the record of a data set: a JSON object'
    record = read_json_object(path, expected)
    for facts in record.values():
        whole = isinstance(facts, dict) and isinstance(facts.get('sha256'), str) and isinstance(facts.get('file'), str)
        if not whole or facts['file'] != os.path.basename(facts['file']):
            advice = f'Delete {path.parent} and run again.'
            raise bad_input(path, 'something else', expected, advice=advice)
    return record


def check_cached(path, split):
    """Raises `UserError`: the file of a split is not the one that was made. It is read once by a process."""
    about = os.stat(path)
    _check(path, split, about.st_size, about.st_mtime_ns)


@functools.lru_cache(256)
def _check(path, split, size, _changed):
    advice = f'Delete {path.parent} and run again.'
    try:
        facts = read_splits(path.parent / RECORD).get(split)
    except UserError as e:
        raise UserError(f'{e} {advice}') from None
    if facts is None:
        raise bad_input(path, f'a file that {RECORD} does not know', 'one that was made of a download', advice=advice)
    found = sha256_of(path)
    if found != facts['sha256']:
        raise bad_input(path, f'SHA-256 {found}', f'{facts["sha256"]} as recorded', advice=advice)
