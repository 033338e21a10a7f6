"""Parameters in Paddle 2.x/3.x `.pdparams` files, which are pickles: read with `restricted_pickle` only."""

import numpy as np

from propeller.errors import bad_input
from propeller.storage import restricted_pickle
from propeller.storage.mapping import Tensors

# Written by paddle.save beside the tensors.
PARAMETER_NAMES = 'StructuredToParameterName@@'
SPLIT_TENSORS = 'UnpackBigParamInfor@@'
# Some 20 instructions make a tensor: enough for 100,000 of them.
_MAX_OPCODES = 2_000_000


class PdparamsFile(Tensors):
    """The tensors of a `.pdparams` file, all in memory. Arrays are read-only.

    Attributes:
        parameter_names: names of the parameters that the keys (a layer's attributes) stand for; empty if not stored.

    Raises:
        UserError: broken, not a dictionary of tensors, or more than data (nothing of it is executed).
    """

    source = 'pdparams'

    def __init__(self, path):
        super().__init__(path)
        content = restricted_pickle.load(path, max_opcodes=_MAX_OPCODES)
        if not isinstance(content, dict):
            raise bad_input(path, f'a {type(content).__name__}', 'a dictionary of names and tensors')
        content = dict(content)
        self.parameter_names = self._text_mapping(content.pop(PARAMETER_NAMES, {}))
        self._join_split(content)
        self._arrays = {}
        for name, value in content.items():
            array = self._array(value)
            if array is None or not isinstance(name, str):
                self.ignored.append(str(name))
            else:
                self._arrays[name] = array
        if not self._arrays:
            raise bad_input(path, f'no tensor among {len(content)} entries', 'a dictionary of names and tensors')

    @staticmethod
    def _array(value):
        # Tensors outside of a state dictionary are stored as (name, array).
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
            value = value[1]
        return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else None

    def _text_mapping(self, value):
        if not isinstance(value, dict) or not all(isinstance(x, str) for pair in value.items() for x in pair):
            raise bad_input(self.path, f'{PARAMETER_NAMES} that is no mapping of text to text', 'one, or none')
        return dict(value)

    def _join_split(self, content):
        """Put tensors together that protocols 2 and 3 stored in parts of less than 1 GiB."""
        splits = content.pop(SPLIT_TENSORS, {})
        if not isinstance(splits, dict):
            raise bad_input(self.path, f'{SPLIT_TENSORS} that is a {type(splits).__name__}', 'a dictionary, or none')
        for name, split in splits.items():
            try:
                shape = tuple(int(dim) for dim in split['OriginShape'])
                parts = [content.pop(part) for part in split['slices']]
                content[name] = np.concatenate(parts).reshape(shape)
            except (KeyError, TypeError, ValueError) as e:
                raise bad_input(
                    self.path, f'parts of {str(name)[:80]!r} that do not fit ({type(e).__name__})', 'all parts of it'
                ) from None

    def __getitem__(self, name):
        return self._arrays[name]

    def __iter__(self):
        return iter(self._arrays)

    def __len__(self):
        return len(self._arrays)

    def shape(self, name):
        return self._arrays[name].shape

    def dtype(self, name):
        return self._arrays[name].dtype
