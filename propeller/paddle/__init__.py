"""`import propeller.paddle as propeller`: everything a program with a model of its own needs."""

from propeller import __version__, summary
from propeller.config import ArgumentParser, parse_file, parse_hparam, parse_runconfig
from propeller.paddle import data, train
from propeller.paddle.train import Learner, train_and_eval
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
    'HParams',
    'InferenceSpec',
    'Learner',
    'ModelSpec',
    'ProgramPair',
    'RunConfig',
    'RunMode',
    'StopException',
    'SummaryRecord',
    'WarmStartSetting',
    '__version__',
    'data',
    'parse_file',
    'parse_hparam',
    'parse_runconfig',
    'summary',
    'train',
    'train_and_eval',
]
