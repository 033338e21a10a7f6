"""Number and names of the classes: flag, label map and model must agree."""

import numpy as np

from propeller.errors import UsageError, UserError, quoted
from propeller.log import get_logger

log = get_logger(__name__)

MOST_LABELS = 1_000_000  # a list of names is made of them
_NAMED = 10  # classes in a message


def count_labels(asked=None, label_map=None, where=None, model=None):
    """The number of classes; 2 where nothing tells it.

    Args:
        asked: `--num_labels`, or None.
        label_map: dict label -> id, or None. Several labels may share an id.
        where: what the label map is from, for the message.
        model: how many classes the model has, or None where that is not known.

    Raises:
        UsageError: two of them differ, or there are too many.
    """
    mapped = len(set(label_map.values())) if label_map else None
    if mapped and model and mapped != model:
        raise UsageError(f'the label map of {where} has {mapped} classes; the model has {model}.')
    if asked and model and asked != model:
        raise UsageError(f'--num_labels {asked}: the model has {model} classes.')
    if asked and mapped and asked != mapped:
        raise UsageError(f'--num_labels {asked}: the label map of {where} has {mapped} classes.')
    if asked and asked > MOST_LABELS:
        raise UsageError(f'--num_labels {asked}: expected at most {MOST_LABELS}.')
    return model or mapped or asked or 2


def named_labels(saved):
    """dict label -> id of a model. None: its `labels.json`, a dict, calls classes by their numbers, or not at all."""
    names = saved.get('labels') or ()
    found = saved.get('label_map') or {name: i for i, name in enumerate(names)}
    return None if all(name == str(i) for name, i in found.items()) else found


def check_label_map(label_map, path, saved):
    """Raises `UserError`: a label map is not that of a model whose classes have names: it would give them others.

    Args:
        label_map: dict label -> id, content of the file `path`.
        saved: dict, `labels.json` of the model, {} if it has none.
    """
    names = named_labels(saved)
    if names and label_map != names:
        raise UserError(f'{path}: found other labels than those of the checkpoint; leave out --label_map_config.')


def label_names(label_map, num_labels):
    """Names of the classes by id, [num_labels] str. An id without a name is called by its number; of several names for
    an id the first one counts.
    """
    names = [str(i) for i in range(num_labels)]
    for name, index in reversed((label_map or {}).items()):
        names[index] = name
    return names


def warn_of_missing(path, names, counts):
    """Says which classes a training set does not show, or that it shows one only.

    Args:
        path: the training set.
        names: [C] str, the classes.
        counts: [C], how often each is there.
    """
    missing = [quoted(name, 40) for name, count in zip(names, counts, strict=True) if not count]
    if len(missing) == len(names) - 1 and len(names) > 1:
        log.warning(
            '%s: all labels are %s: there is nothing to tell apart. Are the rows of the other classes missing?',
            *(path, quoted(names[int(np.argmax(counts))], 40)),
        )
    elif missing:
        more = ', ...' if len(missing) > _NAMED else ''
        log.warning(
            '%s: %d of %d classes have no row, and will not be learned: %s%s',
            *(path, len(missing), len(names), ', '.join(missing[:_NAMED]), more),
        )
