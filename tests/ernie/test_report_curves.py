import os
import sys

import numpy as np
import pytest

from ernie.report import curves, drawing
from ernie.report.fonts import Lettering
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
            speeds = {'steps_per_second': 3.0, 'tokens_per_second': 9.0, 'real_token_share': 0.9}
            f.append('train', step, 0, {'loss': loss, 'acc': 0.3, 'learning_rate': 1e-5 * step, **speeds})
            if step % 30 == 0:
                for phase, file in (('dev', 'a/dev.tsv'), ('dev', 'b/dev.tsv'), ('test', 'a/test.tsv')):
                    values = {'loss': 0.1, 'acc': step / 100, 'f1': 0.2, 'data_num': 9, 'elapsed': 3.0, 'file': file}
                    f.append(phase, step, 0, values)
    return read_metrics(path)


def figure(records, metrics=None, unit='nats', best_step=None):
    return curves.figure_of(records, metrics, unit, best_step, Lettering([]))


def test_smooth_fits_a_straight_line_to_the_neighbours():
    rng = np.random.default_rng(3)
    values, width = rng.normal(size=29), 4
    values[[7, 8, 20]] = np.nan
    result = curves.smooth(values, width)
    for i in range(29):
        near = [k for k in range(max(i - width, 0), min(i + width + 1, 29)) if np.isfinite(values[k])]
        assert result[i] == pytest.approx(np.polyval(np.polyfit(near, values[near], 1), i))
    # Inside, with all its neighbours, a value is their mean.
    assert curves.smooth(values, 2)[14] == pytest.approx(values[12:17].mean())


def test_smooth_never_lags():
    line = 3.0 - 0.25 * np.arange(41)
    np.testing.assert_allclose(curves.smooth(line), line)
    np.testing.assert_allclose(curves.smooth(line, 200), line)
    assert curves.smooth([5.0] * 9) == pytest.approx([5.0] * 9)
    assert curves.smooth([]).shape == (0,) and curves.smooth([2.0]).tolist() == [2.0]
    assert np.isnan(curves.smooth([np.nan, np.nan, np.nan, 1.0])[0])


def test_series_reads_null_as_nan(records):
    steps, loss = curves.series(records, 'train', 'loss')
    assert steps.tolist() == [10, 20, 30, 40, 50, 60, 70]
    assert np.isnan(loss[3]) and loss[[0, 6]] == pytest.approx([0.7, 0.1])
    assert curves.series(records, 'train', 'f1')[0].size == 0


def lines(panel):
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in panel.get_lines()}


def panels(figure):
    return {panel.get_ylabel(): panel for panel in figure.axes if panel.axison}


def test_figure_shows_what_was_recorded(records):
    found = panels(figure(records, best_step=30))
    assert set(found) == {'loss (nats)', 'accuracy', 'F1', 'learning rate'}
    loss = lines(found['loss (nats)'])
    sets = {'dev a/dev.tsv', 'dev b/dev.tsv', 'test'}
    assert set(loss) == {'train', 'train, smoothed', *sets, '_best'}
    assert loss['test'] == ([30, 60], [0.1, 0.1])
    # The points themselves are there, faintly; what is smoothed goes on over the gap.
    raw, smoothed = (next(line for line in found['loss (nats)'].get_lines() if line.get_label() == name)
                     for name in ('train', 'train, smoothed'))  # fmt: skip
    assert raw.get_alpha() < 0.5 and np.isnan(raw.get_ydata()[3]) and np.isfinite(smoothed.get_ydata()).all()
    assert lines(found['accuracy'])['dev b/dev.tsv'][1] == [0.3, 0.6] and 'train' in lines(found['accuracy'])
    assert set(lines(found['F1'])) == {*sets, '_best'}
    (rate,) = [line for line in found['learning rate'].get_lines() if line.get_label() != '_best']
    assert list(rate.get_ydata()) == pytest.approx([1e-5 * step for step in range(10, 80, 10)])
    assert all(panel.get_xlabel() == 'step (updates)' for panel in found.values())
    assert set(panels(figure(records, ['f1'], 'squared error'))) == {'loss (squared error)', 'F1', 'learning rate'}


def test_pretraining_has_a_panel_for_each_task():
    values = {'loss': 9.0, 'ppl': 88.0, 'knowledge_masking_loss': 8.0, 'knowledge_masking_acc': 0.1}
    values |= {'next_sentence_loss': 1.0, 'next_sentence_acc': 0.5, 'next_sentence_share': 0.1, 'stage': 0}
    values |= {'learning_rate': 1e-4, 'steps_per_second': 2.0, 'tokens_per_second': 8.0, 'real_token_share': 0.9}
    found = curves.panels_of([{'phase': 'train', 'step': 5, 'epoch': 0, 'time': 1.5, **values}])
    assert found == ['loss', 'knowledge_masking_loss', 'next_sentence_loss', 'ppl', 'knowledge_masking_acc',
                     'next_sentence_acc', 'learning_rate']  # fmt: skip


def test_png_is_written_whole(records, tmp_path, recwarn):
    image = pytest.importorskip('matplotlib.image')
    path = tmp_path / '曲线.png'
    assert curves.draw_curves([{**r, 'file': '验证$.tsv'} for r in records], path) is True
    pixels = image.imread(path)
    assert pixels.shape[0] > 500 and pixels.shape[1] > 1000 and pixels[..., :3].std() > 0.05
    assert sorted(os.listdir(tmp_path)) == ['metrics.jsonl', '曲线.png'] and not recwarn.list
    with pytest.raises(UserError, match='cannot be written'):
        curves.draw_curves(records[:1], tmp_path / 'none' / 'curves.png')


@pytest.mark.parametrize('phases', [['train'], ['dev'], ['train', 'dev']])
def test_a_short_run_is_drawn_too(records, phases):
    few = [next(r for r in records if r['phase'] == phase) for phase in phases]
    found = panels(figure(few))
    assert ('learning rate' in found) == ('train' in phases)  # nothing is drawn that was not recorded
    assert ('train' in phases) == ('train' in lines(found['loss (nats)']))
    assert all(line.get_marker() != 'None' for panel in found.values() for line in panel.get_lines())
    assert not [text for text in found['accuracy'].texts if text.get_text() == 'nothing recorded']


def test_without_matplotlib_or_records_there_is_one_warning(records, tmp_path, logged, monkeypatch):
    assert curves.draw_curves([], tmp_path / 'x.png') is False
    monkeypatch.setattr(drawing, '_told', [])
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    assert curves.draw_curves(records, tmp_path / 'x.png') is False
    assert curves.draw_curves(records, tmp_path / 'x.png') is False
    assert len(logged) == 2 and 'pip install matplotlib' in logged[1]
    assert not (tmp_path / 'x.png').exists()
