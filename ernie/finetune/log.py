"""`TrainingLogHook`: the log lines and records of a fine-tuning run."""

import numpy as np

from propeller.log import get_logger
from propeller.train.state import COUNT, checked
from propeller.train.throughput import ThroughputHook

log = get_logger(__name__)


class TrainingLogHook(ThroughputHook):
    """The training lines of 2019 every `per_step` steps, and the same numbers as records.

    Attributes:
        points: list of dicts, the logged values and `seconds`, the time since the log point before.

    Args:
        task: `Task`.
        rows: number of training rows.
        verbose: also log queue size and learning rate.
        session, program, per_step, queue_size, record: see `ThroughputHook`.
    """

    state_name = 'training_log'

    def __init__(self, session, program, task, rows, per_step, verbose, queue_size, record):
        spec = program.outputs
        super().__init__(session, program, [spec.loss, *spec.predictions], per_step, queue_size, record)
        self.task, self.rows, self.verbose = task, rows, verbose
        self.epoch, self.rows_done, self.points, self.results = 0, 0, [], []

    def after_part(self, fetched, number, state):
        part = state.batch.parts[number]
        if part.counted and state.gstep % self.per_step == 0:
            self.results.append((part.rows, fetched[1:]))

    def after_run(self, fetched, state):
        batch = state.batch
        if batch.epoch != self.epoch:
            self.epoch, self.rows_done = batch.epoch, 0
        self.rows_done += batch.step_rows
        super().after_run(fetched, state)

    def log_point(self, fetched, state, seconds):
        results, tokens, fed = self._everywhere()
        values = {'loss': float(fetched[0]), **self.task.training_values(results)}
        speeds = self.speeds(seconds, tokens, fed)
        if self.verbose:
            log.info('train pyreader queue size: %d, learning rate: %f', self.queue_size(), self.rate)
        line = self.task.training_line(values, speeds['steps_per_second'])
        log.info('epoch: %d, progress: %d/%d, step: %d, %s', self.epoch, self.rows_done, self.rows, state.gstep, line)
        self.points.append({**values, 'seconds': seconds})
        self.record('train', state.gstep, self.epoch, {**values, **speeds})
        self.results = []

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
