"""Per-class report and confusion matrix of a classifier: as a table to read, as JSON and as TSV to work with."""

import json
import unicodedata

import numpy as np

from propeller.errors import UserError
from propeller.scores import flat, ratio
from propeller.storage.atomic import output_file

# A wider matrix does not fit a screen; then the most frequent confusions are listed instead.
_MAX_TEXT_CLASSES = 20
_COLUMNS = ('precision', 'recall', 'f1')
_AVERAGES = ('micro_avg', 'macro_avg', 'weighted_avg')


def confusion_matrix(labels, predictions, num_labels, counts=None):
    """int64 [C, C]: rows are the true classes, columns the predicted ones.

    Args:
        labels: [N] class ids.
        predictions: [N] class ids.
        num_labels: C.
        counts: int [N], how often each of the pairs came; None: once.

    Raises:
        UserError: an id outside of 0 ... C - 1.
    """
    labels, predictions = (a.astype(np.int64) for a in flat(labels, predictions))
    for name, ids in (('label', labels), ('prediction', predictions)):
        if ids.size and (ids.min() < 0 or ids.max() >= num_labels):
            bad = ids[(ids < 0) | (ids >= num_labels)][0]
            raise UserError(f'report: {name} {bad} is outside of 0 ... {num_labels - 1}; see --num_labels.')
    matrix = np.zeros(num_labels**2, np.int64)
    np.add.at(matrix, labels * num_labels + predictions, 1 if counts is None else counts)
    return matrix.reshape(num_labels, num_labels)


def class_report(labels, predictions, num_labels, label_names=None, counts=None):
    """Precision, recall, F1 and support of each class, their averages, accuracy, and the confusion matrix.

    A ratio that is not defined (a class that never occurs or is never predicted) is 0.0. Averages go over all classes.

    Args:
        labels: [N] class ids.
        predictions: [N] class ids.
        num_labels: number of classes C.
        label_names: C names; the ids where None.
        counts: see `confusion_matrix`.

    Returns:
        dict ready for JSON: `classes` (list of dicts with `name`, `precision`, `recall`, `f1`, `support`), `accuracy`,
        `macro_avg` and `weighted_avg` (same keys without name), `confusion_matrix` (rows true, columns predicted).
    """
    matrix = confusion_matrix(labels, predictions, num_labels, counts)
    hits, predicted, support = matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1)
    return {
        **scores_by_class(hits, predicted, support, _names(label_names, num_labels)),
        'accuracy': float(ratio(hits.sum(), support.sum())),
        'confusion_matrix': matrix.tolist(),
    }


def multilabel_report(labels, predictions, label_names=None):
    """The same for sets of labels.

    Args:
        labels: [N, C], 1 where the label is true.
        predictions: [N, C], 1 where the label is predicted.
        label_names: C names; the ids where None.

    Returns:
        dict ready for JSON: as `class_report`, with `micro_avg` and with `accuracy` the share of rows with all labels
        right; `confusion_matrix` holds for each label [[true negative, false positive], [false negative, true
        positive]].
    """
    labels, predictions = np.asarray(labels).astype(bool), np.asarray(predictions).astype(bool)
    if labels.ndim != 2 or labels.shape != predictions.shape:
        raise UserError(f'report: expected two [N, C] arrays, found {labels.shape} and {predictions.shape}.')
    hits, predicted, support = (a.sum(axis=0) for a in (labels & predictions, predictions, labels))
    absent = len(labels) - predicted - support + hits
    matrix = np.stack([absent, predicted - hits, support - hits, hits], axis=1).reshape(-1, 2, 2)
    return {
        **scores_by_class(hits, predicted, support, _names(label_names, labels.shape[1])),
        'accuracy': float(ratio((labels == predictions).all(axis=1).sum(), len(labels))),
        'micro_avg': score_row(hits.sum(), predicted.sum(), support.sum()),
        'confusion_matrix': matrix.tolist(),
    }


def _names(label_names, num_labels):
    names = [str(i) for i in range(num_labels)] if label_names is None else [str(name) for name in label_names]
    if len(names) != num_labels:
        raise UserError(f'report: found {len(names)} label names, expected {num_labels}.')
    return names


def score_row(hits, predicted, support):
    """dict `precision`, `recall`, `f1` (floats, 0.0 where not defined) and `support` from three counts."""
    precision, recall = ratio(hits, predicted), ratio(hits, support)
    f1 = ratio(2 * hits, predicted + support)
    return {'precision': float(precision), 'recall': float(recall), 'f1': float(f1), 'support': int(support)}


