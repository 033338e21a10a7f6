"""Tensor files of several formats, as mappings of names to numpy arrays. Knows nothing of paddle."""

import os

from propeller.errors import UserError, bad_input
from propeller.storage import safetensors_io
from propeller.storage.fluid import FluidFolder
from propeller.storage.mapping import Tensors
from propeller.storage.pdparams import PdparamsFile
from propeller.storage.safetensors_io import SafetensorsFile, ShardedSafetensors, write_safetensors

__all__ = ['Tensors', 'open_tensors', 'write_safetensors']

FOREIGN = {'.bin': 'PyTorch', '.pt': 'PyTorch', '.pth': 'PyTorch', '.ckpt': 'PyTorch or TensorFlow', '.h5': 'Keras'}


def open_tensors(path):
    """Open a file or folder of tensors, whatever its format.

    Args:
        path: a `.safetensors` file; a `.pdparams` file; a folder with `model.safetensors`, or with
            `model.safetensors.index.json` and its parts, or with one file per variable (fluid 1.x), or with one
            `.pdparams` file.

    Returns:
        `Tensors`, a mapping of names to numpy arrays that reads an array when it is asked for.

    Raises:
        UserError: nothing is there, or it is none of these, or it is broken.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        return _open_folder(path)
    if not os.path.exists(path):
        raise UserError(f'{path}: there is no such file or folder.')
    if path.endswith('.safetensors'):
        return SafetensorsFile(path)
    if path.endswith('.pdparams'):
        return PdparamsFile(path)
    kind = FOREIGN.get(os.path.splitext(path)[1])
    raise bad_input(
        path,
        f'a {kind} file' if kind else 'a file of an unknown kind',
        'a .safetensors or .pdparams file or a folder of tensors',
        advice='Save the model as safetensors first.' if kind else '',
    )


def _open_folder(path):
    try:
        names = sorted(os.listdir(path))
    except OSError as e:
        raise UserError(f'{path}: cannot be read ({e.strerror}).') from None
    if safetensors_io.FILE in names:
        return SafetensorsFile(os.path.join(path, safetensors_io.FILE))
    if safetensors_io.INDEX in names:
        return ShardedSafetensors(path)
    pickles = [name for name in names if name.endswith('.pdparams')]
    if len(pickles) == 1:
        return PdparamsFile(os.path.join(path, pickles[0]))
    if pickles:
        raise bad_input(path, f'{len(pickles)} .pdparams files', 'one', advice='Give the file itself.')
    foreign = [name for name in names if os.path.splitext(name)[1] in FOREIGN]
    if foreign:
        raise bad_input(path, f'{foreign[0]}', 'tensors', advice='Save the model as safetensors first.')
    inner = [name for name in names if os.path.isfile(os.path.join(path, name, safetensors_io.FILE))]
    if inner:
        raise bad_input(path, f'no model, but folders with one ({", ".join(inner)})', 'one of them')
    return FluidFolder(path)
