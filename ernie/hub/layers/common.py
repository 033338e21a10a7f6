"""What the layers share: their checks, their names, their activations."""

from ernie.hub.expressions import Value
from propeller.errors import UsageError, UserError, one_of, quoted
from propeller.graph import F, paddle

# Name in 2019 -> function of graph values.
ACTIVATIONS = {
    'tanh': lambda x: paddle.tanh(x),
    'relu': lambda x: F.relu(x),
    'sigmoid': lambda x: F.sigmoid(x),
    'softmax': lambda x: F.softmax(x, -1),
    'softsign': lambda x: F.softsign(x),
    'gelu': lambda x: F.gelu(x),
    'leaky_relu': lambda x: F.leaky_relu(x, 0.02),
}


def record(kind, inputs, shape, build, *, mask=None, dtype='float32', name=None):
    """A new `Value` in the program of its inputs. name: its name, where it is made already."""
    program = inputs[0].program
    name = name or program.name_of(kind)
    return program.add(Value(program, name, shape, dtype, mask, inputs, build))


def values(where, *given):
    """The given ones, if all are recorded values of one program.

    Raises:
        UserError: one is none, or belongs to another program.
    """
    for value in given:
        if not isinstance(value, Value):
            raise UserError(
                f'{where}: found {quoted(value)}, expected a value of module.context() or of another layer.'
            )
    programs = {id(value.program) for value in given}
    if len(programs) > 1:
        raise UserError(f'{where}: found values of {len(programs)} programs, expected those of one.')
    return given


def sequence(where, value):
    """`value`, if it is a sequence of vectors. Raises `UserError` for anything else."""
    values(where, value)
    if not value.mask or value.dtype != 'float32':
        raise UserError(
            f'{where}: found {value}, expected a sequence of vectors, such as that of an embedding of word_ids.'
        )
    return value


def common_mask(where, given):
    """The mask of some values: that of the sequences among them, None without any.

    Raises:
        UserError: sequences of different lengths.
    """
    masks = dict.fromkeys(value.mask for value in given if value.mask)
    if len(masks) > 1:
        raise UserError(f'{where}: found sequences with the masks {", ".join(masks)}, expected those of one input.')
    return next(iter(masks), None)


def width(where, value):
    """The last size of a value. Raises `UserError` where it is not known."""
    if value.shape[-1] < 1:
        raise UserError(f'{where}: found {value}, expected one of a known width. Give apply(..., size=WIDTH).')
    return value.shape[-1]


def whole(where, name, number, least=1):
    """`number` if it is a whole number of at least `least`."""
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise UserError(f'{where}: {name}: found {quoted(number)}, expected a whole number of at least {least}.')
    return number


def activation(where, name):
    """The function of an activation by its name of 2019; None for none.

    Raises:
        UsageError: there is none of that name.
    """
    if name is None:
        return None
    if name not in ACTIVATIONS:
        raise UsageError(f'{where}: act {quoted(name)}: expected {one_of(name, ACTIVATIONS)}')
    return ACTIVATIONS[name]


def spread(mask, x):
    """A mask [B, T] in the shape of x [B, T, D], for a product with it."""
    return mask.unsqueeze(-1) if len(x.shape) == 3 else mask
