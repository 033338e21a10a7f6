"""Rows of text files with a teacher's answers as a further column."""

import itertools
import os

import numpy as np

from ernie.distill.teacher_outputs import TeacherOutputs
from propeller.data.columns import BadValue
from propeller.data.dataset import Dataset
from propeller.data.text_rows import RowParser, TextRows
from propeller.errors import UserError, bad_input, quoted
from propeller.inputs import content_digest
from propeller.log import get_logger

log = get_logger(__name__)

_SHUFFLE_BUFFER, _MOST_OPEN = 1000, 200  # as `FeatureColumns.build_dataset`


def class_order(answers, given=()):
    """Number of the teacher's class for each label 0, 1 ... of the student: list of int.

    Labels of students are numbers. A teacher's class is the label of its name, wherever it stands; other names say
    nothing of which is which, and a guess would teach the wrong classes.

    Args:
        answers: `TeacherOutputs`.
        given: names of the teacher's classes in the order of the student's labels; (): they are these numbers.
    Raises:
        UserError: other classes than those of the teacher; names that are no such numbers, and none are given.
    """
    names = answers.identity.get('labels')
    if not isinstance(names, list) or len(names) != answers.classes or not all(isinstance(n, str) for n in names):
        raise bad_input(answers.folder, f'labels {quoted(names)}', f'{answers.classes} names of classes')
    found = f'a teacher with the classes {", ".join(map(quoted, names))}'
    if given and sorted(given) != sorted(names):
        raise bad_input(answers.folder, found, f'{", ".join(map(quoted, given))} (--teacher_classes)')
    wanted = list(given or map(str, range(answers.classes)))
    if sorted(wanted) != sorted(names):
        advice = f'Say which is which: --teacher_classes NAME,NAME, the name of label 0 first ({",".join(names)}?).'
        raise bad_input(answers.folder, found, f'{", ".join(wanted)}, as the labels of students are', advice=advice)
    if wanted != names or given:
        log.info('%s: %s', answers.folder, ', '.join(f'label {i} is {name}' for i, name in enumerate(wanted)))
    return [names.index(name) for name in wanted]


class AnsweredFiles:
    """The files of a folder, each with a folder of answers of its name.

    Args:
        folder: of TAB-separated text, whose first column is the student's.
        answers: folder that `distill/teacher_outputs.py` filled.
        column: `TextColumn` of the student's text.
        classes: of the student.
        given: see `class_order`.
    Raises:
        UserError: there is no file, or the answers are to another file, to a part of it, or of other classes.
    """

    def __init__(self, folder, answers, column, classes, given=()):
        self._column, self._files, self._orders = column, {}, {}
        names = sorted(name for name in os.listdir(folder) if not name.startswith('.')) if os.path.isdir(folder) else []
        if not names:
            raise bad_input(folder, 'no files', 'a folder of files')
        for name in names:
            path = os.path.join(folder, name)
            found = TeacherOutputs(os.path.join(answers, name))
            if found.classes != classes:
                raise bad_input(found.folder, f'{found.classes} classes', f'num_label {classes} of --hparam')
            self._orders[path] = class_order(found, given)
            if found.identity.get('file') != content_digest(path):
                advice = 'Make them anew with teacher_outputs.py.'
                raise bad_input(found.folder, 'answers to another file', f'those to {path}', advice=advice)
            self._files[path] = found.folder

    def dataset(self, seed=0):
        """An endless, shuffled `Dataset` of (ids of the text, logits float32 [C], class int64)."""
        paths = list(self._files)
        names = Dataset.from_list(paths).repeat().shuffle(len(paths), seed)
        rows = names.interleave(self._file, cycle_length=min(len(paths), _MOST_OPEN), block_length=1)
        return rows.shuffle(_SHUFFLE_BUFFER, seed)

    def _file(self, path):
        # Blank lines are no rows to the teacher either.
        rows = TextRows(path, RowParser([self._column, self._column])).dataset()

        def start_at(start):
            answers, order = TeacherOutputs(self._files[path]), self._orders[path]
            for number, row in zip(itertools.count(start), rows.iterate_from(start)):  # noqa: B905
                if number >= answers.rows:
                    raise bad_input(answers.folder, f'answers to {answers.rows} rows', f'those to all of {path}')
                logits, label = answers[number]
                yield self._ids(row), logits[order], np.array(order.index(label), np.int64)

        return Dataset(lambda: start_at(0), start_at=start_at, count=rows.count)

    def _ids(self, row):
        try:
            return self._column.raw_to_instance(row.raw.partition(b'\t')[0])
        except BadValue as e:
            raise bad_input(row.path, e.found, e.expected, line=row.line) from None
        except UserError as e:
            raise bad_input(row.path, str(e), 'UTF-8 text', line=row.line) from None
