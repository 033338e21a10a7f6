"""Checks of the arguments of operators, with their error messages.

`argument` is its name with that of the operator, `linear: bias` say. All functions raise `ValueError`.
"""

from propeller import graph
from propeller.graph import paddle
from propeller.ops.choice import kernels

# Paddle's mixed precision makes 16-bit numbers of values that are float32 otherwise.
FLOATS = 'float32', 'bfloat16', 'float16'
PRECISIONS = ('fp32', 'bf16')


def require_type(argument, value, *types):
    """value: of one of these types, given by their names; the message names the first."""
    if value.dtype not in [getattr(paddle, name) for name in types]:
        raise ValueError(f'ops.{argument} is {describe(value)}, expected {types[0]}.')


def require_shape(argument, value, expected, reason=''):
    """value: of this shape, as far as both are known. reason: what else the message says, ` for x of shape [3]` say."""
    if not fits(value.shape, expected):
        raise ValueError(f'ops.{argument} has shape {list(value.shape)}, expected {list(expected)}{reason}.')


def require_one(argument, value, dtype):
    """value: a single number of this type, given by its name, [1]."""
    if value.dtype != getattr(paddle, dtype) or list(value.shape) != [1]:
        raise ValueError(f'ops.{argument} is {describe(value)}, expected {dtype} [1].')


def require_dropout(operator, dropout):
    """dropout: a probability below 1."""
    if not 0 <= dropout < 1:
        raise ValueError(f'ops.{operator}: dropout is {dropout!r}, expected 0 or more and less than 1.')


def require_precision(operator, precision):
    """precision: of products, or None for that of the program."""
    if precision not in (*PRECISIONS, None):
        raise ValueError(f'ops.{operator}: precision is {precision!r}, expected fp32, bf16 or None.')


def fits(found, expected):
    """Whether two shapes agree as far as they are known."""
    pairs = zip(found, expected, strict=False)
    return len(found) == len(expected) and all(a == b or -1 in (a, b) for a, b in pairs)


def fused_precision(precision):
    """Of the products of a fused operator: `fp32` or `bf16`. To be called where the operator is used, see
    `graph.full_precision`.

    Args:
        precision: what was asked for; None: that of the program.
    """
    return (precision or graph.product_precision()) if kernels().bf16 else 'fp32'


def describe(value):
    """Type and shape."""
    return f'{_name(value.dtype)} {list(value.shape)}'


def _name(dtype):
    return str(dtype).removeprefix('paddle.')
