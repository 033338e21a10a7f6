"""Learning curves as a PNG, from the records of `metrics.jsonl`."""

import math
import os

import numpy as np

from ernie.report.drawing import new_figure, png, tidy
from ernie.report.words import SCORES, score_name
from propeller.log import get_logger
from propeller.storage.atomic import output_file
from propeller.train.state import is_number

log = get_logger(__name__)

RATE = 'learning_rate'
_NOT_A_METRIC = ('step', 'epoch', 'phase', 'time', 'loss', RATE, 'elapsed', 'data_num', 'stage')
_ENDS_OF_NO_METRIC = ('_per_second', '_share', '_loss')
_MOST_PANELS = 10


def smooth(values, width=None):
    """Each value as a straight line through its neighbours has it (Cleveland 1979, LOWESS, without its weights): inside
    the mean of as many values before as after it. It never lags: what rises evenly stays as it is, at the ends too.

    Args:
        values: [N] floats; NaN are passed over.
        width: neighbours on each side; None: a twentieth of N, at least 1.

    Returns:
        float64 [N]; NaN where a window has no number.
    """
    values = np.asarray(values, np.float64)
    count, known = len(values), np.isfinite(values)
    width = max(count // 20, 1) if width is None else width
    at = np.arange(count, dtype=np.float64)
    first, end = np.maximum(at - width, 0).astype(int), np.minimum(at + width + 1, count).astype(int)
    y = np.where(known, values, 0.0)
    # Sums over a window of 1, x, x^2, y, xy, with x counted from the middle of the whole for the sake of digits.
    x = np.where(known, at - count / 2, 0.0)
    totals = [np.concatenate([[0.0], np.cumsum(term)]) for term in (known, x, x * x, y, x * y)]
    n, sx, sxx, sy, sxy = (total[end] - total[first] for total in totals)
    spread = n * sxx - sx * sx
    slope = np.where(spread > 1e-9, (n * sxy - sx * sy) / np.where(spread > 1e-9, spread, 1.0), 0.0)
    line = (sy - slope * sx) / np.maximum(n, 1) + slope * (at - count / 2)
    return np.where(n > 0, line, np.nan)


def series(records, phase, key):
    """(steps int64 [N], values float64 [N]) of the records of one phase that have `key`; null is NaN."""
    found = [r for r in records if r['phase'] == phase and key in r]
    values = [r[key] if is_number(r[key]) else np.nan for r in found]
    return np.array([r['step'] for r in found], dtype=np.int64), np.array(values, dtype=np.float64)


def curves_picture(records, metrics=None, loss_unit='nats', best_step=None):
    """Loss, each metric and learning rate over the steps, each in a panel of its own, as PNG; None without matplotlib.

    Args:
        records: dicts as `propeller.train.record.read_metrics` gives them. Phase `train` has `loss` and
            `learning_rate`; other phases have `loss`, metrics, and `file` where there are several sets of one phase.
        metrics: names of the values to draw besides the loss; None draws all.
        loss_unit: `nats` for a cross entropy; whatever else the loss is measured in.
        best_step: step of the best checkpoint, which is marked; None: none.
    """
    names = list(by_set(records))
    return png(lambda lettering: figure_of(records, metrics, loss_unit, best_step, lettering), names)


def draw_curves(records, path, metrics=None, loss_unit='nats', best_step=None):
    """Write `curves_picture` to a file, whole or not at all.

    Returns:
        True when drawn; False, with a warning that tells why, when matplotlib is not installed or nothing is recorded.

    Raises:
        UserError: the file cannot be written.
    """
    if not records:
        log.warning('no learning curves: nothing is recorded yet')
        return False
    content = curves_picture(records, metrics, loss_unit, best_step)
    if content is not None:
        with output_file(path, binary=True) as f:
            f.write(content)
    return content is not None


def by_set(records):
    """Name of each evaluated set -> its records, in the order of first appearance."""
    evaluated = [r for r in records if r['phase'] != 'train']
    sets = dict.fromkeys((r['phase'], str(r.get('file', ''))) for r in evaluated)
    names = {}
    for phase, file in sets:
        files = [other for of, other in sets if of == phase]
        short = os.path.basename(file)
        label = short if [os.path.basename(other) for other in files].count(short) == 1 else file
        names[phase, file] = phase if len(files) == 1 else f'{phase} {label}'
    result = {}
    for r in evaluated:
        name = names[r['phase'], str(r.get('file', ''))]
        result.setdefault(name, []).append({**r, 'phase': name})
    return result


def panels_of(records, metrics=None):
    """Names of the values that get a panel: the loss, the losses of several tasks, scores, the learning rate."""
    keys = list(dict.fromkeys(key for r in records for key, value in r.items() if isinstance(value, int | float)))
    evaluated = {key for r in records if r['phase'] != 'train' for key in r}
    scores = [k for k in keys if k not in _NOT_A_METRIC and not k.endswith(_ENDS_OF_NO_METRIC)]
    # Of training alone only what is known to be a score, not speeds.
    scores = [k for k in scores if k in evaluated or k in SCORES or k.endswith('_acc')]
    losses = [k for k in keys if k.endswith('_loss')]
    found = [*(losses if len(losses) > 1 else ()), *scores]
    found = _without_twins(records, found)
    if metrics is not None:
        found = [key for key in keys if key in metrics]
    return ['loss', *found[:_MOST_PANELS], *([RATE] if RATE in keys else [])]


def _without_twins(records, keys):
    """Without scores that another one equals everywhere, as micro F1 the accuracy of a classifier."""
    evaluated, kept = [r for r in records if r['phase'] != 'train'], {}
    for key in keys:
        kept.setdefault(repr([r.get(key) for r in evaluated]) if evaluated else key, key)
    return [key for key in keys if key in kept.values()]


def comparison_picture(records, names):
    """Curves of several runs in the same panels, as PNG; None without matplotlib or records.

    Args:
        records: a list of records for each run.
        names: their names.
    """
    keys = list(dict.fromkeys(key for of_run in records for key in panels_of(of_run) if of_run))
    if not keys:
        return None
    keys = [key for key in keys if key != RATE][: _MOST_PANELS + 1] + [RATE] * (RATE in keys)
    return png(lambda lettering: _comparison(records, names, keys, lettering), names)


def _comparison(records, names, keys, lettering):
    figure, panels = _panels(keys, '')
    for i, (of_run, name) in enumerate(zip(records, names, strict=True)):
        first = next(iter(by_set(of_run).items()), (None, []))
        for panel, key in zip(panels, keys, strict=False):
            color, label = f'C{i}', lettering.plain(name)
            steps, values = series(of_run, 'train', key)
            scores = series(first[1], first[0], key)
            is_score = len(scores[0]) > 0 and key != 'loss'
            if not is_score:
                _plot(panel, steps, values if key == RATE else smooth(values), color=color, label=label)
            line = {'linestyle': '-' if is_score else '--', 'marker': 'o', 'markersize': 4}
            _plot(panel, *scores, color=color, label=label if is_score else '_dev', **line)
    for panel in panels[: len(keys)]:
        tidy(panel)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(loc='best', fontsize='small')
    return figure


def _panels(keys, loss_unit):
    """(figure, its panels), one for each key and perhaps empty ones, with the names of their axes."""
    columns = 1 if len(keys) < 3 else 2
    rows = math.ceil(len(keys) / columns)
    figure = new_figure(5.6 * columns, 2.9 * rows + 0.2)
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    panels = grid.T.reshape(-1) if rows > 1 else grid.reshape(-1)
    for panel, key in zip(panels, keys, strict=False):
        unit = f' ({loss_unit})' if loss_unit and (key == 'loss' or key.endswith('_loss')) else ''
        panel.set_ylabel(score_name(key) + unit)
        panel.tick_params(labelbottom=True)
        panel.set_xlabel('step (updates)')
        panel.xaxis.get_major_locator().set_params(integer=True)
        if key == 'ppl':
            panel.set_yscale('log')
    for panel in panels[len(keys) :]:
        panel.set_axis_off()
    return figure, panels


def figure_of(records, metrics, loss_unit, best_step, lettering):
    """The figure of `curves_picture`. lettering: `ernie.report.fonts.Lettering`."""
    keys, evaluations = panels_of(records, metrics), by_set(records)
    figure, panels = _panels(keys, loss_unit)
    for panel, key in zip(panels, keys, strict=False):
        _draw(panel, key, records, evaluations, best_step, lettering)
    return figure


def _draw(panel, key, records, evaluations, best_step, lettering):
    steps, values = series(records, 'train', key)
    if key == RATE:
        _plot(panel, steps, values, color='black', linewidth=1.5)
        panel.ticklabel_format(axis='y', style='sci', scilimits=(0, 0))
    else:
        several = len(steps) > 2
        faint = {'alpha': 0.25, 'linewidth': 1} if several else {'linewidth': 2}
        _plot(panel, steps, values, color='C0', label='train', **faint)
        if several:
            _plot(panel, steps, smooth(values), color='C0', linewidth=2, label='train, smoothed')
        for i, (name, found) in enumerate(evaluations.items(), start=1):
            style = {'color': f'C{i}', 'marker': 'o', 'markersize': 4}
            _plot(panel, *series(found, name, key), label=lettering.plain(name), **style)
    if best_step is not None:
        panel.axvline(best_step, color='gray', linestyle=':', linewidth=1, label='_best')
    tidy(panel)
    if panel.get_legend_handles_labels()[0]:
        panel.legend(loc='best', fontsize='small')
    elif not panel.get_lines() or key != RATE:
        panel.text(0.5, 0.5, 'nothing recorded', transform=panel.transAxes, ha='center', va='center', color='gray')


def _plot(panel, steps, values, **style):
    """A line; a single point is marked, for a line of one point cannot be seen."""
    if len(steps) == 1:
        style.setdefault('marker', 'o')
    if np.isfinite(values).any():
        panel.plot(steps, values, **style)
