"""The ready-made hooks without a Learner, given what programs of 2019 give them."""

import logging

import numpy as np
import pytest

from propeller.errors import UserError
from propeller.train.hooks import (
    CheckpointSaverHook,
    EvalHook,
    LoggingHook,
    StopAtStepHook,
    TqdmProgressBarHook,
)
from propeller.train.loop import LoopState, evaluation_loop, train_loop
from propeller.train.metrics import Acc, Mean
from propeller.types import SummaryRecord
from tests.propeller.test_loop import Probe, Session


class Writer:
    def __init__(self):
        self.rows = []

    def add_scalar(self, name, value, step):
        self.rows.append((name, round(float(value), 3), step))

    def add_histogram(self, name, value, step):
        self.rows.append((name, list(value), step))


class Fixed(Session):
    """Fetches by name from batches that are dicts."""

    def run(self, program, arrays, fetch_list):
        return [np.asarray(arrays[name]) for name in fetch_list]


def test_eval_hook_feeds_metrics_and_writes_them():
    writer, batches = Writer(), [{'x': [1, 2], 'y': [1, 0]}, {'x': [3], 'y': [3]}]
    hook = EvalHook({'mean': Mean('x'), 'acc': Acc('x', 'y')}, summary_writer=writer)
    assert hook.result is None
    for gstep in (7, 9):  # the second evaluation forgets the first
        (result,) = evaluation_loop(Fixed(), None, batches, [hook], gstep)
        assert result == {'mean': 2.0, 'acc': pytest.approx(2 / 3)} == hook.result
    assert writer.rows == [('mean', 2.0, 7), ('acc', 0.667, 7), ('mean', 2.0, 9), ('acc', 0.667, 9)]


def test_an_evaluation_ends_where_a_hook_says_so():
    mean = EvalHook({'mean': Mean('x')})
    assert evaluation_loop(Fixed(), None, [{'x': [i]} for i in range(9)], [mean, StopAtStepHook(None, 3)], 50)[0] == {
        'mean': 1.0
    }


def test_what_is_no_number_is_left_out_of_summaries(caplog):
    writer = Writer()
    hook = LoggingHook('loss', 1, 0, writer, SummaryRecord([('norm', 'n')], [('w', 'h')]))
    state = LoopState()
    with caplog.at_level(logging.WARNING, 'propeller'):
        logging.getLogger('propeller').addHandler(caplog.handler)
        try:
            for state.step, (norm, histogram) in enumerate([(np.nan, [1.0]), (2.0, [np.inf, 1.0])], start=1):
                state.gstep = state.step
                hook.after_run([np.array(0.5), np.array(norm), np.array(histogram)], state)
        finally:
            logging.getLogger('propeller').removeHandler(caplog.handler)
    assert [row[::2] for row in writer.rows if row[0] in ('norm', 'w')] == [('w', 1), ('norm', 2)]
    assert 'summary norm is not finite at step 1, left out' in caplog.text
    assert 'summary w is not finite at step 2, left out' in caplog.text


class Saver:
    def __init__(self):
        self.saved = []

    def save(self, state):
        self.saved.append(state.gstep)


def test_a_saver_may_be_an_object():
    saver = Saver()
    train_loop(Session(), None, range(215), [CheckpointSaverHook(saver, per_step=50), Probe()], LoopState())
    assert saver.saved == [150, 200, 215], 'nothing in the first 100 steps, as in 2019'


@pytest.mark.parametrize(
    ('make', 'text'),
    [
        (
            lambda: LoggingHook('loss', None, 0),
            'LoggingHook: per_step: found None, expected a whole number of at least 1',
        ),
        (lambda: LoggingHook('loss', 5, -1), 'LoggingHook: skip_step: found -1, expected a whole number of at least 0'),
        (lambda: CheckpointSaverHook(print, 0), 'CheckpointSaverHook: per_step: found 0, expected'),
        (lambda: StopAtStepHook('3'), "StopAtStepHook: stop_global_step: found '3', expected"),
        (lambda: EvalHook([Mean('x')]), 'EvalHook: found list as metrics, expected a dict'),
        (
            lambda: EvalHook({'x': 'mean'}),
            "EvalHook: found str as the metric 'x', expected an object of propeller.metr",
        ),
    ],
)
def test_hooks_that_cannot_be(make, text):
    with pytest.raises(UserError, match=text):
        make()


def test_the_progress_bar_says_what_it_is_of(capsys):
    train_loop(Session(), None, range(4), [TqdmProgressBarHook(6, desc='reviews')], LoopState(2))
    shown = capsys.readouterr().err
    assert 'reviews' in shown and '6/6' in shown
