"""`python -m propeller.tools.ckpt_inspector {show|dump} PATH`: look into fluid 1.x variable files.

`show` prints each array; `dump` writes each as a `.npy` file, which numpy reads without pickle.
"""

import logging
import os

import numpy as np

from propeller.args import Parser
from propeller.errors import UsageError, UserError, one_line_errors
from propeller.inputs import open_regular
from propeller.log import get_logger
from propeller.storage.atomic import output_file, refuse_inputs
from propeller.storage.fluid import DTYPE_NAMES, is_other_file, read_header, read_variable

log = get_logger(__name__)


def variable_files(path):
    """The variable files of `path`: itself if it is a file, else all below it, sorted.

    Yields:
        (path of the file, its path relative to the folder; the bare name for a single file).

    Raises:
        UserError: there is nothing.
    """
    if not os.path.isdir(path):
        if not os.path.exists(path):
            raise UserError(f'{path}: there is no such file or folder.')
        yield path, os.path.basename(path)
        return
    empty = True
    for folder, folders, files in os.walk(path):
        folders.sort()
        for name in sorted(files):
            if not is_other_file(name):
                empty = False
                file = os.path.join(folder, name)
                yield file, os.path.relpath(file, path)
    if empty:
        raise UserError(f'{path}: no variable file in this folder.')


def arrays(path):
    """Relative path and array of every variable file of `path`; those with sequence levels are skipped, with a warning.

    Raises:
        UserError: a file is no variable or broken.
    """
    for file, relative in variable_files(path):
        with open_regular(file, 'a fluid variable file') as f:
            header = read_header(f, file)
        log.debug('%s: values from byte %d', relative, header.offset)
        if header.levels:
            log.warning('%s has %d sequence levels: skipped', relative, header.levels)
            continue
        log.info('type: [%s] dim %s', DTYPE_NAMES[header.code], list(header.shape))
        yield relative, read_variable(file)


def show(path):
    """Print every array with the name of its file."""
    for relative, array in arrays(path):
        print(relative)
        print(array)


def dump(path, target):
    """Write every array to `target` under its relative path, with `.npy` at the end.

    Raises:
        UserError: the disk refuses.
    """
    read = [file for file, _ in variable_files(path)]
    for file in read:
        refuse_inputs(_dumped(target, os.path.relpath(file, path)), '--to', read)
    for relative, array in arrays(path):
        file = _dumped(target, relative)
        try:
            os.makedirs(os.path.dirname(file), exist_ok=True)
        except OSError as e:
            raise UserError(f'{file}: cannot be written ({e.strerror}).') from None
        with output_file(file, binary=True) as f:
            # Not np.save, which asks for a position that a FIFO does not have.
            np.lib.format.write_array_header_1_0(f, np.lib.format.header_data_from_array_1_0(array))
            f.write(np.ascontiguousarray(array))
        log.info('dump to %s', file)


def _dumped(target, relative):
    return os.path.join(target, f'{relative}.npy')


def main(argv=None):
    """Run one command."""
    parser = Parser(prog='python -m propeller.tools.ckpt_inspector', description=__doc__)
    parser.add_argument('mode', choices=('show', 'dump'), help='Print the arrays, or write them as .npy files.')
    parser.add_argument('path', help='A variable file, or a folder that is searched with all below it.')
    parser.add_argument('-t', '--to', help='Folder for the .npy files of dump.')
    parser.add_argument('-v', '--verbose', action='store_true', help='Also log where the values begin in each file.')
    arguments = parser.parse_args(argv)
    log.setLevel(logging.DEBUG if arguments.verbose else logging.INFO)
    if arguments.mode == 'show':
        show(arguments.path)
    elif arguments.to is None:
        raise UsageError('dump needs --to, the folder for the .npy files.')
    else:
        dump(arguments.path, arguments.to)


if __name__ == '__main__':
    with one_line_errors():
        main()
