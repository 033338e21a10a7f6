"""`propeller.train` of 2019: models, learners, hooks, exporters, metrics, the processes of a job."""

import sys

from propeller.train import distribution, exporter, hooks, learner, metrics
from propeller.train.exporter import BestExporter, BestInferenceExporter, BestInferenceModelExporter, Exporter
from propeller.train.hooks import (
    CheckpointSaverHook,
    EvalHook,
    LoggingHook,
    RunHook,
    StopAtStepHook,
    TqdmNotebookProgressBarHook,
    TqdmProgressBarHook,
)
from propeller.train.learner import Learner, train_and_eval
from propeller.train.model import Model
from propeller.update import minimize

__all__ = [
    'BestExporter',
    'BestInferenceExporter',
    'BestInferenceModelExporter',
    'CheckpointSaverHook',
    'EvalHook',
    'Exporter',
    'Learner',
    'LoggingHook',
    'Model',
    'RunHook',
    'StopAtStepHook',
    'TqdmNotebookProgressBarHook',
    'TqdmProgressBarHook',
    'distribution',
    'exporter',
    'hooks',
    'metrics',
    'minimize',
    'train_and_eval',
]

# `from propeller.paddle.train.hooks import RunHook` and its like, as the folder of 2019 allowed them.
for _module, _name in ((distribution, 'distribution'), (exporter, 'exporter'), (hooks, 'hooks'), (metrics, 'metrics')):
    sys.modules[f'{__name__}.{_name}'] = _module
sys.modules[f'{__name__}.trainer'] = learner
