"""The programs and the library of `inference/`: the results of Python, line by line, from the same exported models."""

import concurrent.futures
import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark.acceptance.cpp_executor import compared
from benchmark.acceptance.cpp_hostile import CASES, fault, outcome
from benchmark.cpp import SOURCE, load_library
from ernie.inference.engines import MOST_TOKENS
from ernie.inference.export import export
from ernie.inference.folder import ModelFolder
from ernie.inference.vectors import VectorFolder
from ernie.programs import EXPORT
from ernie.tokenizers.subword_files import PICKLED_WORDS, PLAIN_WORDS
from tests.cpp import assert_lines, built, resident_share
from tests.ernie.int8_run import classified, openvino_needed, write_run
from tests.ernie.tiny_inference import KINDS, infer, records, texts, write_checkpoint
from tests.ernie.tiny_model import CONFIG, TASK_CONFIG, VOCABULARY
from tests.ernie.tiny_subword import SENTENCES, subword_folder

pytestmark = pytest.mark.slow  # the first of them may compile the library
pytest.importorskip('openvino')


@pytest.fixture(scope='module')
def programs():
    return built()


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """Function (kind, form) -> the export of a small model; 'checkpoint' as form: what it is made of."""
    root, made = tmp_path_factory.mktemp('exports'), {}

    def of(kind, form='onnx'):
        checkpoint, target = root / f'{kind}-checkpoint', root / f'{kind}-{form}'
        if checkpoint not in made:
            config = {'config': TASK_CONFIG} if kind == 'tagging' else {}
            made[checkpoint] = write_checkpoint(checkpoint, 'classify' if kind == 'vectors' else kind, **config)
        if target not in made:
            folder = (
                VectorFolder(str(checkpoint), pooling='mean') if kind == 'vectors' else ModelFolder(str(checkpoint))
            )
            if form != 'checkpoint':
                export(folder, str(target), form)
            made[target] = target if form != 'checkpoint' else checkpoint
        return made[target]

    return of


@pytest.fixture
def predict(programs):
    """Function (model, file, flags) -> `CompletedProcess` of ernie_predict."""

    def run(model, *args, stdin=b''):
        command = [programs / 'ernie_predict', model, *map(str, args), '--threads', '1']
        return subprocess.run(command, input=stdin, capture_output=True)

    return run


def lines_of(path, rows):
    path.write_text(''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in rows), encoding='utf-8')
    return path


def python(model, path, **values):
    """The lines of infer_classifyer.py."""
    given = {'init_checkpoint': model, 'predict_set': path, 'engine': 'openvino', 'format': 'jsonl', 'cpu_threads': 1}
    return infer(**given | values).out.splitlines()


