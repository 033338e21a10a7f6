"""Folders of data sets: as `datasets` of Hugging Face saves them, and as they lie on the hub.

- `Dataset.save_to_disk`: `state.json` names the files `data-*.arrow`, `dataset_info.json` describes the columns;
- `DatasetDict.save_to_disk`: `dataset_dict.json` names the splits, each of them a folder as above;
- on the hub: files or folders, also below `data`, whose names tell the split: `dev.csv`, `train-0-of-2.parquet`.

`FOLDER:train` is a split of a folder, `FOLDER/train` too where no file has that name.

Where no file or folder has the name, `imdb:train` is a split of a data set that the zoo knows (`ernie.zoo.data_sets`),
and `imdb` stands for it as a folder does. It is fetched when its files are asked for.
"""

import hashlib
import os
import re

from propeller.errors import UserError, bad_input, did_you_mean, quoted
from propeller.inputs import content_digest, read_json_object

EXPECTED = 'a file, or a folder of a data set as on the Hugging Face hub or from save_to_disk'
INFO, _STATE, _DICT = 'dataset_info.json', 'state.json', 'dataset_dict.json'
_WORDS = {'train': ('train', 'training'), 'validation': ('validation', 'valid', 'val', 'dev', 'development')}
_WORDS['test'] = ('test', 'testing', 'eval', 'evaluation')
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words}
_WORD = re.compile(rf'(?<![a-z])({"|".join(_SPLIT_OF)})(?![a-z])')
_ENDINGS = ('.parquet', '.arrow', '.csv', '.tsv', '.jsonl', '.ndjson', '.json', '.txt', '.conll', '.bio', '.iob')
_NO_DATA = (INFO, _STATE, _DICT, 'dataset_infos.json')
_SHARD = re.compile(r'[-_.](\d+)(?:-of-(\d+))?$')
_NAME = re.compile(r'[\w.-]+')  # of a split
# What may be a data set of the zoo and its split; cheaper to ask than the zoo.
_NAMED = re.compile(r'[A-Za-z0-9][\w/-]{0,60}(:[\w.-]{1,40})?', re.ASCII)
_MOST = 10_000  # files


def splits_of(path):
    """dict name of a split -> what to read for it. {} for a file, and for a folder that has no named splits.

    `dev` and `valid` are called 'validation'.
    """
    named = _named(path)
    if named:
        return {} if named.split else _splits_by_name(path, named.data_set)
    return {name: f'{path}:{name}' for name in (_splits(path) if os.path.isdir(path) else ()) if name}


def _splits_by_name(path, data_set):
    """The same for a data set of the zoo; the first of several dev sets is 'validation'."""
    found = {}
    for split in data_set.splits:
        name = _SPLIT_OF.get(split.partition('_')[0], split)
        found[split if name in found else name] = f'{path}:{split}'
    return found


def named_split(path, wanted):
    """What to read where `path` may be a folder or a data set of several splits: `path` itself, or its split `wanted`.

    Raises:
        UserError: it has splits, but not that one.
    """
    names = splits_of(path)
    if not names:
        return path
    if wanted not in names:
        listed = ', '.join(names)
        found, advice = f'the splits {listed}', f'{path}:{next(iter(names))} names one.'
        raise bad_input(path, found, f'a split {wanted}', advice=advice)
    return names[wanted]


def is_there(path):
    """Whether there is something to read; what is wrong with it is found out when it is read."""
    return os.path.exists(path) or _parted(path)[1] is not None or _named(path) is not None


def is_name(path):
    """Whether it is the name of a data set of the zoo, without a split: a text to predict may be such a word."""
    named = _named(path)
    return named is not None and not named.split


def nearest_name(path):
    """` Did you mean imdb:train?` for what is no file but nearly a split of a data set of the zoo; '' for all else."""
    if ':' not in path or not _NAMED.fullmatch(path):
        return ''
    from ernie.zoo.data_sets import nearest_reference

    return nearest_reference(path)


def fetch_named(path):
    """Has a split of a data set of the zoo here; does nothing for a file or a folder. Raises `UserError`."""
    named = _named(path)
    if named and named.split:
        data_files(path)


