"""`EvaluationHook`: which evaluation counts as the best, and when training stops."""

import math
from types import SimpleNamespace

import pytest

from propeller.train.hooks import EvaluationHook


def loop(step):
    batch = SimpleNamespace(epoch=0, position={'batch': 1})
    return SimpleNamespace(step=step, gstep=step, batch=batch, interrupted=False)


def evaluated(scores, **settings):
    """The hook after an evaluation at each step, and what was saved as the best."""
    saved, values = [], iter(scores)
    hook = EvaluationHook(lambda *_: next(values), 1, **{'keep_best': True, **settings})
    hook.save_best = lambda state, value: saved.append((state.gstep, value))
    for step in range(1, len(scores) + 1):
        hook.after_run([], loop(step))
    return hook, saved


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_the_best_never_comes_from_what_is_no_number(bad):
    hook, saved = evaluated([bad, 0.5, bad, 0.25, 0.75])
    assert saved == [(2, 0.5), (5, 0.75)] and (hook.best, hook.best_step) == (0.75, 5)


def test_it_counts_as_no_progress():
    hook, saved = evaluated([0.5, math.nan, math.nan], patience=2)
    assert hook.should_stop(None) and saved == [(1, 0.5)]


def test_a_best_of_nan_in_an_older_checkpoint_is_forgotten():
    hook, _ = evaluated([])
    hook.load_state_dict({'best': math.nan, 'best_step': 4, 'worse': 1})
    assert (hook.best, hook.best_step, hook.worse) == (None, None, 1)


def test_the_smallest_may_be_the_best():
    hook, saved = evaluated([0.5, 0.25, 0.75], larger=False)
    assert saved == [(1, 0.5), (2, 0.25)] and hook.worse == 1


def test_without_a_best_and_a_patience_there_is_no_state():
    """So that a checkpoint is as it was before there were these."""
    hook, saved = evaluated([0.5, math.nan], keep_best=False)
    assert saved == [] and hook.state_dict() == {} and not hook.should_stop(None)


def test_a_best_by_another_measure_is_forgotten():
    state = evaluated([0.5], measure='max acc')[0].state_dict()
    again, other = evaluated([], measure='max acc')[0], evaluated([], measure='min loss')[0]
    again.load_state_dict(state)
    other.load_state_dict(state)
    assert (again.best, other.best) == (0.5, None)


def test_without_a_measure_on_either_side_the_best_stays():
    """So it is in checkpoints of earlier versions, and where a training goes on without a dev set."""
    named, unnamed = evaluated([0.5], measure='max acc')[0], evaluated([0.5])[0]
    later, without = evaluated([], measure='min loss')[0], evaluated([])[0]
    later.load_state_dict(unnamed.state_dict())
    without.load_state_dict(named.state_dict())
    assert (later.best, without.best) == (0.5, 0.5)
    assert without.state_dict()['measure'] == 'max acc'


def test_of_equal_values_the_one_with_the_smaller_loss_is_the_best():
    """Also after a break. It is no progress for early stop, and without losses the first one stays."""
    losses = iter([0.9, 0.7, 0.8, 0.4])
    now = [None]

    def tie():
        return now[0]

    hook, _ = evaluated([], tie=tie, patience=3)
    saved, scores = [], iter([0.5, 0.5, 0.5])
    hook.save_best = lambda state, value: saved.append(state.gstep)
    hook.evaluate = lambda *_: next(scores)
    for step in (1, 2, 3):
        now[0] = next(losses)
        hook.after_run([], loop(step))
    assert saved == [1, 2] and hook.should_stop(None) is False and hook.worse == 2
    again, _ = evaluated([], tie=tie)
    again.load_state_dict(hook.state_dict())
    again.save_best, again.evaluate = hook.save_best, lambda *_: 0.5
    now[0] = next(losses)
    again.after_run([], loop(4))
    assert saved == [1, 2, 4] and again.best_step == 4
    assert evaluated([0.5, 0.5])[1] == [(1, 0.5)]