def lines(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().splitlines()


@pytest.mark.parametrize('kind', KINDS)
def test_results_are_those_of_python(exported, predict, tmp_path, kind):
    model, path = exported(kind), lines_of(tmp_path / 'rows.jsonl', records(kind, 150, seed=3))
    chosen = {} if kind == 'regression' else {'min_confidence': 0.3}
    for given in ({'carry': True}, chosen, {'top_k': 2} if kind in ('classify', 'multilabel', 'reading') else {}):
        expected = python(model, path, batch_size=16, **given)
        flags = [part for name, value in given.items() for part in (f'--{name}', json.dumps(value))]
        found = lines(predict(model, path, '--batch_size', 16, *flags))
        assert len(found) == 150
        assert_lines(found, expected)


@pytest.mark.parametrize('kind', KINDS)
def test_numbers_are_those_of_the_executor(exported, predict, tmp_path, kind):
    """Pairs are among the rows of classify, regression and multilabel."""
    path = lines_of(tmp_path / 'rows.jsonl', records(kind, 60, seed=5))
    given = {'save_inference_model_path': '', 'engine': 'executor', 'batch_size': 16}
    expected = python(exported(kind, 'checkpoint'), path, **given)
    found = lines(predict(exported(kind, 'openvino'), path, '--batch_size', 16))
    count, largest = compared(expected, found)
    assert count >= 60 and largest < 1e-5


@pytest.mark.parametrize('kind', ['classify', 'tagging'])
def test_large_batches_are_parted_as_in_python(exported, predict, tmp_path, kind):
    rows = [{'text_a': '好美的人' * 5} for _ in range(157)]  # of 15 tokens each, which are two parts
    path = lines_of(tmp_path / 'rows.jsonl', records(kind, 3, seed=7) + rows)
    assert MOST_TOKENS < 15 * 160
    found = lines(predict(exported(kind), path, '--batch_size', 160))
    assert_lines(found, python(exported(kind), path, batch_size=160))
    apart = lines(predict(exported(kind), path, '--batch_size', 7))
    assert compared(apart, found)[1] < 1e-5


def test_pages_of_weights_are_given_back(programs, tmp_path):
    def exported(checkpoint):
        export(ModelFolder(str(checkpoint)), str(tmp_path / 'model'), 'openvino')
        return tmp_path / 'model'

    assert resident_share(programs, exported, 'model.bin', tmp_path) < 1 / 4


@pytest.mark.parametrize(
    'settings',
    [
        {'truncation': 'tail'},
        {'truncation': 'head+tail', 'for_cn': False},
        {'drop_html_breaks': True, 'columns': ['text_a', 'text_b']},
        {'columns': ['text_a'], 'column_names': {'text_a': '评论'}},
    ],
)
def test_how_texts_are_read_is_what_the_model_says(exported, predict, tmp_path, settings):
    model = shutil.copytree(exported('classify'), tmp_path / 'model')
    said = json.loads((model / 'labels.json').read_text(encoding='utf-8'))
    (model / 'labels.json').write_text(json.dumps(said | settings, ensure_ascii=False), encoding='utf-8')
    rows = records('classify', 80, seed=4)
    for i, row in enumerate(rows):
        row['text_a'] += '<br />好 <BR>坏 fine < br>' if i % 3 else ' ' * i
        if settings.get('columns') == ['text_a']:
            rows[i] = {'评论': row['text_a'], 'text_a': None, 'id': i, 'x': 1.5e-7}
        elif 'columns' in settings:
            row['text_b'] = '的 好'
    if settings.get('columns') == ['text_a']:
        rows = [{key: value for key, value in row.items() if key != 'text_a'} for row in rows]
    path = lines_of(tmp_path / 'rows.jsonl', rows)
    assert_lines(lines(predict(model, path, '--carry', 'true')), python(model, path, carry=True))


def changed_json(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text(encoding='utf-8')) | values), encoding='utf-8')


def exported_to(folder, checkpoint):
    export(ModelFolder(str(checkpoint)), str(folder), 'onnx')
    return folder


@pytest.mark.parametrize('kind', ['classify', 'reading'])
def test_subwords_of_ernie_tiny(predict, tmp_path, kind):
    pytest.importorskip('sentencepiece')
    tokens = subword_folder(tmp_path / 'tokenizer')
    checkpoint = write_checkpoint(tmp_path / 'checkpoint', kind, CONFIG | {'vocab_size': len(tokens)})
    shutil.copytree(tmp_path / 'tokenizer', checkpoint, dirs_exist_ok=True)
    changed_json(checkpoint / 'labels.json', tokenizer='SubwordTokenizer')
    model = exported_to(tmp_path / 'model', checkpoint)
    assert (model / PLAIN_WORDS).is_file() and not (model / PICKLED_WORDS).exists()
    said = [f'{a}{b}' for a, b in zip(SENTENCES * 9, texts(len(SENTENCES) * 9, 2), strict=True)]
    if kind == 'reading':
        rows = [{'id': str(i), 'question': text[:5], 'context': text * 3} for i, text in enumerate(said)]
    else:
        rows = [{'text_a': text, 'text_b': 'Ärger ½ ﷺ'} if i % 2 else {'text_a': text} for i, text in enumerate(said)]
    path = lines_of(tmp_path / 'rows.jsonl', rows)
    done = predict(model, path, '--batch_size', 16)
    if b'built without sentencepiece' in done.stderr:
        pytest.skip('built without sentencepiece')
    assert_lines(lines(done), python(model, path, batch_size=16))


def test_words_of_a_student(predict, tmp_path):
    config = {'encoder': 'bow', 'vocab_size': len(VOCABULARY), 'emb_size': 7, 'hidden_size': 6, 'num_hidden_layers': 1,
              'max_position_embeddings': 17, 'initializer_range': 0.5}  # fmt: skip
    checkpoint = write_checkpoint(tmp_path / 'checkpoint', 'classify', config)
    changed_json(checkpoint / 'labels.json', tokenizer='WordTokenizer', for_cn=False, columns=['text_a'])
    model = exported_to(tmp_path / 'model', checkpoint)
    rows = [{'text_a': ' '.join(text)} for text in texts(100, 3, most=9) if ' ' not in text]
    rows.append({'text_a': '好 FINE\u3000[UNK] 好美'})
    path = lines_of(tmp_path / 'rows.jsonl', rows)
    done = predict(model, path, '--batch_size', 16)
    assert_lines(lines(done), python(model, path, batch_size=16))
    assert len(lines(done)) == 81 and not done.stderr
    done = predict(model, '--text', '人在这中大来上国')
    assert b'reads words with spaces between them' in done.stderr
    changed_json(model / 'tokenizer_config.json', lexer='rjieba')
    done = predict(model, path)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert b'found lexer \'"rjieba"\', expected spaces' in done.stderr