def _named(path):
    """The `ernie.zoo.data_sets.names.Reference` of what is no file and no folder; None for all that is none.

    Raises:
        UsageError: the data set has no such split.
    """
    path = os.fspath(path)
    if not _NAMED.fullmatch(path) or os.path.lexists(path) or _parted(path)[0]:
        return None
    from ernie.zoo.data_sets import reference

    return reference(path)


def is_regular(path):
    """Whether a data set is of regular files, which can be read twice."""
    return all(os.path.isfile(file) for file in data_files(path))


def data_files(path):
    """The files of a data set, in order; `path` itself where it is no folder.

    Raises:
        UserError: a folder that holds no data set, or several splits of which none is chosen; unknown split.
    """
    path = os.fspath(path)
    named = _named(path)
    if named:
        return [_fetched(path, named)]
    folder, split = _parted(path)
    if folder is None:
        return [path]
    splits = _splits(folder)
    if split is not None:
        name = split if split in splits else _SPLIT_OF.get(split.lower(), split)
        if name not in splits:
            known = [name for name in splits if name]
            found = f'the splits {", ".join(known)}' if known else 'a folder without splits'
            raise bad_input(folder, found, f'one called {quoted(split)}', advice=did_you_mean(split, known).strip())
        return splits[name]
    if len(splits) > 1:
        found = f'a folder with the splits {", ".join(splits)}'
        raise bad_input(path, found, 'one of them', advice=f'Say which: {path}:{next(iter(splits))}')
    return next(iter(splits.values()))


def _fetched(path, named):
    """The file of a split of the zoo's."""
    from ernie.zoo.data_sets import fetch_split

    if named.split is None:
        splits = list(named.data_set.splits)
        found = f'a data set with the splits {", ".join(splits)}'
        raise bad_input(path, found, 'one of them', advice=f'Say which: {path}:{splits[0]}')
    return fetch_split(named.data_set.name, named.split)


def source_files(path):
    """All files that decide what the rows of a data set are: its files, and the descriptions beside them."""
    files = data_files(path)
    infos = dict.fromkeys(os.path.join(os.path.dirname(file), INFO) for file in files)
    return [*files, *(info for info in infos if os.path.isfile(info))]


def data_digest(path):
    """A text that changes with the rows of a file or folder; for a lone file `content_digest`."""
    files = source_files(path)
    if files == [path]:
        return content_digest(path)
    return hashlib.blake2b(' '.join(map(content_digest, files)).encode(), digest_size=16).hexdigest()


def _parted(path):
    """(folder, split that is asked for or None); (None, None) for what is no folder."""
    path = os.fspath(path)
    if os.path.isdir(path):
        return path, None
    folder, _, split = path.rpartition(':')
    if folder and _NAME.fullmatch(split) and os.path.isdir(folder):
        return folder, split
    folder, split = os.path.split(path)
    # A word alone may be a text to predict: `test`.
    if folder and not os.path.lexists(path) and os.path.isdir(folder) and split.lower() in _SPLIT_OF:
        return (folder, split) if _SPLIT_OF[split.lower()] in _quiet_splits(folder) else (None, None)
    return None, None


def _quiet_splits(folder):
    try:
        return _splits(folder)
    except UserError:
        return {}


def _splits(folder):
    """dict split -> its files. The split of a data set without any is ''."""
    if os.path.isfile(os.path.join(folder, _DICT)):
        path = os.path.join(folder, _DICT)
        names = _own_names(path, read_json_object(path, 'the splits of a data set').get('splits'), 'splits')
        return _renamed({name: _saved_files(os.path.join(folder, name)) for name in names})
    if os.path.isfile(os.path.join(folder, _STATE)):
        return {'': _saved_files(folder)}
    return _hub_splits(folder)


def _own_names(path, names, what):
    """A list of names of files or folders beside `path`, checked."""
    fine = isinstance(names, list) and names and all(isinstance(name, str) for name in names)
    if not fine or any(name != os.path.basename(name) or name.startswith('.') or not name for name in names):
        raise bad_input(path, f'{what} {quoted(names)}', 'a list of names without folders')
    return names


