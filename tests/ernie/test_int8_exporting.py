"""Exports in int8: real quantization of small models, their reports, and how they open."""

import json
import logging
import os
from types import SimpleNamespace

import numpy as np
import pytest

import ernie
from ernie.inference.engines import open_engine
from ernie.inference.folder import ModelFolder
from ernie.inference.int8 import exporting
from ernie.inference.processor import other_processor, processor_flags
from ernie.programs import EXPORT
from propeller.errors import UsageError
from tests.ernie.int8_run import answers, classified, onnx_needed, openvino_needed, write_run
from tests.ernie.tiny_inference import infer, texts
from tests.ernie.tiny_model import write_table


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A run whose files are there: `root`, `checkpoint`, `train`, `dev`."""
    root = tmp_path_factory.mktemp('int8')
    checkpoint = write_run(root, train_set=str(root / 'train.tsv'), dev_set=str(root / 'dev.tsv'))
    folder = ModelFolder(str(checkpoint))
    train, dev = (
        classified(root / f'{n}.tsv', folder, count, seed) for n, count, seed in (('train', 120, 1), ('dev', 60, 2))
    )
    return SimpleNamespace(root=root, checkpoint=str(checkpoint), train=train, dev=dev)


@pytest.fixture(scope='module')
def made(run):
    """The folder of its export in int8 for OpenVINO."""
    place = str(run.root / 'exports')
    given = ['--precision', 'int8', '--max_drop', '20', '--save_inference_model_path', place]
    EXPORT.main([str(run.root / 'run'), *given])
    return os.path.join(place, 'best_inference_model_int8')


def report_of(folder):
    with open(os.path.join(folder, 'int8.json'), encoding='utf-8') as f:
        return json.load(f)


@openvino_needed
def test_the_report_of_an_export(run, made):
    report = report_of(made)
    assert report['engine'] == 'openvino' and report['method'].startswith('nncf.quantize')
    assert report['calibration']['file'] == run.train and report['calibration']['rows'] == 120
    assert 3 <= report['calibration']['tokens']['shortest'] < report['calibration']['tokens']['longest'] <= 15
    assert report['scored'] == {'file': run.dev, 'rows': 60, 'measure': 'accuracy'}
    assert report['score']['fp32'] == 100  # the labels are its answers
    assert report['drop'] == pytest.approx(report['score']['fp32'] - report['score']['int8'])
    assert 80 <= report['score']['int8'] <= 100 and report['max_drop'] == 20
    assert (report['score']['bf16'] is None) == (report['without_bf16'] is not None)
    assert all(report['rows_per_second'][name] > 0 for name in ('fp32', 'int8'))
    assert report['processor'] == {'name': report['processor']['name'], 'flags': processor_flags()}
    assert {'openvino', 'nncf', 'paddlepaddle'} <= set(report['versions'])
    # Four products with weights a layer, and queries with keys; two of pooler and classes. Not shares with values.
    assert report['products_in_int8'] == [2 * 5 + 2, 2 * 6 + 2]
    assert report['megabytes']['int8'] > 0
    lines = '\n'.join(exporting.report_lines(report))
    assert f'accuracy on 60 rows of {run.dev}: fp32 100.00' in lines and '120 rows of' in lines
    assert sorted(os.listdir(made)) == sorted(
        ['ernie_config.json', 'inference.json', 'int8.json', 'labels.json', 'model.bin', 'model.xml', 'vocab.txt']
        + ['tokenizer_config.json']
    )


@openvino_needed
def test_it_opens_like_any_other_and_answers_nearly_the_same(run, made, tmp_path):
    rows = [{'text_a': text + '美'} for text in texts(40, 9)]
    expected = answers(ModelFolder(run.checkpoint), rows)
    with ernie.load(made) as model:
        found = model(rows)
    same = np.mean([one['label'] == other['label'] for one, other in zip(expected, found, strict=True)])
    assert same >= 0.8
    apart = [
        abs(one['probabilities'][name] - other['probabilities'][name])
        for one, other in zip(expected, found, strict=True)
        for name in one['probabilities']
    ]
    assert 0 < np.mean(apart) < 0.1  # in 8 bits it is
    new = write_table(tmp_path / 'new.tsv', ['text_a'], [(r['text_a'],) for r in rows])
    ran = infer(init_checkpoint=made, engine='openvino', predict_set=new, format='jsonl')
    assert [json.loads(line)['label'] for line in ran.out.splitlines()] == [r['label'] for r in found]


@openvino_needed
def test_padding_has_no_part_in_an_answer(made):
    """Rows that calibrate have none, and a mask in 8 bits would let it through."""
    engine, folder = open_engine('openvino', made), ModelFolder(made)
    assert engine.padding_cost < 1  # its layers leave it out
    (ids,), outputs = folder.codec.encode({'text_a': '好'}).ids, []
    for longest in (len(ids), 15):
        row = np.zeros((1, longest), np.int64)
        row[0, : len(ids)] = ids
        mask = (np.arange(longest) < len(ids)).astype(np.float32)[None]
        (output,) = engine.run([row, np.zeros_like(row), np.arange(longest)[None], mask])
        outputs.append(output)
    np.testing.assert_allclose(*outputs, atol=0.05)


@openvino_needed
def test_a_precision_that_it_does_not_have_is_an_error(run, made):
    with pytest.raises(UsageError, match='--precision fp32: .* was exported in int8'):
        ernie.load(made, precision='fp32')
    with pytest.raises(UsageError, match='--precision fp32: .* was exported in int8'):
        infer(init_checkpoint=made, engine='openvino', precision='fp32', predict_set=run.dev)
    with pytest.raises(UsageError, match='--engine onnxruntime: the model in .* is in int8 for openvino'):
        ernie.load(made, engine='onnxruntime')
    with pytest.raises(UsageError, match='is not exported. Make it: ernie export MODEL --precision int8'):
        ernie.load(run.checkpoint, engine='openvino', precision='int8')
    with pytest.raises(UsageError, match='exported already'):
        EXPORT.main([made, '--precision', 'int8'])
    assert len(ernie.load(made, precision='int8')('好')['probabilities']) == 3


@openvino_needed
def test_another_processor_is_said_in_a_line(made, caplog, monkeypatch):
    monkeypatch.setattr('ernie.inference.saved_precision.processor_flags', lambda: ['sse'])
    logging.getLogger('ernie').propagate = True
    open_engine('openvino', made)
    assert len(caplog.records) >= 1
    monkeypatch.setattr(
        'ernie.inference.saved_precision.processor_flags', lambda: report_of(made)['processor']['flags']
    )
    open_engine('openvino', made)
    logging.getLogger('ernie').propagate = False
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert set(lines) == {f'{made}: {other_processor(report_of(made)["processor"], ["sse"])}'}


@onnx_needed
def test_onnxruntime_in_int8(run, tmp_path):
    target = str(tmp_path / 'm')
    report = exporting.export_int8(ModelFolder(run.checkpoint), target, 'onnxruntime', max_drop=20)
    assert report['calibration'] is None
    assert report['products_in_int8'] == [2 * 4 + 2, 2 * 6 + 2]  # all that have weights
    assert report['without_bf16'] == 'onnxruntime has none'
    assert 'no rows, its inputs as they come' in exporting.report_lines(report)[0]
    with pytest.raises(UsageError, match='--engine openvino: the model in .* is in int8 for onnxruntime'):
        ernie.load(target, engine='openvino')
    rows = [{'text_a': text + '美'} for text in texts(20, 5)]
    expected, found = answers(ModelFolder(run.checkpoint), rows), ernie.load(target)(rows)
    assert np.mean([a['label'] == b['label'] for a, b in zip(expected, found, strict=True)]) >= 0.8
