"""What an export in int8 refuses, and when it takes accuracy control: without a quantization."""

import math
import os

import pytest

from ernie.inference.folder import ModelFolder
from ernie.inference.int8 import data as int8_data
from ernie.inference.int8 import exporting, quantize
from ernie.inference.int8.scores import TaskScores
from ernie.settings.predict import ExportSettings
from propeller.errors import UsageError, UserError
from tests.ernie.int8_run import openvino_needed
from tests.ernie.tiny_inference import write_checkpoint


class Falling:
    """`Scores` whose values are given beforehand."""

    measure, name, rows = 'accuracy', 'dev.tsv', range(60)

    def __init__(self, *values):
        self.values = list(values)

    def of(self, engine):
        return self.values.pop(0)


@pytest.fixture
def without_nncf(monkeypatch):
    """`OpenVinoQuantizer` that quantizes nothing; what it was asked for stands in the list."""
    asked = []

    class Quantizer:
        def __init__(self, *_):
            pass

        def quantize(self):
            asked.append('plain')
            return 'plain'

        def quantize_with_control(self, scores, max_drop):
            asked.append(f'control {max_drop}')
            return 'controlled'

        def opened(self, model):
            return model

    monkeypatch.setattr(quantize, 'OpenVinoQuantizer', Quantizer)
    monkeypatch.setattr(exporting, 'open_engine', lambda *_: 'fp32')
    monkeypatch.setattr(exporting, 'knows_bf16', lambda: False)
    return asked


class Accuracy:
    measure = 'accuracy'


@pytest.mark.parametrize(('rows', 'max_drop', 'warned'), [(150, 0.5, True), (200, 0.5, False), (150, 0.7, False)])
def test_too_few_rows_to_show_a_loss_are_said(logged, rows, max_drop, warned):
    exporting._doubt_few_rows(TaskScores(Accuracy(), {}, 'dev.tsv', range(rows)), max_drop)
    assert [line[:60] for line in logged] == warned * ['dev.tsv: one of 150 rows is 0.7 points, more than --max_drop']


@openvino_needed
def test_a_score_that_falls_is_refused_after_accuracy_control(tmp_path, monkeypatch, without_nncf):
    scores = Falling(90.0, 80.0, 89.0)
    monkeypatch.setattr(exporting, 'read_data', lambda *_, **__: int8_data.Data(scores, [[]], [3], 'train.tsv'))
    monkeypatch.setattr(exporting.exports, 'checked_model', lambda *_: {})
    monkeypatch.setattr(exporting, 'saved_openvino', lambda *_: ({}, 'engine', (5, 5)))
    checkpoint = str(write_checkpoint(tmp_path / 'c', 'classify'))
    target = str(tmp_path / 'exports' / 'm')
    expected = (
        r'found accuracy 89.00 in int8 and 90.00 in fp32 \(1.00 points less\) on dev.tsv, expected at most 0.5 points'
    )
    with pytest.raises(UserError, match=expected) as error:
        exporting.export_int8(ModelFolder(checkpoint), target, max_drop=0.5)
    assert error.value.exit_code == 1 and '\n' not in str(error.value)
    assert without_nncf == ['plain', 'control 0.5']
    assert os.listdir(tmp_path / 'exports') == []


@pytest.mark.parametrize(
    ('values', 'method', 'score'),
    [((89.6,), 'nncf.quantize', 89.6), ((80.0, 89.9), 'nncf.quantize_with_accuracy_control', 89.9)]
    + [((math.nan, 89.9), 'nncf.quantize_with_accuracy_control', 89.9), ((80.0, 70.0), 'nncf.quantize', 80.0)],
)
def test_accuracy_control_comes_where_the_plain_way_loses_too_much(monkeypatch, without_nncf, values, method, score):
    monkeypatch.setattr(exporting, 'saved_openvino', lambda *_: ({}, 'engine', (5, 5)))
    data = int8_data.Data(Falling(*values), [[]], [3], 'train.tsv')
    made = exporting.with_openvino(data, 90.0, 0.5, 'plain', 1)
    assert (made.method, made.score) == (method, score)


def test_a_model_of_which_nothing_is_in_8_bits_is_refused():
    quantize.check_quantized((1, 9), 'm')
    with pytest.raises(UserError, match='m: none of its 9 products can be in int8. Export it in fp32'):
        quantize.check_quantized((0, 9), 'm')


@pytest.mark.parametrize(
    ('flags', 'text'),
    [
        ({'precision': 'int8', 'max_drop': -1.0}, '--max_drop -1.0: expected a share|--max_drop -1.0: expected from 0'),
        ({'precision': 'int8', 'max_drop': math.nan}, '--max_drop nan: expected'),
        ({'precision': 'int8', 'engine': 'predictor'}, '--engine predictor cannot; onnxruntime and openvino can'),
        ({'precision': 'int8', 'engine': 'fused'}, '--engine fused computes any model in int8'),
        ({'precision': 'int8', 'export_format': 'paddle'}, '--export_format paddle: int8 has the form'),
        (
            {'precision': 'int8', 'engine': 'onnxruntime', 'calibration_set': 'x'},
            '--calibration_set: --engine onnxruntime',
        ),
        ({'precision': 'int4'}, '--precision int4: expected one of fp32, int8'),
        ({'max_drop': 1.0}, '--max_drop is for models in int8'),
        ({'calibration_set': 'x'}, '--calibration_set is for models in int8'),
        ({'dev_set': 'x'}, '--dev_set is for models in int8'),
        ({'export_format': 'paddle', 'engine': 'openvino'}, '--export_format paddle: --engine openvino reads onnx'),
    ],
)
def test_flags_that_do_not_go_together(flags, text):
    with pytest.raises(UsageError, match=text):
        ExportSettings(init_checkpoint='m', **flags).checked()


def test_the_engine_of_an_export():
    engine = lambda **given: ExportSettings(init_checkpoint='m', **given).checked().engine  # noqa: E731
    assert engine() == 'predictor' and engine(export_format='onnx') == 'onnxruntime'
    assert engine(precision='int8') == 'openvino'
    assert engine(precision='int8', export_format='onnx') == 'onnxruntime'
    assert engine(engine='openvino') == 'openvino'
