"""What happens between the steps of fine-tuning: which evaluation counts as the best."""

import math
from types import SimpleNamespace

import pytest

from ernie.finetune.hooks import EvaluationHook


def loop(step):
    batch = SimpleNamespace(epoch=0, position={'batch': 1})
    return SimpleNamespace(gstep=step, batch=batch, interrupted=False)


def evaluated(scores, **settings):
    """The hook after an evaluation at each step, and what was saved as the best."""
    saved, values = [], iter(scores)
    hook = EvaluationHook(
        lambda *_: next(values), 1, lambda state, value: saved.append((state.gstep, value)), **settings
    )
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
