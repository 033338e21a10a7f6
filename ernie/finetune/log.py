"""`TrainingLogHook`: the log lines and records of a fine-tuning run."""

import numpy as np

from propeller.log import get_logger
from propeller.train.hooks import ClockedHook
from propeller.train.state import COUNT, checked

log = get_logger(__name__)


class TrainingLogHook(ClockedHook):
    """The training lines of 2019 every `per_step` steps, and the same numbers as records.

    Attributes:
        points: list of dicts, the logged values and `seconds`, the time since the log point before.

    Args:
        session, program: the training program.
        task: `Task`.
        rows: number of training rows.
        per_step: log interval in steps.
        verbose: also log queue size and learning rate.
        queue_size: function -> batches that wait.
        record: function (phase, step, epoch, values), called at each log point.
    """

    state_name = 'training_log'

    def __init__(self, session, program, task, rows, per_step, verbose, queue_size, record):
        self.session, self.program, self.task, self.rows = session, program, task, rows
        self.per_step, self.verbose, self.queue_size, self.record = per_step, verbose, queue_size, record
        spec = program.outputs
        self.values = [spec.loss, *spec.predictions]
        self.epoch, self.rows_done, self.rate = 0, 0, None
        self.points, self.results = [], []
        self.restart_clock()

    def restart_clock(self):
        super().restart_clock()
        self.steps = self.tokens = self.fed = 0

    def before_run(self, state):
        self.rate = self.session.learning_rate(self.program)
        return self.values

    def after_part(self, fetched, number, state):
        part = state.batch.parts[number]
        if part.counted and state.gstep % self.per_step == 0:
            self.results.append((part.rows, fetched[1:]))

    def after_run(self, fetched, state):
        batch = state.batch
        if batch.epoch != self.epoch:
            self.epoch, self.rows_done = batch.epoch, 0
        self.rows_done += batch.step_rows
        self.steps += 1
        self.tokens += batch.real_tokens
        self.fed += batch.fed_tokens
        if state.gstep % self.per_step == 0:
            self._log(float(fetched[0]), state)
            self.results = []

    def _log(self, loss, state):
        seconds = self.seconds
        results, tokens, fed = self._everywhere()
        values = {'loss': loss, **self.task.training_values(results)}
        speed = self.steps / seconds
        if self.verbose:
            log.info('train pyreader queue size: %d, learning rate: %f', self.queue_size(), self.rate)
        line = self.task.training_line(values, speed)
        log.info('epoch: %d, progress: %d/%d, step: %d, %s', self.epoch, self.rows_done, self.rows, state.gstep, line)
        extra = {'learning_rate': self.rate, 'steps_per_second': speed, 'tokens_per_second': tokens / seconds}
        extra['real_token_share'] = tokens / max(fed, 1)
        self.points.append({**values, 'seconds': seconds})
        self.record('train', state.gstep, self.epoch, {**values, **extra})
        self.restart_clock()

    def _everywhere(self):
        """Results of this update, and tokens since the last line, of all processes."""
        arrays = [np.array([self.tokens, self.fed])]
        for rows, outputs in self.results:
            arrays += [rows, *outputs]
        width, results, counts = len(self.values), [], np.zeros(2, np.int64)
        for tokens, *others in self.session.world.all_gather(arrays):
            counts += tokens
            results += [(others[i], others[i + 1 : i + width]) for i in range(0, len(others), width)]
        return results, int(counts[0]), int(counts[1])

    def state_dict(self):
        return {'epoch': self.epoch, 'rows_done': self.rows_done}

    def load_state_dict(self, state):
        checked(state, {'epoch': COUNT, 'rows_done': COUNT}, place='hooks.training_log.')
        self.epoch, self.rows_done = state['epoch'], state['rows_done']
