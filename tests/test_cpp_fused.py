"""The backend `fused` of `inference/`: what Python's engine `fused` and the executor give, from the same parameters."""

import concurrent.futures
import json
import re
import shlex
import shutil
import struct
import subprocess

import numpy as np
import pytest
from safetensors.numpy import load_file

from benchmark.acceptance.cpp_executor import compared
from benchmark.acceptance.cpp_hostile import CASES, fault, outcome
from benchmark.acceptance.cpp_weights import FILE, parts_of, rewritten, whole
from benchmark.cpp import FUSED_ALONE, SOURCE, CppModel, load_library
from ernie.inference.engines import open_engine
from ernie.inference.export import export
from ernie.inference.folder import ModelFolder
from ernie.inference.vectors import VectorFolder
from ernie.run.exported import FUSED
from propeller.errors import UserError
from propeller.ops.choice import kernels
from tests.cpp import built, resident_share
from tests.ernie.tiny_inference import KINDS, infer, records, write_checkpoint
from tests.ernie.tiny_model import CONFIG, TASK_CONFIG

pytestmark = pytest.mark.slow  # the first of them may compile library and operators
MOST = 1e-5


@pytest.fixture(scope='module')
def programs():
    """Of a build that knows no OpenVINO."""
    if kernels().path is None:
        pytest.skip(f'no fused operators: {kernels().why}')
    return built(FUSED_ALONE)


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """Function (kind) -> (checkpoint, fused export) of a small model."""
    root, made = tmp_path_factory.mktemp('exports'), {}

    def of(kind):
        if kind not in made:
            config = {'config': TASK_CONFIG} if kind == 'tagging' else {}
            checkpoint = write_checkpoint(root / f'{kind}-checkpoint', kind, **config)
            export(ModelFolder(str(checkpoint)), str(root / kind), FUSED)
            made[kind] = checkpoint, root / kind
        return made[kind]

    return of


@pytest.fixture
def predict(programs):
    """Function (model, file, flags) -> lines of ernie_predict."""

    def run(model, *args):
        command = [programs / 'ernie_predict', model, *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def lines_of(path, rows):
    path.write_text(''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in rows), encoding='utf-8')
    return path


def python(model, path, engine=FUSED, **values):
    """The lines of infer_classifyer.py."""
    given = {'init_checkpoint': model, 'predict_set': path, 'engine': engine, 'format': 'jsonl', 'use_cuda': False}
    return infer(**given | {'save_inference_model_path': ''} | values).out.splitlines()


@pytest.mark.parametrize('kind', KINDS)
def test_results_are_those_of_python_and_of_the_executor(exported, predict, tmp_path, kind):
    """Pairs are among the rows of classify, regression and multilabel; tagging has task ids."""
    (checkpoint, model), path = exported(kind), lines_of(tmp_path / 'rows.jsonl', records(kind, 131, seed=3))
    found = predict(model, path, '--batch_size', 17, '--threads', 2)
    assert len(found) == 131
    for given in ({'init': model}, {'init': checkpoint, 'engine': 'executor'}):
        expected = python(given.pop('init'), path, **given)
        count, largest = compared(expected, found)
        assert count >= 131 and largest < MOST


@pytest.mark.parametrize('precision', ['bf16', 'int8'])
@pytest.mark.parametrize('kind', ['classify', 'regression', 'multilabel'])
def test_other_precisions_are_those_of_python(exported, predict, tmp_path, kind, precision):
    if not getattr(kernels(), precision):
        pytest.skip(f'this processor has no {precision}')
    (_, model), path = exported(kind), lines_of(tmp_path / 'rows.jsonl', records(kind, 131, seed=3))
    plain, found = (predict(model, path, '--precision', p) for p in ('fp32', precision))
    assert compared(python(model, path, precision=precision), found)[1] < MOST
    assert MOST < compared_numbers(plain, found) < 0.5  # another precision, of the same model


def compared_numbers(expected, found):
    """The largest difference of numbers; labels may be others."""
    number = re.compile(r'(?<![\w"])-?\d+\.\d+(?:e-?\d+)?')
    values = [[float(x) for line in lines for x in number.findall(line)] for lines in (expected, found)]
    return np.abs(np.subtract(*values)).max()


