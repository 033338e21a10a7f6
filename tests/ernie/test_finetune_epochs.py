"""The line of an epoch and the report of its training rows."""

import json
import math
import re

import numpy as np
import pytest
from sklearn.metrics import classification_report

from ernie.finetune.epochs import EpochTotals, epoch_line
from ernie.metrics.report import class_report
from propeller.errors import UserError
from tests.ernie.tiny_model import sentences, table

CLASSES, ROWS = 4, 103
LINE = re.compile(r'Epoch: (\d+) - loss: ([\d.]+) - acc: ([\d.]+) - f1: ([\d.]+)( - val_loss.*)?')


class Task:
    """A classifier as the totals see it. Its outputs are the predictions."""

    def __init__(self, labels):
        self.labels = labels

    def answers(self, rows, outputs):
        return self.labels[rows], outputs[0]

    def training_values(self, sums):
        return {'share': float(sums[0] / sums[1])}

    def answers_report(self, answers):
        labels, predictions, counts = answers.T
        return class_report(labels, predictions, CLASSES, None, counts)

    def epoch_values(self, values, report):
        return {**values, 'f1': report['macro_avg']['f1']} if report else values


class World:
    """One process of several, whose arrays the test has."""

    def __init__(self, others=(), is_main_process=True):
        self.others, self.is_main_process = others, is_main_process

    def all_gather(self, arrays):
        return [list(arrays), *self.others]


@pytest.fixture
def labels():
    return np.random.default_rng(1).integers(0, CLASSES - 1, ROWS)  # the last class never comes


@pytest.fixture
def predictions():
    return np.random.default_rng(2).integers(0, CLASSES, ROWS)


def feed(totals, number, rows, predictions):
    for batch in np.array_split(rows, 9):
        totals.add_part(number, batch, [predictions[batch]], [int(batch.sum()), len(batch)])
        totals.add_update(number, len(batch), float(batch.mean()))


def sklearns(labels, predictions):
    return classification_report(labels, predictions, labels=range(CLASSES), output_dict=True, zero_division=0)


def check_report(report, expected):
    for row in report['classes']:
        theirs = expected[row['name']]
        assert row['support'] == theirs['support']
        for ours, name in (('precision', 'precision'), ('recall', 'recall'), ('f1', 'f1-score')):
            assert row[ours] == pytest.approx(theirs[name], abs=1e-12)
    for ours, theirs in (('macro_avg', 'macro avg'), ('weighted_avg', 'weighted avg')):
        assert report[ours]['f1'] == pytest.approx(expected[theirs]['f1-score'], abs=1e-12)


def test_an_epoch_is_that_of_scikit_learn(labels, predictions):
    totals, order = EpochTotals(Task(labels)), np.random.default_rng(3).permutation(ROWS)
    feed(totals, 0, order[:50], predictions)  # another epoch, which is forgotten
    feed(totals, 1, order, predictions)
    epoch = totals.over(World())
    assert (epoch.number, epoch.rows) == (1, ROWS)
    assert epoch.values['loss'] == pytest.approx((ROWS - 1) / 2) and epoch.values['share'] == (ROWS - 1) / 2
    check_report(epoch.report, sklearns(labels, predictions))
    assert epoch.values['f1'] == epoch.report['macro_avg']['f1']


def test_processes_and_runs_are_added_up(labels, predictions):
    """Rows of two processes, one of which went on from a checkpoint."""
    first, second = EpochTotals(Task(labels)), EpochTotals(Task(labels))
    feed(first, 2, np.arange(40), predictions)
    state = json.loads(json.dumps(first.state_dict(World())))
    first = EpochTotals(Task(labels))
    first.load_state_dict(state, World())
    second.load_state_dict(state, World(is_main_process=False))  # the main process has them all
    feed(first, 2, np.arange(40, 60), predictions)
    feed(second, 2, np.arange(60, ROWS), predictions)
    own = second._everywhere(World())
    epoch = first.over(World([own]))
    check_report(epoch.report, sklearns(labels, predictions))
    assert epoch.values['share'] == (ROWS - 1) / 2


def test_an_update_without_a_number_does_not_count(labels):
    totals = EpochTotals(Task(labels))
    totals.add_update(0, 8, math.inf)
    assert totals.over(World()).rows == 0
    totals.add_update(0, 4, 0.5)
    assert totals.over(World()).values == {'loss': 0.5} and totals.over(World()).report is None


