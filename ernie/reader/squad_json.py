"""Questions of a SQuAD-form JSON file (versions 1.1 and 2.0), checked before anything is done with them."""

import json
import re
from typing import NamedTuple

from ernie.reader.rows import BadRow, leave_out
from propeller.errors import bad_input, quoted
from propeller.inputs import MAX_DATA_BYTES, parse_json, read_text

FORM = 'SQuAD-form JSON: {"data": [{"paragraphs": [{"context", "qas": [{"id", "question", "answers"}]}]}]}'


class Question(NamedTuple):
    """One question about one context.

    id: str. question: str. context: str, the same object for all questions of a paragraph.
    answers: tuple of (text, start); start counts characters of the context, None where the file does not say it.
    is_impossible: whether the file says that the context does not answer it (SQuAD 2.0).
    """

    id: str
    question: str
    context: str
    answers: tuple = ()
    is_impossible: bool = False

    def bad_row(self, found, expected, advice=''):
        """A `BadRow` that names this question; it has no line number, `with_line` adds it."""
        return BadRow(0, f'question {quoted(self.id, 80)}: {found}', expected, advice)


def load_json(path, expected):
    """The value of a JSON file in UTF-8, a FIFO included, and its text.

    Raises:
        UserError: it cannot be read, or is no JSON; line and column named.
    """
    text = read_text(path, MAX_DATA_BYTES, expected, data=True)
    return parse_json(text, path, expected, finite=False), text


def read_squad(path, bad_rows=None, scored=False):
    """The questions of a file, in order, as a list of `Question`.

    Args:
        path: the file.
        bad_rows: None, or a `BadRows` that takes questions that cannot be used instead of an error.
        scored: whether a score must cover all questions. Then an empty question stays, as in CMRC 2018's trial set.

    Raises:
        UserError: the file has another form; a context or question is empty; an id comes twice. File, line where it can
            be told, and question are named.
    """
    document, text = load_json(path, FORM)
    questions, seen, lines = [], set(), LineNumbers(text)
    for row in _Walk(path, document).questions():
        fault = question_fault(row, seen, scored)
        seen.add(row.id)
        if fault:
            refuse(fault, row, path, lines, bad_rows)
        else:
            questions.append(row)
    if not questions:
        raise bad_input(path, 'no question that can be used', FORM)
    return questions


def refuse(fault, question, path, lines, bad_rows):
    """Raise for a `BadRow` of a question, or give it to `bad_rows`. lines: the `LineNumbers` of the file."""
    fault = fault._replace(line=lines.of(question.id, last='second time' in fault.found) or 1)
    leave_out(fault, path, bad_rows)


class LineNumbers:
    """Where the questions of a JSON text stand. The text is searched once, when the first is asked for."""

    def __init__(self, text):
        self._text, self._found = text, None

    def of(self, question_id, last=False):
        """The 1-based line where `"id": question_id` stands, the first or the last one; None: nowhere."""
        if self._found is None:
            self._found = self._search()
        return self._found.get(question_id, (None, None))[last]

    def _search(self):
        found, line, seen = {}, 1, 0
        for match in _ID.finditer(self._text):
            line += self._text.count('\n', seen, match.start())
            seen = match.start()
            name = match[1]
            # A file may spell an id with or without escapes.
            name = json.loads(name, strict=False) if name.startswith('"') else name
            found[name] = (found.get(name, (line,))[0], line)
        return found


_ID = re.compile(r'"id"\s*:\s*("(?:[^"\\]|\\.)*"|-?\d+)')


def question_fault(row, seen, scored):
    """The `BadRow` of what is wrong with a question, or None. seen: ids of those before. scored: of `read_squad`."""
    if row.id in seen:
        return row.bad_row('this id a second time', 'each question id once')
    if not row.question.strip() and not scored:
        return row.bad_row('an empty question', 'some text')
    if not row.context.strip():
        return row.bad_row('an empty context', 'some text')
    return None


class _Walk:
    """Goes through the document and refuses every value of another type than it must have."""

    def __init__(self, path, document):
        self.path, self.document = path, document

    def questions(self):
        """Yields a `Question` for each entry of `qas`."""
        for article, where in self._items(self.document, 'data', ''):
            for paragraph, place in self._items(article, 'paragraphs', where):
                context = self._value(paragraph, 'context', str, place)
                for qa, spot in self._items(paragraph, 'qas', place):
                    yield self._question(qa, context, spot)

    def _question(self, qa, context, where):
        number = self._value(qa, 'id', (str, int), where)
        impossible = self._value(qa, 'is_impossible', bool, where) if 'is_impossible' in qa else False
        answers = []
        for answer, place in self._items(qa, 'answers', where) if 'answers' in qa and not impossible else ():
            start = self._value(answer, 'answer_start', int, place) if 'answer_start' in answer else None
            answers.append((self._value(answer, 'text', str, place), start))
        return Question(str(number), self._value(qa, 'question', str, where), context, tuple(answers), impossible)

    def _items(self, owner, key, where):
        """Yields (element, its place) of the list of objects `owner[key]`."""
        for i, item in enumerate(self._value(owner, key, list, where)):
            place = f'{where}{"." if where else ""}{key}[{i}]'
            if not isinstance(item, dict):
                raise bad_input(self.path, f'{place}: {_kind(item)}', f'an object in {FORM}')
            yield item, place

    def _value(self, owner, key, kind, where):
        if not isinstance(owner, dict):
            raise bad_input(self.path, _kind(owner), FORM)
        place = f'{where}.{key}' if where else key
        if key not in owner:
            raise bad_input(self.path, f'no {place}', FORM)
        value = owner[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            wanted = ' or '.join(_NAMES[k] for k in (kind if isinstance(kind, tuple) else (kind,)))
            raise bad_input(self.path, f'{place}: {_kind(value)}', wanted)
        return value


_NAMES = {str: 'a text', int: 'a whole number', bool: 'true or false', list: 'a list', dict: 'an object'}


def _kind(value):
    return _NAMES.get(type(value), 'null' if value is None else 'a number')
