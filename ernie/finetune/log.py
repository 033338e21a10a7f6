"""`TrainingLogHook`: the log lines and records of a fine-tuning run."""

import logging
import math

import numpy as np

from ernie.finetune.epochs import EpochTotals
from ernie.run.blocks import clock
from propeller.log import get_logger
from propeller.train.state import COUNT, NUMBER, OBJECT, checked, is_number
from propeller.train.throughput import ThroughputHook

log = get_logger(__name__)

_MEASURED = 5  # updates after which the time of all is known well enough; the first, which is slow, does not count
_LONG = 20  # seconds until the first line that are worth one of their own
_NUMBERS = (lambda value: isinstance(value, list) and all(map(is_number, value)), 'a list of numbers')


class TrainingLogHook(ThroughputHook):
    """The training lines of 2019 every `per_step` steps, and the same numbers as records.

    Loss and scores are means over all rows of all processes since the line before, in a run before this one too.

    Attributes:
        points: list of dicts, the logged values and `seconds`, the time since the log point before.
        totals: `EpochTotals` of the epoch under way.

    Args:
        task: `Task`.
        rows: number of training rows.
        is_shown: whether the console shows the lines; a progress bar stands for them elsewhere.
        session, program, per_step, queue_size, record, last_step: see `ThroughputHook`.
    """

    state_name = 'training_log'

    def __init__(self, session, program, task, rows, per_step, queue_size, record, last_step, is_shown=True):
        spec = program.outputs
        super().__init__(session, program, [spec.loss, *spec.predictions], per_step, queue_size, record, last_step)
        self.task, self.rows = task, rows
        self.level = logging.INFO if is_shown else logging.DEBUG
        self.epoch, self.rows_done, self.points, self.totals = 0, 0, [], EpochTotals(task)
        self._begin_interval()

    def _begin_interval(self, rows=0, loss=0.0, sums=()):
        """rows: of all processes; loss: their sum. sums: of `Task.training_sums`, of this process."""
        self.interval_rows, self.interval_loss, self.sums = rows, loss, np.array(sums, np.float64)

    def after_part(self, fetched, number, state):
        part = state.batch.parts[number]
        if part.counted:
            sums = self.task.training_sums(part.rows, fetched[1:])
            self.sums = np.add(sums, self.sums) if self.sums.size else np.array(sums, np.float64)
            self.totals.add_part(state.batch.epoch, part.rows, fetched[1:], sums)

    def after_run(self, fetched, state):
        batch, loss = state.batch, float(fetched[0])
        if batch.epoch != self.epoch:
            self.epoch, self.rows_done = batch.epoch, 0
        self.rows_done += batch.step_rows
        self.totals.add_update(batch.epoch, batch.step_rows, loss)
        if math.isfinite(loss):  # of half precision: an update that is left out
            self.interval_rows += batch.step_rows
            self.interval_loss += loss * batch.step_rows
        super().after_run(fetched, state)
        if state.step == _MEASURED:
            self._tell_time(state)

    def log_point(self, fetched, state, seconds):
        sums, tokens, fed = self._everywhere()
        values = {'loss': self._mean_loss(), **(self.task.training_values(sums) if len(sums) else {})}
        speeds = self.speeds(seconds, tokens, fed)
        log.debug('train pyreader queue size: %d, learning rate: %f', self.queue_size(), self.rate)
        line = self.task.training_line(values, speeds['steps_per_second'])
        left = self.seconds_left(state)
        line += f', time left: {clock(left)}' if left is not None else ''
        text = 'epoch: %d, progress: %d/%d, step: %d, %s'
        log.log(self.level, text, self.epoch, self.rows_done, self.rows, state.gstep, line)
        self.points.append({**values, 'seconds': seconds})
        self.record('train', state.gstep, self.epoch, {**values, **speeds})
        self._begin_interval()

    def status(self):
        """What a progress bar shows of the training."""
        return f'loss {self._mean_loss() if self.interval_rows or not self.points else self.points[-1]["loss"]:.4f}'

    def _mean_loss(self):
        return self.interval_loss / self.interval_rows if self.interval_rows else math.nan

    def _everywhere(self):
        """Sums since the last line, and tokens since it in this run, of all processes."""
        gathered = self.session.world.all_gather([np.array([self.tokens, self.fed]), self.sums])
        sums = [found for _, found in gathered if len(found)]
        tokens, fed = (int(count) for count in sum(counts for counts, _ in gathered))
        return (sum(sums) if sums else np.zeros(0)), tokens, fed

    def _tell_time(self, state):
        """Where the first line, which says it too, is still far."""
        left = self.seconds_left(state)
        wait = min(-state.gstep % self.per_step, self.last_step - state.gstep)
        if left and left * wait / (self.last_step - state.gstep) > _LONG:
            log.log(self.level, 'time left: about %s (by the first %d steps)', clock(left), state.step)

    # ------------------------------------------------------------ state

    def state_dict(self):
        state = {'epoch': self.epoch, 'rows_done': self.rows_done}
        if self.interval_rows:
            sums, *_ = self._everywhere()
            state |= {'rows': int(self.interval_rows), 'loss': self.interval_loss, 'sums': sums.tolist()}
        return {**state, 'totals': self.totals.state_dict(self.session.world)}

    def load_state_dict(self, state):
        fields = {'epoch': COUNT, 'rows_done': COUNT, 'rows': COUNT, 'loss': NUMBER, 'sums': _NUMBERS, 'totals': OBJECT}
        checked(state, fields, needed=('epoch', 'rows_done'), place='hooks.training_log.')
        self.epoch, self.rows_done = state['epoch'], state['rows_done']
        if 'rows' in state:  # checkpoints of earlier releases have no such sums
            mine = state.get('sums', []) if self.session.world.is_main_process else []
            self._begin_interval(state['rows'], state.get('loss', 0.0), mine)
        if 'totals' in state:  # nor these
            self.totals.load_state_dict(state['totals'], self.session.world)
