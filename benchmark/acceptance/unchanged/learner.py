"""Trains a small model with `propeller` alone, evaluates, exports, predicts: `FOLDER STEPS`."""

import sys

import numpy as np

import propeller.paddle as propeller
from propeller.graph import F, constant, paddle, parameter, truncated_normal
from propeller.train.metrics import Acc
from propeller.update import minimize


class Mean(propeller.train.Model):
    def forward(self, features):
        vectors = F.embedding(features[0], parameter('table', [29, self.config.width], truncated_normal(0.1)))
        mean = vectors.mean(1)
        if self.mode == propeller.RunMode.TRAIN:
            mean = F.dropout(mean, 0.3)
        weight = parameter('output.w', [self.config.width, 2], truncated_normal(0.1))
        return F.softmax(paddle.matmul(mean, weight) + parameter('output.b', [2], constant(0)))

    def loss(self, predictions, label):
        return F.nll_loss(paddle.log(predictions), label)

    def backward(self, loss):
        minimize(loss, lambda step: self.config.rate, weight_decay=0.01, clip_norm=1.0)

    def metrics(self, predictions, label):
        return {'acc': Acc(label, paddle.argmax(predictions, -1))}


def rows(count, seed):
    def make():
        rng = np.random.default_rng(seed)
        for _ in range(count):
            ids = rng.integers(1, 29, rng.integers(2, 9))
            yield ids, np.int64(ids[0] > 14)

    return propeller.data.Dataset.from_generator_func(make)


def batches(dataset, shapes):
    dataset = dataset.padded_batch(8, max_seqlen=16)
    dataset.data_shapes, dataset.data_types = shapes, ['int64'] * len(shapes)
    return dataset


folder, steps = sys.argv[1], int(sys.argv[2])
train = batches(rows(60, 1).shuffle(60, seed=1).repeat(), [[-1, -1], [-1]])
dev = batches(rows(30, 2), [[-1, -1], [-1]])
texts = batches(rows(10, 3).map(lambda ids, label: (ids,)), [[-1, -1]])
hparams = propeller.HParams(width=12, rate=0.01)
config = propeller.RunConfig(model_dir=folder, max_steps=steps, eval_steps=10, save_steps=10, log_steps=5)


def better(old, new):
    return new['eval']['acc'] > old['eval']['acc']


exporters = [
    propeller.train.BestExporter(folder + '/best', better),
    propeller.train.BestInferenceModelExporter(folder + '/served', better, Mean, hparams, texts),
]
results = propeller.train_and_eval(
    model_class_or_model_fn=Mean,
    params=hparams,
    run_config=config,
    train_dataset=train,
    eval_dataset=dev,
    exporters=exporters,
    seed=1,
)
print({name: repr(float(value)) for name, value in results['eval'].items()})
learner = propeller.Learner(Mean, config, hparams, seed=1)
print(learner.evaluate(dev))
for (probabilities,) in learner.predict(texts):
    print(probabilities)
