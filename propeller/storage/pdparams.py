"""Parameters in Paddle 2.x/3.x `.pdparams` files, which are pickles: read with `restricted_pickle` only."""

import os

import numpy as np

from propeller.errors import UserError, bad_input, quoted
from propeller.storage import restricted_pickle
from propeller.storage.mapping import Tensors
from propeller.storage.pickle_values import Refused, checked_shape
from propeller.storage.values import bfloat16_to_float32

# Written by paddle.save beside the tensors.
PARAMETER_NAMES = 'StructuredToParameterName@@'
SPLIT_TENSORS = 'UnpackBigParamInfor@@'
# Some 20 instructions make a tensor: enough for 10,000 of them.
_MAX_OPCODES = 200_000
# Of their bytes to those of the file: a tensor may be there under two names.
_MOST_SHARING = 4


class PdparamsFile(Tensors):
    """The tensors of a `.pdparams` file, all in memory. Arrays are read-only.

    Paddle has no tensors of uint16: it writes those of bfloat16 as numpy arrays of that type, the bit patterns, and
    reads every such array as bfloat16. So does this; they are given as float32.

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
                self.ignored.append(name if isinstance(name, str) else quoted(name))
            else:
                self._arrays[name] = array
        self._check_total(self._arrays.values())
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

    def _check_total(self, arrays):
        """Refuse a file that has one large tensor under very many names."""
        total, size = sum(array.nbytes for array in arrays), os.path.getsize(self.path)
        if total > _MOST_SHARING * size:
            raise bad_input(self.path, f'tensors of {total:,} bytes in a file of {size:,}', 'each tensor once')

    def _join_split(self, content):
        """Put tensors together that protocols 2 and 3 stored in parts of less than 1 GiB."""
        splits = content.pop(SPLIT_TENSORS, {})
        if not isinstance(splits, dict):
            raise bad_input(self.path, f'{SPLIT_TENSORS} that is a {type(splits).__name__}', 'a dictionary, or none')
        for name, split in splits.items():
            try:
                shape, slices = tuple(split['OriginShape']), split['slices']
                if not isinstance(slices, list | tuple):
                    raise TypeError
                checked_shape(shape, 'parts')
                parts = [content.pop(part) for part in slices if isinstance(part, str)]
                if len(parts) < len(slices) or not all(isinstance(part, np.ndarray) for part in parts):
                    raise TypeError
                self._check_total(parts)
                content[name] = np.concatenate(parts).reshape(shape)
            except (KeyError, TypeError, ValueError, Refused) as e:
                if isinstance(e, UserError):
                    raise
                raise bad_input(
                    self.path, f'parts of {quoted(name, 80)} that do not fit ({type(e).__name__})', 'all parts of it'
                ) from None

    def __getitem__(self, name):
        array = self._arrays[name]
        return bfloat16_to_float32(array) if _is_bfloat16(array) else array

    def __iter__(self):
        return iter(self._arrays)

    def __len__(self):
        return len(self._arrays)

    def shape(self, name):
        return self._arrays[name].shape

    def dtype(self, name):
        array = self._arrays[name]
        return np.dtype(np.float32) if _is_bfloat16(array) else array.dtype

    def is_bfloat16(self, name):
        return _is_bfloat16(self._arrays[name])


def _is_bfloat16(array):
    return array.dtype.newbyteorder('=') == np.uint16
