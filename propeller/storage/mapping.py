"""`Tensors`: the interface of all tensor files, a mapping of names to arrays."""

from abc import abstractmethod
from collections.abc import Mapping


class Tensors(Mapping):
    """Names to numpy arrays of one file or folder, in the order of the file. An array is read when it is asked for.

    Attributes:
        path: the file or folder.
        source: its format, 'safetensors', 'fluid' or 'pdparams'.
        ignored: names in it that hold no tensor.
    """

    source = None

    def __init__(self, path):
        self.path = str(path)
        self.ignored = []

    @abstractmethod
    def shape(self, name):
        """Shape of a tensor, a tuple, without reading its data."""

    @abstractmethod
    def dtype(self, name):
        """numpy type of the array that reading gives, without reading its data."""

    @abstractmethod
    def is_bfloat16(self, name):
        """Whether the file holds a tensor in bfloat16, which reading gives as float32."""
