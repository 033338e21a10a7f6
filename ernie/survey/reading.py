"""The survey of a file of questions about texts."""

import os

from ernie.reader.columns import ColumnNames
from ernie.reader.questions import read_questions
from ernie.reader.rows import BadRows
from ernie.reader.warnings import Notes
from ernie.survey.survey import Sample, Survey


def survey_questions(path, args):
    """The `Survey` of a file for reading comprehension. Arguments and errors as for `survey_table`."""
    path = os.fspath(path)
    sample = Sample()
    bad_rows = BadRows(path) if args.skip_bad_rows else None
    found = read_questions(path, bad_rows, columns=ColumnNames.of(args), notes=Notes(path, []))
    for question in found.questions:
        answer = question.answers[0][0] if question.answers else '(no answer)' if question.is_impossible else ''
        sample.add((question.question, question.context), answer)
    return Survey(path, 'mrc', None, sample.count, columns=found.names or {}, first=sample.first, sample=sample.kept)