@pytest.mark.parametrize(
    'changed', [{'answers': [[1, 2]]}, {'answers': [[1, 2, -1]]}, {'sums': ['x']}, {'rows': -1}, {'loss': None}]
)
def test_a_state_of_another_form_is_refused(labels, changed):
    totals = EpochTotals(Task(labels))
    with pytest.raises(UserError, match=f'found hooks.training_log.totals.{next(iter(changed))} '):
        totals.load_state_dict({**totals.state_dict(World()), **changed}, World())


def test_the_line_says_which_rows_it_is_of():
    values = {'loss': 0.41196, 'acc': 0.5, 'val_loss': math.nan}
    assert epoch_line(0, values, 9, 9) == 'Epoch: 1 - loss: 0.4120 - acc: 0.5000 - val_loss: nan'
    assert epoch_line(2, {'loss': 1}, 1234, 8500) == 'Epoch: 3 - loss: 1.0000 (1,234 of 8,500 rows)'


# ------------------------------------------------------------------------------------------ in a training


def data(folder):
    dev = table(folder / 'd.tsv', sentences(21, 2))
    return {'train_set': table(folder / 'training.tsv', sentences(40, 1)), 'dev_set': dev}


def test_a_training_says_each_epoch(tmp_path, train):
    ran = train(**data(tmp_path), epoch=3, batch_size=8, max_steps=12, validation_steps=4)
    lines = [line for line in ran.log.splitlines() if 'Epoch: ' in line]
    found = [LINE.search(line) for line in lines]
    assert [match[1] for match in found] == ['1', '2', '3'] and '(16 of 40 rows)' in lines[2]
    report = json.loads((tmp_path / 'c/reports/training.json').read_text())
    best = json.loads((tmp_path / 'c/best/metrics.json').read_text())
    dev = json.loads((tmp_path / 'c/reports/d.summary.json').read_text())['report']
    assert report['epoch'] == best['epoch'] + 1
    text = f' - val_loss: {best["loss"]:.4f} - val_acc: {best["acc"]:.4f} - val_f1: {dev["macro_avg"]["f1"]:.4f}'
    if best['step'] in (5, 10, 12):
        assert text in lines[best['epoch']]
        assert float(found[best['epoch']][3]) == pytest.approx(report['accuracy'], abs=1e-4)
        assert float(found[best['epoch']][4]) == pytest.approx(report['macro_avg']['f1'], abs=1e-4)
    assert sum(row['support'] for row in report['classes']) == report['rows']
    page = (tmp_path / 'c/report.html').read_text()
    assert 'Training rows' in page and f'rows of epoch {report["epoch"]}, as they were answered' in page


def test_without_a_dev_set_the_last_epoch_is_kept(tmp_path, train):
    values = data(tmp_path) | {'dev_set': None, 'do_val': False}
    ran = train(**values, epoch=2, batch_size=8)
    assert LINE.findall(ran.log)[1][0] == '2' and 'val_' not in ran.log
    report = json.loads((tmp_path / 'c/reports/training.json').read_text())
    assert (report['epoch'], report['rows']) == (2, 40)


def test_a_dev_set_of_that_name_does_not_take_its_place(tmp_path, train):
    values = data(tmp_path)
    train(**(values | {'dev_set': values['train_set']}), epoch=1, batch_size=8)
    reports = tmp_path / 'c/reports'
    assert json.loads((reports / 'training.json').read_text())['epoch'] == 1
    assert (reports / f'{tmp_path.name}_training.summary.json').is_file()


def test_the_training_file_may_be_evaluated_beside_the_dev_set(tmp_path, train):
    """The report is then that of the best checkpoint as it is; nobody needs to be told that the rows are known."""
    values = data(tmp_path)
    ran = train(**(values | {'dev_set': f'{values["dev_set"]},{values["train_set"]}'}), epoch=1, batch_size=8)
    assert 'also in' not in ran.log
    report = json.loads((tmp_path / f'c/reports/{tmp_path.name}_training.json').read_text())
    assert sum(row['support'] for row in report['classes']) == 40
    ran = train(**(values | {'dev_set': values['train_set']}), epoch=1, batch_size=8, checkpoints=tmp_path / 'c2')
    assert '40 of 40 texts are also in' in ran.log


def test_a_broken_report_is_named(tmp_path, train):
    train(**data(tmp_path), epoch=1, batch_size=8)
    from ernie.report.run_files import read_run

    path = tmp_path / 'c/reports/training.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'classes': 3}))
    with pytest.raises(UserError, match='training.json: found report .* expected a report of classes. Train again'):
        read_run(str(tmp_path / 'c'))
