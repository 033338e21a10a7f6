"""The one training loop, and the one evaluation pass."""

import contextlib
import inspect
import itertools
import math
import signal
import threading
import time

from propeller.errors import UserError
from propeller.log import get_logger
from propeller.train.hooks import EvalHook
from propeller.types import StopException

log = get_logger(__name__)


class LoopState:
    """Where a training run stands.

    Attributes:
        step: updates done by this run.
        gstep: updates done in all, earlier runs included.
        batch: the batch of the last update.
        interrupted: whether Ctrl-C or SIGTERM asked the loop to end, here or in another process of the job.
        overflows: updates in a row that were left out because their gradients were not finite.
        time: seconds since 1970, now.
    """

    def __init__(self, gstep=0):
        self.step, self.gstep, self.batch = 0, gstep, None
        self.interrupted = False
        self.overflows = 0

    @property
    def time(self):
        return time.time()


class _Fetches:
    """The union of what the hooks ask for, in a list object that stays the same while the requests do."""

    def __init__(self):
        self.requests, self.values, self.slots = None, [], []

    def gather(self, asked):
        requests = [[id(v) for v in values] for values in asked]
        if requests != self.requests:
            index, self.values = {}, []
            for values in asked:
                for v in values:
                    if id(v) not in index:
                        index[id(v)] = len(self.values)
                        self.values.append(v)
            self.requests, self.slots = requests, [[index[i] for i in ids] for ids in requests]
        return self.values


def one_part(batch):
    """The parts of an update that is made of one batch, a list of arrays."""
    return [(batch, True)]


def train_loop(session, program, batches, hooks, state, parts_of=one_part):
    """Run `program` over `batches` until they end or a hook stops it.

    Args:
        session: `propeller.session.Session`.
        program: a program of it that trains.
        batches: iterable of batches, one per update.
        hooks: list of `RunHook`.
        state: `LoopState`, moved on in place.
        parts_of: batch -> list of (arrays, counted), see `propeller.update.run_update`.
    Returns:
        list of what the hooks' `after_train` returned.
    Raises:
        UserError: the loss is not finite, or the gradients stay without a finite value. What hooks do after an update
            or after the last one, such as saving, is not done then.
    """
    _begin(hooks, program)
    log.debug('********** Start Loop ************')
    fetches, source, world = _Fetches(), iter(batches), session.world
    stopping = False
    try:
        with _finish_step_on_signal(state):
            # A signal that came to one process ends all of them, after the next update.
            while not stopping and not any(hook.should_stop(state) for hook in hooks):
                stopping = state.interrupted and world.size == 1
                batch = None if stopping else next(source, None)
                if batch is None:
                    break
                values = fetches.gather([hook.before_run(state) or [] for hook in hooks])
                outcome = session.update(program, parts_of(batch), values, state.interrupted)
                state.step, state.gstep, state.batch = state.step + 1, state.gstep + 1, batch
                stopping = outcome.stop and world.size > 1
                _watch(outcome, state)
                _call_after(hooks, fetches.slots, outcome.fetched, state)
    except StopException:
        pass
    except KeyboardInterrupt:
        if world.size > 1:
            raise
        state.interrupted = True
    state.interrupted = world.any_process(state.interrupted)
    log.debug('********** %s Loop ************', 'Interupt' if state.interrupted else 'Stop')  # spelt as in 2019
    return [hook.after_train() for hook in hooks]


def _begin(hooks, program):
    """Call `before_train`, which in some hooks of 2019 has no argument."""
    for hook in hooks:
        if len(inspect.signature(hook.before_train).parameters):
            hook.before_train(program)
        else:
            hook.before_train()


def _call_after(hooks, slots, fetched, state):
    for hook, places in zip(hooks, slots, strict=True):
        for number, values in enumerate(fetched):
            hook.after_part([values[i] for i in places], number, state)
        hook.after_run([fetched[-1][i] for i in places], state)


MOST_OVERFLOWS = 50


def _watch(outcome, state):
    """Say when an update is left out, and end a training that has lost its way."""
    if not math.isfinite(outcome.loss) and not outcome.scaled:
        raise UserError(
            f'step {state.gstep}: the loss is {outcome.loss}. Nothing of this step is saved, earlier checkpoints '
            f'are as they were. Try a lower learning rate or a longer warm-up, and check the data.'
        )
    if outcome.finite:
        state.overflows = 0
        return
    state.overflows += 1
    log.warning(
        'step %d: the gradients are not finite; this update is left out (%d in a row)', state.gstep, state.overflows
    )
    if state.overflows >= MOST_OVERFLOWS:
        raise UserError(
            f'step {state.gstep}: {state.overflows} updates in a row without finite gradients. '
            f'Try a lower --learning_rate, a longer warm-up, or --precision fp32.'
        )


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
        # Else Paddle's store, interrupted while it waits for an answer, takes it for a broken connection.
        signal.siginterrupt(number, False)
    try:
        yield
    finally:
        restore()


ROUNDS = 16  # batches that each process computes before all of them exchange results


def evaluation_pass(session, program, batches, fetch_list, arrays_of=lambda batch: batch):
    """Run a program without optimizer over `batches`, shared out among the processes of the job.

    Args:
        session, program, fetch_list: see `Session.run`.
        batches: iterable, the same in every process.
        arrays_of: batch -> list of arrays; called in the process that computes the batch only.
    Yields:
        (batch, fetched arrays), in every process for every batch, in order.
    """
    world = session.world
    if world.size == 1:
        for batch in batches:
            yield batch, session.run(program, arrays_of(batch), fetch_list)
        return
    for together in _groups(batches, world.size * ROUNDS):
        own = [session.run(program, arrays_of(batch), fetch_list) for batch in together[world.rank :: world.size]]
        everyone = world.all_gather([array for fetched in own for array in fetched])
        width = len(fetch_list)
        for i, batch in enumerate(together):
            first = i // world.size * width
            yield batch, everyone[i % world.size][first : first + width]


def _groups(items, size):
    items = iter(items)
    while group := list(itertools.islice(items, size)):
        yield group


def evaluation_loop(session, program, batches, hooks, gstep=0):
    """Run a program without optimizer over `batches`, shared out among the processes, with hooks as in training.

    Args:
        session, program, batches: see `evaluation_pass`.
        hooks: list of `RunHook`; each sees every batch, in every process. `before_run` is asked once.
        gstep: the global step that the parameters are those of.
    Returns:
        list of what the hooks' `after_train` returned.
    """
    _begin(hooks, program)
    state, fetches = LoopState(gstep), _Fetches()
    values = fetches.gather([hook.before_run(state) or [] for hook in hooks])
    for batch, fetched in evaluation_pass(session, program, batches, values):
        state.step, state.batch = state.step + 1, batch
        _call_after(hooks, fetches.slots, [fetched], state)
        if any(hook.should_stop(state) for hook in hooks):
            break
    return [hook.after_train() for hook in hooks]


def run_metrics(session, program, batches, metrics):
    """Evaluate metric objects over `batches`.

    Every process of the job gives all of them all arrays, in the order of the batches: the results are the same
    everywhere, to the last bit those of one process, whatever the metrics are.

    Args:
        session, program, batches: see `evaluation_pass`.
        metrics: dict name -> `propeller.train.metrics.Metrics`.
    Returns:
        dict name -> numpy scalar.
    Raises:
        UserError: a metric refuses the arrays, or gives no scalar; names it.
    """
    return evaluation_loop(session, program, batches, [EvalHook(metrics)])[0]
