"""The values of tensors on their way into and out of a model: of the right type, and finite."""

import numpy as np

from propeller.errors import UserError, bad_input
from propeller.log import get_logger

log = get_logger(__name__)

_FEW = 5


def bfloat16_to_float32(bits):
    """float32 values of an array of bfloat16 bit patterns (uint16): they are the upper halves of the float32 ones."""
    wide = bits.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


def not_finite(array):
    """What is not finite in an array, in words: `nan at [1, 2], the first of 3 such values of 24`; None: all is well.

    It costs a sum over the array where all is well.
    """
    array = np.asarray(array)
    if array.dtype.kind not in 'fc':
        return None
    with np.errstate(all='ignore'):
        # A sum is not finite if one of its terms is not; half precision would overflow without need.
        if np.isfinite(array.sum(dtype=np.float32 if array.dtype.itemsize < 4 else None)):
            return None
    wrong = ~np.isfinite(array)
    count = int(np.count_nonzero(wrong))
    if not count:
        return None
    first = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), array.shape))
    return f'{array[first]} at {list(first)}, the first of {count} such values of {array.size}'


def check_finite(array, name, source):
    """Refuse an array that is not finite.

    Args:
        array: numpy array.
        name: what it is called.
        source: the file or folder that holds it.
    Raises:
        UserError: a value is NaN or infinite; the text says which and how many.
    """
    fault = not_finite(array)
    if fault:
        raise bad_input(
            source, f'{name} with {fault}', 'finite numbers', advice='This model is broken: take an earlier checkpoint.'
        )


def type_fault(found, expected=np.float32):
    """Why values of one numpy type cannot stand for a parameter of another, in words; None: they can.

    Floating-point numbers of any width stand for each other. Nothing else is converted.
    """
    found, expected = np.dtype(found), np.dtype(expected)
    if found == expected or (found.kind == expected.kind == 'f'):
        return None
    return f'is {found}, expected {expected}'


def type_advice(found):
    """What may help where values of this numpy type should be floating-point numbers; '' if nothing is known."""
    if np.dtype(found) != np.uint16:
        return ''
    return 'uint16 may be bits of bfloat16, which this file does not say: save it again as BF16 or in float32'


def load_values(session, names, tensors, source=None):
    """Write tensors of a file into the variables of the same names, converted to their type.

    float16 and bfloat16 become float32 exactly; float64 is rounded, which a log line says.

    Args:
        session: `propeller.session.Session`.
        names: iterable of variable names.
        tensors: mapping of names to arrays, read one at a time.
        source: the file or folder, for messages; None: `tensors.path`.
    Raises:
        UserError: a tensor has no such type or shape, or a value that is not finite.
    """
    for name, values in checked_values(names, tensors, session.dtype, source):
        session.write(name, values)
        del values  # before the next ones are read


def checked_values(names, tensors, dtype, source=None):
    """The values of tensors of a file, converted as `load_values` does.

    Args:
        names, tensors, source: see `load_values`.
        dtype: function: name -> numpy type.
    Yields:
        (name, array).
    Raises:
        UserError: a tensor has no such type, or a value that is not finite.
    """
    source, rounded = source or tensors.path, []
    for name in names:
        array, expected = tensors[name], dtype(name)
        fault = type_fault(array.dtype, expected)
        if fault:
            advice = type_advice(array.dtype)
            raise UserError(f'{source}: {name} {fault}.' + (f' {advice}.' if advice else ''))
        with np.errstate(over='ignore'):
            values = np.asarray(array, expected)
        if values.dtype.itemsize < array.dtype.itemsize:
            rounded.append(f'{name} ({array.dtype} to {expected})')
            if not not_finite(array) and not_finite(values):
                raise bad_input(source, f'{name} with values too large for {expected}', 'numbers of its range')
        check_finite(values, name, source)
        yield name, values
        del array, values  # before the next one is read
    if rounded:
        more = ', ...' if len(rounded) > _FEW else ''
        log.info('%s: %d tensors rounded to fewer digits: %s%s', source, len(rounded), ', '.join(rounded[:_FEW]), more)


def read_finite(session, names, target):
    """dict name -> array of variables that are to be saved at once: they are lent, not copied.

    Args:
        session: `propeller.session.Session`.
        names: iterable of variable names.
        target: the file or folder that they are for, for messages.
    Raises:
        UserError: a value is not finite. Nothing was written.
    """
    arrays = {}
    for name in names:
        arrays[name] = session.view(name)
        fault = not_finite(arrays[name])
        if fault:
            raise UserError(
                f'{target}: not saved, because {name} has {fault}. The training has lost its way: start again from an '
                f'earlier checkpoint with a lower learning rate or a longer warm-up, and check the data.'
            )
    return arrays
