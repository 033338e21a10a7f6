"""Strict matching of the parameters of a program with the tensors of a checkpoint."""

from typing import NamedTuple

from ernie.checkpoint.names import is_of_encoder, is_training_state
from ernie.model.encoders import ENCODERS, ERNIE, Encoder
from ernie.tasks import table
from propeller.errors import QUOTED, UserError, bad_input, one_line, quoted
from propeller.log import get_logger
from propeller.storage.values import type_advice, type_fault

log = get_logger(__name__)

_SHOWN = 20


class Match(NamedTuple):
    """What to do with each name.

    Attributes:
        load: expected names that the checkpoint gives, with the right shape and type.
        new: expected names that it may lack and does, or holds in another shape or type.
        unused: its names that are not expected.
    """

    load: list
    new: list
    unused: list


def match_parameters(expected, tensors, is_new=lambda name: False, allow_missing=(), allow_unused=()):
    """Compare what a program needs with what a checkpoint holds.

    Args:
        expected: dict name -> shape of the program's parameters, which are floating-point numbers.
        tensors: `propeller.storage.Tensors` (`ernie.checkpoint.Model` among them), or a mapping of names to arrays.
        is_new: tells of a name whether it may be absent because the part it belongs to, such as a task head, is new.
        allow_missing: further names, or beginnings of names with a `*` after them, that may be absent or of another
            shape.
        allow_unused: the same for tensors of the encoder that the program does not have.

    Returns:
        `Match`, in the order of `expected` and of `tensors`.

    Raises:
        UserError: names missing tensors with their shapes, tensors of a wrong shape or type with both, or tensors of
            the encoder that would not be used: without them it computes something else. At most 20 of a kind are
            named.
    """
    load, new, missing, wrong, mistyped = [], [], [], [], []
    for name, shape in expected.items():
        shape, allowed = tuple(shape), _is_listed(name, allow_missing)
        if name not in tensors:
            (new if allowed or is_new(name) else missing).append((name, shape))
            continue
        found, fault = _shape(tensors, name), type_fault(_dtype(tensors, name))
        if found == shape and not fault:
            load.append(name)
        elif allowed:
            new.append((name, shape))
        elif fault:
            mistyped.append((name, fault))
        else:
            wrong.append((name, found, shape))
    unused = [name for name in tensors if name not in expected]
    if missing or wrong or mistyped:
        advice = _advice(missing, wrong, mistyped, tensors, load, is_new)
        raise UserError(_explain(_path(tensors), missing, wrong, mistyped, advice))
    _refuse_unused([*unused, *getattr(tensors, 'unmapped', ())], tensors, allow_unused)
    return Match(load, [name for name, _ in new], unused)


def check_labels(saved, tensors, path):
    """Compare what a checkpoint says of its classes with its head.

    Args:
        saved: dict, the content of `labels.json`, {} where there is none.
        tensors: see `match_parameters`.
        path: of `labels.json`, for the message.
    Raises:
        UserError: they are not as many.
    """
    spec = table.find(saved['task']) if saved.get('task') in table.TASKS else None
    head = spec.head[0] if spec and spec.has_classes else None
    shape = _shape(tensors, head) if head in tensors else ()
    if not shape:
        return
    expected = f'{shape[-1]} classes, as many as the head has: {head} is {list(shape)} in {_path(tensors)}'
    labels, label_map = saved.get('labels') or (), saved.get('label_map') or {}
    if saved.get('num_labels', shape[-1]) != shape[-1]:
        raise bad_input(path, f'num_labels {quoted(saved["num_labels"])}', expected)
    if isinstance(labels, list) and len(labels) != shape[-1]:
        raise bad_input(path, f'{len(labels)} labels', expected)
    largest = max((i for i in label_map.values() if isinstance(i, int)), default=0)
    if largest >= shape[-1]:
        raise bad_input(path, f'the id {largest} in label_map', expected)


def _refuse_unused(names, tensors, allowed):
    kind = _kind(tensors)
    own = (n for n in names if is_of_encoder(n) or kind.owns(n) and not is_training_state(n))
    lost = [n for n in own if not _is_listed(n, allowed)]
    if lost:
        raise UserError(
            f'{_path(tensors)}: {len(lost)} tensors of the encoder would not be used: {_few(lost)}. Check '
            f'num_hidden_layers and the other values of the model configuration; --allow_unused leaves named tensors '
            f'out.'
        )


def may_begin(tensors):
    """Function: whether a task that starts from pre-trained `tensors` begins a parameter of this name anew where they
    lack it, although it is the encoder's: see `Encoder.begun_by_tasks`.
    """
    return lambda name: _is_listed(name, _kind(tensors).begun_by_tasks)


def _kind(tensors):
    """The `Encoder` that tensors are of."""
    return ENCODERS.get((getattr(tensors, 'config', None) or {}).get('encoder', ERNIE), Encoder)


def warn_of_unmatched(flag, patterns, names):
    """Warn of what a flag lists and nothing is called: it may be misspelt. names: all that it could mean."""
    names = list(names)
    for pattern in patterns:
        if not any(_is_listed(name, [pattern]) for name in names):
            log.warning('%s %s: nothing is called so', flag, one_line(pattern, QUOTED))


def _is_listed(name, patterns):
    return any(name.startswith(p[:-1]) if p.endswith('*') else name == p for p in patterns)


def _shape(tensors, name):
    return tuple(tensors.shape(name) if hasattr(tensors, 'shape') else tensors[name].shape)


def _dtype(tensors, name):
    return tensors.dtype(name) if hasattr(tensors, 'dtype') else tensors[name].dtype


def _path(tensors):
    return getattr(tensors, 'path', 'checkpoint')


def _few(parts):
    return ', '.join(parts[:_SHOWN]) + (f' and {len(parts) - _SHOWN} more' if len(parts) > _SHOWN else '')


def _explain(path, missing, wrong, mistyped, advice):
    parts = []
    if missing:
        listed = _few([f'{name} {list(shape)}' for name, shape in missing])
        parts.append(f'{len(missing)} missing: {listed}')
    if wrong:
        listed = _few([f'{name} is {list(found)}, expected {list(shape)}' for name, found, shape in wrong])
        parts.append(f'{len(wrong)} of a wrong shape: {listed}')
    if mistyped:
        parts.append(f'{len(mistyped)} of a wrong type: {_few([f"{name} {fault}" for name, fault in mistyped])}')
    return f'{path}: the parameters do not fit the model. {"; ".join(parts)}. {advice}.'


def _advice(missing, wrong, mistyped, tensors, load, is_new):
    if not load and not wrong and not mistyped:
        names = list(tensors)
        shown = ', '.join(names[:5]) + (', ...' if len(names) > 5 else '')
        return f'None of the model is there; it holds {len(names)} tensors: {shown}'
    heads = [name for name, _, _ in wrong if is_new(name)]
    if heads and len(heads) == len(wrong) and not missing and not mistyped:
        return f'The head is that of another task; --allow_missing {",".join(heads)} starts with a new one'
    special = [text for name, _ in mistyped if (text := type_advice(_dtype(tensors, name)))]
    return special[0] if special else 'Check that the folder and the model configuration belong together'
