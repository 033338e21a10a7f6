"""What a user's code says of a network, recorded: `Program` and `Value`. Nothing is computed, paddle is not loaded.

The code of 2019 built one program and cloned it for evaluation. Paddle 3 clones none, and needs none: what was recorded
is built again, by `build`, for training, evaluation, prediction and export, each with dropout as it is there.

A sequence (2019: a LoDTensor) has words of texts of several lengths. It is said as in 2019, [words of all texts, D] or
(-1, D); in a graph it is [B, T, D] with a mask [B, T] of 1 on words and 0 on padding behind them. Ids are (-1, 1), in a
graph [B, T]. Everything else is (-1, D), in a graph [B, D].
"""

import collections
import contextlib
import contextvars

from propeller.errors import UserError, quoted

_MASK = 'input_mask'
_current = contextvars.ContextVar('ernie_hub_program', default=None)


class Program:
    """A recorded network: its inputs, and the operations on them in the order in which they were said.

    Attributes:
        inputs: dict name -> `Value` of the inputs.
        module: `ernie.hub.module.Module` whose encoder is in it; None without one.
        max_seq_len: tokens of a text at most; None: any number.
    """

    def __init__(self):
        self.inputs, self.module, self.max_seq_len = {}, None, None
        self._counts, self._values = collections.Counter(), []

    def name_of(self, kind, given=None):
        """A name for an operation: `given`, or kind and number, as 2019 named them (`fc_0`)."""
        number = self._counts[kind]
        self._counts[kind] += 1
        return given or f'{kind}_{number}'

    def add(self, value):
        """Take a `Value` in. Returns it."""
        value.number = len(self._values)
        self._values.append(value)
        return value

    def input(self, name, shape, dtype, sequence=False, mask=_MASK):
        """A new input. mask: name of the mask of a sequence, one of the inputs or a feed of its own."""
        if name in self.inputs:
            raise UserError(f'the input {quoted(name)}: found one of this name already, expected another name.')
        value = Value(self, name, shape, dtype, mask if sequence else None)
        self.inputs[name] = self.add(value)
        return value

    def needed(self, *values):
        """Those of the recorded values that some of them are computed from, themselves included, in order."""
        found, open_values = {}, list(values)
        while open_values:
            value = open_values.pop()
            if value.number not in found:
                found[value.number] = value
                open_values += value.inputs
        return [found[number] for number in sorted(found)]

    def feeds(self, *values):
        """Names of the inputs and masks that some values are computed from: list of str, in the order of the inputs."""
        needed = self.needed(*values)
        names = {value.name for value in needed if value.is_input}
        names |= {value.mask for value in needed if value.mask}
        return [*(name for name in self.inputs if name in names), *sorted(names - self.inputs.keys())]

    def feed(self, name):
        """(shape, type) of an input or mask by its name, -1 for what varies: for `propeller.graph.Feed`."""
        value = self.inputs.get(name)
        if value is None or value.is_mask:
            return (-1, -1), 'float32'
        if value.mask:
            return ((-1, -1) if value.dtype == 'int64' else (-1, -1, value.shape[-1])), value.dtype
        return tuple(value.shape), value.dtype


class Value:
    """A value of a recorded network.

    Attributes:
        program: its `Program`.
        name: of the operation that makes it, or of the input.
        shape: tuple as in 2019, -1 for sizes that are not known before.
        dtype: `float32` or `int64`.
        mask: name of the mask of a sequence; None for all others.
        inputs: list of the `Value`s that it is made from.
        build: function (`Building`, graph value of each of the inputs) -> graph value; None for an input.
    """

    def __init__(self, program, name, shape, dtype='float32', mask=None, inputs=(), build=None):
        self.program, self.name, self.shape, self.dtype, self.mask = program, name, tuple(shape), dtype, mask
        self.inputs, self.build, self.number = list(inputs), build, None
        self.is_mask = False  # whether it is the mask of sequences, an input that says itself what padding is

    @property
    def is_input(self):
        """Whether it is fed."""
        return self.build is None

    @property
    def lod_level(self):
        """1 for a sequence, else 0."""
        return 1 if self.mask else 0

    def __repr__(self):
        kind = 'sequence' if self.mask else 'value'
        return f'<{kind} {self.name}: {list(self.shape)} {self.dtype}>'

    def __bool__(self):
        raise UserError(
            f'{self.name}: found a value of a network where Python asks for true or false: it has none yet.'
        )


class Building:
    """The graph that is being built of a recorded network.

    Args:
        arrays: dict name -> graph value of the inputs and masks.
        training: whether dropout is on.
    """

    def __init__(self, arrays, training):
        self.arrays, self.training = arrays, training
        self.encoder = None  # see `ernie.hub.module`

    def mask(self, value):
        """float32 [B, T] of a sequence."""
        return self.arrays[value.mask]

    def values(self, *values):
        """The graph values of some recorded ones of one program: list."""
        known = {}
        for value in values[0].program.needed(*values):
            made = value.build(self, *(known[i.number] for i in value.inputs)) if value.build else None
            known[value.number] = self.arrays[value.name] if value.is_input else made
        return [known[value.number] for value in values]


# ---------------------------------------------------------------- the program that is being said


def current_program():
    """The `Program` that inputs without a program of their own go to."""
    program = _current.get()
    if program is None:
        program = Program()
        _current.set(program)
    return program


def switch_main_program(program):
    """From here on `program` is the current one. Returns the one before."""
    if not isinstance(program, Program):
        raise UserError(f'switch_main_program: found {quoted(program)}, expected the program of module.context().')
    before = current_program()
    _current.set(program)
    return before


@contextlib.contextmanager
def program_guard(program, startup_program=None):
    """In the block, `program` is the current one. startup_program: 2019's; there is none here."""
    before = switch_main_program(program)
    try:
        yield
    finally:
        _current.set(before)
