"""Exports in int8: real quantization of small models, their reports, how they open, and what is refused."""

import importlib.util
import json
import logging
import math
import os
from types import SimpleNamespace

import numpy as np
import pytest

import ernie
from ernie.inference.engines import ExecutorEngine, open_engine
from ernie.inference.folder import ModelFolder
from ernie.inference.int8 import data as int8_data
from ernie.inference.int8 import exporting, quantize
from ernie.inference.int8.data import check_count, read_data, recorded_of, scoring_task, spread
from ernie.inference.int8.scores import VectorScores, rates
from ernie.inference.predict import Prediction
from ernie.inference.processor import has_int8_products, other_processor, processor_flags
from ernie.programs import EXPORT
from ernie.settings import run_yaml
from ernie.settings.finetune import FinetuneSettings
from ernie.settings.predict import ExportSettings
from propeller.errors import UsageError, UserError
from tests.ernie.tiny_inference import infer, records, texts, write_checkpoint
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
    quantized, of = report['products_in_int8']
    assert 0 < quantized <= of
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


def test_processors():
    vnni, amx = ['avx2', 'avx512f', 'avx512_vnni'], ['avx2', 'avx512f', 'avx512_vnni', 'amx_int8']
    assert other_processor({'flags': vnni}, vnni) == ''
    assert other_processor({'flags': vnni}, [*vnni, 'avx512_bf16']) == ''  # int8 does not need it
    assert 'this one has avx2, avx512f, avx512_vnni, amx_int8' in other_processor({'flags': vnni}, amx)
    assert 'this one has none of these' in other_processor({'flags': vnni}, [])
    assert (
        other_processor({'flags': None}, vnni)
        == other_processor({}, vnni)
        == other_processor({'flags': vnni}, None)
        == ''
    )
    assert has_int8_products(vnni) and has_int8_products(None) and not has_int8_products(['avx2', 'avx512f'])


def test_flags_of_the_processor(tmp_path):
    info = tmp_path / 'cpuinfo'
    info.write_text('model name\t: x\nflags\t\t: fpu avx2 avx512_vnni amx_bf16 sse\n')
    assert processor_flags(info) == ['avx2', 'avx512_vnni', 'amx_bf16']
    info.write_text('Features\t: fp asimd asimddp i8mm bf16\n')
    assert processor_flags(info) == ['asimddp', 'i8mm', 'bf16']
    assert processor_flags(tmp_path / 'none') is None


# ---------------------------------------------------------------- what is refused, without a quantization


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


@openvino_needed
def test_a_score_that_falls_is_refused_after_accuracy_control(run, tmp_path, monkeypatch, without_nncf):
    scores = Falling(90.0, 80.0, 89.0)
    monkeypatch.setattr(exporting, 'read_data', lambda *_, **__: int8_data.Data(scores, [[]], [3], 'train.tsv'))
    monkeypatch.setattr(exporting.exports, 'checked_model', lambda *_: {})
    monkeypatch.setattr(exporting, 'saved_openvino', lambda *_: ({}, 'engine', (5, 5)))
    target = str(tmp_path / 'exports' / 'm')
    expected = (
        r'found accuracy 89.00 in int8 and 90.00 in fp32 \(1.00 points less\) on dev.tsv, expected at most 0.5 points'
    )
    with pytest.raises(UserError, match=expected) as error:
        exporting.export_int8(ModelFolder(run.checkpoint), target, max_drop=0.5)
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


# ---------------------------------------------------------------- rows


def test_rows_of_the_training(run, tmp_path):
    found = read_data(ModelFolder(run.checkpoint))
    assert (found.source, len(found.calibration), found.scores.name) == (run.train, 120, run.dev)
    assert [len(arrays[0][0]) for arrays in found.calibration] == found.lengths
    assert all((arrays[3] == 1).all() for arrays in found.calibration)  # no padding
    assert len(found.scores.rows) == 60
    lone = ModelFolder(str(write_checkpoint(tmp_path / 'lone', 'classify')))
    assert recorded_of(lone.path) == ({}, {})
    for given, text in (
        ({'calibration_set': run.train}, r'no record of its training, and nothing to score .*Give --dev_set FILE'),
        ({'dev_set': run.dev}, r'no record of its training, and nothing to calibrate .*Give --calibration_set FILE'),
        ({'calibration_set': 'no.tsv'}, r'--calibration_set: no.tsv: no such file'),
        ({'dev_set': 'no.tsv'}, r'--dev_set: no.tsv: no such file'),
    ):
        with pytest.raises(UserError, match=text):
            read_data(lone, **given)
    found = read_data(lone, run.train, run.dev)
    assert len(found.calibration) == 120
    assert read_data(lone, None, run.dev, calibrates=False).calibration == []


