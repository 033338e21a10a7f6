"""A training whose files are there, and what the tests of exports in int8 need of packages."""

import importlib.util

import pytest

from ernie.inference.engines import ExecutorEngine
from ernie.inference.predict import Prediction
from ernie.settings import run_yaml
from ernie.settings.finetune import FinetuneSettings
from tests.ernie.tiny_inference import texts, write_checkpoint
from tests.ernie.tiny_model import CONFIG, write_table

INSTALLED = {
    name
    for name in ('onnx', 'onnxruntime', 'openvino', 'nncf', 'paddle2onnx', 'ml_dtypes')
    if importlib.util.find_spec(name)
}
openvino_needed = pytest.mark.skipif(not {'openvino', 'nncf', 'paddle2onnx'} <= INSTALLED, reason='no nncf')
onnx_needed = pytest.mark.skipif(
    not {'onnxruntime', 'onnx', 'ml_dtypes', 'paddle2onnx'} <= INSTALLED, reason='no ml_dtypes'
)
# Wide enough that products are worth 8 bits.
WIDE = CONFIG | {'hidden_size': 48, 'num_attention_heads': 4}


def answers(folder, rows):
    """The results of a checkpoint for records, by its own graph."""
    graph = folder.graph()
    engine = ExecutorEngine(graph.session, graph.program, graph.outputs)
    return Prediction(folder.codec, engine, graph.shapes(), 4).predict(rows)


def classified(path, folder, count, seed):
    """A labelled file of texts whose labels are what the checkpoint answers."""
    rows = [{'text_a': text + '好'} for text in texts(count, seed)]
    found = [result['label'] for result in answers(folder, rows)]
    return write_table(path, ['text_a', 'label'], [(r['text_a'], y) for r, y in zip(rows, found, strict=True)])


def write_run(root, **settings):
    """A run of a training: run.yaml beside the checkpoint `best`. Returns the checkpoint."""
    checkpoint = write_checkpoint(root / 'run' / 'best', 'classify', WIDE)
    run_yaml.write_settings(str(root / 'run'), FinetuneSettings(**settings), 'finetune classification')
    return checkpoint
