"""Parts of open files as arrays."""

import os

import numpy as np

from propeller.errors import bad_input


def read_array(file, path, offset, dtype, count):
    """`count` values of a numpy type from byte `offset` on, as an array [count].

    Args:
        file: an open file; its position neither matters nor changes.
        path: its name, for messages.
    Raises:
        UserError: the file ends before.
    """
    array = np.empty(count, dtype)
    left = memoryview(array.view(np.uint8))
    while left:
        try:
            read = os.preadv(file.fileno(), [left[: 1 << 30]], offset)
        except OSError as e:
            raise bad_input(path, f'a file that cannot be read ({e.strerror})', 'a file of tensors') from None
        if not read:
            raise bad_input(path, f'{len(left)} bytes less than before', 'a file that stays as it is')
        left, offset = left[read:], offset + read
    return array