def test_rows_that_are_held_out_are_not_calibrated_with(run, tmp_path):
    checkpoint = write_run(tmp_path, train_set=run.train, dev_share=0.25)
    found = read_data(ModelFolder(str(checkpoint)))
    assert found.scores.name == 'train_dev'
    assert 15 < len(found.scores.rows) < 45 and len(found.calibration) + len(found.scores.rows) == 120


def test_a_training_file_that_has_changed_is_not_used(run, tmp_path, caplog):
    checkpoint = write_run(tmp_path, train_set=run.train, dev_share=0.25)
    folder = ModelFolder(str(checkpoint))
    task = scoring_task(folder, {})
    recorded = int8_data.Recorded({'train_set': run.train, 'dev_share': 0.25}, {'train_file': 'another'})
    logging.getLogger('ernie').propagate = True
    assert int8_data._of_training(task, recorded, 'm') == (None, None)
    logging.getLogger('ernie').propagate = False
    assert 'has changed since m was trained on it' in caplog.text


def test_files_of_a_training_that_are_gone_are_named(tmp_path):
    checkpoint = write_run(tmp_path, train_set='gone/train.tsv', dev_set='gone/dev.tsv')
    with pytest.raises(UserError, match=r'the files of its training \(gone/train.tsv, gone/dev.tsv\) not there'):
        read_data(ModelFolder(str(checkpoint)))


def test_calibration_rows(run, tmp_path, caplog):
    assert len(spread(1000)) == 300 and spread(1000).tolist() == spread(1000).tolist()
    assert spread(7).tolist() == list(range(7))
    logging.getLogger('ernie').propagate = True
    check_count('f', 100)
    assert not caplog.text
    check_count('f', 99)
    logging.getLogger('ernie').propagate = False
    assert 'f: 99 rows calibrate the model' in caplog.text
    with pytest.raises(UserError, match='f: found 19 rows, expected at least 20 to calibrate with, better 300'):
        check_count('f', 19)
    other = write_table(tmp_path / 'other.tsv', ['zzz', 'x'], [('是', '好')] * 30)
    with pytest.raises(UserError, match='other.tsv'):
        read_data(ModelFolder(run.checkpoint), other)
    pairs = write_table(tmp_path / 'unlabelled.tsv', ['text_a'], [('好',)] * 30)
    with pytest.raises(UserError, match='unlabelled.tsv'):
        read_data(ModelFolder(run.checkpoint), run.train, pairs)


# ---------------------------------------------------------------- scores of every task


@pytest.mark.parametrize('kind', ['regression', 'multilabel', 'reading'])
def test_a_model_scores_100_on_its_own_answers(kind, tmp_path):
    folder = ModelFolder(str(write_checkpoint(tmp_path / 'c', kind)))
    rows = records(kind, 30, seed=3)
    graph = folder.graph()
    engine = ExecutorEngine(graph.session, graph.program, graph.outputs)
    results = Prediction(folder.codec, engine, graph.shapes(), 4).predict(rows)
    if kind == 'reading':
        paragraphs = [
            {
                'context': row['context'],
                'qas': [
                    {
                        'id': row['id'],
                        'question': row['question'],
                        'answers': [{'text': result['answer'], 'answer_start': result['start']}],
                    }
                ],
            }
            for row, result in zip(rows, results, strict=True)
            if result['answer']
        ]
        path = tmp_path / 'dev.json'
        path.write_text(json.dumps({'data': [{'paragraphs': paragraphs}]}, ensure_ascii=False), encoding='utf-8')
    else:
        label = {'multilabel': lambda r: ','.join(r['labels']), 'regression': lambda r: r['value']}[kind]
        kept = [
            (row['text_a'], row['text_b'], label(result))
            for row, result in zip(rows, results, strict=True)
            if row.get('text_b') and row['text_a']
        ]
        path = write_table(tmp_path / 'dev.tsv', ['text_a', 'text_b', 'label'], kept)
    data = read_data(folder, None, str(path), calibrates=False)
    assert data.scores.of(engine) == pytest.approx(100, abs=1e-3)


