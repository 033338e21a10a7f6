"""Whether two runs of one model gave the same numbers."""

import numpy as np

from propeller.errors import UserError


def difference(expected, got):
    """Largest difference of two arrays of one shape; of numbers beyond 1 as a share of the number.

    A masked score of -10000 has no more digits than a probability, so that a fixed limit would fit only one of them.

    Args:
        expected, got: arrays of one shape.
    Returns:
        float; NaN if a number is there that the other array does not have.
    """
    want, value = np.asarray(expected, np.float64), np.asarray(got, np.float64)
    with np.errstate(invalid='ignore'):
        apart = np.where(want == value, 0.0, np.abs(want - value) / np.maximum(np.abs(want), 1.0))
    return float(apart.max(initial=0.0))


def check_outputs(name, expected, got, tolerance):
    """Prove that a model gives the numbers of the graph that it was made from.

    Args:
        name: what gave `got`, for the message.
        expected, got: lists of arrays.
        tolerance: largest `difference`.
    Raises:
        UserError: they are not the same; names the output and the difference.
    """
    if len(expected) != len(got):
        raise UserError(f'{name}: gives {len(got)} outputs, the graph {len(expected)}.')
    for i, (want, value) in enumerate(zip(expected, got, strict=True)):
        if want.shape != value.shape:
            raise UserError(f'{name}: output {i} has shape {list(value.shape)}, the graph gives {list(want.shape)}.')
        apart = difference(want, value)
        if not apart <= tolerance:
            raise UserError(f'{name}: output {i} of the exported model differs by {apart:g} from the graph.')