def test_the_files_of_openvino_are_read(exported, predict, tmp_path):
    """`model.xml`, as an export in int8 has it: here of products in fp32, whose numbers are known."""
    import openvino

    model = shutil.copytree(exported('classify'), tmp_path / 'model')
    openvino.save_model(openvino.convert_model(model / 'model.onnx'), model / 'model.xml', compress_to_fp16=False)
    (model / 'model.onnx').unlink()
    changed_json(model / 'inference.json', format='openvino', precision='int8')
    path = lines_of(tmp_path / 'rows.jsonl', records('classify', 60, seed=5))
    found = lines(predict(model, path, '--batch_size', 16))
    assert_lines(found, python(model, path, batch_size=16))
    assert found == lines(predict(exported('classify'), path, '--batch_size', 16))
    (model / 'model.bin').unlink()
    done = predict(model, path)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert b'OpenVINO cannot' in done.stderr


@openvino_needed
def test_an_export_in_int8(predict, tmp_path):
    checkpoint = write_run(tmp_path, train_set=str(tmp_path / 'train.tsv'), dev_set=str(tmp_path / 'dev.tsv'))
    folder = ModelFolder(str(checkpoint))
    for name, count, seed in (('train', 60, 1), ('dev', 20, 2)):
        classified(tmp_path / f'{name}.tsv', folder, count, seed)
    given = ['--precision', 'int8', '--max_drop', '50', '--save_inference_model_path', str(tmp_path)]
    EXPORT.main([str(checkpoint), *given])
    (model,) = tmp_path.glob('*_int8')
    path = lines_of(tmp_path / 'rows.jsonl', records('classify', 80, seed=5))
    found = lines(predict(model, path, '--batch_size', 16))
    assert len(found) == 80
    assert_lines(found, python(model, path, batch_size=16))


def test_forms_of_input(exported, predict, tmp_path):
    model = exported('classify')
    table = tmp_path / 'rows.tsv'
    table.write_bytes('\ufefftext_a\tlabel \ttext_b\r\n好的\t1\t坏\n\n\t\t\n"很\t0\t\n  \n\n'.encode())
    flags = ['--carry', 'true', '--skip_bad_rows', 'true']
    expected = python(model, table, carry=True, skip_bad_rows=True)
    assert_lines(lines(predict(model, table, *flags)), expected)
    assert [json.loads(line).get('error') for line in expected] == [None, 'found 1 cells, expected 3 as in the header '
                                                                    '(text_a, label, text_b)', None, None]  # fmt: skip
    text = tmp_path / 'rows.txt'
    text.write_bytes('好的\r\n\n  x {"a"\t\n'.replace('\t', ' ').encode() + b'\xff\n')
    expected = python(model, text, carry=True, skip_bad_rows=True, input_format='text')
    assert_lines(lines(predict(model, text, *flags)), expected)
    assert_lines(lines(predict(model, '-', *flags, stdin=text.read_bytes())), expected)
    assert_lines(lines(predict(model, '--text', '好的', *flags)), expected[:1])


def test_rows_that_cannot_be_used(exported, predict, tmp_path):
    model, path = exported('classify'), tmp_path / 'rows.jsonl'
    content = b'{"text_a": "a"}\n\n[1]\n{"text_b": "b"}\n{}\n{"text_a": 7}\n{"text_a": null}\n\xff\n'
    path.write_bytes(content + b'{"text_a": "b", "y": [NaN, -Infinity, 1e999]}\n')
    found = lines(predict(model, path, '--skip_bad_rows', 'true'))
    expected = python(model, path, skip_bad_rows=True)
    assert_lines(found, expected)
    assert ['error' in json.loads(line) for line in found] == [False, *[True] * 6, False]
    done = predict(model, path)
    assert done.returncode == 1
    assert f'{path}:3: found' in done.stderr.decode()


