"""The names under which programs of 2019 find propeller, none of which loads paddle."""

import logging
import subprocess
import sys

import pytest

NAMES = """
import sys
import propeller
assert propeller.HParams(a=1).a == 1 and propeller.RunMode.TRAIN.value == 1 and 'RunConfig' in dir(propeller)
import propeller.paddle as propeller
from propeller import ArgumentParser, InferenceSpec, ModelSpec, ProgramPair, StopException, SummaryRecord, log
from propeller.paddle.data import Dataset
from propeller.paddle.data.feature_column import FeatureColumns
from propeller.paddle.data.functional import Dataset as Same
from propeller.paddle.train.trainer import train_and_eval
assert Same is Dataset
from propeller.paddle.summary import histogram, scalar
from propeller.paddle.train import Learner, exporter
from propeller.paddle.train.distribution import run_on_master, status
from propeller.paddle.train.exporter import BestExporter, BestInferenceModelExporter
from propeller.paddle.train.hooks import RunHook
from propeller.paddle.train.metrics import Acc
from propeller.metrics import Acc as first, ChunkF1
from propeller.paddle.metrics import Acc as second
assert first is second is Acc
from propeller.train.model import Model
import propeller.paddle.train.hooks
assert propeller.paddle.train.hooks.EvalHook.__mro__[1] is RunHook
import propeller.paddle as propeller
assert propeller.metrics.Acc is Acc and propeller.train.metrics.Acc is Acc and propeller.Model is Model
assert propeller.train.exporter.BestExporter is BestExporter and propeller.exporter is exporter
assert propeller.train.train_and_eval is propeller.train_and_eval and propeller.summary.scalar is scalar
assert status.is_master and status.num_replica == 1 and run_on_master(max)(1, 2) == 2
missing = [name for name in propeller.__all__ if not hasattr(propeller, name)]
assert not missing, missing
assert 'paddle' not in sys.modules
log.info('said by %s', 'the logger')
log.debug('not said')
log.setLevel('debug')
log.debug('said')
"""


def test_names_of_2019_lead_somewhere_without_paddle():
    done = subprocess.run([sys.executable, '-c', NAMES], capture_output=True, text=True, check=False, env={'PATH': ''})
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == 'said by the logger' and lines[1].endswith('said') and len(lines) == 2


def test_an_unknown_name_is_an_attribute_error():
    import propeller

    with pytest.raises(AttributeError, match='LearningRate'):
        propeller.LearningRate  # noqa: B018
    assert propeller.log.getEffectiveLevel() <= logging.DEBUG
