"""Column names: those that a model needs, those that it refuses, and those that nobody reads."""

import difflib
from typing import NamedTuple

from propeller.errors import quoted
from propeller.log import get_logger

log = get_logger(__name__)

TEXTS = ('text_a', 'text_b')
PREFIX = 'input_'
# `lable` for `label` and `text_1` for `text_b` are alike, `id` for `qid` and `title` for `text_a` are not.
_ALIKE = 0.78
_MOST = 100  # names that are looked at: a file that has more is not looked through for slips
_SHORTEST = 4  # letters of a name that may be misspelt otherwise than by its case and signs


def nearest(name, known):
    """The name of `known` that `name` may be a misspelling of, or None. Case, `_`, `-` and white space do not count."""
    form = bare(name)
    forms = {bare(other): other for other in reversed(known)}
    if form in forms:
        return forms[form]
    if len(form) < _SHORTEST:
        return None
    found = difflib.get_close_matches(form, [form for form in forms if len(form) >= _SHORTEST], 1, _ALIKE)
    return forms[found[0]] if found else None


def bare(name):
    """A name without case, `_`, `-` and white space."""
    return ''.join(char for char in name[:40].casefold() if char.isalnum())


def listed(names):
    """Names for a message: in quotes, joined by commas."""
    return ', '.join(quoted(name, 40) for name in names)


def misspelt(required, names):
    """A sentence that tells which of `names` may stand for required ones that are missing; '' where none may."""
    missing = [name for name in required if name not in names]
    others = [name for name in list(names)[:_MOST] if name not in required]
    pairs = [(close, name) for name in missing if (close := nearest(name, others))]
    return ' '.join(f'Is {quoted(close, 40)} meant to be {name!r}?' for close, name in pairs)


def free_name(name, taken, others):
    """`name`, or `input_NAME` where it is taken. others: names of the input, which stay theirs."""
    if name not in taken:
        return name
    free = PREFIX + name
    while free in taken or free in others:
        free = PREFIX + free
    return free


class ColumnNames(NamedTuple):
    """Which columns of a file are the text, the second text and the label; None: those whose names say it.

    They are what `--text_column`, `--text_b_column` and `--label_column` name. For questions the first two are question
    and context, and the label is the answer.
    """

    text_a: str | None = None
    text_b: str | None = None
    label: str | None = None

    @classmethod
    def of(cls, settings):
        """Those of settings that have the three flags, or the first two."""
        return cls(settings.text_column, settings.text_b_column, getattr(settings, 'label_column', None))


class Columns(NamedTuple):
    """What a reader makes of the columns of a table, or of the keys of a JSON object.

    required: names that must be there.
    known: further names that are read, or that are passed over for a good reason.
    refused: names that must not be there, because the model did not learn from them.
    words: what other names are known of them, see `ernie.reader.naming.NAMINGS`.
    """

    required: tuple = ('text_a',)
    known: tuple = ()
    refused: tuple = ()
    words: str = 'text'

    @property
    def names(self):
        """All names that mean something."""
        return tuple(dict.fromkeys((*self.required, *self.known, *self.refused)))

    def fault(self, names, source='the model learnt from'):
        """(found, expected, advice) of what is wrong with the columns of a file, or None.

        source: subject and verb of where the required ones are from, for the message.
        """
        reason = f'{source} {" and ".join(self.required)}'
        missing = [name for name in self.required if name not in names]
        if missing:
            found = f'the columns {listed(names)}'
            return found, f'also a column {listed(missing)}: {reason}', misspelt(self.required, names)
        refused = [name for name in self.refused if name in names]
        if refused:
            advice = 'Leave it out, or train with it.'
            return f'a column {listed(refused)}', f'none of this name: {reason} alone', advice
        return None


class Notices:
    """Tells, once for each name, of columns that nobody reads: loudly where one looks like a misspelling.

    Args:
        path: the file, for the message.
        known: names that mean something.
    """

    def __init__(self, path, known):
        self.path, self.known, self._told = path, known, set(known)

    def say(self, names):
        """names: the columns of the file, or the keys of one of its records."""
        unread, others = [name for name in names if name not in self._told][:_MOST], set(names)
        if len(self._told) > _MOST:
            return
        self._told.update(unread)
        plain = []
        for name in unread:
            # A name whose right form stands beside it is hardly meant for that one.
            close = nearest(name, [n for n in self.known if n not in others]) or nearest(name, self.known)
            if close:
                what = "%s: the column %s is not read: is it meant to be '%s'?"
                log.warning(what, self.path, quoted(name, 40), close)
            else:
                plain.append(name)
        if plain:
            log.debug('%s: columns that are not read: %s', self.path, listed(plain[:20]))


def text_columns(learnt):
    """`Columns` of texts for a model that learnt from the columns `learnt`; None where that is not known."""
    if learnt is None:
        return Columns(('text_a',), (*TEXTS, 'label', 'qid'))
    return Columns(tuple(learnt), ('label', 'qid'), tuple(name for name in TEXTS if name not in learnt))
