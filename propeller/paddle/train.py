"""`propeller.train` of 2019: models, learners, hooks, exporters, metrics."""

from propeller.train import exporter, hooks, metrics
from propeller.train.exporter import BestExporter, BestInferenceModelExporter
from propeller.train.hooks import (
    CheckpointSaverHook,
    LoggingHook,
    RunHook,
    StopAtStepHook,
    TqdmNotebookProgressBarHook,
    TqdmProgressBarHook,
)
from propeller.train.learner import Learner, train_and_eval
from propeller.train.model import Model

__all__ = [
    'BestExporter',
    'BestInferenceModelExporter',
    'CheckpointSaverHook',
    'Learner',
    'LoggingHook',
    'Model',
    'RunHook',
    'StopAtStepHook',
    'TqdmNotebookProgressBarHook',
    'TqdmProgressBarHook',
    'exporter',
    'hooks',
    'metrics',
    'train_and_eval',
]
