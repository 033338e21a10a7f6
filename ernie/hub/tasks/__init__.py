"""Tasks of PaddleHub: a head, a training, predictions."""

from ernie.hub.tasks.classify import ClassifierTask, TextClassifierTask
from ernie.hub.tasks.regression import RegressionTask
from ernie.hub.tasks.sequence import SequenceLabelTask
from ernie.hub.tasks.states import RunState

__all__ = ['ClassifierTask', 'RegressionTask', 'RunState', 'SequenceLabelTask', 'TextClassifierTask']
