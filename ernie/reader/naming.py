"""Which column of a file is the text, which the label: by what the user says, what the model learnt from, its name."""

from ernie.reader.column_words import ANSWERS, CONTEXTS, LABELS, PAIRS, QUESTIONS, TAGS, TEXTS, TOKENS
from ernie.reader.columns import ColumnNames, bare, listed, misspelt, nearest
from propeller.errors import UsageError, UserError, bad_input, did_you_mean, quoted

CSV_TEXT = 'text'  # in a .csv file this column has always been text_a
_FLAGS = ('--text_column', '--text_b_column', '--label_column')
_MOST = 1000  # columns that are looked through


class MissingColumn(UserError):
    """A required column that is not there."""


class SeveralColumns(UserError):
    """Columns of which each could be the one that is looked for."""


class Naming:
    """Finds out, once for each file, what its columns are.

    A column is found by the first of these that the file has: the name that was asked for, the one that the model
    learnt from, the name of 2019 (`text_a`, `text_b`, `label`), a name that people use (`ernie.reader.column_words`).

    Args:
        required: roles that must be found.
        asked: `ColumnNames`; a file without one of these columns is refused.
        learnt: None, or dict role -> column that the model learnt from; where that is one text, no second is
            looked for.
        optional: roles that may be found.
        labelled: whether a label is looked for by other names than `label`.

    Attributes:
        found: dict role -> column of the newest file; {} before one is read.
    """

    roles = ColumnNames._fields  # what the three names that can be asked for are about

    def __init__(
        self, required=('text_a',), asked=None, learnt=None, optional=('text_b', 'label', 'qid'), labelled=None
    ):
        names = asked or ColumnNames()
        self.required, self.learnt = tuple(required), learnt or {}
        self.wanted = tuple(dict.fromkeys((*required, *optional)))
        self.asked = {role: name for role, name in zip(self.roles, names, strict=True) if name is not None}
        self._flags = dict(zip(self.roles, _FLAGS, strict=True))
        names = list(self.asked.values())
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f'the column {quoted(twice)} is named for two things: each has one of its own.')
        self.labelled = self.roles[2] in required if labelled is None else labelled
        self.found = {}

    def of(self, names, path, line=None, notes=None, is_csv=False, is_header=False):
        """dict column -> what its cells are called, without columns that nobody can reach by a name.

        Args:
            names: the columns of the file.
            path, line: for messages.
            notes: the `Notes` that take what was recognised; None: nothing is said.
            is_csv: whether `text` is `text_a`, as in the CSV files of 2019.
            is_header: whether they stand in the first line of a file, which may as well be no names.
        Raises:
            UserError: a column that is asked for or required is not there; or two could be the same thing.
        """
        names = list(names)
        found, told = self._find(names, path, line, is_csv, is_header)
        self.found = {role: found[role] for role in dict.fromkeys((*self.roles, *self.wanted)) if role in found}
        shown = column_texts(self.found)
        if is_csv and notes is not None and found.get('text_a') == CSV_TEXT and 'text_a' not in self.asked:
            others = [name for name in names if name not in found.values() and bare(name) in TEXTS]
            if others:
                what = f'{listed(others)} could be the text too; read is {CSV_TEXT!r}, as always in CSV files.'
                notes.warn(f'{what} --text_column names another.')
        if told and notes is not None and any('->' in part for part in shown):
            notes.tell_columns(shown)
        roles = {name: role for role, name in found.items()}
        return {name: roles.get(name, name) for name in names if name in roles or name not in found}

    def knows(self, names, is_csv=False):
        """Whether the columns that must be there are among `names`, be it that two could be one of them."""
        try:
            self._find(names, '', None, is_csv, False)
        except SeveralColumns:
            return True
        except UserError:
            return False
        return True

    def _find(self, names, path, line, is_csv, is_header):
        """(dict role -> column, whether one was asked for or recognised)."""
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
            others = [name for name in names if name not in found.values()]
            advice = self._taken(missing) or misspelt(missing, others)
            raise self._missing(names, missing, advice, path, line, is_header)
        return found, told

    def _taken(self, missing):
        """A sentence where a column of the name that is missing was asked for as something else; else ''."""
        for role, name in self.asked.items():
            if name in missing:
                other = f' {self._flags[name]} NAME names another.' if name in self._flags else ''
                return f'{self._flags[role]} took {quoted(name, 40)}.{other}'
        return ''

    def _asked(self, names, path, line):
        found = {}
        for role, name in self.asked.items():
            if role not in self.wanted or (role == self.roles[2] and not self.labelled and name not in names):
                continue
            if name not in names:
                near = nearest(name, names[:_MOST])
                advice = f'Did you mean {near}?' if near else did_you_mean(name, names[:_MOST]).strip()
                flag = f'a column {quoted(name)} ({self._flags[role]})'
                raise bad_input(path, f'the columns {listed(names)}', flag, line, advice)
            found[role] = name
        return found

    def _recognise(self, names, found, path, line):
        """Adds to `found` what names that people use say; whether there was any."""
        before = len(found)
        free = [name for name in names if name not in found.values() and name not in self.wanted]
        if 'text_a' in self.wanted:
            self._add_texts({name: bare(name) for name in free}, found, path, line)
        if self.labelled:
            self._add('label', LABELS, names, found, path, line)
        return len(found) > before

    def _add(self, role, words, names, found, path, line):
        """Adds the column whose name is one of some words, where the role is looked for and still open."""
        if role in found or role not in self.wanted:
            return
        names = [name for name in names if name not in found.values() and bare(name) in words]
        if len(names) > 1:
            raise self._several(names, role, path, line)
        if names:
            found[role] = names[0]

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
            raise self._several(texts, 'text_a', path, line)
        elif texts:
            found['text_a'] = texts[0]

    def _pairs(self, forms, found):
        """The pairs of columns that could be both texts, where a second text is looked for."""
        of_one_text = bool(self.learnt) and 'text_b' not in self.learnt
        if 'text_b' not in self.wanted or 'text_b' in found or of_one_text or 'text_a' in self.asked:
            return []
        first = {found['text_a']: bare(found['text_a'])} if 'text_a' in found else forms
        return [(a, b) for a in first for b in forms if (first[a], forms[b]) in PAIRS]

    def _several(self, names, role, path, line):
        found = f'{len(names)} columns that could be the {_word(role)}: {listed(names)}'
        error = SeveralColumns(bad_input(path, found, 'one', line, f'Say which: {self._flags[role]} {names[0]}'))
        error.found = found
        return error

    def _missing(self, names, missing, advice, path, line, is_header):
        flags = ' '.join(f'{self._flags[role]} NAME' for role in missing if role in self._flags)
        flags = f'{flags} {"say which they are" if " --" in flags else "says which it is"}.' if flags else ''
        if not advice and is_header and len(missing) == len(self.required):
            advice = ' '.join(filter(None, ['The first line must name the columns.', flags if len(names) > 1 else '']))
        if not advice and len(names) > 1:
            advice = flags
        error = bad_input(path, f'the columns {listed(names)}', f'also a column {listed(missing)}', line, advice)
        return MissingColumn(error)


def column_texts(found):
    """list of `text` or `评论 -> text`. found: dict role -> column."""
    return [name if name in (role, _word(role)) else f'{name} -> {_word(role)}' for role, name in found.items()]


def _word(role):
    return 'text' if role == 'text_a' else role


class TokenNaming(Naming):
    """The columns of tagged text: lists of tokens and of their labels, or both in cells of 2019's form."""

    def _recognise(self, names, found, path, line):
        before = len(found)
        for words in (TOKENS, TEXTS):
            self._add('text_a', words, names, found, path, line)
        if self.labelled:
            self._add('label', TAGS, names, found, path, line)
        return len(found) > before


class QuestionNaming(Naming):
    """The columns of questions: a question, its context, its answers."""

    roles = ('question', 'context', 'answers')

    def _recognise(self, names, found, path, line):
        before = len(found)
        for role, words in zip(self.roles, (QUESTIONS, CONTEXTS, ANSWERS), strict=True):
            self._add(role, words, names, found, path, line)
        return len(found) > before


NAMINGS = {'text': Naming, 'tokens': TokenNaming, 'questions': QuestionNaming}
