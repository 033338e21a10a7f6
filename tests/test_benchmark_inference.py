"""benchmark.inference: the model is measured on the batches it says, and the table is what was measured."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from benchmark import inference, int8
from ernie.inference.engines import open_engine
from ernie.inference.export import export
from ernie.inference.folder import ModelFolder
from ernie.inference.predict import Prediction
from propeller.errors import UsageError, UserError
from tests.ernie.tiny_inference import texts, write_checkpoint
from tests.ernie.tiny_model import table


def test_a_run_measures_every_row(tmp_path, monkeypatch):
    monkeypatch.setattr(inference.sst2, 'BATCH_SIZE', 4)
    data = tmp_path / 'sst2_en'
    data.mkdir()
    rows = texts(11)
    exported = str(tmp_path / 'paddle')
    export(ModelFolder(write_checkpoint(tmp_path / 'c')), exported)
    folder = ModelFolder(exported)
    prediction = Prediction(folder.codec, open_engine('executor', exported), [(-1, 3)], 2)
    classes = [folder.codec.labels.index(r['label']) for r in prediction.predict([{'text_a': t} for t in rows])]
    labels = [c % 2 for c in classes]
    table(data / 'dev.tsv', [(t, y) for t, y in zip(rows, labels, strict=True)], ['text_a', 'label'])
    result = inference.measure(str(tmp_path), str(tmp_path), 'predictor', 'fp32', 1, 2)
    assert result['acc'] == np.mean([c == y for c, y in zip(classes, labels, strict=True)])
    assert 0 <= result['max_logit_diff'] < 1e-5
    assert result['rows_s_median'] > 0


def test_the_last_line_of_a_run_is_read():
    line = json.dumps({'rows_s_median': 8.5, 'acc': 0.75, 'max_logit_diff': None})
    assert inference.run([sys.executable, '-c', f'print("chatter"); print({line!r})']) == (8.5, 0.75, None)
    with pytest.raises(UserError, match='found exit code 3, expected 0 and a JSON line with rows_s_median, .*broken'):
        inference.run([sys.executable, '-c', 'import sys; print("broken", file=sys.stderr); sys.exit(3)'])


@pytest.mark.parametrize(('fp32', 'bf16', 'code'), [(100, 150, 0), (101, 150, 1), (100, 155, 1)])
def test_the_table_and_the_exit_code(capsys, fp32, bf16, code):
    results = {('executor', 'fp32'): [(50.0, 0.86, 0.0)] * 3}
    results['openvino', 'bf16'] = [(rate, 0.87, 0.02) for rate in (900.0, 200.0, 100.0)]
    results['rival', 'fp32'] = [(float(fp32), 0.86, None)] * 3
    results['rival', 'bf16_model'] = [(float(bf16), 0.86, 0.03)] * 3
    assert inference.report(SimpleNamespace(threads=2, rounds=3), results) == code
    lines = capsys.readouterr().out.splitlines()
    ratios = [f'{200 / fp32:.2f}', f'{200 / bf16:.2f}']
    assert lines[3].split() == ['openvino', 'bf16', '200.0', *ratios, '0.8700', '2.0e-02']
    assert lines[-1].startswith(f'best: openvino bf16, {200 / fp32:.2f} times fp32 (at least 2.0)')


def test_flags_that_are_needed():
    with pytest.raises(UsageError, match='--rival_python and --rival_script are needed'):
        inference.parse_flags(['--checkpoints', 'x'])


@pytest.mark.parametrize(
    ('rate', 'score', 'bf16', 'code'), [(130, 90.6, 100, 0), (129, 91, 100, 1), (130, 90.4, 100, 1), (1, 91, None, 0)]
)
def test_the_table_of_int8(rate, score, bf16, code):
    measured = {('openvino', 'fp32'): (91.0, 50.0)}
    if bf16:
        measured['openvino', 'bf16'] = (91.0, float(bf16))
    measured['openvino', 'int8'] = (float(score), float(rate))
    report = {'processor': {'name': 'X', 'flags': ['avx2']}, 'method': 'm'}
    lines, found = int8.table(measured, 'accuracy', 872, report, 'sst2')
    assert found == code
    assert lines[0].startswith('sst2: 872 rows, batches of 32') and lines[0].endswith('X (avx2)')
    ratio = f'{rate / bf16:.2f}' if bf16 else '-'
    row = next(line for line in lines if ' int8 ' in line and line.startswith('openvino '))
    assert row.split() == ['openvino', 'int8', f'{rate:.1f}', f'{rate / 50:.2f}', ratio, f'{score:.2f}']
    assert any('no bf16' in line for line in lines) == (bf16 is None)


@pytest.mark.parametrize(('rates', 'precision', 'code'), [((599, 610), 'int8', 0), ((590, 599), 'int8', 1)])
def test_the_table_of_a_student(rates, precision, code):
    measured = {('teacher', 'fp32'): (95.0, 100.0, 114.2), ('teacher', 'int8'): (94.8, 700.0, 40.0)}
    measured |= {('student', 'fp32'): (93.0, 900.0, 50.0), ('student', 'bf16'): (93.1, float(rates[0]), 50.0)}
    measured['student', 'int8'] = (92.5, float(rates[1]), 30.0)
    report = {'processor': {'name': 'X', 'flags': ['avx2']}}
    lines, found = int8.student_table(measured, 'accuracy', 1200, report, 'chnsenticorp')
    assert found == code  # neither a student in fp32 nor the teacher in int8 is what was asked for
    assert lines[0] == 'chnsenticorp, openvino: 1,200 rows, batches of 32 sorted by length, X (avx2)'
    assert lines[-2].split() == ['student', 'int8', '30.0', f'{rates[1]:.1f}', f'{rates[1] / 100:.2f}', '92.50']
    times = f'{rates[1] / 100:.2f}'
    assert lines[-1] == f'student in {precision}: {times} times the teacher in fp32 (at least 6), -2.50 points'


def test_int8_says_which_model_it_needs():
    with pytest.raises(UsageError, match='--student is missing: a classifier of ocnli'):
        int8.parse_flags(['student', '--teacher', 'x', '--task', 'ocnli'])