def test_threads_streams_and_windows_change_nothing(exported, predict, tmp_path):
    model, path = exported('tagging'), lines_of(tmp_path / 'rows.jsonl', records('tagging', 100, seed=6))
    one = [json.loads(line) for line in lines(predict(model, path, '--batch_size', 7))]
    args = ['--batch_size', '7', '--threads', '2', '--streams', '2', '--length_window', '3']
    command = subprocess.run(
        [built() / 'ernie_predict', model, path, *args, '--output', tmp_path / 'out'], capture_output=True
    )
    assert (command.returncode, command.stdout) == (0, b'')
    two = [json.loads(line) for line in (tmp_path / 'out').read_text(encoding='utf-8').splitlines()]
    assert [e['text'] for row in one for e in row['entities']] == [e['text'] for row in two for e in row['entities']]
    confidences = [[e['confidence'] for row in rows for e in row['entities']] for rows in (one, two)]
    np.testing.assert_allclose(*confidences, atol=1e-5)


def test_lists_of_tokens_are_tagged(exported, predict, tmp_path):
    model = shutil.copytree(exported('tagging'), tmp_path / 'model')
    said = json.loads((model / 'labels.json').read_text(encoding='utf-8'))
    rows = [
        {'text_a': list('好美的人')},
        {'text_a': ['fine', 'poor', '好', '', 'x']},
        {'text_a': '好\x02美'},
        {'text_a': '3.5 fine-ly 好。'},
    ]
    path = lines_of(tmp_path / 'rows.jsonl', rows)
    for cut in (None, {'rule': 'characters', 'tokens': ['space']}, {'rule': 'words', 'inside': '.-', 'before': '$'}):
        (model / 'labels.json').write_text(json.dumps(said | ({'token_cut': cut} if cut else {})), encoding='utf-8')
        for carry in ('true', 'false'):
            assert_lines(lines(predict(model, path, '--carry', carry)), python(model, path, carry=carry == 'true'))


def test_vectors(exported, predict, tmp_path):
    import ernie

    path = lines_of(tmp_path / 'rows.jsonl', records('classify', 20))
    found = [json.loads(line)['vector'] for line in lines(predict(exported('vectors'), path))]
    with ernie.load(exported('vectors'), task='embedding', engine='openvino') as model:
        np.testing.assert_allclose(found, model(records('classify', 20)), atol=1e-5)


def test_the_samples_of_2019(programs, exported, predict, tmp_path):
    texts = ['好的', '坏']
    path = lines_of(tmp_path / 'rows.jsonl', [{'text_a': text} for text in texts])
    expected = [list(json.loads(line)['probabilities'].values()) for line in lines(predict(exported('classify'), path))]
    vocabulary = (exported('classify') / 'vocab.txt').read_text(encoding='utf-8').split('\n')
    ids = [[1, *map(vocabulary.index, text), 2, *[0] * (2 - len(text))] for text in texts]
    flat = lambda rows: '2 4 1:' + ' '.join(str(x) for row in rows for x in row)  # noqa: E731
    positions = [[i if token else 0 for i, token in enumerate(row)] for row in ids]
    mask = [[float(token > 0) for token in row] for row in ids]
    samples = tmp_path / 'samples'
    samples.write_text(';'.join(map(flat, (ids, np.zeros((2, 4), int), positions, mask))) + '\n1 2\n', encoding='utf-8')
    command = [programs / 'inference', '--logtostderr', '--model_dir', exported('classify'), '--data', samples]
    done = subprocess.run([*command, '--repeat', '3', '--output_prediction', 'true'], capture_output=True, text=True)
    assert done.returncode == 0
    found = [list(map(float, line.split('\t'))) for line in done.stdout.splitlines()]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert f'{samples}:2: Parse line[2] error! found no colon' in done.stderr
    assert 'Run 2 samples, average latency: ' in done.stderr
    assert 'Run 3 times.' in done.stderr
    environ = os.environ | {'BUILD': str(programs.relative_to(SOURCE)), 'PYTHON': sys.executable}
    script = ['sh', SOURCE / 'run.sh', samples, exported('classify')]
    again = subprocess.run(script, capture_output=True, text=True, env=environ)
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert 'Run 5 times.' in again.stderr
    assert subprocess.run(script[:3], capture_output=True).returncode == 2


def opened(programs, model, settings=None):
    """(library, model) of the C interface."""
    library, error = load_library(programs), ctypes.create_string_buffer(1000)
    library.ernie_open.restype = library.ernie_predict.restype = ctypes.c_void_p
    given = None if settings is None else json.dumps(settings).encode()
    made = library.ernie_open(str(model).encode(), given, error, len(error))
    assert made or error.value
    return library, ctypes.c_void_p(made), error.value.decode()


def called(library, model, values):
    """What `ernie_predict` gives."""
    error = ctypes.create_string_buffer(1000)
    content = values if isinstance(values, bytes) else json.dumps(values).encode()
    text = library.ernie_predict(model, content, error, len(error))
    if not text:
        return error.value.decode()
    result = ctypes.string_at(text).decode()
    library.ernie_free_text(ctypes.c_void_p(text))
    return result


