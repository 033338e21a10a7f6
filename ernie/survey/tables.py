"""The survey of a table: classes, several classes, numbers; one text a row or a pair."""

import os
from collections import Counter

from ernie.reader.columnar import classes_of
from ernie.reader.columns import TEXTS, ColumnNames
from ernie.reader.naming import Naming
from ernie.reader.records import read_records
from ernie.reader.rows import BadRows
from ernie.reader.warnings import Notes
from ernie.survey.labels import check_classes, in_order, kind_of, label_map_of, parts_of
from ernie.survey.survey import Sample, Survey
from propeller.errors import quoted

_KINDS = {'is_regression': 'regression', 'is_multilabel': 'multilabel', 'is_classify': 'classify'}


def survey_table(path, args):
    """The `Survey` of a table.

    Args:
        path: a regular file, or a folder that `read_records` reads.
        args: `FinetuneSettings`.
    Raises:
        UserError: the file cannot be read, a column is missing or empty, the labels are no classes.
    """
    path = os.fspath(path)
    naming = Naming(('text_a', 'label'), ColumnNames.of(args))
    counts, blank, sample = Counter(), Counter(), Sample()
    bad_rows = BadRows(path) if args.skip_bad_rows else None
    for _, cells in read_records(path, naming.required, bad_rows, Notes(path, []), naming):
        texts = tuple(cells[name] for name in TEXTS if name in cells)
        counts[cells['label'].strip()] += 1
        for role, cell in zip(TEXTS, texts, strict=False):
            blank[role] += not cell.strip()
        sample.add(texts, cells['label'])
    rows, columns = sample.count, naming.found
    labels = {text: count for text, count in counts.items() if text}
    kind, remark = asked_kind(args), ''
    if kind is None:
        kind, remark = kind_of(labels, rows)
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
