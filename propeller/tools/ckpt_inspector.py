"""`python -m propeller.tools.ckpt_inspector {show|dump} PATH [--to FOLDER]`: what variable files and checkpoints hold.

`show` prints each array; `dump` writes each to a file of its own, as `.npy`, which numpy reads without pickle, or
pickled as in 2019.
"""

import os
import pickle
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from propeller.args import Parser
from propeller.errors import UsageError, UserError, bad_input, one_line_errors, quoted
from propeller.inputs import open_regular
from propeller.log import console, get_logger
from propeller.storage import ENDINGS, is_there, open_tensors, tensorflow
from propeller.storage.atomic import output_file, refuse_inputs
from propeller.storage.fluid import BFLOAT16, DTYPE_NAMES, DTYPES, is_other_file, read_header, read_variable

log = get_logger('propeller.tools.ckpt_inspector')  # run with -m, this module has another name

_TYPES = {dtype: DTYPE_NAMES[code] for code, dtype in DTYPES.items() if code != BFLOAT16}
# What propeller and Paddle put into the folder of a run beside checkpoints.
_OTHER_NAMES = ('ckpt_info', '__params__', tensorflow.STATE)
_OTHER_ENDINGS = ('.pdiparams', '.pdmodel', '.npy', '.npz', '.png', '.html', '.yaml', '.yml')
_EVENTS = 'events.out.tfevents.'


class Entry(NamedTuple):
    """One array of a file.

    Attributes:
        file: path of the file.
        name: path of the file within the folder that was asked for, with the tensor's name if the file has several.
        kind: name of the type, such as `FP32`.
        shape: tuple.
        levels: number of sequence levels.
        read: function () -> numpy array.
    """

    file: str
    name: str
    kind: str
    shape: tuple
    levels: int
    read: Callable[[], np.ndarray]


