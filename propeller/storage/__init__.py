"""Tensor files of several formats, as mappings of names to numpy arrays. Knows nothing of paddle."""

import os

from propeller.errors import UserError, bad_input
from propeller.storage import pytorch, safetensors_io, tensorflow
from propeller.storage.fluid import FluidFolder
from propeller.storage.mapping import Tensors
from propeller.storage.pdparams import PdparamsFile
from propeller.storage.pytorch import PytorchFile
from propeller.storage.safetensors_io import SafetensorsFile, write_safetensors
from propeller.storage.sharded import Sharded
from propeller.storage.tensorflow import TensorflowCheckpoint

__all__ = ['ENDINGS', 'Tensors', 'is_there', 'open_tensors', 'write_safetensors']

FOREIGN = {'.ckpt': 'PyTorch or TensorFlow', '.h5': 'Keras', '.keras': 'Keras', '.msgpack': 'Flax'}
FOREIGN |= {'.pb': 'TensorFlow graph'}
_READERS = {'.safetensors': SafetensorsFile, '.pdparams': PdparamsFile}
_READERS |= dict.fromkeys(('.bin', '.pt', '.pth'), PytorchFile)
ENDINGS = tuple(_READERS)  # of the files, apart from folders, that `open_tensors` opens


def open_tensors(path):
    """Open a file or folder of tensors, whatever its format.

    Args:
        path: a `.safetensors` file; a `.pdparams` file; a file that `torch.save` wrote (`.bin`, `.pt`, `.pth`); a
            folder with `model.safetensors` or `pytorch_model.bin`, or with the index of one of them
            (`model.safetensors.index.json`) and its parts, or with one file per variable (fluid 1.x), or with one
            `.pdparams` file; a checkpoint of TensorFlow: its prefix (`bert_model.ckpt`), one of its files, or a folder
            with it and none of the others.

    Returns:
        `Tensors`, a mapping of names to numpy arrays that reads an array when it is asked for.

    Raises:
        UserError: nothing is there, or it is none of these, or it is broken.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        return _open_folder(path)
    ending = os.path.splitext(path)[1]
    if ending in _READERS and os.path.exists(path):
        return _READERS[ending](path)
    prefix = tensorflow.prefix_of(path)
    if prefix:
        return TensorflowCheckpoint(prefix)
    if not os.path.exists(path):
        raise UserError(f'{path}: there is no such file or folder.{tensorflow.nearest_prefix(path)}')
    tensorflow.refuse_v1(path)
    kind = FOREIGN.get(ending)
    raise bad_input(
        path,
        f'a {kind} file' if kind else 'a file of an unknown kind',
        'a .safetensors, .pdparams or PyTorch .bin file or a folder of tensors',
        advice='Save the model as safetensors first.' if kind else '',
    )


def is_there(path):
    """Whether there is something at a path: a file or folder, or a checkpoint of TensorFlow under that prefix."""
    return os.path.lexists(path) or tensorflow.is_prefix(path)


def _open_folder(path):
    try:
        names = sorted(os.listdir(path))
    except OSError as e:
        raise UserError(f'{path}: cannot be read ({e.strerror}).') from None
    for module, reader in ((safetensors_io, SafetensorsFile), (pytorch, PytorchFile)):
        if module.FILE in names:
            return reader(os.path.join(path, module.FILE))
        if module.INDEX in names:
            return Sharded(path, module.INDEX, reader)
    pickles = [name for name in names if name.endswith('.pdparams')]
    if len(pickles) == 1:
        return PdparamsFile(os.path.join(path, pickles[0]))
    if pickles:
        raise bad_input(path, f'{len(pickles)} .pdparams files', 'one', advice='Give the file itself.')
    place = tensorflow.place_in(path)
    if place:
        return open_tensors(place)
    foreign = [name for name in names if os.path.splitext(name)[1] in FOREIGN]
    if foreign:
        raise bad_input(path, f'{foreign[0]}', 'tensors', advice='Save the model as safetensors first.')
    torch = [name for name in names if _READERS.get(os.path.splitext(name)[1]) is PytorchFile]
    if torch:
        raise bad_input(path, f'{torch[0]}', 'tensors', advice='Give the file itself.')
    inner = [name for name in names if os.path.isfile(os.path.join(path, name, safetensors_io.FILE))]
    if inner:
        raise bad_input(path, f'no model, but folders with one ({", ".join(inner)})', 'one of them')
    return FluidFolder(path)
