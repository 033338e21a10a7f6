"""The loop and its hooks, with a stand-in for the executor."""

import os
import signal

import numpy as np
import pytest

from propeller.distribution import ProcessInfo, World
from propeller.train.hooks import CheckpointSaverHook, EvaluationHook, LoggingHook, RunHook, StopAtStepHook
from propeller.train.loop import LoopState, run_metrics, train_loop
from propeller.train.metrics import Mean
from propeller.types import StopException, SummaryRecord
from propeller.update import Outcome


class Session:
    """Fetches give (value, step)."""

    world = World(ProcessInfo())

    def __init__(self):
        self.fetch_lists, self.steps = [], 0

    def update(self, program, parts, fetch_list, stop=False):
        self.steps += 1
        fetched = [self.run(program, arrays, fetch_list) for arrays, _ in parts]
        return Outcome(fetched, True, stop)

    def run(self, program, arrays, fetch_list):
        self.fetch_lists.append(fetch_list)
        return [np.array(f'{value}{arrays}') for value in fetch_list]


class Probe(RunHook):
    def __init__(self, *wanted):
        self.wanted, self.seen = list(wanted), []

    def before_run(self, state):
        return self.wanted

    def after_run(self, fetched, state):
        self.seen.append(([str(f) for f in fetched], state.step, state.gstep))

    def after_train(self):
        return len(self.seen)


def test_each_hook_gets_what_it_asked_for_and_values_are_fetched_once():
    a, b, c = 'a', 'b', 'c'
    session, hooks = Session(), [Probe(a, b), Probe(b, c), Probe()]
    assert train_loop(session, None, [1, 2], hooks, LoopState(10)) == [2, 2, 2]
    assert session.fetch_lists[0] == ['a', 'b', 'c']
    assert session.fetch_lists[0] is session.fetch_lists[1]
    assert hooks[1].seen == [(['b1', 'c1'], 1, 11), (['b2', 'c2'], 2, 12)]
    assert hooks[2].seen[1][0] == []


@pytest.mark.parametrize('limit', [{'stop_global_step': 13}, {'stop_step': 3}])
def test_stop_at_step(limit):
    session = Session()
    train_loop(session, None, range(100), [StopAtStepHook(**limit)], LoopState(10))
    assert session.steps == 3


@pytest.mark.parametrize('error', [StopException, KeyboardInterrupt])
def test_stop_requests_end_the_loop_well(error):
    class Raises(RunHook):
        def after_run(self, fetched, state):
            if state.step == 2:
                raise error

        def after_train(self):
            return 'ended'

    session = Session()
    assert train_loop(session, None, range(9), [Raises()], LoopState()) == ['ended']
    assert session.steps == 2


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_step_end(number):
    """The update that is under way counts: otherwise a checkpoint would hold it without knowing."""

    class Interrupted(Session):
        def update(self, *args):
            if self.steps == 2:
                os.kill(os.getpid(), number)
            return super().update(*args)

    saved, session, state = [], Interrupted(), LoopState()
    before = signal.getsignal(number)
    train_loop(
        session,
        None,
        range(9),
        [CheckpointSaverHook(lambda s: saved.append(s.gstep), per_step=100, skip_step=0)],
        state,
    )
    assert session.steps == state.gstep == 3
    assert saved == [3]
    assert state.interrupted
    assert signal.getsignal(number) is before


def test_other_errors_come_through():
    def bad():
        yield 1
        raise OSError('disk')

    with pytest.raises(OSError, match='disk'):
        train_loop(Session(), None, bad(), [Probe()], LoopState())


def test_saver_saves_on_schedule_and_at_the_end_once():
    for batches, expected in ((7, [3, 6, 7]), (6, [3, 6]), (0, [])):
        saved = []
        hook = CheckpointSaverHook(lambda state, saved=saved: saved.append(state.gstep), per_step=3, skip_step=0)
        train_loop(Session(), None, range(batches), [hook], LoopState())
        assert saved == expected


def test_periodic_evaluation_waits_for_skip_steps():
    called = []
    hook = EvaluationHook(lambda state, last: called.append(state.gstep), 2, skip_step=3)
    train_loop(Session(), None, range(9), [hook], LoopState(1))
    assert called == [6, 8, 10]


def test_logging_hook_lines_and_summaries(capsys):
    class Writer:
        rows = []

        def add_scalar(self, name, value, step):
            self.rows.append((name, round(value, 3), step))

        def add_histogram(self, name, value, step):
            self.rows.append((name, value.tolist(), step))

    hook = LoggingHook('loss', 2, 0, Writer(), SummaryRecord([('norm', 'n')], [('w', 'h')]))
    assert hook.before_run(None) == ['loss', 'n', 'h']
    state = LoopState()
    for step in range(1, 5):
        state.step = state.gstep = step
        hook.after_run([np.array(0.5), np.array([1.0, 2.0]), np.arange(3)], state)
    lines = [line.split('\t', 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert lines[0] == 'step: 2\tsteps/sec: -1.00000\tloss: 0.50000\tnorm:1.50000'
    assert len(lines) == 2
    assert ('norm', 1.5, 2) in Writer.rows
    assert ('global_step', -1.0, 2) in Writer.rows
    assert ('w', [0, 1, 2], 4) in Writer.rows


def test_run_metrics_gives_each_metric_its_values():
    class Fixed(Session):
        def run(self, program, arrays, fetch_list):
            return [np.asarray(arrays[name]) for name in fetch_list]

    results = run_metrics(
        Fixed(),
        None,
        [{'x': [1.0, 2.0], 'y': [4.0]}, {'x': [6.0], 'y': [0.0]}],
        {
            'x': Mean('x'),
            'y': Mean('y'),
        },
    )
    assert results == {'x': 3.0, 'y': 2.0}
