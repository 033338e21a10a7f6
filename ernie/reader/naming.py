"""Which column of a file is the text, which the label: by what the user says, what the model learnt from, its name."""

from ernie.reader.column_words import LABELS, PAIRS, TEXTS
from ernie.reader.columns import ColumnNames, bare, listed, misspelt, nearest
from propeller.errors import UsageError, UserError, bad_input, quoted

CSV_TEXT = 'text'  # in a .csv file this column has always been text_a
_FLAGS = dict(zip(ColumnNames._fields, ('--text_column', '--text_b_column', '--label_column'), strict=True))
_MOST = 1000  # columns that are looked through


class MissingColumn(UserError):
    """A required column that is not there."""


class Naming:
    """Finds out, once for each file, what its columns are.

    A column is found by the first of these that the file has: the name that was asked for, the one that the model
    learnt from, the name of 2019 (`text_a`, `text_b`, `label`), a name that people use (`ernie.reader.column_words`).

    Args:
        required: roles that must be found.
        asked: `ColumnNames`; a file without one of these columns is refused.
        learnt: None, or dict role -> column that the model learnt from; then no further text is looked for.
        optional: roles that may be found.
        labelled: whether a label is looked for by other names than `label`.

    Attributes:
        found: dict role -> column of the newest file; {} before one is read.
    """

    def __init__(
        self, required=('text_a',), asked=None, learnt=None, optional=('text_b', 'label', 'qid'), labelled=None
    ):
        asked = asked or ColumnNames()
        self.required, self.learnt = tuple(required), learnt or {}
        self.wanted = tuple(dict.fromkeys((*required, *optional)))
        self.asked = {role: name for role, name in asked._asdict().items() if name is not None}
        names = list(self.asked.values())
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f'the column {quoted(twice)} is named for two things: each has one of its own.')
        self.labelled = 'label' in required if labelled is None else labelled
        self.found = {}

    def of(self, names, path, line=None, notes=None, is_csv=False, advice=''):
        """dict column -> what its cells are called, without columns that nobody can reach by a name.

        Args:
            names: the columns of the file.
            path, line: for messages.
            notes: the `Notes` that take what was recognised; None: nothing is said.
            is_csv: whether `text` is `text_a`, as in the CSV files of 2019.
            advice: what to do where a column is missing, if more than its name can be wrong.
        Raises:
            UserError: a column that is asked for or required is not there; or two could be the same thing.
        """
        names = list(names)
        found = self._asked(names, path, line)
        told = bool(found)
        for role in self.wanted:
            own = (self.learnt.get(role), role, CSV_TEXT if is_csv and role == 'text_a' else None)
            name = next((name for name in own if name in names and name not in found.values()), None)
            if role not in found and name is not None:
                found[role] = name
        if len(names) <= _MOST:
            told |= self._recognise(names, found, path, line)
        missing = [role for role in self.required if role not in found]
        if missing:
            raise self._missing(names, missing, path, line, advice)
        self.found = {role: found[role] for role in self.wanted if role in found}
        if told and notes:
            shown = ', '.join(name if name == role else f'{name} -> {_word(role)}' for role, name in self.found.items())
            notes.tell(f'columns: {shown}')
        roles = {name: role for role, name in found.items()}
        return {name: roles.get(name, name) for name in names if name in roles or name not in found}

    def _asked(self, names, path, line):
        found = {}
        for role, name in self.asked.items():
            if role not in self.wanted or (role == 'label' and not self.labelled and name not in names):
                continue
            if name not in names:
                near = nearest(name, names[:_MOST])
                advice = f'Did you mean {quoted(near)}?' if near else ''
                flag = f'a column {quoted(name)} ({_FLAGS[role]})'
                raise bad_input(path, f'the columns {listed(names)}', flag, line, advice)
            found[role] = name
        return found

    def _recognise(self, names, found, path, line):
        """Adds to `found` what names that people use say; whether there was any."""
        before = len(found)
        free = [name for name in names if name not in found.values() and name not in self.wanted]
        if 'text_a' in self.wanted:
            self._add_texts({name: bare(name) for name in free}, found, path, line)
        free = [name for name in free if name not in found.values()]
        if self.labelled and 'label' not in found and 'label' in self.wanted:
            labels = [name for name in free if bare(name) in LABELS]
            if len(labels) > 1:
                raise _several(labels, 'label', path, line)
            if labels:
                found['label'] = labels[0]
        return len(found) > before

    def _add_texts(self, forms, found, path, line):
        pairs = self._pairs(forms, found)
        if 'text_a' in found:
            if len(pairs) == 1:
                found['text_b'] = pairs[0][1]
            return
        texts = [name for name, form in forms.items() if form in TEXTS]
        others = [name for name in texts if len(pairs) != 1 or name not in pairs[0]]
        if len(pairs) == 1 and not others:
            found['text_a'], found['text_b'] = pairs[0]
        elif len(texts) > 1:
            raise _several(texts, 'text_a', path, line)
        elif texts:
            found['text_a'] = texts[0]

    def _pairs(self, forms, found):
        """The pairs of columns that could be both texts, where a second text is looked for."""
        if 'text_b' not in self.wanted or 'text_b' in found or self.learnt or 'text_a' in self.asked:
            return []
        first = {found['text_a']: bare(found['text_a'])} if 'text_a' in found else forms
        return [(a, b) for a in first for b in forms if (first[a], forms[b]) in PAIRS]

    def _missing(self, names, missing, path, line, advice):
        advice = advice or misspelt(self.required, names)
        flags = ' '.join(f'{_FLAGS[role]} NAME' for role in missing if role in _FLAGS)
        if not advice and len(missing) == len(self.required):
            advice = 'The first line must name the columns.' if line == 1 else ''
        if not advice and len(names) > 1 and flags:
            advice = f'{flags} says which it is.'
        error = bad_input(path, f'the columns {listed(names)}', f'also a column {listed(missing)}', line, advice)
        return MissingColumn(error)


def _word(role):
    return 'text' if role == 'text_a' else role


def _several(names, role, path, line):
    what = {'text_a': 'the text', 'label': 'the label'}[role]
    found = f'{len(names)} columns that could be {what}: {listed(names)}'
    return bad_input(path, found, 'one', line, f'Say which: {_FLAGS[role]} {names[0]}')
