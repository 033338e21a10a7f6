"""`import propeller.paddle as propeller`: everything a program with a model of its own needs."""

import sys

from propeller import __version__, log, summary
from propeller.config import ArgumentParser, parse_file, parse_hparam, parse_runconfig
from propeller.paddle import data, train
from propeller.paddle.train import (
    CheckpointSaverHook,
    EvalHook,
    Learner,
    LoggingHook,
    Model,
    RunHook,
    StopAtStepHook,
    TqdmNotebookProgressBarHook,
    TqdmProgressBarHook,
    distribution,
    exporter,
    hooks,
    metrics,
    minimize,
    train_and_eval,
)
from propeller.types import (
    HParams,
    InferenceSpec,
    ModelSpec,
    ProgramPair,
    RunConfig,
    RunMode,
    StopException,
    SummaryRecord,
    WarmStartSetting,
)

__all__ = [
    'ArgumentParser',
    'CheckpointSaverHook',
    'EvalHook',
    'HParams',
    'InferenceSpec',
    'Learner',
    'LoggingHook',
    'Model',
    'ModelSpec',
    'ProgramPair',
    'RunConfig',
    'RunHook',
    'RunMode',
    'StopAtStepHook',
    'StopException',
    'SummaryRecord',
    'TqdmNotebookProgressBarHook',
    'TqdmProgressBarHook',
    'WarmStartSetting',
    '__version__',
    'data',
    'distribution',
    'exporter',
    'hooks',
    'log',
    'metrics',
    'minimize',
    'parse_file',
    'parse_hparam',
    'parse_runconfig',
    'summary',
    'train',
    'train_and_eval',
]

# `from propeller.paddle.summary import scalar` and `from propeller.paddle.metrics import Acc`.
sys.modules |= {f'{__name__}.summary': summary, f'{__name__}.metrics': metrics}