@pytest.mark.parametrize(
    'changes',
    [
        {'hidden_act': 'relu', 'intermediate_size': 7},
        {'hidden_act': 'gelu_new', 'hidden_size': 51, 'intermediate_size': 101},
        {'num_hidden_layers': 1, 'layer_norm_eps': 1e-12, 'hidden_size': 99},
        {'sent_type_vocab_size': 4, 'num_attention_heads': 1, 'hidden_size': 5},
    ],
)
def test_other_sizes(predict, tmp_path, changes):
    checkpoint = write_checkpoint(tmp_path / 'checkpoint', config=CONFIG | changes)
    export(ModelFolder(str(checkpoint)), str(tmp_path / 'model'), FUSED)
    path = lines_of(tmp_path / 'rows.jsonl', records('classify', 37, seed=2))
    assert compared(python(checkpoint, path, 'executor'), predict(tmp_path / 'model', path))[1] < MOST


@pytest.mark.parametrize(
    ('pooling', 'layer'), [('pooled', None), ('cls', None), ('mean', None), ('max', None), ('mean', 1), ('cls', 0)]
)
def test_vectors(exported, predict, tmp_path, pooling, layer):
    import ernie

    checkpoint, rows = exported('classify')[0], records('classify', 23)
    export(VectorFolder(str(checkpoint), pooling=pooling, layer=layer), str(tmp_path / 'model'), FUSED)
    path = lines_of(tmp_path / 'rows.jsonl', rows)
    found = [json.loads(line)['vector'] for line in predict(tmp_path / 'model', path)]
    with ernie.load(checkpoint, task='embedding', engine='executor', pooling=pooling, layer=layer) as model:
        np.testing.assert_allclose(found, model(rows), atol=MOST)


@pytest.mark.parametrize('precision', ['fp32', 'int8'])
def test_batches_threads_and_streams_change_no_digit(exported, predict, tmp_path, precision):
    if precision == 'int8' and not kernels().int8:
        pytest.skip('this processor has no int8')
    _, model = exported('tagging')
    path = lines_of(tmp_path / 'rows.jsonl', records('tagging', 100, seed=6))
    alone = predict(model, path, '--precision', precision, '--batch_size', 1, '--threads', 1)
    for flags in (
        ['--batch_size', 7, '--threads', 2, '--streams', 2, '--length_window', 3],
        ['--batch_size', 100, '--threads', 3],
        ['--batch_size', 1, '--threads', 2],
    ):
        assert predict(model, path, '--precision', precision, *flags) == alone


@pytest.mark.parametrize('settings', [{'threads': 2, 'streams': 2}, {'threads': 2}, {'threads': 1}])
def test_four_threads_call_one_model(programs, exported, settings):
    rows = json.dumps(records('multilabel', 60, seed=8)).encode()
    with CppModel(load_library(programs), exported('multilabel')[1], batch_size=9, **settings) as model:
        alone = model.call(rows)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda _: model.call(rows), range(20))) == [alone] * 20


def test_padding_may_be_anywhere_in_samples_of_2019(programs, exported, tmp_path):
    _, model = exported('classify')
    rng = np.random.default_rng(4)
    shape = 5, 7
    ids, types = rng.integers(1, 61, shape), rng.integers(0, 2, shape)
    positions = np.tile(np.arange(shape[1]), (shape[0], 1))
    mask = np.ones(shape, np.float32)
    mask[1, 4:], mask[2, :3], mask[3, ::2], mask[4] = 0, 0, 0, 0
    arrays = [ids, types, positions, mask]
    samples = tmp_path / 'samples'
    samples.write_text(';'.join('5 7 1:' + ' '.join(str(x) for x in array.ravel()) for array in arrays) + '\n')
    command = [programs / 'inference', '--model_dir', model, '--data', samples, '--output_prediction', 'true']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [list(map(float, line.split('\t'))) for line in done.stdout.splitlines()]
    (expected,) = open_engine(FUSED, str(model)).run(arrays)
    np.testing.assert_allclose(found, expected, atol=MOST)


@pytest.mark.parametrize('kind', ['F16', 'BF16', 'F64', 'unaligned'])
def test_weights_of_other_types(exported, predict, tmp_path, kind):
    checkpoint, model = (shutil.copytree(path, tmp_path / path.name) for path in exported('regression'))
    for folder in (checkpoint, model):
        if kind == 'unaligned':
            header, data = parts_of((folder / FILE).read_bytes())
            text = json.dumps(header).encode()
            (folder / FILE).write_bytes(whole(text + b' ' * (1 + -len(text) % 4), data))
        elif kind == 'BF16':
            halve(folder / FILE)
        else:
            to = np.float16 if kind == 'F16' else np.float64
            rewritten(lambda tensors, to=to: {name: x.astype(to) for name, x in tensors.items()})(folder)
    path = lines_of(tmp_path / 'rows.jsonl', records('regression', 19, seed=1))
    assert compared(python(checkpoint, path, 'executor'), predict(model, path))[1] < MOST


