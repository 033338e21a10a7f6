"""Metric objects of a model: they say which graph values to fetch, collect the fetched batches, and give one number.

Arguments of the constructors are graph values and are only handed back through `tensor`. `update` takes their numpy
arrays for one batch, in that order. `eval` gives a numpy scalar of shape (). Where a formula is not defined, as for no
rows at all, it is 0.0, and the log says so; of scores that are NaN it is NaN.

How batches are cut changes nothing, nor who computes them: in a job of several processes each computes its share of the
batches, and the metric objects of all of them are given all arrays, in order (`propeller.train.loop.evaluation_pass`).
"""

from propeller.train.metrics.averages import MSE, Acc, Cosine, Mean, Ppl
from propeller.train.metrics.base import Metrics
from propeller.train.metrics.chunks import ChunkF1
from propeller.train.metrics.classes import F1, Precision, PrecisionAtThreshold, Recall
from propeller.train.metrics.curves import Auc, RecallAtPrecision
from propeller.train.metrics.ranking import BinaryPNRatio, Mrr, PNRatio, PrecisionAtK

__all__ = [
    'F1',
    'MSE',
    'Acc',
    'Auc',
    'BinaryPNRatio',
    'ChunkF1',
    'Cosine',
    'Mean',
    'Metrics',
    'Mrr',
    'PNRatio',
    'Ppl',
    'Precision',
    'PrecisionAtK',
    'PrecisionAtThreshold',
    'Recall',
    'RecallAtPrecision',
]
