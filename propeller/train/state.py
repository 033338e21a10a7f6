"""The fields of `training_state.json`: their types, checked where the file is read and where a part of it is taken.

A program that keeps more adds a line here, or checks its own part with `checked`.
"""

from propeller.errors import UserError, quoted


def is_count(value):
    """Whether `value` is a whole number from 0 on, of 63 bits at most."""
    return type(value) is int and 0 <= value < 1 << 63


def is_number(value):
    """Whether `value` is a number, not-a-number and infinity included."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_object(value):
    """Whether `value` was a JSON object."""
    return isinstance(value, dict)


def none_or(holds):
    """`holds`, or None."""
    return lambda value: value is None or holds(value)


def _is_epoch(value):
    return type(value) is int and -1 <= value < 1 << 63


COUNT, NUMBER, OBJECT = (is_count, 'a whole number from 0 on'), (is_number, 'a number'), (is_object, 'an object')
TEXT = (lambda value: isinstance(value, str) and bool(value), 'a text')
NUMBER_OR_NONE, COUNT_OR_NONE = (none_or(is_number), 'a number or null'), (none_or(is_count), 'a count or null')
FLAG = (lambda value: isinstance(value, bool), 'true or false')
NEEDED = ('global_step',)
# name -> (function value -> whether it can be, what is expected). Other fields are left to those who read them.
FIELDS = {
    'global_step': COUNT,
    'updates': COUNT,
    'epoch': (_is_epoch, 'a number of an epoch'),
    'seed': COUNT_OR_NONE,
    'run': TEXT,
    'train_file': TEXT,
    'parts': COUNT,
    'loss_scale': (none_or(is_object), 'an object or null'),
    'schedule': (none_or(is_object), 'an object or null'),
    'value': NUMBER,
    'weights_only': FLAG,
    'encoder_dropout': FLAG,
    'random_state': OBJECT,
    'random_states': (
        lambda value: isinstance(value, list) and bool(value) and all(map(is_object, value)),
        'a list of objects, one a process',
    ),
    'data_position': (lambda value: is_object(value) or is_count(value), 'an object or a count of batches'),
    'hooks': (lambda value: is_object(value) and all(map(is_object, value.values())), 'an object of objects'),
}


def checked(values, fields, needed=None, place=''):
    """`values` if each of its `fields` is of its type.

    Args:
        values: a dict from a JSON file.
        fields: dict name -> (function value -> whether it can be, what is expected in words).
        needed: names that must be there; None: all of `fields`.
        place: what stands before a name in messages, such as `hooks.evaluation.`.
    Raises:
        UserError: names the field, what was found and what is expected; without the file.
    """
    if not isinstance(values, dict):
        raise UserError(f'found {place.rstrip(".") or "the state"} {quoted(values)}, expected an object.')
    for name in fields if needed is None else needed:
        if name not in values:
            raise UserError(f'found no {place}{name}, expected {fields[name][1]}.')
    for name, (holds, expected) in fields.items():
        if name in values and not holds(values[name]):
            raise UserError(f'found {place}{name} {quoted(values[name])}, expected {expected}.')
    return values
