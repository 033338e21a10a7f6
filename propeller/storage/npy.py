"""NumPy's `.npy` files, written piece by piece, so that an array may be larger than memory."""

import struct

import numpy as np

HEADER = 128


class ArrayWriter:
    """A `.npy` file made of chunks [n, ...]; dtype and trailing shape are those of the first one.

    The header is filled in at the end: until then the file cannot be taken for a whole array.
    """

    def __init__(self, path):
        self._file = open(path, 'wb')  # noqa: SIM115 - closed by finish() or close()
        self._file.write(bytes(HEADER))
        self._dtype = self._shape = None
        self._place = self._count = self._written = 0

    def append(self, chunk):
        """Adds rows at the end."""
        self.write(self._count, chunk)

    def write(self, start, chunk):
        """Writes rows `start` .. `start + n - 1`, in any order of chunks; each row once."""
        start, chunk = int(start), np.ascontiguousarray(chunk)  # the repr of a NumPy integer is no literal
        if self._dtype is None:
            self._dtype, self._shape = chunk.dtype, chunk.shape[1:]
        assert (chunk.dtype, chunk.shape[1:]) == (self._dtype, self._shape)
        if start != self._place:
            self._file.seek(HEADER + start * self._dtype.itemsize * int(np.prod(self._shape, dtype=np.int64)))
        self._file.write(chunk.data)
        self._place = start + len(chunk)
        self._count = max(self._count, self._place)
        self._written += len(chunk)

    def finish(self):
        """Writes the header (NumPy format 1.0) and closes the file."""
        assert self._written == self._count, f'{self._written} rows were written in the place of {self._count}'
        descr = np.lib.format.dtype_to_descr(self._dtype)
        header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {(self._count, *self._shape)}, }}"
        text = header.encode('latin1').ljust(HEADER - 11) + b'\n'
        self._file.seek(0)
        self._file.write(b'\x93NUMPY\x01\x00' + struct.pack('<H', len(text)) + text)
        self._file.close()

    def close(self):
        """Closes the file as it is; nothing after `finish`."""
        self._file.close()
