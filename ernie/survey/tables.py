"""The survey of a table: classes, several classes, numbers; one text a row or a pair."""

import os
from collections import Counter

from ernie.reader.classify import LEAVE_OUT
from ernie.reader.columnar import classes_of
from ernie.reader.columns import TEXTS, ColumnNames
from ernie.reader.naming import Naming
from ernie.reader.records import read_records
from ernie.reader.rows import BadRows
from ernie.reader.warnings import Notes
from ernie.survey.labels import check_classes, in_order, kind_of, label_map_of, numbers_but_for, parts_of
from ernie.survey.survey import Sample, Survey
from propeller.errors import bad_input, quoted

_KINDS = {'is_regression': 'regression', 'is_multilabel': 'multilabel', 'is_classify': 'classify'}


def survey_table(path, args):
    """The `Survey` of a table.

    Args:
        path: a regular file, or a folder that `read_records` reads.
        args: `FinetuneSettings`.
    Raises:
        UserError: the file cannot be read, a column is missing or empty, the labels are no classes, a few of them are
            no numbers.
    """
    path = os.fspath(path)
    naming = Naming(('text_a', 'label'), ColumnNames.of(args))
    counts, lines, blank, sample = Counter(), {}, Counter(), Sample()
    bad_rows = BadRows(path) if args.skip_bad_rows else None
    for line, cells in read_records(path, naming.required, bad_rows, Notes(path, []), naming):
        texts = tuple(cells[name] for name in TEXTS if name in cells)
        label = cells['label'].strip()
        counts[label] += 1
        lines.setdefault(label, line)
        for role, cell in zip(TEXTS, texts, strict=False):
            blank[role] += not cell.strip()
        sample.add(texts, cells['label'])
    rows, columns = sample.count, naming.found
    labels = {text: count for text, count in counts.items() if text}
    kind, remark = asked_kind(args), ''
    if kind is None:
        kind, remark = _kind_found(path, labels, lines, rows, args.skip_bad_rows)
    remark = '. '.join(filter(None, [_about_pairs(columns), remark]))
    found = _classes(path, kind, labels, rows, args.num_labels, classes_of(path, columns.get('label')))
    blank = {role: count for role, count in blank.items() if count}
    return Survey(
        path,
        'classification',
        kind,
        rows,
        *found,
        columns=columns,
        first=sample.first,
        sample=sample.kept,
        remark=remark,
        blank=blank,
    )


def _kind_found(path, labels, lines, rows, skip_bad_rows):
    """As `kind_of`; but among numbers, a few labels that are none are slips, not a reason to take all for classes.

    lines: dict label -> the first line that has it. skip_bad_rows: whether their rows are left out when all are read.
    """
    numbers, others = numbers_but_for(labels)
    if not others:
        return kind_of(labels, rows)
    if skip_bad_rows:
        return kind_of(numbers, sum(numbers.values()))
    first = others[0]
    several = ', --is_multilabel true: several in a row' if ',' in first else ''
    advice = f'{LEAVE_OUT} --is_classify true: labels are classes{several}.'
    raise bad_input(path, f'the label {quoted(first, 40)}', 'a number, as nearly all labels are', lines[first], advice)


def _about_pairs(columns):
    """A sentence where two columns are taken for a pair because of their names. columns: dict role -> column."""
    names = [columns.get(role) for role in TEXTS]
    if None in names or names == list(TEXTS):
        return ''
    return f'a row is a pair of texts, {" and ".join(quoted(name, 40) for name in names)}'


def asked_kind(args):
    """The kind that the user's flags say; None where they say none."""
    said = [kind for flag, kind in _KINDS.items() if args.gave(flag) and getattr(args, flag)]
    # `--is_multilabel false` alone means one class.
    return said[0] if said else 'classify' if args.gave(*_KINDS) else None


def _classes(path, kind, counts, rows, asked, known=()):
    """(labels, label map, number of labels) of a `Survey`."""
    if kind == 'regression':
        return {}, None, 1
    if kind == 'multilabel':
        parts = Counter()
        for text, count in counts.items():
            for part in dict.fromkeys(parts_of(text)):
                parts[part] += count
        counts = parts
    if asked is None:
        check_classes(path, counts, rows)
    label_map, number = label_map_of(counts, asked, known)
    return in_order(counts, label_map, number), label_map, number