def test_four_threads_call_one_model(programs, exported, predict, tmp_path):
    rows = records('multilabel', 60, seed=8)
    path = lines_of(tmp_path / 'rows.jsonl', rows)
    library, model, _ = opened(programs, exported('multilabel'), {'threads': 2, 'streams': 2, 'batch_size': 9})
    alone = called(library, model, rows)
    # Of rows one by one the last digits differ.
    expected = [json.loads(line)['probabilities'] for line in lines(predict(exported('multilabel'), path))]
    found = [row['probabilities'] for row in json.loads(alone)]
    np.testing.assert_allclose([list(a.values()) for a in found], [list(b.values()) for b in expected], atol=1e-5)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: called(library, model, rows), range(20))) == [alone] * 20
    library.ernie_free(model)


def test_the_library_says_what_is_wrong(programs, exported, tmp_path):
    assert 'no such folder' in opened(programs, tmp_path / 'nothing')[2]
    shutil.copytree(exported('classify'), tmp_path / 'cut')
    words = (tmp_path / 'cut/vocab.txt').read_text(encoding='utf-8').splitlines(keepends=True)
    (tmp_path / 'cut/vocab.txt').write_text(''.join(words[:-2]), encoding='utf-8')
    said = f'found {len(words) - 2} tokens, expected {len(words)}, as {tmp_path}/cut/tokenizer_config.json says'
    assert said in opened(programs, tmp_path / 'cut')[2]
    for settings in ({'thread': 1}, {'threads': 0}, {'precision': 'fp16'}, [], {'min_confidence': 2}):
        assert 'the settings: found' in opened(programs, exported('classify'), settings)[2]
    library, model, _ = opened(programs, exported('classify'), {'threads': 1, 'min_confidence': 0})
    assert 'no list' in called(library, model, {})
    assert 'bad JSON' in called(library, model, b'[')
    assert called(library, model, []) == '[]'
    results = json.loads(called(library, model, ['好', 7, {'text_a': '好'}, {'x': 1}]))
    assert results[0] == results[2]
    assert set(results[0]) == {'label', 'confidence', 'probabilities'}
    assert results[1] == {'error': 'found a int, expected a text or an object'}
    assert results[3]['error'].startswith('found nothing as text_a')
    library.ernie_free(model)


def test_installed_it_is_found_by_cmake_and_the_examples_run(programs, exported, tmp_path):
    subprocess.run(['cmake', '--install', programs, '--prefix', tmp_path / 'usr'], check=True, capture_output=True)
    project = tmp_path / 'project'
    project.mkdir()
    shutil.copy(SOURCE / 'examples' / 'predict.c', project)
    (project / 'CMakeLists.txt').write_text(
        'cmake_minimum_required(VERSION 3.18)\nproject(example C CXX)\nfind_package(ernie 1 REQUIRED)\n'
        'add_executable(shared predict.c)\ntarget_link_libraries(shared ernie::ernie)\n'
        'add_executable(static predict.c)\ntarget_link_libraries(static ernie::ernie_static)\n'
        'set_target_properties(static PROPERTIES LINKER_LANGUAGE CXX)\n',
        encoding='utf-8',
    )
    for command in (
        ['-S', project, '-B', project / 'b', f'-DCMAKE_PREFIX_PATH={tmp_path / "usr"}'],
        ['--build', project / 'b'],
    ):
        done = subprocess.run(['cmake', *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    model = exported('classify')
    (library,) = (tmp_path / 'usr').rglob('libernie.so')
    example = [sys.executable, SOURCE / 'examples' / 'predict.py', library]
    found = [
        subprocess.run([*command, model, '好'], capture_output=True, text=True, check=True).stdout
        for command in ([project / 'b/shared'], [project / 'b/static'], example)
    ]
    assert found[0] == found[1]
    assert json.loads(found[0]) == [json.loads(found[2])]
    assert (
        json.loads(found[2])['label'] in json.loads(Path(model / 'labels.json').read_text(encoding='utf-8'))['labels']
    )


@pytest.mark.parametrize('case', CASES['onnx'], ids=[case.name for case in CASES['onnx']])
def test_hostile_inputs(programs, exported, tmp_path, case):
    code, said = outcome(case, programs, exported('classify'), tmp_path)
    if 'built without sentencepiece' in said:
        pytest.skip('built without sentencepiece')
    assert fault(case, code, said) is None, (code, said[:1000])
