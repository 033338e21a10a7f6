"""Which checkpoint a path means: its prefix (`bert_model.ckpt`), one of its files, or the folder that it lies in."""

import os
import re

from propeller.errors import bad_input, did_you_mean, quoted
from propeller.inputs import open_regular, read_text
from propeller.storage.tensorflow.table import ENDING

INDEX = '.index'
STATE = 'checkpoint'  # the file in which TensorFlow notes the newest checkpoint of a folder
_META = '.meta'
_SAVED_MODEL = 'saved_model.pb'
_DATA = re.compile(r'\.data-\d{5}-of-\d{5}$')
_NEWEST = re.compile(r'^\s*model_checkpoint_path\s*:\s*"((?:[^"\\\n]|\\.)*)"', re.MULTILINE)
_OCTAL = re.compile(rb'\\([0-3][0-7]{2})')
_LARGEST_STATE = 1 << 20
_SHOWN = 10
_EXPECTED = 'a TensorFlow checkpoint'


def data_file(prefix, shard, shards):
    """The name of a file of values."""
    return f'{prefix}.data-{shard:05d}-of-{shards:05d}'


def is_prefix(path):
    """Whether the index of a checkpoint lies under this prefix."""
    return os.path.isfile(f'{os.fspath(path)}{INDEX}')


def holds_checkpoint(names):
    """Whether there is a checkpoint among the names of the files of a folder."""
    return any(map(_DATA.search, names)) and any(name.endswith(INDEX) for name in names)


def prefix_of(path):
    """The prefix that a path means that is no folder: itself, or what it is before the ending of a file; None: none.

    Raises:
        UserError: it is a file of a checkpoint whose index is missing.
    """
    path = os.fspath(path)
    if is_prefix(path) or not os.path.isfile(path):
        return path if is_prefix(path) else None
    if os.path.basename(path) == STATE:
        return place_in(os.path.dirname(path) or '.')
    data = _DATA.search(path)
    prefix = path[: data.start()] if data else path.removesuffix(INDEX).removesuffix(_META)
    if prefix == path or (not data and not is_prefix(prefix)):
        return None
    if not is_prefix(prefix):
        raise bad_input(path, f'no {os.path.basename(prefix)}{INDEX} beside it', _EXPECTED)
    return prefix


def place_in(folder):
    """The checkpoint that a folder means: a prefix, or the path of a file of another format; None where there is none.

    The one that the file `checkpoint` names; without that the only one.

    Raises:
        UserError: there are several and no file says which; the file names one that is not there; it is a SavedModel.
    """
    names = sorted(os.listdir(folder))
    if _SAVED_MODEL in names:
        raise bad_input(
            folder,
            f'a SavedModel of TensorFlow or Keras ({_SAVED_MODEL})',
            f'{_EXPECTED} (NAME{INDEX}, NAME.data-00000-of-00001)',
            advice='It holds a program, not a model by names: give the checkpoint that it was made from.',
        )
    newest = _newest(folder, names)
    prefixes = prefixes_in(names, newest)
    values = next(filter(_DATA.search, names), None)
    if newest and (newest in prefixes or newest in names):
        return os.path.join(folder, newest)
    if not prefixes and values:
        raise bad_input(os.path.join(folder, values), f'no {_DATA.sub(INDEX, values)} beside it', _EXPECTED)
    if not prefixes:
        return None
    if newest:
        missing = f'{quoted(newest)} as the newest checkpoint, whose {INDEX} is not here'
        raise bad_input(os.path.join(folder, STATE), missing, _one_of(folder, prefixes))
    if len(prefixes) > 1:
        found = f'{len(prefixes)} TensorFlow checkpoints and no file {quoted(STATE)}'
        raise bad_input(folder, found, _one_of(folder, prefixes))
    return os.path.join(folder, prefixes[0])


def nearest_prefix(path):
    """` Did you mean X?` for a path where nothing is, X being a checkpoint beside it; '' where none is near."""
    folder, name = os.path.split(os.fspath(path))
    try:
        prefixes = prefixes_in(os.listdir(folder or '.'))
    except OSError:
        return ''
    for ending in (INDEX, _META):
        name = name.removesuffix(ending)
    near = did_you_mean(_DATA.sub('', name), prefixes)
    return near.replace('mean ', f'mean {folder}/') if folder else near


def refuse_v1(path):
    """Refuse a file of the format before V2, one table with everything, by name; whatever else it is, do nothing.

    Raises: UserError: it is one.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(size - len(ENDING), 0))
        if file.read() != ENDING:
            return
    raise bad_input(
        path,
        'a TensorFlow checkpoint of format V1, one file',
        f'format V2 (NAME{INDEX}, NAME.data-00000-of-00001)',
        advice='With TensorFlow: restore it and save it with tf.compat.v1.train.Saver(write_version=2).',
    )


def files_of(prefix):
    """Paths of the files of a checkpoint."""
    folder, name = os.path.split(os.fspath(prefix))
    try:
        names = sorted(os.listdir(folder or '.'))
    except OSError:
        return []
    return [os.path.join(folder, other) for other in names if is_part(other, [name])]


def is_part(name, prefixes):
    """Whether a name is that of a file of one of these checkpoints."""
    endings = (_DATA.sub('', name), name.removesuffix(INDEX), name.removesuffix(_META))
    return any(stem != name and stem in prefixes for stem in endings)


def prefixes_in(names, newest=None):
    """The prefixes among the names of files. `.index` alone is the ending of other files, too."""
    known = {name[: match.start()] for name in names if (match := _DATA.search(name))} | {newest}
    found = (name.removesuffix(INDEX) for name in sorted(names) if name.endswith(INDEX))
    return [name for name in found if name in known or '.ckpt' in name]


def _newest(folder, names):
    """The name that the file `checkpoint` has as the newest; None without such a file. Its folder does not count:
    checkpoints are moved."""
    path = os.path.join(folder, STATE)
    if STATE not in names or not os.path.isfile(path):
        return None
    match = _NEWEST.search(read_text(path, _LARGEST_STATE, 'the file in which TensorFlow notes its checkpoints'))
    if match is None:
        return None
    plain = _OCTAL.sub(lambda m: bytes([int(m[1], 8)]), match[1].encode())
    return os.path.basename(re.sub(r'\\(.)', r'\1', plain.decode(errors='replace')).replace('\\', '/'))


def _one_of(folder, prefixes):
    more = ', ...' if len(prefixes) > _SHOWN else ''
    return f'one of {", ".join(os.path.join(folder, name) for name in prefixes[:_SHOWN])}{more}'