def tensor_files(path):
    """The tensor files of `path`: itself if it is a file, else all below it, sorted.

    Yields:
        (path of the file, its path relative to the folder; the bare name for a single file).

    Raises:
        UserError: there is nothing, or a folder cannot be read.
    """
    if not os.path.isdir(path):
        if not is_there(path):
            raise UserError(f'{path}: there is no such file or folder.')
        yield path, os.path.basename(path)
        return
    empty = True
    for folder, folders, files in os.walk(path, onerror=_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        prefixes = tensorflow.prefixes_in(files)
        for name in sorted([*files, *prefixes]):
            file = os.path.join(folder, name)
            if name in prefixes or (_is_tensor_file(name) and not tensorflow.is_part(name, prefixes)):
                empty = False
                yield file, os.path.relpath(file, path)
            else:
                log.debug('%s is no tensor file: left out', file)
    if empty:
        raise UserError(f'{path}: no variable file in this folder, and no checkpoint.')


def _unreadable(error):
    raise UserError(f'{error.filename}: cannot be read ({error.strerror}).')


def _is_tensor_file(name):
    if is_other_file(name) or name in _OTHER_NAMES or name.startswith(_EVENTS):
        return False
    return not name.endswith(_OTHER_ENDINGS)


def entries(path):
    """The `Entry` of each array of `path`. Raises `UserError`: a file is no tensor file or broken."""
    for file, relative in tensor_files(path):
        if not file.endswith(ENDINGS) and not tensorflow.prefix_of(file):
            yield _variable(file, relative)
            continue
        tensors = open_tensors(file)
        for name in tensors:
            if any(part in ('', '.', '..') or '\0' in part for part in name.split('/')):
                raise bad_input(file, f'a tensor named {quoted(name)}', 'names that can be names of files')
            kind = _TYPES.get(tensors.dtype(name), str(tensors.dtype(name)).upper())
            if tensors.is_bfloat16(name):
                kind = DTYPE_NAMES[BFLOAT16]
            read = _reader(tensors, name)
            yield Entry(file, f'{relative}/{name}', kind, tuple(tensors.shape(name)), 0, read)


def _variable(file, relative):
    with open_regular(file, 'a fluid variable file') as f:
        header = read_header(f, file)
    log.debug('%s: values from byte %d', relative, header.offset)
    return Entry(file, relative, DTYPE_NAMES[header.code], header.shape, header.levels, lambda: read_variable(file))


def _reader(tensors, name):
    return lambda: tensors[name]


def arrays(found):
    """Each entry that has no sequence levels, with its array. The others are skipped, with a warning."""
    for entry in found:
        if entry.levels:
            log.warning('%s has %d sequence levels: skipped', entry.name, entry.levels)
            continue
        log.info('type: [%s] dim %s', entry.kind, list(entry.shape))
        yield entry, entry.read()


def show(path):
    """Print every array with its name."""
    for entry, array in arrays(entries(path)):
        print(entry.name)
        print(array)


def dump(path, target, form='npy'):
    """Write every array to `target` under its name.

    Args:
        path: see `tensor_files`.
        target: folder, which is made if needed.
        form: `npy`, with that ending, or `pickle`, with protocol 4, without an ending, as in 2019.

    Raises:
        UserError: a file of that name is there already, or the disk refuses. Nothing is written where that is known
            before.
    """
    if os.path.lexists(target) and not os.path.isdir(target):
        raise bad_input(target, 'a file', 'a new folder', advice='Choose another --to.')
    found = list(entries(path))
    places = {entry.name: os.path.join(target, entry.name + ('.npy' if form == 'npy' else '')) for entry in found}
    inputs = {entry.file for entry in found}
    for file in places.values():
        refuse_inputs(file, '--to', inputs)
        if os.path.isfile(file) or os.path.isdir(file):
            raise UserError(f'{file} exists already. Choose another --to.')
    for entry, array in arrays(found):
        file = places[entry.name]
        try:
            os.makedirs(os.path.dirname(file), exist_ok=True)
        except OSError as e:
            raise UserError(f'{file}: cannot be written ({e.strerror}).') from None
        with output_file(file, binary=True) as f:
            _WRITERS[form](array, f)
        log.info('dump to %s', file)


def _write_npy(array, f):
    # Not np.save, which asks for a position that a FIFO does not have.
    np.lib.format.write_array_header_1_0(f, np.lib.format.header_data_from_array_1_0(array))
    f.write(np.ascontiguousarray(array))


def _write_pickle(array, f):
    pickle.dump(array, f, protocol=4)


_WRITERS = {'npy': _write_npy, 'pickle': _write_pickle}


def main(argv=None):
    """Run one command."""
    parser = Parser(
        prog='python -m propeller.tools.ckpt_inspector', description=__doc__.partition(': ')[2].capitalize()
    )
    parser.add_argument('mode', choices=('show', 'dump'), help='Print the arrays, or write each to a file.')
    parser.add_argument(
        'path',
        help='A variable file of fluid, a .safetensors, .pdparams or PyTorch file, a checkpoint of TensorFlow (its '
        'prefix); or a folder that is searched for them with all below it: a model of 2019, a checkpoint, all '
        'checkpoints of a run.',
    )
    parser.add_argument('-t', '--to', metavar='FOLDER', help='Folder for the files of dump; none of them is replaced.')
    parser.add_argument(
        '--format', choices=tuple(_WRITERS), default='npy', help='Of the files of dump. Default: %(default)s.'
    )
    parser.add_argument(
        '-v', '--verbose', action='store_true', help='Log which files are left out, and where values begin.'
    )
    arguments = parser.parse_args(argv)
    with console('debug' if arguments.verbose else None):
        if arguments.mode == 'show':
            show(arguments.path)
        elif arguments.to is None:
            raise UsageError('dump needs --to, the folder for its files.')
        else:
            dump(arguments.path, arguments.to, arguments.format)


if __name__ == '__main__':
    with one_line_errors():
        main()
