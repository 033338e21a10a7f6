"""How ragged rows become a rectangle."""

import numpy as np


def pad_ragged(flat, offsets, indices, pad_value=0, dtype=np.int64, length=None):
    """Rows of a ragged array as a rectangle.

    Args:
        flat: [total] values of all rows, one row after the other.
        offsets: [N + 1] int, row i is `flat[offsets[i]:offsets[i + 1]]`.
        indices: [B] int, the rows wanted.
        pad_value: value on the right of rows that are too short.
        dtype: type of the result.
        length: width of the result; longer rows are cut. None: the longest of the rows.

    Returns:
        [B, T] array of `dtype`.
    """
    indices = np.asarray(indices, dtype=np.int64)
    starts = offsets[indices]
    lengths = offsets[indices + 1] - starts
    if length is None:
        length = int(lengths.max(initial=0))
    lengths = np.minimum(lengths, length)
    padded = np.full((len(indices), length), pad_value, dtype=dtype)
    shift = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    padded[np.arange(length) < lengths[:, None]] = flat[np.arange(len(shift)) + shift]
    return padded


def pad_rows(rows, pad_value=0, dtype=np.int64, length=None):
    """The same for a list of 1-D rows.

    Args:
        rows: list of B one-dimensional arrays or lists.
        pad_value, dtype, length: as in `pad_ragged`.

    Returns:
        [B, T] array of `dtype`.
    """
    rows = [np.asarray(row) for row in rows]
    if any(row.ndim != 1 for row in rows):
        raise ValueError(f'found rows of shapes {sorted({row.shape for row in rows})}, expected one dimension each')
    offsets = np.cumsum([0] + [len(row) for row in rows])
    flat = np.concatenate(rows) if rows else np.empty(0, dtype)
    return pad_ragged(flat, offsets, np.arange(len(rows)), pad_value, dtype, length)


def fill_rows(rows, pad_value, dtype, length=None):
    """The same for B one-dimensional arrays, written row by row, which is the fastest for a batch.

    Args:
        rows: list of arrays of type `dtype`.
        pad_value, length: as in `pad_ragged`.
    """
    width = max(map(len, rows)) if length is None else length
    padded = np.full((len(rows), width), pad_value, dtype)
    for out, row in zip(padded, rows, strict=True):
        count = len(row)
        if count <= width:
            out[:count] = row
        else:
            out[:] = row[:width]
    return padded
