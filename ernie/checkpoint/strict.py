"""Which parameters of a program a checkpoint gives. Nothing is ever silently left out or left random."""

from typing import NamedTuple

from propeller.errors import UserError


class Match(NamedTuple):
    """What to do with each name.

    Attributes:
        load: expected names that the checkpoint gives, with the right shape.
        new: expected names that it may lack and does, or holds in another shape.
        unused: its names that are not expected.
    """

    load: list
    new: list
    unused: list


def match_parameters(expected, tensors, is_new=lambda name: False, allow_missing=()):
    """Compare what a program needs with what a checkpoint holds.

    Args:
        expected: dict name -> shape of the program's parameters.
        tensors: `propeller.storage.Tensors` (`ernie.checkpoint.Model` among them), or a mapping of names to arrays.
        is_new: tells of a name whether it may be absent because the part it belongs to, such as a task head, is new.
        allow_missing: further names that may be absent or of another shape.

    Returns:
        `Match`, in the order of `expected` and of `tensors`.

    Raises:
        UserError: names every missing tensor with its shape and every tensor of a wrong shape with both shapes.
    """
    load, new, missing, wrong = [], [], [], []
    for name, shape in expected.items():
        shape = tuple(shape)
        if name in tensors:
            found = _shape(tensors, name)
            if found == shape:
                load.append(name)
            elif name in allow_missing:
                new.append(name)
            else:
                wrong.append((name, found, shape))
        elif is_new(name) or name in allow_missing:
            new.append(name)
        else:
            missing.append((name, shape))
    if missing or wrong:
        advice = _advice(missing, wrong, list(tensors), load, is_new)
        raise UserError(_explain(getattr(tensors, 'path', 'checkpoint'), missing, wrong, advice))
    return Match(load, new, [name for name in tensors if name not in expected])


def _shape(tensors, name):
    return tuple(tensors.shape(name) if hasattr(tensors, 'shape') else tensors[name].shape)


def _explain(path, missing, wrong, advice):
    parts = []
    if missing:
        listed = ', '.join(f'{name} {list(shape)}' for name, shape in missing)
        parts.append(f'{len(missing)} missing: {listed}')
    if wrong:
        listed = ', '.join(f'{name} is {list(found)}, expected {list(shape)}' for name, found, shape in wrong)
        parts.append(f'{len(wrong)} of a wrong shape: {listed}')
    return f'{path}: the parameters do not fit the model. {"; ".join(parts)}. {advice}.'


def _advice(missing, wrong, names, load, is_new):
    if not load and not wrong:
        shown = ', '.join(names[:5]) + (', ...' if len(names) > 5 else '')
        return f'None of the model is there; it holds {len(names)} tensors: {shown}'
    heads = [name for name, _, _ in wrong if is_new(name)]
    if heads and len(heads) == len(wrong) and not missing:
        return f'The head is that of another task; --allow_missing {",".join(heads)} starts with a new one'
    return 'Check that the folder and the model configuration belong together'
