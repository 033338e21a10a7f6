"""`python -m tests.propeller.learner_worker FOLDER ROWS PARTS`: `train_and_eval` with batches of so many rows.

Writes `FOLDER/{rank}.json`: the scores, and the predictions of the last checkpoint.
"""

import json
import os
import sys

import numpy as np

import propeller.paddle as propeller
from propeller import graph
from propeller.data.dataset import Dataset
from propeller.graph import paddle
from propeller.train.learner import Learner, train_and_eval
from propeller.train.metrics import MSE, Auc, Metrics
from propeller.update import minimize

ROWS, WIDTH = 50, 5


class Line(propeller.train.Model):
    def forward(self, features):
        return paddle.matmul(features[0], graph.parameter('w', [WIDTH, 1], graph.truncated_normal(0.5)))

    def loss(self, predictions, label):
        return (predictions - label).square().mean()

    def backward(self, loss):
        minimize(loss, lambda step: 0.02, clip_norm=1.0)

    def metrics(self, predictions, label):
        right = paddle.cast(label > 0, 'int64')
        return {'mse': MSE(label, predictions), 'auc': Auc(right, predictions), 'last': LastRows(label)}


class LastRows(Metrics):
    """Sum of the labels of the last two batches: of a user, and of another value if batches come in another order."""

    def reset(self):
        self.batches = []

    def update(self, args):
        self.batches = [*self.batches[-1:], args[0]]

    def eval(self):
        return sum(batch.sum() for batch in self.batches)


def batches(size, labelled=True, times=1):
    """The data, the same everywhere, so many times after one another, in batches of `size` rows."""
    x = np.tile(np.random.default_rng(1).normal(size=(ROWS, WIDTH)).astype(np.float32), (times, 1))
    y = x.sum(1, keepdims=True)
    cuts = [slice(start, start + size) for start in range(0, len(x), size)]
    columns = (x, y) if labelled else (x,)
    shapes, types = [(-1, WIDTH), (-1, 1)][: len(columns)], ['float32'] * len(columns)
    return Dataset(lambda: iter([[c[cut] for c in columns] for cut in cuts]), shapes, types)


if __name__ == '__main__':
    folder, size, parts = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    config = propeller.RunConfig(
        model_dir=os.path.join(folder, 'model'),
        eval_steps=7,
        save_steps=7,
        log_steps=1,
        gradient_accumulation_steps=parts,
    )
    scores = train_and_eval(
        model_class_or_model_fn=Line,
        params={},
        run_config=config,
        train_dataset=batches(size, times=6),
        eval_dataset=batches(3),
        seed=4,
    )
    learner = Learner(Line, config, {}, seed=4)
    predicted = [row[0] for row in learner.predict(batches(3, labelled=False))]
    evaluated = learner.evaluate(batches(3))
    found = {'scores': scores['eval'], 'evaluated': evaluated, 'predicted': np.ravel(predicted).tolist()}
    found = {**found, 'first': learner.world.is_main_process}
    with open(os.path.join(folder, f'{learner.world.rank}.json'), 'w') as f:
        json.dump(found, f, default=float)
