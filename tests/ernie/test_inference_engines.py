"""An exported model gives the numbers of the graph, with every task and every engine that is installed."""

import importlib.util
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ernie.inference import engines
from ernie.inference.engines import ENGINES, OPENVINO, check_engine, knows_bf16, open_engine, optional_package
from ernie.inference.export import Graph, check_target, convert_to_onnx, export, of_tokens, sample_batches
from ernie.inference.folder import ModelFolder
from ernie.inference.predict import Prediction, tokenized_rows
from ernie.reader.tokenized_set import encoder_arrays
from ernie.run.exported import FUSED
from propeller.errors import UsageError, UserError
from propeller.ops import available
from tests.ernie.tiny_inference import KINDS, records, write_checkpoint
from tests.ernie.tiny_model import CONFIG, TASK_CONFIG

INSTALLED = {name for name in ('onnxruntime', 'openvino', 'paddle2onnx') if importlib.util.find_spec(name)}
onnx_needed = pytest.mark.skipif(not {'onnxruntime', 'paddle2onnx'} <= INSTALLED, reason='no onnxruntime, paddle2onnx')
openvino_needed = pytest.mark.skipif(not {'openvino', 'paddle2onnx'} <= INSTALLED, reason='no openvino, paddle2onnx')
COMPANIONS = {'vocab.txt', 'labels.json', 'ernie_config.json', 'inference.json', 'tokenizer_config.json'}
CONFIGS = dict.fromkeys(KINDS, CONFIG) | {'classify': TASK_CONFIG}
# A conversion takes seconds: one of each task.
CASES = [
    (n, k)
    for n, e in ENGINES.items()
    for k in (KINDS if e.format in ('paddle', FUSED) else ('classify', 'crf', 'reading'))
]


class Exports:
    """Checkpoints, their graphs, and their exports, each made once."""

    def __init__(self, root):
        self.root, self._checkpoints, self._folders = root, {}, {}

    def checkpoint(self, kind):
        if kind not in self._checkpoints:
            folder = ModelFolder(write_checkpoint(self.root / kind, kind, CONFIGS[kind]))
            self._checkpoints[kind] = folder, Graph(folder)
        return self._checkpoints[kind]

    def folder(self, kind, model_format):
        key = f'{kind}_{model_format}'
        if key not in self._folders:
            export(self.checkpoint(kind)[0], str(self.root / 'exports' / key), model_format)
            self._folders[key] = ModelFolder(self.root / 'exports' / key)
        return self._folders[key]


@pytest.fixture(scope='module')
def exports(tmp_path_factory):
    return Exports(tmp_path_factory.mktemp('engines'))


def needed(name):
    if name == FUSED:
        return set() if available() else {'the fused operators'}
    return {'executor': set(), 'predictor': set()}.get(name, {name, 'paddle2onnx', 'onnxruntime'})


def batches(task, kind):
    """Batches of 1, 7 and 3 rows of tokens of real records, with their own lengths."""
    windows = [task.encode(record) for record in records(kind, 11, seed=4)]
    ids = [row for w in windows for row in w.ids]
    rows = tokenized_rows(ids, [n for w in windows for n in w.split])
    return [encoder_arrays(rows, np.array(indices), task.task_id) for indices in ([0], range(1, 8), [8, 9, 10])]


@pytest.mark.parametrize(('name', 'kind'), CASES)
def test_every_engine_gives_the_numbers_of_the_graph(exports, name, kind):
    if not needed(name) <= INSTALLED:
        pytest.skip(f'{needed(name) - INSTALLED} not installed')
    checkpoint, graph = exports.checkpoint(kind)
    folder = exports.folder(kind, ENGINES[name].format)
    engine = open_engine(name, folder.path, threads=2)
    assert len(folder.exported['feeds']) == (5 if kind == 'classify' else 4)
    for batch in batches(checkpoint.codec, kind):
        expected, got = graph.run(batch), engine.run(batch)
        assert [a.shape for a in got] == [a.shape for a in expected]
        if name in (FUSED, OPENVINO):  # compute nothing on padding, or what means nothing
            expected, got = (of_tokens(outputs, graph.shapes(), batch[3]) for outputs in (expected, got))
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert np.ptp(expected[0].astype(np.float64)) > 1e-3  # of different rows


@pytest.mark.parametrize(('name', 'kind'), [case for case in CASES if case[0] != 'executor'])
def test_every_engine_gives_the_results_of_the_executor(exports, name, kind):
    if not needed(name) <= INSTALLED:
        pytest.skip(f'{needed(name) - INSTALLED} not installed')
    results = []
    for engine in ('executor', name):
        folder = exports.folder(kind, ENGINES[engine].format)
        shapes = [tuple(output['shape']) for output in folder.exported['outputs']]
        prediction = Prediction(folder.codec, open_engine(engine, folder.path), shapes, batch_size=4)
        results.append(prediction.predict(records(kind, 13, seed=6)))
    assert len(results[0]) == 13
    for expected, got in zip(*results, strict=True):
        assert rounded(got) == rounded(expected)