@pytest.mark.parametrize('kind', ['tagging', 'crf'])
def test_a_tagger_scores_100_on_its_own_labels(kind, tmp_path):
    folder = ModelFolder(str(write_checkpoint(tmp_path / 'c', kind)))
    graph = folder.graph()
    engine = ExecutorEngine(graph.session, graph.program, graph.outputs)
    tokens = [list(text[:12].replace(' ', '')) for text in texts(30, 4) if len(text) > 2]
    tokens = [row for row in tokens if row]
    results = Prediction(folder.codec, engine, graph.shapes(), 4).predict(
        [{'text_a': '\x02'.join(row), 'tokens': row} for row in tokens]
    )
    rows = []
    for row, result in zip(tokens, results, strict=True):
        labels = ['O'] * len(row)
        for entity in result['entities']:
            for i in range(entity['start_token'], entity['end_token']):
                labels[i] = ('B-' if i == entity['start_token'] else 'I-') + entity['type']
        rows.append(('\x02'.join(row), '\x02'.join(labels)))
    path = write_table(tmp_path / 'dev.tsv', ['text_a', 'label'], rows)
    scores = read_data(folder, None, path, calibrates=False).scores
    assert scores.measure == 'f1' and scores.of(engine) == pytest.approx(100)


@onnx_needed
def test_onnxruntime_in_int8(run, tmp_path):
    target = str(tmp_path / 'm')
    report = exporting.export_int8(ModelFolder(run.checkpoint), target, 'onnxruntime', max_drop=20)
    assert report['calibration'] is None and report['products_in_int8'][0] > 0
    assert report['without_bf16'] == 'onnxruntime has none'
    assert 'no rows, its inputs as they come' in exporting.report_lines(report)[0]
    with pytest.raises(UsageError, match='--engine openvino: the model in .* is in int8 for onnxruntime'):
        ernie.load(target, engine='openvino')
    rows = [{'text_a': text + '美'} for text in texts(20, 5)]
    expected, found = answers(ModelFolder(run.checkpoint), rows), ernie.load(target)(rows)
    assert np.mean([a['label'] == b['label'] for a, b in zip(expected, found, strict=True)]) >= 0.8


def test_cosines_and_rates(tmp_path):
    from sklearn.metrics.pairwise import cosine_similarity

    from ernie.inference.predict import tokenized_rows

    rng = np.random.default_rng(0)
    rows = tokenized_rows([[1] * n for n in rng.integers(2, 9, 70)], [2] * 70)
    table = rng.normal(size=(70, 5)).astype(np.float32)
    other = table + 0.3 * rng.normal(size=(70, 5)).astype(np.float32)

    class Engine:
        def __init__(self, vectors):
            self.vectors, self.batches = iter(vectors), 0

        def run(self, arrays):
            self.batches += 1
            return [np.stack([next(self.vectors) for _ in arrays[0]])]

    scores = VectorScores('x', rows)
    assert scores.of(Engine(table)) == pytest.approx(100)
    assert scores.of(Engine(other)) == pytest.approx(100 * np.diag(cosine_similarity(table, other)).mean(), abs=1e-4)
    assert scores.of(Engine(np.full_like(table, np.nan))) == -math.inf
    engines = {'a': Engine(np.zeros((1000, 5))), 'b': Engine(np.zeros((1000, 5)))}
    found, timed = rates(engines, scores)
    assert timed == 70 and set(found) == {'a', 'b'} and min(found.values()) > 0
    assert engines['a'].batches == engines['b'].batches == 4 * 3