def scores_by_class(hits, predicted, support, names):
    """`classes`, `macro_avg` and `weighted_avg` of a report from the counts of each class, [C] each."""
    rows = [score_row(*counts) for counts in zip(hits, predicted, support, strict=True)]
    total = int(sum(support))

    def average(weights):
        weighted = {key: sum(w * row[key] for w, row in zip(weights, rows, strict=True)) for key in _COLUMNS}
        return {**{key: float(ratio(value, sum(weights))) for key, value in weighted.items()}, 'support': total}

    return {
        'classes': [{'name': name, **row} for name, row in zip(names, rows, strict=True)],
        'macro_avg': average([1] * len(rows)),
        'weighted_avg': average([int(count) for count in support]),
    }


def format_report(report, digits=4):
    """The report of `class_report` or `multilabel_report` as text: a table, then the confusion matrix."""
    is_multilabel = np.ndim(report['confusion_matrix']) == 3
    averages = [{'name': key.replace('_', ' '), **report[key]} for key in _AVERAGES if key in report]
    accuracy = ['all labels right' if is_multilabel else 'accuracy', '', '', f'{report["accuracy"]:.{digits}f}', '']
    classes, averages = (
        [[row['name'], *(f'{row[key]:.{digits}f}' for key in _COLUMNS), str(row['support'])] for row in rows]
        for rows in (report['classes'], averages)
    )
    head, *lines = aligned([['', *_COLUMNS, 'support'], *classes, accuracy, *averages]).splitlines()
    lines = [head, '', *lines[: len(classes)], '', *lines[len(classes) :]]
    return '\n'.join(lines) + '\n\n' + _confusion_text(report)


def _confusion_names(report):
    """Names of the rows of the confusion matrix: the classes, unless the report brings others."""
    return report.get('confusion_names') or [row['name'] for row in report['classes']]


def _confusion_text(report):
    names, matrix = _confusion_names(report), np.asarray(report['confusion_matrix'])
    if matrix.ndim == 3:
        head = ['label', 'true negative', 'false positive', 'false negative', 'true positive']
        rows = [[name, *map(str, counts.reshape(-1))] for name, counts in zip(names, matrix, strict=True)]
        return 'confusion by label\n\n' + aligned([head, *rows])
    if len(names) <= _MAX_TEXT_CLASSES:
        rows = [[name, *map(str, counts)] for name, counts in zip(names, matrix, strict=True)]
        return 'confusion matrix (rows: true, columns: predicted)\n\n' + aligned([['', *names], *rows])
    wrong = matrix * (1 - np.eye(len(names), dtype=np.int64))
    order = np.argsort(-wrong, axis=None, kind='stable')[:_MAX_TEXT_CLASSES]
    pairs = [divmod(int(i), len(names)) for i in order if wrong.flat[i]]
    rows = [[names[true], names[predicted], str(wrong[true, predicted])] for true, predicted in pairs]
    return 'most frequent confusions\n\n' + aligned([['true', 'predicted', 'rows'], *rows])


def display_width(text):
    """Columns that `text` takes on a terminal: Chinese and other wide characters take two, combining ones none."""
    marks = sum(unicodedata.combining(c) != 0 for c in text)
    wide = sum(unicodedata.east_asian_width(c) in 'WF' for c in text)
    return len(text) + wide - marks


def aligned(rows):
    """Rows of cells as aligned lines: the first column to the left, all others to the right."""
    rows = [[' '.join(cell.split()) for cell in row] for row in rows]
    widths = [max(map(display_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first + ' ' * (widths[0] - display_width(first))]
        cells += [' ' * (w - display_width(cell)) + cell for cell, w in zip(others, widths[1:], strict=True)]
        lines.append('  '.join(cells).rstrip())
    return '\n'.join(lines) + '\n'


def confusion_tsv(report):
    """The confusion matrix as TSV: a header of names, then one line for each true class (or each label)."""
    matrix = np.asarray(report['confusion_matrix'])
    names = [' '.join(name.split()) for name in _confusion_names(report)]
    head = names if matrix.ndim == 2 else ['true negative', 'false positive', 'false negative', 'true positive']
    corner = 'true\\predicted' if matrix.ndim == 2 else 'label'
    rows = [[name, *map(str, counts.reshape(-1))] for name, counts in zip(names, matrix, strict=True)]
    return ''.join('\t'.join(row) + '\n' for row in [[corner, *head], *rows])


def write_report(stem, report):
    """Write `{stem}.txt`, `{stem}.json` and `{stem}.confusion.tsv` (UTF-8), each whole or not at all.

    Args:
        stem: path without ending; its folder exists.
        report: the result of `class_report` or `multilabel_report`.

    Returns:
        the three paths.

    Raises:
        UserError: a file cannot be written.
    """
    texts = {
        f'{stem}.txt': format_report(report),
        f'{stem}.json': json.dumps(report, ensure_ascii=False, indent=1) + '\n',
        f'{stem}.confusion.tsv': confusion_tsv(report),
    }
    for path, text in texts.items():
        with output_file(path) as f:
            f.write(text)
    return list(texts)