def halve(path):
    """A safetensors file of float32 numbers, those of bfloat16 among them."""
    header, data, place = {}, b'', 0
    for name, array in load_file(path).items():
        bits = (array.view(np.uint32) >> 16).astype('<u2').tobytes()
        header[name] = {'dtype': 'BF16', 'shape': array.shape, 'data_offsets': [place, place + len(bits)]}
        data, place = data + bits, place + len(bits)
    path.write_bytes(whole(header, data))


def test_pages_of_weights_are_given_back(programs, tmp_path):
    def exported(checkpoint):
        export(ModelFolder(str(checkpoint)), str(tmp_path / 'model'), FUSED)
        return tmp_path / 'model'

    assert resident_share(programs, exported, FILE, tmp_path) < 1 / 4


def test_another_processor_is_told_from_this_one(programs, exported, tmp_path):
    """What the kernels are compiled for is a table; here it has what no processor of these years has."""
    place = tmp_path / 'built_for.cc'
    source = (SOURCE / 'src' / 'backend' / 'built_for.cc').read_text(encoding='utf-8')
    place.write_text(source.replace('{nullptr, 0', '{"none_such", 7, 0, kEdx, 1, 0}, {nullptr, 0'), encoding='utf-8')
    compiler = re.search(r'CMAKE_CXX_COMPILER:\w+=(.*)', (programs / 'CMakeCache.txt').read_text())[1]
    made = tmp_path / 'built_for.o'
    subprocess.run([compiler, '-std=c++17', '-I', SOURCE / 'src', '-c', place, '-o', made], check=True)
    link = shlex.split((programs / 'CMakeFiles/ernie_predict.dir/link.txt').read_text())
    link = [str(made) if word.endswith('built_for.cc.o') else word for word in link]
    link[link.index('-o') + 1] = str(tmp_path / 'program')
    subprocess.run(link, cwd=programs, check=True)
    done = subprocess.run(
        [tmp_path / 'program', exported('classify')[1], '--text', '好'], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, '', 1)
    assert 'compiled for a processor with none_such, which this one lacks: build it here' in done.stderr


def test_the_library_says_what_is_wrong(programs, exported, tmp_path):
    library, (_, model) = load_library(programs), exported('classify')
    for settings, said in (
        ({'precision': 'fp16'}, 'the settings: found'),
        ({'threads': 1, 'streams': 2}, '--streams 2'),
    ):
        with pytest.raises(UserError, match=said):
            CppModel(library, model, **settings)
    broken = shutil.copytree(model, tmp_path / 'model')
    (broken / FILE).write_bytes(struct.pack('<Q', 1 << 40))
    with pytest.raises(
        UserError, match=r'model\.safetensors: found a broken file \(a header of 1099511627776 bytes in a'
    ):
        CppModel(library, broken)


def test_one_library_reads_what_the_folder_holds(exported, tmp_path):
    """Of a build with OpenVINO beside the kernels: the format of the export chooses."""
    pytest.importorskip('openvino')
    (checkpoint, model), rows = exported('classify'), records('classify', 20)
    export(ModelFolder(str(checkpoint)), str(tmp_path / 'model'), 'openvino')
    library = load_library(built())
    with CppModel(library, model, threads=1) as fused, CppModel(library, tmp_path / 'model', threads=1) as other:
        lines = [[json.dumps(row) for row in opened.predict(rows)] for opened in (fused, other)]
    assert compared(*lines)[1] < MOST
    with pytest.raises(UserError, match='found a model in fp32, expected one that was exported in int8'):
        CppModel(library, tmp_path / 'model', precision='int8')


@pytest.mark.parametrize('case', CASES[FUSED], ids=[case.name for case in CASES[FUSED]])
def test_hostile_inputs(programs, exported, tmp_path, case):
    code, said = outcome(case, programs, exported('classify')[1], tmp_path)
    if 'built without sentencepiece' in said:
        pytest.skip('built without sentencepiece')
    assert fault(case, code, said) is None, (code, said[:1000])
