"""A model in several tensor files of one folder, and the index file that says which tensor is where."""

import os

from propeller.errors import bad_input, quoted
from propeller.inputs import read_json_object
from propeller.storage.mapping import Tensors

_MAX_INDEX = 1 << 24
_FORM = "a JSON object with 'weight_map': {tensor: file}"


class Sharded(Tensors):
    """Names to arrays over all files.

    Args:
        path: the folder.
        index: name of the index file in it.
        open_file: opens one of the files, as `Tensors`.

    Raises:
        UserError: the index is not of its form, names a file outside the folder, or disagrees with the files.
    """

    def __init__(self, path, index, open_file):
        super().__init__(path)
        index = os.path.join(self.path, index)
        where = _read_weight_map(index)
        files = {file: open_file(os.path.join(self.path, file)) for file in sorted(set(where.values()))}
        self.source = next(iter(files.values())).source
        for name, file in where.items():
            if name not in files[file]:
                raise bad_input(index, f'tensor {name} in {file}', 'the name of a tensor that is there')
        holders = {}
        for file, tensors in files.items():
            for name in tensors:
                if holders.setdefault(name, file) != file:
                    raise bad_input(self.path, f'tensor {quoted(name)} in {holders[name]} and in {file}', 'it once')
        self._files = {name: files[file] for name, file in where.items()}
        self.ignored = [name for tensors in files.values() for name in tensors if name not in where]

    def __getitem__(self, name):
        return self._files[name][name]

    def __iter__(self):
        return iter(self._files)

    def __len__(self):
        return len(self._files)

    def shape(self, name):
        return self._files[name].shape(name)

    def dtype(self, name):
        return self._files[name].dtype(name)

    def is_bfloat16(self, name):
        return self._files[name].is_bfloat16(name)


def _read_weight_map(index):
    where = read_json_object(index, _FORM, _MAX_INDEX).get('weight_map')
    if not isinstance(where, dict) or not where:
        raise bad_input(index, f'weight_map {quoted(where)}', _FORM)
    for name in where.values():
        if not isinstance(name, str) or name != os.path.basename(name) or name in ('', '.', '..'):
            raise bad_input(index, f'the file name {quoted(name)}', 'a file in the same folder')
    return where
