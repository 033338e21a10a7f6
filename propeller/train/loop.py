"""The one training loop, and the one evaluation pass."""

import contextlib
import signal
import threading
import time

import numpy as np

from propeller.log import get_logger
from propeller.types import StopException

log = get_logger(__name__)


class LoopState:
    """Where a training run stands.

    Attributes:
        step: updates done by this run.
        gstep: updates done in all, earlier runs included.
        batch: the batch of the last update.
        started: time of the start, in seconds (monotonic clock).
        loading_seconds: time the loop waited for data.
        interrupted: whether Ctrl-C or SIGTERM asked the loop to end.
    """

    def __init__(self, gstep=0):
        self.step, self.gstep, self.batch = 0, gstep, None
        self.started = time.monotonic()
        self.loading_seconds = 0.0
        self.interrupted = False


class _Fetches:
    """The union of what the hooks ask for, in a list object that stays the same while the wishes do."""

    def __init__(self):
        self.wishes, self.values, self.slots = None, [], []

    def gather(self, asked):
        wishes = [[id(v) for v in values] for values in asked]
        if wishes != self.wishes:
            index, self.values = {}, []
            for values in asked:
                for v in values:
                    if id(v) not in index:
                        index[id(v)] = len(self.values)
                        self.values.append(v)
            self.wishes, self.slots = wishes, [[index[i] for i in w] for w in wishes]
        return self.values


def train_loop(session, program, batches, hooks, state, arrays_of=lambda batch: batch):
    """Run `program` over `batches` until they end or a hook stops it.

    Args:
        session, program: from `propeller.graph`; `program` trains.
        batches: iterable of batches, one per update.
        hooks: list of `RunHook`.
        state: `LoopState`, moved on in place.
        arrays_of: batch -> list of arrays, one per feed.
    Returns:
        list of what the hooks' `after_train` returned.
    """
    for hook in hooks:
        hook.before_train(program)
    log.debug('********** Start Loop ************')
    fetches, source = _Fetches(), iter(batches)
    try:
        with _finish_step_on_signal(state):
            while not state.interrupted and not any(hook.should_stop(state) for hook in hooks):
                waited = time.monotonic()
                batch = next(source, None)
                state.loading_seconds += time.monotonic() - waited
                if batch is None:
                    break
                values = fetches.gather([hook.before_run(state) or [] for hook in hooks])
                fetched = session.step(program, arrays_of(batch), values)
                state.step, state.gstep, state.batch = state.step + 1, state.gstep + 1, batch
                for hook, slots in zip(hooks, fetches.slots, strict=True):
                    hook.after_run([fetched[i] for i in slots], state)
    except StopException:
        pass
    except KeyboardInterrupt:
        state.interrupted = True
    log.debug('********** %s Loop ************', 'Interupt' if state.interrupted else 'Stop')  # spelt as in 2019
    return [hook.after_train() for hook in hooks]


@contextlib.contextmanager
def _finish_step_on_signal(state):
    """The first Ctrl-C or SIGTERM lets the step end, so that what is saved after it is consistent; a second one does
    what it always does. Python delivers signals to the main thread only, so elsewhere nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {}

    def restore():
        for number, handler in previous.items():
            signal.signal(number, handler)

    def finish(number, frame):
        state.interrupted = True
        restore()
        log.warning('%s: training ends after this step; once more ends it at once', signal.Signals(number).name)

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, finish)
    try:
        yield
    finally:
        restore()


def evaluation_pass(session, program, batches, fetch_list, arrays_of=lambda batch: batch):
    """Run a program without optimizer over `batches`; yields (batch, fetched arrays)."""
    for batch in batches:
        yield batch, session.run(program, arrays_of(batch), fetch_list)


def run_metrics(session, program, batches, metrics):
    """Evaluate metric objects over `batches`. Returns dict name -> numpy scalar."""
    tensors, slots = [], {}
    for name, metric in metrics.items():
        metric.reset()
        asked = metric.tensor if isinstance(metric.tensor, (list, tuple)) else [metric.tensor]
        slots[name] = range(len(tensors), len(tensors) + len(asked))
        tensors.extend(asked)
    for _, fetched in evaluation_pass(session, program, batches, tensors):
        for name, metric in metrics.items():
            metric.update([fetched[i] for i in slots[name]])
    results = {name: metric.eval() for name, metric in metrics.items()}
    assert all(np.shape(value) == () for value in results.values()), 'a metric must give a scalar'
    return results
