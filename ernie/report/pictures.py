"""Confusion matrix, precision-recall curves and calibration as PNG. Each function takes what a summary holds."""

import numpy as np

from ernie.metrics.report import display_width
from ernie.report.drawing import new_figure, png, tidy
from ernie.report.fonts import visible

MOST_CLASSES = 40  # of a matrix that can be read
_SHOWN_OF_MORE = 30
_MOST_DOTS = 5000
_WIDTH_OF_NAME = 22  # columns; a Chinese character takes two


def shortened(names, width=_WIDTH_OF_NAME, numbers=None):
    """Names cut to a width in the middle, with `…`; those that would become the same get their number before them.

    numbers: of the names; None: from 0.
    """
    cut, numbers = [_cut(visible(name), width) for name in names], range(len(names)) if numbers is None else numbers
    return [
        text if cut.count(text) == 1 else _cut(f'{i} {visible(name)}', width)
        for i, text, name in zip(numbers, cut, names, strict=True)
    ]


def _cut(text, width):
    if display_width(text) <= width:
        return text
    tail = max(width // 3, 1)
    head = _fitting(text, width - tail - 1)
    return f'{head}…{_fitting(text[::-1], tail)[::-1]}'


def _fitting(text, width):
    while display_width(text) > width:
        text = text[:-1]
    return text


def most_confused(matrix, count=_SHOWN_OF_MORE):
    """Numbers of the classes with most rows on the wrong side, ascending. matrix: [C, C] counts."""
    wrong = matrix - np.diag(matrix.diagonal())
    order = np.argsort(-(wrong.sum(0) + wrong.sum(1)), kind='stable')
    return np.sort(order[:count])


def confusion_picture(report):
    """The confusion matrix of a report as PNG: counts, colour and per cent by the share of the row.

    Of more than 40 classes those that are confused most are shown; of sets of labels a bar for each label.

    Args:
        report: of `ernie.metrics.report`.
    """
    names = report.get('confusion_names') or [row['name'] for row in report['classes']]
    matrix = np.asarray(report['confusion_matrix'])
    if matrix.ndim == 3:
        return png(lambda lettering: _bars(matrix, names, lettering), names)
    return png(lambda lettering: _matrix(matrix, names, lettering), names)


def _labels(names, numbers, lettering):
    """Names as they are drawn: by number, where a font is missing."""
    short = shortened([names[i] for i in numbers], numbers=numbers)
    return [
        lettering.plain(text) if lettering.can(names[i]) else f'#{i}' for i, text in zip(numbers, short, strict=True)
    ]


def _matrix(matrix, names, lettering):
    whole, numbers = len(names), np.arange(len(names))
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    if whole > MOST_CLASSES:
        numbers = most_confused(matrix)
        matrix, shares = matrix[np.ix_(numbers, numbers)], shares[np.ix_(numbers, numbers)]
    labels, count = _labels(names, numbers, lettering), len(numbers)
    cell = 0.9 if count <= 3 else 0.62 if count <= 16 else 0.36
    figure = new_figure(count * cell + 3.2, count * cell + 2.4)
    panel = figure.subplots()
    image = panel.imshow(shares, cmap='Blues', vmin=0, vmax=1, aspect='auto')
    _write_cells(panel, matrix, shares, 10 if count <= 3 else 8 if count <= 16 else 7)
    panel.set_xticks(range(count), labels, rotation=45 if count <= 16 else 90, ha='right', va='top')
    panel.tick_params(axis='x', rotation=45 if count <= 16 else 90)
    for tick in panel.get_xticklabels():
        tick.set(ha='right' if count <= 16 else 'center', rotation_mode='anchor' if count <= 16 else 'default')
    panel.set_yticks(range(count), labels)
    panel.set(xlabel='predicted', ylabel='true')
    panel.set_title('Confusion matrix' if count == whole else f'The {count} most confused of {whole} classes')
    figure.colorbar(
        image, ax=panel, label='share of the true class', fraction=0.8 / count if count > 16 else 0.05, pad=0.02
    )
    return figure


def _write_cells(panel, matrix, shares, size):
    with_shares = len(matrix) <= 16
    for true, found in np.argwhere(matrix > 0).tolist():
        text = f'{matrix[true, found]:,}'
        if with_shares:
            text += f'\n{shares[true, found]:.0%}'
        color = 'white' if shares[true, found] > 0.5 else 'black'
        written = panel.text(found, true, text, ha='center', va='center', fontsize=size, color=color)
        written.set_in_layout(False)  # it never leaves its cell, and a thousand of them take a minute to lay out


def _bars(matrix, names, lettering):
    """Of each label: rows that were found, missed, and wrongly found."""
    whole, numbers = len(names), np.arange(len(names))
    if whole > MOST_CLASSES:
        wrong = matrix[:, 0, 1] + matrix[:, 1, 0]
        numbers = np.sort(np.argsort(-wrong, kind='stable')[:_SHOWN_OF_MORE])
    labels, parts = _labels(names, numbers, lettering), matrix[numbers]
    figure = new_figure(9, 0.36 * len(numbers) + 1.8)
    panel = figure.subplots()
    start = np.zeros(len(numbers))
    for name, values, color in (
        ('found', parts[:, 1, 1], 'C0'),
        ('missed', parts[:, 1, 0], 'C1'),
        ('wrongly found', parts[:, 0, 1], 'C3'),
    ):
        panel.barh(labels, values, left=start, color=color, label=name)
        start = start + values
    panel.invert_yaxis()
    tidy(panel)
    panel.set(xlabel='rows', title='Labels' if len(numbers) == whole else f'{len(numbers)} of {whole} labels')
    panel.legend(fontsize='small')
    return figure


def precision_recall_picture(curves):
    """Precision over recall of each class as PNG. curves: dict name -> of `metrics.probabilities.precision_recall`."""
    names = list(curves)

    def draw(lettering):
        figure = new_figure(7.5, 5)
        panel = figure.subplots()
        for name, label in zip(names, _labels(names, range(len(names)), lettering), strict=True):
            curve = curves[name]
            label = f'{label} ({curve["average_precision"]:.3f})'
            panel.plot(
                [0, *curve['recall']], [curve['precision'][0], *curve['precision']], drawstyle='steps-pre', label=label
            )
        tidy(panel)
        panel.set(xlabel='recall', ylabel='precision', xlim=(0, 1.01), ylim=(0, 1.03))
        panel.set_title('Precision and recall (average precision)')
        panel.legend(fontsize='small', loc='center left', bbox_to_anchor=(1.01, 0.5))
        return figure

    return png(draw, names)


def values_picture(values):
    """Predicted over true values of a regression as PNG. values: (true [N], predicted [N])."""
    true, predicted = (np.asarray(a, np.float64) for a in values)
    shown = np.linspace(0, len(true) - 1, min(len(true), _MOST_DOTS)).astype(np.int64)

    def draw(lettering):
        figure = new_figure(6.5, 5.5)
        panel = figure.subplots()
        ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
        panel.plot(ends, ends, color='gray', linestyle='--', label='predicted = true')
        panel.plot(true[shown], predicted[shown], 'o', markersize=4, alpha=0.4, color='C0', label='rows')
        tidy(panel)
        panel.set(xlabel='true value', ylabel='predicted value', title='Predicted and true values')
        panel.legend(fontsize='small')
        return figure

    return png(draw)


def calibration_picture(found):
    """Reliability diagram and histogram of the stated probabilities as PNG. found: of `calibration`."""
    counts, width = np.array(found['count']), 1 / len(found['count'])
    middle = (np.arange(len(counts)) + 0.5) * width
    filled = counts > 0

    def draw(lettering):
        figure = new_figure(6.5, 6)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        accuracy, stated = (np.array(found[name])[filled] for name in ('accuracy', 'confidence'))
        above.plot([0, 1], [0, 1], color='gray', linestyle='--', label='as sure as right')
        above.bar(middle[filled], accuracy, width * 0.92, color='C0', alpha=0.8, label='share that is right')
        above.plot(stated, accuracy, 'o', color='C1', label='at the mean stated probability')
        above.set(ylabel='share that is right', xlim=(0, 1), ylim=(0, 1.03))
        above.set_title(f'Calibration: expected calibration error {found["ece"]:.3f}')
        above.legend(fontsize='small', loc='upper left')
        below.bar(middle, counts, width * 0.92, color='C0', alpha=0.8)
        below.set(xlabel='probability that the model stated', ylabel='decisions')
        for panel in (above, below):
            tidy(panel)
        return figure

    return png(draw)
