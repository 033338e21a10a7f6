"""`ThroughputHook`: the base of hooks that log every so many updates, with the speed since the line before."""

import time

from propeller.train.hooks import RunHook


class ThroughputHook(RunHook):
    """Counts updates and tokens, and calls `log_point` every `per_step` updates.

    Args:
        session, program: the training program.
        values: list of graph values for `log_point`.
        per_step: log interval in steps.
        queue_size: function -> batches that wait.
        last_step: global step at which training ends; None where that is not known.
        record: function (phase, step, epoch, values), see `propeller.train.record.Records.append`.
    """

    def __init__(self, session, program, values, per_step, queue_size, record, last_step=None):
        self.session, self.program, self.values, self.per_step = session, program, list(values), per_step
        self.queue_size, self.record, self.rate = queue_size, record, None
        self.last_step, self._first_done = last_step, None
        self.restart_clock()

    def restart_clock(self):
        """Measure from here on."""
        self.clock, self.steps, self.tokens, self.fed = time.monotonic(), 0, 0, 0

    def before_train(self, program):
        self.restart_clock()

    def before_run(self, state):
        self.rate = self.session.learning_rate(self.program)
        return self.values

    def after_run(self, fetched, state):
        if state.step == 1:  # slow, and no measure for the others
            self._first_done = time.monotonic()
        self.steps += 1
        self.tokens += state.batch.real_tokens
        self.fed += state.batch.fed_tokens
        if state.gstep % self.per_step == 0:
            self.log_point(fetched, state, max(time.monotonic() - self.clock, 1e-9))
            self.restart_clock()

    def log_point(self, fetched, state, seconds):
        """Write the lines and the record. seconds: since the line before, without the time of what was `outside`."""

    def seconds_left(self, state):
        """Until the last step, by the time of all updates of this run but the first and of what came between them.

        None after one update, and where the last one is not known.
        """
        if self.last_step is None or self._first_done is None or state.step < 2:
            return None
        return (self.last_step - state.gstep) * (time.monotonic() - self._first_done) / (state.step - 1)

    def status(self):
        """What a progress bar shows of the training, a few words."""
        return ''

    def speeds(self, seconds, tokens, fed):
        """dict for the record; tokens, fed: those of all processes since the line before, with and without padding."""
        return {
            'learning_rate': self.rate,
            'steps_per_second': self.steps / seconds,
            'tokens_per_second': tokens / seconds,
            'real_token_share': tokens / max(fed, 1),
        }

    def outside(self, work):
        """`work`, a function, such that its time does not count as training time."""

        def timed(*args):
            started = time.monotonic()
            result = work(*args)
            self.clock += time.monotonic() - started
            return result

        return timed
