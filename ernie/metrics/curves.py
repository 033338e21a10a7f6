"""Learning curves as a PNG, from the records of `metrics.jsonl`."""

import itertools
import os
import warnings

import numpy as np

from propeller.log import get_logger
from propeller.storage.atomic import output_file

log = get_logger(__name__)

_CHINESE_FONTS = (
    'Noto Sans CJK SC',
    'Source Han Sans SC',
    'WenQuanYi Micro Hei',
    'WenQuanYi Zen Hei',
    'SimHei',
    'PingFang SC',
)
_LINES = (('-', 'o'), ('--', 's'), (':', '^'), ('-.', 'D'))
_NOT_A_METRIC = ('step', 'epoch', 'phase', 'time', 'loss', 'learning_rate', 'elapsed', 'data_num')


def smooth(values, weight=0.9):
    """Exponential moving average without the bias of its start (Kingma & Ba 2015, section 3); NaN are passed over.

    Args:
        values: [N] floats.
        weight: of the past, in [0, 1).

    Returns:
        float64 [N].
    """
    average, total, result = 0.0, 0.0, []
    for value in np.asarray(values, dtype=np.float64):
        if np.isfinite(value):
            average = weight * average + (1 - weight) * value
            total = weight * total + (1 - weight)
        result.append(average / total if total else np.nan)
    return np.array(result)


def series(records, phase, key):
    """(steps int64 [N], values float64 [N]) of the records of one phase that have `key`; null is NaN."""
    found = [r for r in records if r['phase'] == phase and key in r]
    values = [np.nan if r[key] is None else r[key] for r in found]
    return np.array([r['step'] for r in found], dtype=np.int64), np.array(values, dtype=np.float64)


def draw_curves(records, path, metrics=None, loss_unit='nats'):
    """Draw loss, evaluation metrics and learning rate over the steps into a PNG, which is written whole or not at all.

    Args:
        records: dicts as `propeller.train.record.read_metrics` gives them. Phase `train` has `loss` and
            `learning_rate`; other phases have `loss`, metrics, and `file` where there are several sets of one phase.
        path: the PNG.
        metrics: names of the evaluation values to draw; None draws all.
        loss_unit: `nats` for a cross entropy; whatever else the loss is measured in.

    Returns:
        True when drawn; False, with a warning that tells why, when matplotlib is not installed or nothing is recorded.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        import matplotlib  # noqa: F401 (asks whether it is there)
    except ImportError:
        log.warning('no learning curves: they need the package matplotlib (pip install matplotlib)')
        return False
    if not records:
        log.warning('no learning curves: nothing is recorded yet')
        return False
    with warnings.catch_warnings(), _wide_fonts(), output_file(path, binary=True) as f:
        # Without a font that has them, the characters of a file name are drawn as boxes; that is worth no warning.
        warnings.filterwarnings('ignore', message='Glyph')
        _figure(records, metrics, loss_unit).savefig(f, format='png')
    return True


def _wide_fonts():
    """Settings under which Chinese file names can be drawn, where a font for them is installed."""
    import matplotlib
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    families = [name for name in _CHINESE_FONTS if name in installed]
    return matplotlib.rc_context({'font.family': [*matplotlib.rcParams['font.family'], *families]})


def _figure(records, metrics, loss_unit):
    from matplotlib.figure import Figure

    # A Figure of its own, not pyplot: no window system, and no state shared with the user's own figures.
    figure = Figure(figsize=(8, 9), dpi=120, layout='constrained')
    panels = figure.subplots(3, 1, sharex=True, height_ratios=[3, 3, 1.5])
    evaluations = _by_set(records)
    _draw_loss(panels[0], records, evaluations, loss_unit)
    _draw_metrics(panels[1], evaluations, metrics)
    _draw_learning_rate(panels[2], records)
    for panel in panels:
        panel.grid(True, alpha=0.3)
        panel.spines[['top', 'right']].set_visible(False)
    panels[-1].set_xlabel('global step (updates)')
    return figure


def _by_set(records):
    """Name of each evaluated set -> its records, in the order of first appearance."""
    evaluated = [r for r in records if r['phase'] != 'train']
    sets = dict.fromkeys((r['phase'], r.get('file', '')) for r in evaluated)
    names = {}
    for phase, file in sets:
        files = [other for of, other in sets if of == phase]
        short = os.path.basename(file)
        label = short if [os.path.basename(other) for other in files].count(short) == 1 else file
        # A dollar sign would begin a formula.
        names[phase, file] = phase if len(files) == 1 else f'{phase} {label}'.replace('$', r'\$')
    result = {}
    for r in evaluated:
        name = names[r['phase'], r.get('file', '')]
        result.setdefault(name, []).append({**r, 'phase': name})
    return result


def _plot(panel, steps, values, **style):
    """A line; a single point is marked, for a line of one point cannot be seen."""
    if len(steps) == 1:
        style.setdefault('marker', 'o')
    if np.isfinite(values).any():
        panel.plot(steps, values, **style)


def _legend(panel):
    if panel.get_legend_handles_labels()[0]:
        panel.legend(loc='best', fontsize='small')
    else:
        panel.text(0.5, 0.5, 'nothing recorded', transform=panel.transAxes, ha='center', va='center', color='gray')


def _draw_loss(panel, records, evaluations, unit):
    steps, loss = series(records, 'train', 'loss')
    _plot(panel, steps, loss, color='C0', alpha=0.3, linewidth=1, label='train, each log step')
    if len(steps) > 1:
        _plot(panel, steps, smooth(loss), color='C0', linewidth=2, label='train, smoothed')
    for i, (name, found) in enumerate(evaluations.items(), start=1):
        _plot(panel, *series(found, name, 'loss'), color=f'C{i}', marker='o', markersize=4, label=name)
    panel.set_ylabel(f'loss ({unit})')
    panel.set_title('Learning curves')
    _legend(panel)


def _draw_metrics(panel, evaluations, metrics):
    for i, (name, found) in enumerate(evaluations.items(), start=1):
        keys = dict.fromkeys(
            k for r in found for k, v in r.items() if k not in _NOT_A_METRIC and not isinstance(v, str)
        )
        keys = [k for k in keys if metrics is None or k in metrics]
        for key, (line, marker) in zip(keys, itertools.cycle(_LINES), strict=False):
            style = {'color': f'C{i}', 'linestyle': line, 'marker': marker, 'markersize': 4}
            _plot(panel, *series(found, name, key), label=f'{name}: {key}', **style)
    panel.set_ylabel('evaluation metric (no unit)')
    _legend(panel)


def _draw_learning_rate(panel, records):
    _plot(panel, *series(records, 'train', 'learning_rate'), color='black', linewidth=1.5, label='learning rate')
    panel.ticklabel_format(axis='y', style='sci', scilimits=(0, 0))
    panel.set_ylabel('learning rate')
    _legend(panel)