def rounded(value):
    """Numbers to 4 digits, wherever they stand."""
    if isinstance(value, dict):
        return {key: rounded(v) for key, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return pytest.approx(value, abs=1e-4) if isinstance(value, float) else value


@pytest.mark.parametrize('name', [name for name, engine in ENGINES.items() if 'bf16' in engine.precisions])
def test_bf16_is_near_and_not_the_same(exports, name, caplog):
    if not needed(name) <= INSTALLED:
        pytest.skip(f'{needed(name) - INSTALLED} not installed')
    logging.getLogger('ernie').propagate = True
    checkpoint, graph = exports.checkpoint('classify')
    engine = open_engine(name, exports.folder('classify', ENGINES[name].format).path, 'bf16')
    logging.getLogger('ernie').propagate = False
    differences = []
    for batch in batches(checkpoint.codec, 'classify'):
        expected, got = graph.run(batch)[0], engine.run(batch)[0]
        differences.append(np.abs(expected - got).max())
        assert got.dtype == np.float32
    assert max(differences) < 0.1
    assert max(differences) > 1e-5 or 'no bf16' in caplog.text


@openvino_needed
def test_many_tokens_are_computed_in_parts(exports, monkeypatch):
    checkpoint, graph = exports.checkpoint('crf')
    (batch,) = (b for b in batches(checkpoint.codec, 'crf') if len(b[0]) == 7)
    engine = open_engine('openvino', exports.folder('crf', 'onnx').path, threads=1)
    computed, run = [], engine._run
    monkeypatch.setattr(engine, '_run', lambda arrays: computed.append(len(arrays[0])) or run(arrays))
    whole = engine.run(batch)
    monkeypatch.setattr(engines, 'MOST_TOKENS', 3 * batch[0].shape[1])
    parts = engine.run(batch)
    assert computed == [7, 3, 3, 1]
    sides = (of_tokens(outputs, graph.shapes(), batch[3]) for outputs in (whole, parts, graph.run(batch)))
    for a, b, expected in zip(*sides, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(b, expected, rtol=1e-5, atol=1e-5)


def test_an_output_belongs_to_the_caller(exports):
    for name in ENGINES:
        if needed(name) <= INSTALLED:
            engine = open_engine(name, exports.folder('classify', ENGINES[name].format).path)
            first, second = batches(exports.checkpoint('classify')[0].codec, 'classify')[:2]
            kept = engine.run(first)[0]
            copy = kept.copy()
            engine.run(second)
            assert np.array_equal(kept, copy), name


def test_sample_batches_are_padded_text_of_two_types_and_of_full_length(exports):
    checkpoint, _ = exports.checkpoint('classify')
    several, longest = sample_batches(checkpoint)
    ids, types, positions, mask, task_ids = several
    assert ids.shape[0] == 5
    assert longest[0].shape == (1, 15)
    assert set(np.unique(types)) == {0, 1}
    assert set(mask.sum(1)) > {3.0}
    assert 0 in mask
    assert len(np.unique(ids)) > 10
    assert positions.max() == ids.shape[1] - 1
    assert not task_ids.any()


# ------------------------------------------------------------------------------------------------------------- export


def test_an_exported_folder_holds_everything(exports):
    folder = exports.folder('crf', 'paddle')
    with open(f'{folder.path}/inference.json') as f:
        written = json.load(f)
    assert [feed['name'] for feed in written['feeds']] == [f'eval_placeholder_{i}' for i in range(4)]
    assert [feed['dtype'] for feed in written['feeds']] == ['int64'] * 3 + ['float32']
    assert written['outputs'] == [{'name': 'fetch_name_0', 'shape': [-1, -1, 5]}]
    (weights,) = written['constants'].values()
    assert np.array_equal(np.float32(weights), exports.checkpoint('crf')[0].tensors['crfw'])
    found = {path.name for path in (exports.root / 'exports' / 'crf_paddle').iterdir()}
    assert found == COMPANIONS | {'model.json', 'model.pdiparams'}


@onnx_needed
def test_an_onnx_folder_holds_onnx_only(exports):
    folder = exports.folder('classify', 'onnx')
    found = {path.name for path in (exports.root / 'exports' / 'classify_onnx').iterdir()}
    assert found == COMPANIONS | {'model.onnx'}
    assert folder.exported['format'] == 'onnx'
    assert folder.settings['labels'] == ['坏', 'so so', '好']


@openvino_needed
def test_an_openvino_folder_gives_the_numbers_of_the_graph(exports):
    checkpoint, graph = exports.checkpoint('classify')
    folder = exports.folder('classify', 'openvino')
    found = {path.name for path in (exports.root / 'exports' / 'classify_openvino').iterdir()}
    assert found == COMPANIONS | {'model.xml', 'model.bin'}
    assert folder.exported['format'] == 'openvino' and 'precision' not in folder.exported
    engine, near = (open_engine('openvino', folder.path, precision) for precision in (None, 'bf16'))
    for batch in batches(checkpoint.codec, 'classify'):
        expected = graph.run(batch)
        np.testing.assert_allclose(engine.run(batch)[0], expected[0], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(near.run(batch)[0], expected[0], atol=0.1)
    model = Path(folder.path, 'model.xml').read_text(encoding='utf-8')
    assert 'type="MatMul"' in model and 'type="Concat"' not in model  # what is constant is computed


def test_existing_folders_are_refused_before_any_work(exports, tmp_path):
    checkpoint, _ = exports.checkpoint('classify')
    target = tmp_path / 'there'
    target.mkdir()
    check_target(str(tmp_path / 'new'), overwrite=False)
    with pytest.raises(UserError, match='there: found a folder that exists, expected a new one. --overwrite true'):
        export(checkpoint, str(target))
    (target / 'thesis.txt').write_text('years of work')
    with pytest.raises(UserError, match='there: found something else, expected an exported model'):
        export(checkpoint, str(target), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ['there']
    (target / 'thesis.txt').unlink()
    export(checkpoint, str(target), overwrite=True)
    before = (target / 'model.pdiparams').read_bytes()
    export(exports.checkpoint('multilabel')[0], str(target), overwrite=True)
    assert (target / 'model.pdiparams').read_bytes() != before
    assert [path.name for path in tmp_path.iterdir()] == ['there']


@pytest.mark.parametrize(
    'model_format',
    ['paddle', pytest.param('onnx', marks=onnx_needed), pytest.param('openvino', marks=[onnx_needed, openvino_needed])],
)
def test_an_export_with_other_numbers_is_refused_and_leaves_nothing(exports, tmp_path, monkeypatch, model_format):
    checkpoint, _ = exports.checkpoint('classify')
    name = {'paddle': 'executor', 'onnx': 'onnxruntime', 'openvino': 'openvino'}[model_format]
    original = ENGINES[name].run
    if model_format != 'paddle':  # the conversion itself is tried elsewhere
        converted = f'{exports.folder("classify", "onnx").path}/model.onnx'
        monkeypatch.setattr('ernie.inference.export.convert_to_onnx', lambda _, path: shutil.copy(converted, path))
    monkeypatch.setattr(ENGINES[name], 'run', lambda self, arrays: [a + 2e-5 for a in original(self, arrays)])
    with pytest.raises(UserError, match=f'{name}: output 0 of the exported model differs by [12].*e-05'):
        export(checkpoint, str(tmp_path / 'new'), model_format)
    assert list(tmp_path.iterdir()) == []


def test_parameters_that_do_not_fit_are_refused(tmp_path):
    folder = write_checkpoint(tmp_path / 'c', config=CONFIG)
    (folder / 'ernie_config.json').write_text(json.dumps(CONFIG | {'num_hidden_layers': 3}))
    with pytest.raises(UserError, match='missing: encoder_layer_2_'):
        export(ModelFolder(folder), str(tmp_path / 'new'))
    assert not (tmp_path / 'new').exists()


@onnx_needed
def test_a_failed_conversion_tells_why(tmp_path):
    with pytest.raises(UserError, match='paddle2onnx could not convert the model: .*model.json'):
        convert_to_onnx(str(tmp_path), str(tmp_path / 'model.onnx'))


# ------------------------------------------------------------------------------------------------------------- errors


def test_missing_packages_say_what_to_install(exports, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    monkeypatch.setitem(sys.modules, 'paddle2onnx', None)
    with pytest.raises(UserError, match='--engine onnxruntime needs .*pip install onnxruntime'):
        open_engine('onnxruntime', str(tmp_path))
    with pytest.raises(UserError, match='--export_format onnx needs .*pip install paddle2onnx'):
        export(exports.checkpoint('classify')[0], str(tmp_path / 'new'), 'onnx')
    assert list(tmp_path.iterdir()) == []
    assert optional_package('json', 'a test') is json


@pytest.mark.parametrize('name', ENGINES)
def test_folders_without_a_model_and_broken_models(exports, tmp_path, name):
    if not needed(name) <= INSTALLED:
        pytest.skip(f'{needed(name) - INSTALLED} not installed')
    if name == FUSED:
        pytest.skip('its files are those of tests/ernie/test_fused_engine.py')
    onnx = ENGINES[name].format == 'onnx'
    with pytest.raises(UserError, match='no model.onnx' if onnx else 'no model.json and no model.pdiparams'):
        open_engine(name, str(tmp_path))
    source = exports.folder('classify', ENGINES[name].format).path
    for file in ('model.onnx',) if onnx else ('model.json', 'model.pdiparams'):
        with open(f'{source}/{file}', 'rb') as f:
            (tmp_path / file).write_bytes(f.read()[:1000])
    with pytest.raises(UserError, match='cannot load' if onnx else 'model.pdiparams: found the values of a variable'):
        open_engine(name, str(tmp_path))
    if not onnx:
        (tmp_path / 'model.pdiparams').write_bytes(Path(source, 'model.pdiparams').read_bytes())
        with pytest.raises(UserError, match='cannot load'):
            open_engine(name, str(tmp_path))


def test_what_an_engine_cannot_is_refused():
    with pytest.raises(UsageError, match='--engine executor cannot; predictor, openvino and fused can'):
        check_engine('executor', 'bf16', False)
    with pytest.raises(UsageError, match='--engine openvino runs on the processor only'):
        check_engine('openvino', 'fp32', True)
    check_engine('predictor', 'bf16', True)


def test_bf16_is_known_from_the_processor_flags(tmp_path):
    for flags, expected in (('fpu avx512f avx512_bf16', True), ('fpu amx_bf16', True), ('fpu avx512f', False)):
        (tmp_path / 'cpuinfo').write_text(f'vendor_id\t: X\nflags\t\t: {flags}\n')
        assert knows_bf16(tmp_path / 'cpuinfo') is expected
    assert knows_bf16(tmp_path / 'nothing') is True


WITHOUT_PADDLE = """
import json, sys
sys.modules['paddle'] = None  # any import of it fails
import infer_classifyer, ernie
folder, rows, engine = sys.argv[1:]
flags = ['--init_checkpoint', folder, '--predict_set', rows, '--format', 'jsonl', '--engine', engine]
infer_classifyer.main(flags)
with ernie.load(folder, engine=engine) as model:
    with open(rows, encoding='utf-8') as file:
        for result in model(json.loads(line) for line in file):
            print(json.dumps(result, ensure_ascii=False))
print([name for name in sys.modules if name.startswith(('ernie.model', 'ernie.tasks')) and name.endswith('graph')])
"""


@pytest.mark.parametrize('engine', ['onnxruntime', 'openvino'])
def test_an_onnx_export_is_served_without_paddle(exports, tmp_path, engine):
    """Device choice, tokenizing, windows, engine, decoding, results: by the program, and by `ernie.load`."""
    if not needed(engine) <= INSTALLED:
        pytest.skip(f'{needed(engine) - INSTALLED} not installed')
    folder, path, rows = exports.folder('reading', 'onnx'), tmp_path / 'rows.jsonl', records('reading', 5, seed=8)
    path.write_text(''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in rows), encoding='utf-8')
    command = [sys.executable, '-c', WITHOUT_PADDLE, folder.path, str(path), engine]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(engines.__file__).parents[2])
    assert done.returncode == 0, done.stderr
    *lines, graphs = done.stdout.splitlines()
    assert graphs == '[]' and lines[:5] == lines[5:] and 'disable gpu' in done.stderr
    outputs = [tuple(output['shape']) for output in folder.exported['outputs']]
    expected = Prediction(folder.codec, open_engine(engine, folder.path), outputs).predict(rows)
    assert [rounded(json.loads(line)) for line in lines[:5]] == expected


def test_codecs_load_no_graph():
    program = (
        'import sys; from ernie.tasks.table import specs; [spec.load("codec") for spec in specs()]; '
        'above = ("ernie.model", "ernie.run", "propeller.graph", "paddle"); '
        'print([m for m in sys.modules if m.startswith(above) or m.endswith((".graph", ".training"))])'
    )
    assert subprocess.run([sys.executable, '-c', program], capture_output=True, text=True).stdout == '[]\n'


def test_an_engine_says_which_gpus_it_has(monkeypatch):
    assert engines.OpenVinoEngine.gpus() == 0
    runtime = SimpleNamespace(get_available_providers=lambda: ['CUDAExecutionProvider', 'CPUExecutionProvider'])
    monkeypatch.setitem(sys.modules, 'onnxruntime', runtime)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: name)
    assert engines.OnnxRuntimeEngine.gpus() == 1
    engines.OnnxRuntimeEngine.require_gpu()
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    assert engines.OnnxRuntimeEngine.gpus() == 0
    with pytest.raises(UserError, match='--use_cuda true: this onnxruntime knows no GPU. Install onnxruntime-gpu'):
        engines.OnnxRuntimeEngine.require_gpu()
