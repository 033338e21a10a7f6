"""From what a user writes to a data set and its split."""

import difflib
import re
from typing import NamedTuple

from ernie.zoo.data_sets.entries import DataSet
from ernie.zoo.data_sets.table import DATA_SETS
from propeller.errors import UsageError, did_you_mean, quoted

_REFERENCE = re.compile(r'([A-Za-z0-9][\w/-]{0,60})(?::([\w.-]{1,40}))?', re.ASCII)
_FORMS = re.compile(r'^glue[-_/]|[-_ ]|(?<=^xnli)/')
_LIKE = 0.75


class Reference(NamedTuple):
    """A data set by its name, and the split that is asked for, or None."""

    data_set: DataSet
    split: str | None


def _key(name):
    return _FORMS.sub('', name.lower())


_BY_KEY = {_key(name): data_set for data_set in DATA_SETS.values() for name in (data_set.name, *data_set.other_names)}


def known_data_set(name):
    """The `DataSet` of that name, or None: case, dashes and `GLUE/` before it do not count."""
    return _BY_KEY.get(_key(name))


def find_data_set(name):
    """The `DataSet` of that name.

    Raises:
        UsageError: there is none; the text says the nearest, and all.
    """
    found = known_data_set(name)
    if found is None:
        names = [data_set.name for data_set in DATA_SETS.values() if not data_set.variant_of]
        near = did_you_mean(name, DATA_SETS)
        raise UsageError(f'no data set {quoted(name)}; there are {", ".join(names)}.{near}')
    return found


def check_split(data_set, word):
    """The name of a split. Raises `UsageError`: there is none of that name; the text says which there are."""
    split = data_set.split_named(word)
    if split is None:
        known = list(data_set.splits)
        near = did_you_mean(word, known)
        raise UsageError(f'{data_set.name}: has no split {quoted(word)}; there are {", ".join(known)}.{near}')
    return split


def reference(text):
    """The `Reference` that a text is, `NAME` or `NAME:SPLIT`; None for any other text.

    Raises:
        UsageError: the data set has no such split.
    """
    match = _REFERENCE.fullmatch(text)
    data_set = match and known_data_set(match[1])
    if not data_set:
        return None
    return Reference(data_set, check_split(data_set, match[2]) if match[2] else None)


def nearest_reference(text):
    """` Did you mean imdb:train?` for a text that is nearly a reference with a split; '' for all others."""
    match = _REFERENCE.fullmatch(text)
    if not match or not match[2]:
        return ''
    near = difflib.get_close_matches(_key(match[1]), _BY_KEY, 1, _LIKE)
    data_set = _BY_KEY[near[0]] if near else None
    split = data_set and data_set.split_named(match[2])
    return f' Did you mean {data_set.name}:{split}?' if split else ''