def _saved_files(folder):
    """The files of `Dataset.save_to_disk`."""
    path = os.path.join(folder, _STATE)
    state = read_json_object(path, 'the state of a data set')
    entries = state.get('_data_files')
    if isinstance(entries, list):
        entries = [entry.get('filename') if isinstance(entry, dict) else entry for entry in entries]
    if state.get('_indices_data_files'):
        advice = 'Call flatten_indices() before save_to_disk.'
        raise bad_input(path, 'a data set whose rows are chosen by a list', 'all rows of its files', advice=advice)
    return [os.path.join(folder, name) for name in _own_names(path, entries, '_data_files')]


def _hub_splits(folder):
    files, folders = _listing(folder)
    if not files and 'data' in folders:
        folder = os.path.join(folder, 'data')
        files, folders = _listing(folder)
    if not files:
        return _split_folders(folder, folders)
    splits = {}
    for name in files:
        stem = os.path.splitext(name)[0].lower()
        words = {_SPLIT_OF[word] for word in _WORD.findall(stem)}
        splits.setdefault(words.pop() if len(words) == 1 else '', []).append(name)
    if len(splits) > 1:
        splits.pop('', None)  # what stands beside splits belongs to none
    return {split: _shards(folder, splits[split]) for split in sorted(splits, key=_order)}


def _listing(folder):
    """(names of the data files, names of the folders) of a folder, sorted."""
    with os.scandir(folder) as entries:
        entries = sorted((entry for entry in entries if not entry.name.startswith('.')), key=lambda entry: entry.name)
    folders = [entry.name for entry in entries if entry.is_dir()]
    files = [entry.name for entry in entries if entry.name.lower().endswith(_ENDINGS) and not entry.is_dir()]
    files = [name for name in files if name not in _NO_DATA][:_MOST]
    # Texts beside the data are licences and notes, unless their names tell a split.
    return [name for name in files if not name.endswith('.txt') or _WORD.search(name.lower())], folders


def _split_folders(folder, folders):
    """The splits of a folder whose folders are splits, or one of whose folders holds them all."""
    with_data = [name for name in folders if _has_data(os.path.join(folder, name))]
    if not with_data:
        raise bad_input(folder, 'a folder without a data file', EXPECTED)
    if all(name.lower() in _SPLIT_OF and _listing(os.path.join(folder, name))[0] for name in with_data):
        found = {}
        for name in with_data:
            inner = os.path.join(folder, name)
            found[name] = _shards(inner, _listing(inner)[0])
        return _renamed(found)
    if len(with_data) == 1:
        return _hub_splits(os.path.join(folder, with_data[0]))
    names = ', '.join(with_data[:10])
    place = os.path.join(folder, with_data[0])
    raise bad_input(folder, f'a folder of several data sets: {names}', 'one of them', advice=f'Say which: {place}')


def _has_data(folder, depth=1):
    files, folders = _listing(folder)
    return bool(files) or (depth > 0 and any(_has_data(os.path.join(folder, name), depth - 1) for name in folders))


def _renamed(splits):
    """The splits by the names that all data sets use, where that is clear."""
    names = {name: _SPLIT_OF.get(name.lower(), name) for name in splits}
    clear = len(set(names.values())) == len(names)
    return {names[name] if clear else name: splits[name] for name in sorted(splits, key=lambda n: _order(names[n]))}


def _order(split):
    known = list(_WORDS)
    return (known.index(split), '') if split in known else (len(known), split)


def _shards(folder, names):
    """The files of one split: one file, or all numbered parts of one."""
    paths = [os.path.join(folder, name) for name in names]
    if len(names) == 1 and not _SHARD.search(os.path.splitext(names[0])[0]):
        return paths
    parts = [_SHARD.search(os.path.splitext(name)[0]) for name in names]
    stems = {name[: part.start()] + os.path.splitext(name)[1] for name, part in zip(names, parts, strict=True) if part}
    if None in parts or len(stems) > 1:
        advice = f'Give the file itself: {paths[0]}'
        raise bad_input(folder, f'several files: {", ".join(names[:5])}', 'one for each split', advice=advice)
    total = parts[0][2]
    if total is not None and int(total) != len(names):
        raise bad_input(folder, f'{len(names)} parts of {names[0]}', f'{int(total)}, as its name says')
    return paths
