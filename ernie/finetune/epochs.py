"""What an epoch gave: a line that has training and dev set side by side, and a report of the classes of its rows.

The training rows are scored as they were answered on the way, with dropout and before the update that learnt from
them. That costs nothing; an evaluation of the training file costs a pass over it, and is `--dev_set dev.tsv,train.tsv`.
"""

import logging
import math
import os
from collections import Counter
from typing import NamedTuple

import numpy as np

from ernie.metrics.report import write_report
from ernie.report.names import TRAINING
from propeller.log import get_logger
from propeller.storage.folders import make_folder
from propeller.train.state import COUNT, NUMBER, checked, is_count, is_number

log = get_logger(__name__)

_NO_SCORES = ('elapsed', 'main_value')
_FEW = 5  # epochs whose lines the console shows
_ENTRY = 3  # label, answer, how often
_NUMBERS = (lambda value: isinstance(value, list) and all(map(is_number, value)), 'a list of numbers')
_ANSWERS = (lambda value: isinstance(value, list) and all(map(_is_entry, value)), 'a list of lists of three counts')


def _is_entry(value):
    return isinstance(value, list) and len(value) == _ENTRY and all(map(is_count, value))


class Epoch(NamedTuple):
    """number: from 0. rows: that it has counted. values: dict of numbers. report: of classes, or None."""

    number: int
    rows: int
    values: dict
    report: dict | None


class EpochTotals:
    """Sums over the training rows of the epoch under way. Attribute `number`: that of the epoch, from 0.

    Args:
        task: `Task`.
    """

    def __init__(self, task):
        self.task = task
        self._begin(0)

    def _begin(self, number, rows=0, loss=0.0, sums=(), answers=()):
        """rows and loss are of all processes, sums and answers of this one."""
        self.number, self.rows, self.loss = number, rows, loss
        self.sums, self.answers = np.array(sums, np.float64), Counter({tuple(key): n for *key, n in answers})

    def add_part(self, number, rows, outputs, sums):
        """A batch of epoch `number`: its `Task.training_sums`, and what `Task.answers` makes of rows and outputs."""
        self._reach(number)
        self.sums = np.add(sums, self.sums) if self.sums.size else np.array(sums, np.float64)
        answers = self.task.answers(rows, outputs)
        if answers is not None:
            self.answers.update(zip(*(ids.tolist() for ids in answers), strict=True))

    def add_update(self, number, rows, loss):
        """An update of epoch `number`. rows: of all processes; loss: their mean."""
        self._reach(number)
        if math.isfinite(loss):
            self.rows, self.loss = self.rows + rows, self.loss + loss * rows

    def _reach(self, number):
        if number != self.number:
            self._begin(number)

    def over(self, world):
        """The `Epoch` so far. Called in every process."""
        sums, answers = self._everywhere(world)
        values = {'loss': self.loss / self.rows if self.rows else math.nan}
        values |= self.task.training_values(sums) if len(sums) else {}
        report = self.task.answers_report(answers) if len(answers) else None
        return Epoch(self.number, self.rows, self.task.epoch_values(values, report), report)

    def _everywhere(self, world):
        """(sums [S], answers int64 [K, 3]) of all processes."""
        own = np.array([[*key, n] for key, n in sorted(self.answers.items())], np.int64).reshape(-1, _ENTRY)
        gathered = world.all_gather([self.sums, own])
        sums = [found for found, _ in gathered if len(found)]
        return (sum(sums) if sums else np.zeros(0)), np.concatenate([found for _, found in gathered])

    def state_dict(self, world):
        """What `load_state_dict` takes in a run that goes on. Called in every process."""
        sums, answers = self._everywhere(world)
        state = {'number': self.number, 'rows': int(self.rows), 'loss': self.loss}
        return {**state, 'sums': sums.tolist(), 'answers': answers.tolist()}

    def load_state_dict(self, state, world):
        """Raises `UserError`: the state is no such thing."""
        fields = {'number': COUNT, 'rows': COUNT, 'loss': NUMBER, 'sums': _NUMBERS, 'answers': _ANSWERS}
        checked(state, fields, needed=fields, place='hooks.training_log.totals.')
        mine = (state['sums'], state['answers']) if world.is_main_process else ()
        self._begin(state['number'], state['rows'], state['loss'], *mine)


class EpochReports:
    """Says what an epoch gave when it has been evaluated, and keeps the report of the one that counts.

    Args:
        totals: `EpochTotals`.
        evaluator: `Evaluator`, whose newest scores are those of the same step.
        draw: function (values, step, prefix), for event files.
        world: of the job.
        rows: number of training rows.
        epochs: that the training has. The console shows the lines of a few; run.log has those of all.
    """

    def __init__(self, totals, evaluator, draw, world, rows, epochs):
        self.totals, self.evaluator, self.draw, self.world, self.rows = totals, evaluator, draw, world, rows
        self.level = logging.INFO if epochs <= _FEW else logging.DEBUG
        self.found = None

    def tell(self, step, ended):
        """After an evaluation at `step`, in every process. ended: whether the epoch has ended, or the training."""
        self.found = found = self.totals.over(self.world)
        if not self.evaluator.scored_sets():
            self.keep()
        if not ended:
            return
        values = {**found.values, **{f'val_{name}': value for name, value in self._dev_values().items()}}
        log.log(self.level, '%s', epoch_line(found.number, values, found.rows, self.rows))
        self.draw(values, step, 'epoch/')

    def _dev_values(self):
        if not self.evaluator.main:
            return {}
        values, report = self.evaluator.main
        scores = {k: v for k, v in values.items() if isinstance(v, float) and k not in _NO_SCORES}
        return self.totals.task.epoch_values(scores, report)

    def keep(self):
        """The newest evaluation is the one to keep: write the report of its epoch."""
        if self.found and self.found.report and self.evaluator.writes:
            make_folder(self.evaluator.report_folder)
            about = {'epoch': self.found.number + 1, 'rows': self.found.rows}
            write_report(os.path.join(self.evaluator.report_folder, TRAINING), {**about, **self.found.report})


def epoch_line(number, values, rows, of):
    """`Epoch: 1 - loss: 0.4120 - acc: 0.8312 - val_loss: 0.3502 - val_acc: 0.8590`.

    Args:
        number: of the epoch, from 0; the line counts from 1.
        values: dict of numbers.
        rows, of: that were counted and that the training has; said where they differ.
    """
    text = ' - '.join(f'{name}: {value:.4f}' for name, value in values.items())
    return f'Epoch: {number + 1} - {text}' + (f' ({rows:,} of {of:,} rows)' if rows != of else '')
