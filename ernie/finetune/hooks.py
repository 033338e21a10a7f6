"""What a fine-tuning run does between its steps: log lines, evaluation, best checkpoint, early stop."""

import numpy as np

from propeller.log import get_logger
from propeller.train.hooks import ClockedHook, RunHook
from propeller.train.state import COUNT, COUNT_OR_NONE, NUMBER_OR_NONE, checked

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


class EvaluationHook(RunHook):
    """Evaluate every `per_step` steps, after each epoch and after the last step; keep the best; stop when it stays.

    Args:
        evaluate: function (epoch, step, last) -> main value of the metric, or None if there is no labelled set. last:
            whether this is the evaluation after the last step.
        per_step: interval in steps.
        save_best: function (state, value), called when the value is the best so far.
        patience: evaluations without a better value before training stops; -1 never stops.
        is_last: function (state) -> whether no step will follow, as far as is known before the evaluation.
        ended_early: function (), called when the last evaluation turned out to be so only afterwards (early stop).
    """

    state_name = 'evaluation'

    def __init__(
        self, evaluate, per_step, save_best, patience=-1, is_last=lambda state: False, ended_early=lambda: None
    ):
        self.evaluate, self.per_step, self.save_best, self.patience = evaluate, per_step, save_best, patience
        self.is_last, self.ended_early, self.last_is_named = is_last, ended_early, False
        self.best, self.best_step, self.worse, self.evaluated, self.last = None, None, 0, None, None

    def after_run(self, fetched, state):
        self.last = state
        if state.gstep % self.per_step == 0 or state.batch.position['batch'] == 0:
            self._evaluate(self.is_last(state))

    def _evaluate(self, last):
        state = self.last
        value = self.evaluate(state.batch.epoch, state.gstep, last)
        self.evaluated, self.last_is_named = state.gstep, last
        if value is None:
            return
        if not np.isfinite(value):
            log.warning('step %d: the score is %s: no number to choose the best checkpoint by', state.gstep, value)
            self.worse += 1
        elif self.best is None or value > self.best:
            self.best, self.best_step, self.worse = value, state.gstep, 0
            self.save_best(state, value)
        else:
            self.worse += 1

    def should_stop(self, state):
        stop = 0 < self.patience <= self.worse
        if stop:
            log.info('early stop: %d evaluations without a better metric than at step %d', self.worse, self.best_step)
        return stop

    def after_train(self):
        # Who interrupts a training wants it to end now: the checkpoint is saved, the rest can be had from it.
        if self.last is None or self.last.interrupted:
            return
        if self.evaluated != self.last.gstep:
            self._evaluate(last=True)
        elif not self.last_is_named:
            self.ended_early()

    def state_dict(self):
        return {'best': self.best, 'best_step': self.best_step, 'worse': self.worse}

    def load_state_dict(self, state):
        fields = {'best': NUMBER_OR_NONE, 'best_step': COUNT_OR_NONE, 'worse': COUNT}
        checked(state, fields, place='hooks.evaluation.')
        self.best, self.best_step, self.worse = state['best'], state['best_step'], state['worse']
        if self.best is not None and not np.isfinite(self.best):  # nothing would ever be better
            self.best = self.best_step = None
