"""What happens between the steps of fine-tuning: which evaluation counts as the best."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from ernie.run.evaluation import Evaluator
from propeller.distribution import ProcessInfo, World
from propeller.train.hooks import EvaluationHook


def loop(step):
    batch = SimpleNamespace(epoch=0, position={'batch': 1})
    return SimpleNamespace(step=step, gstep=step, batch=batch, interrupted=False)


def evaluated(scores, **settings):
    """The hook after an evaluation at each step, and what was saved as the best."""
    saved, values = [], iter(scores)
    hook = EvaluationHook(lambda *_: next(values), 1, keep_best=True, **settings)
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


class Unsure:
    """A task whose model computes these numbers, by batch: (probabilities, loss)."""

    last_step_name = None

    def __init__(self, batches):
        self.batches = batches

    def evaluate(self, predictor, rows, path):
        spec = SimpleNamespace(predictions=['p'], loss='loss')
        predictor.program = lambda labelled: SimpleNamespace(outputs=spec)
        found = list(predictor.batches(rows, labelled=True))
        assert len(found) == len(self.batches)
        return {'acc': 0.5, 'loss': found[0][2]}, 'a line', None

    def arrays(self, rows, indices, labelled):
        return [int(indices[0])]

    def main_value(self, values):
        return values['acc']


@pytest.mark.parametrize(
    ('batches', 'score'),
    [
        ([([0.5, 0.5], 0.7), ([0.1, 0.9], 0.2)], 0.5),
        ([([0.5, 0.5], 0.7), ([math.nan, 0.9], 0.2)], None),
        ([([0.5, 0.5], math.inf), ([0.1, 0.9], 0.2)], None),
    ],
)
def test_a_model_that_computes_no_numbers_has_no_score(batches, score):
    """Its accuracy may be that of a model of one class."""
    arrays = [(np.float32([p]), np.float32(loss)) for p, loss in batches]
    session = SimpleNamespace(world=World(ProcessInfo()), run=lambda program, inputs, fetch: arrays[inputs[0]])
    args = SimpleNamespace(predict_batch_size=1, batch_size=1, in_tokens=False)
    evaluator = Evaluator(args, session, Unsure(batches), lambda *_, **settings: None, None)
    rows = type('Rows', (), {'lengths': np.array([3, 3]), '__len__': lambda self: 2})()
    evaluator.dev_sets, evaluator.names = [('dev.tsv', rows)], {'dev.tsv': 'dev'}
    found = evaluator.run(0, 7)
    assert found == score if score else math.isnan(found)
    saved = json.loads(evaluator.files()['metrics.json'], parse_constant=pytest.fail)
    assert saved['main_value'] == score
