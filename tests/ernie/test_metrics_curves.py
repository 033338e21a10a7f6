import os
import sys

import numpy as np
import pytest

from ernie.metrics import curves
from propeller.errors import UserError
from propeller.train.record import MetricsFile, read_metrics

pytestmark = pytest.mark.curves


@pytest.fixture
def records(tmp_path):
    """Seven training records, two dev sets and one test set evaluated at steps 30 and 60, read back from the file."""
    path = tmp_path / 'metrics.jsonl'
    with MetricsFile(path) as f:
        for step in range(10, 80, 10):
            loss = float('nan') if step == 40 else 7 / step
            f.append('train', step, 0, {'loss': loss, 'learning_rate': 1e-5 * step})
            if step % 30 == 0:
                for phase, file in (('dev', 'a/dev.tsv'), ('dev', 'b/dev.tsv'), ('test', 'a/test.tsv')):
                    values = {'loss': 0.1, 'acc': step / 100, 'f1': 0.2, 'data_num': 9, 'elapsed': 3.0, 'file': file}
                    f.append(phase, step, 0, values)
    return read_metrics(path)


def test_smooth_is_the_unbiased_moving_average():
    values = np.array([3.0, 1.0, np.nan, 7.0, 2.0])
    result = curves.smooth(values, weight=0.8)
    for i in range(5):
        weights = [0.8 ** int(np.isfinite(values[k + 1 : i + 1]).sum()) for k in range(i + 1)]
        kept = np.isfinite(values[: i + 1])
        assert result[i] == pytest.approx(np.average(values[: i + 1][kept], weights=np.array(weights)[kept]))
    assert curves.smooth([5.0] * 9) == pytest.approx([5.0] * 9)
    assert np.isnan(curves.smooth([np.nan, 1.0])[0]) and curves.smooth([]).shape == (0,)


def test_series_reads_null_as_nan(records):
    steps, loss = curves.series(records, 'train', 'loss')
    assert steps.tolist() == [10, 20, 30, 40, 50, 60, 70]
    assert np.isnan(loss[3]) and loss[[0, 6]] == pytest.approx([0.7, 0.1])
    assert curves.series(records, 'train', 'acc')[0].size == 0


def lines(panel):
    return {line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist()) for line in panel.get_lines()}


def test_figure_shows_what_was_recorded(records):
    figure = curves._figure(records, None, 'nats')
    loss, metrics, rate = figure.axes
    assert set(lines(loss)) == {'train, each log step', 'train, smoothed', 'dev a/dev.tsv', 'dev b/dev.tsv', 'test'}
    assert lines(loss)['test'] == ([30, 60], [0.1, 0.1])
    assert set(lines(metrics)) == {
        f'{s}: {k}' for s in ('dev a/dev.tsv', 'dev b/dev.tsv', 'test') for k in ('acc', 'f1')
    }
    assert lines(metrics)['dev b/dev.tsv: acc'] == ([30, 60], [0.3, 0.6])
    assert lines(rate)['learning rate'][1] == pytest.approx([1e-5 * step for step in range(10, 80, 10)])
    assert [panel.get_ylabel() for panel in figure.axes] == [
        'loss (nats)',
        'evaluation metric (no unit)',
        'learning rate',
    ]
    assert rate.get_xlabel() == 'global step (updates)'
    assert all(panel.get_legend() for panel in figure.axes)
    chosen = curves._figure(records, ['f1'], 'squared error')
    assert set(lines(chosen.axes[1])) == {'dev a/dev.tsv: f1', 'dev b/dev.tsv: f1', 'test: f1'}


def test_png_is_written_whole(records, tmp_path, recwarn):
    image = pytest.importorskip('matplotlib.image')
    path = tmp_path / '曲线.png'
    assert curves.draw_curves([{**r, 'file': '验证$.tsv'} for r in records], path) is True
    pixels = image.imread(path)
    assert pixels.shape[:2] == (1080, 960) and pixels[..., :3].std() > 0.05
    assert sorted(os.listdir(tmp_path)) == ['metrics.jsonl', '曲线.png'] and not recwarn.list
    with pytest.raises(UserError, match='cannot be written'):
        curves.draw_curves(records, tmp_path / 'none' / 'curves.png')


@pytest.mark.parametrize('phases', [['train'], ['dev'], ['train', 'dev']])
def test_a_short_run_is_drawn_too(records, tmp_path, phases):
    few = [next(r for r in records if r['phase'] == phase) for phase in phases]
    figure = curves._figure(few, None, 'nats')
    assert ('train' in phases) == ('train, each log step' in lines(figure.axes[0]))
    empty = [panel for panel in figure.axes if any(t.get_text() == 'nothing recorded' for t in panel.texts)]
    assert len(empty) == 3 - sum(bool(panel.get_lines()) for panel in figure.axes)
    assert all(line.get_marker() != 'None' for panel in figure.axes for line in panel.get_lines())
    assert curves.draw_curves(few, tmp_path / 'x.png')


def test_without_matplotlib_or_records_there_is_one_warning(records, tmp_path, logged, monkeypatch):
    assert curves.draw_curves([], tmp_path / 'x.png') is False
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    assert curves.draw_curves(records, tmp_path / 'x.png') is False
    assert len(logged) == 2 and 'pip install matplotlib' in logged[1]
    assert not (tmp_path / 'x.png').exists()
