"""How long a training waits for a teacher that answers meanwhile, and how long that one has nothing to do for it."""

import contextlib
import time

import numpy as np

from propeller.data.dataset import Dataset
from propeller.log import get_logger
from propeller.train.hook import RunHook

log = get_logger(__name__)


def asked(question):
    """(what `question()` gives, float64 [2]: when it was asked and answered). The clock is one for all processes."""
    began = time.monotonic()
    answer = question()
    return answer, np.array([began, time.monotonic()])


class AnswerClock(RunHook):
    """A hook of a training whose batches come from `without_times`; says at its end who waited for whom.

    Attributes:
        answers: batches that were answered. busy: seconds in which the teacher was asked for them.
        waited: seconds in which the training had no batch.
    """

    def __init__(self):
        self.answers, self.busy, self.waited = 0, 0.0, 0.0
        self._first = self._last = self._began = self._ready = None

    def without_times(self, batches):
        """The batches, a `Dataset`, without their last array: the times of `asked`, which are noted."""

        def start_at(start):
            with contextlib.closing(batches.iterate_from(start)) as items:
                for *arrays, times in items:
                    self._note(*times.tolist())
                    yield arrays

        return Dataset(lambda: start_at(0), None, None, start_at, batches.count, lambda: batches.seekable)

    def _note(self, began, ended):
        self._first = began if self._first is None else self._first
        self.answers, self.busy, self._last = self.answers + 1, self.busy + ended - began, ended

    @property
    def idle(self):
        """Share of the time from the first question to the last answer that was used in which nothing was asked."""
        return 1 - self.busy / max(self._last - self._first, 1e-9) if self.answers else 0.0

    def should_stop(self, state):
        """Called last before a batch is taken."""
        self._ready = time.monotonic()
        self._began = self._began or self._ready
        return False

    def before_run(self, state):
        self.waited += time.monotonic() - self._ready
        return []

    def after_train(self):
        if not self.answers:
            return
        seconds = time.monotonic() - self._began
        log.info(
            'trained for %.1f s, %.1f s of them (%.0f%%) waiting for batches; the teacher answered %d batches in '
            '%.1f s, and was not asked in %.0f%% of that time',
            *(seconds, self.waited, 100 * self.waited / seconds),
            *(self.answers, self._last - self._first, 100 * self.idle),
        )
