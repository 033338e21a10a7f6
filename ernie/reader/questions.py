"""Questions in any form: the JSON of SQuAD, or a record each (JSON, JSON lines, TSV, CSV, Parquet, data-set folders).

A record has `question`, `context`, and to be learnt from an answer: `answer` (or `answers`) as text, with or without
`answer_start`; a list of texts; or `{"text": [...], "answer_start": [...]}`, as `datasets` has SQuAD. It says that its
context does not answer it by `is_impossible`, or by an empty list in that last form. An `id` that is missing is the
number of the record.
"""

import os
from typing import NamedTuple

from ernie.reader.columns import bare
from ernie.reader.dataset_folder import data_files
from ernie.reader.forms import JSON, Look, form_of_look, is_json
from ernie.reader.json_records import LINES, OBJECT, form_of, json_rows
from ernie.reader.naming import QuestionNaming
from ernie.reader.objects import values_of_objects
from ernie.reader.records import file_records, of_all_files, open_rows
from ernie.reader.rows import BadRow, leave_out
from ernie.reader.squad_json import FORM, Question, question_fault, read_squad, refuse
from ernie.reader.warnings import Notes
from propeller.errors import UserError, bad_input, quoted
from propeller.inputs import parse_json

_IDS = ('id', 'questionid', 'qasid', 'qid')
_OF_SQUAD = frozenset(('data', 'version', 'paragraphs'))
_YES, _NO = ('true', '1', 'yes'), ('false', '0', 'no', '')


class Questions(NamedTuple):
    """questions: list of `Question`. lines: where they stand, as `LineNumbers`; None: to be found out.

    names: dict role -> column; None for the JSON of SQuAD.
    """

    questions: list
    lines: object = None
    names: dict | None = None


class _Lines:
    """The lines of questions, by id."""

    def __init__(self):
        self._found = {}

    def add(self, name, line):
        self._found[name] = (self._found.get(name, (line,))[0], line)

    def of(self, question_id, last=False):
        """As `LineNumbers.of`."""
        return self._found.get(question_id, (None, None))[last]


def read_questions(path, bad_rows=None, scored=False, columns=None, learnt=None, notes=None):
    """The questions of a file or folder, in order, as `Questions`.

    Args:
        path, bad_rows, scored: as in `read_squad`.
        columns, learnt: see `Naming`.
        notes: the `Notes` that take what was found; None: it is logged.
    Raises:
        UserError: see `read_squad`; of records file and line are named.
    """
    path = os.fspath(path)
    files = data_files(path)
    if len(files) == 1 and is_squad(files[0], columns, learnt):
        return Questions(read_squad(files[0], bad_rows, scored))
    naming = QuestionNaming(('question', 'context'), columns, learnt, ('answers',), labelled=True)
    questions, seen, lines, notes = [], set(), _Lines(), notes or Notes(path)

    def rows(file, bad):
        return file_records(file, naming, bad, notes, values_of_objects)

    for number, (line, record) in enumerate(of_all_files(path, bad_rows, rows), 1):
        question = _question(record, line, number)
        if isinstance(question, Question):
            lines.add(question.id, line)
            fault = question_fault(question, seen, scored)
            seen.add(question.id)
            if fault:
                refuse(fault, question, path, lines, bad_rows)
            else:
                questions.append(question)
        else:
            leave_out(question, path, bad_rows)
    if not questions:
        raise bad_input(path, 'no question that can be used', 'at least one')
    return Questions(questions, lines, naming.found)


def is_squad(path, columns=None, learnt=None):
    """Whether a file is the JSON of SQuAD, or nothing else that could be read: it tells best what is wrong then."""
    if not os.path.isfile(path):
        return True  # a pipe can be read once
    naming = QuestionNaming(('question', 'context'), columns, learnt, ('answers',))
    with open_rows(path, FORM) as file:
        look = Look(path, file)
        if look.magic:
            return False
        if is_json(look.head):
            form = form_of(look.head)
            try:
                _, first, bad = next(json_rows(path, look.head, look.file, form, FORM))
            except UserError:
                return True
            if bad or not isinstance(first, dict):
                return form == OBJECT or (form == LINES and bad is not None)
            if naming.knows(first):
                return False
            return form == OBJECT or (form == LINES and not _OF_SQUAD.isdisjoint(first))
        try:
            form = form_of_look(look, naming)
        except UserError:
            return False
        header = look.first_line.split(form.separator or '\t')
        return form.kind == JSON or (len(header) < 2 and not naming.asked)


def _question(record, line, number):
    """The `Question` of a record, or a `BadRow`."""
    names = {bare(name): name for name in reversed(list(record))}
    texts = [record.get(name) for name in ('question', 'context')]
    for name, text in zip(('question', 'context'), texts, strict=True):
        if not isinstance(text, str):
            return BadRow(line, f'{quoted(text, 42)} as {name}', 'a text')
    own = next((record[names[name]] for name in _IDS if name in names), None)
    own = str(number if own is None or own == '' else own)
    said = record.get(names.get('isimpossible'))
    impossible = str(said).lower() in _YES
    if said is not None and not impossible and str(said).lower() not in _NO:
        return BadRow(line, f'{quoted(said, 42)} as is_impossible', 'true or false')
    answers = _answers(record.get('answers'), record.get(names.get('answerstart')))
    if answers is None:
        return BadRow(
            line, f'{quoted(record.get("answers"), 80)} as answers', 'a text, or texts with their answer_start'
        )
    # As `datasets` writes a question without an answer.
    empty = isinstance(record.get('answers'), dict) and not answers
    return Question(own, *texts, () if impossible else tuple(answers), impossible or empty)


def _answers(value, start):
    """[(text, start or None)]; None for what are no answers."""
    if isinstance(value, str) and value.lstrip().startswith(('{"', '[{"', '["')):
        try:
            value = parse_json(value, '', '')
        except UserError:
            return None
    if value is None or value == '':
        return []
    if isinstance(value, dict):
        value, start = value.get('text'), value.get('answer_start')
    values = value if isinstance(value, list) else [value]
    starts = start if isinstance(start, list) else [start] * len(values)
    if values and all(isinstance(item, dict) for item in values):
        values, starts = [item.get('text') for item in values], [item.get('answer_start') for item in values]
    starts = [_number(item) for item in starts] or [None] * len(values)
    if (
        len(starts) != len(values)
        or not all(isinstance(text, str) for text in values)
        or any(item is False for item in starts)
    ):
        return None
    return list(zip(values, starts, strict=True))


def _number(value):
    """A place in a text; None where it is not said, False for what is none."""
    if value is None or value == '':
        return None
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdecimal() and len(value) < 10 else value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else False
