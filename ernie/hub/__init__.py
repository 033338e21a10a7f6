"""PaddleHub's way of 2019: `import ernie.hub as hub`. docs/hub.md.

What is here loads no paddle until something is trained or predicted.
"""

from ernie.hub import dataset, initializer, layers, nets, reader
from ernie.hub.expressions import Program, Value, program_guard, switch_main_program
from ernie.hub.module import Module
from ernie.hub.parameters import ParamAttr
from ernie.hub.run_config import RunConfig
from ernie.hub.strategy import AdamWeightDecayStrategy, DefaultStrategy
from ernie.hub.tasks import ClassifierTask, RegressionTask, RunState, SequenceLabelTask, TextClassifierTask

__all__ = [
    'AdamWeightDecayStrategy',
    'ClassifierTask',
    'DefaultStrategy',
    'Module',
    'ParamAttr',
    'Program',
    'RegressionTask',
    'RunConfig',
    'RunState',
    'SequenceLabelTask',
    'TextClassifierTask',
    'Value',
    'dataset',
    'initializer',
    'layers',
    'nets',
    'program_guard',
    'reader',
    'switch_main_program',
]
