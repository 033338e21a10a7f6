"""The score that an evaluation gives a model."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from ernie.run.evaluation import Evaluator
from propeller.distribution import ProcessInfo, World


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
