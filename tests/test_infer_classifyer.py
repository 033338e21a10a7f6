"""infer_classifyer.py: exports, predicts with what it exported, one line per row; and what it says to mistakes."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from propeller.errors import UsageError, UserError
from propeller.graph import cuda_devices
from propeller.storage.fluid import write_variable
from tests.ernie.tiny_inference import LABELS, infer, records, texts, write_checkpoint
from tests.ernie.tiny_model import flags, messages, probabilities, run, table
from tests.ernie.tiny_reading import puzzles, squad, write_json

ROOT = Path(__file__).parents[1]
BATCH = 4


class Room:
    """A checkpoint of each kind and an export of it, in one folder."""

    def __init__(self, root):
        self.root, self.made = root, {}

    def checkpoint(self, kind='classify'):
        if kind not in self.made:
            self.made[kind] = write_checkpoint(self.root / 'made' / kind, kind)
        return self.made[kind]

    def exported(self, kind='classify'):
        target = self.root / 'exports' / f'{kind}_inference_model'
        if not target.exists():
            infer(init_checkpoint=self.checkpoint(kind), save_inference_model_path=self.root / 'exports')
        return target


@pytest.fixture(scope='module')
def room(tmp_path_factory):
    return Room(tmp_path_factory.mktemp('room'))


def pairs(path, count):
    """A TSV file of pairs with a label column, and its rows."""
    rows = [(i % 3, a, b) for i, (a, b) in enumerate(zip(texts(count), texts(count, 1), strict=True))]
    return table(path, rows, ['label', 'text_a', 'text_b'])


def cells(text):
    return np.array([[float(cell) for cell in line.split('\t')] for line in text.splitlines()])


@pytest.fixture
def classified(tmp_path, room):
    """Function (path, kind) -> probabilities of run_classifier with the same checkpoint, [N, C]."""

    def start(path, kind='classify'):
        kinds = {'is_classify': kind == 'classify', 'is_regression': kind == 'regression'}
        kinds |= {'is_classify': True, 'is_multilabel': True} if kind == 'multilabel' else {}
        save = tmp_path / 'classified'
        settings = {'init_checkpoint': room.checkpoint(kind), 'checkpoints': tmp_path / 'c', 'predict_batch_size': 3}
        run(**settings, **kinds, do_train=False, do_val=False, test_set=path, test_save=save)
        return probabilities(Path(f'{save}.0.0'))

    return start


def test_the_old_behaviour(tmp_path, room, classified, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = pairs(tmp_path / 'test.tsv', 2 * BATCH + 3)
    ran = infer(init_checkpoint=f'{room.checkpoint()}/', predict_set=path, batch_size=BATCH)
    assert np.abs(cells(ran.out) - classified(path)).max() < 1e-5
    lines = messages(ran.log)
    assert lines[0] == '-----------  Configuration Arguments -----------'
    assert 'hidden_size: 12' in lines
    assert 'disable gpu' in lines or cuda_devices()
    order = ['save inference model to inference_model/classify_inference_model']
    order += ['-------------- prediction results --------------']
    order += [f'{path}: prediction file with labels: they are ignored']
    places = [lines.index(line) for line in order]
    assert places == sorted(places)
    found = re.fullmatch(r'qps:([\d.]+)\ttotal_time:([\d.]+)\ttotal_example:11\tbatch_size:4', lines[-1])
    assert float(found[1]) * float(found[2]) == pytest.approx(11)
    files = {p.name for p in (tmp_path / 'inference_model/classify_inference_model').iterdir()}
    companions = {'vocab.txt', 'labels.json', 'ernie_config.json', 'inference.json', 'tokenizer_config.json'}
    assert files == {'model.json', 'model.pdiparams'} | companions


@pytest.mark.parametrize('kind', LABELS)
def test_every_number_of_rows_is_as_run_classifier_says(tmp_path, room, classified, kind):
    everything = None
    for count in (3 * BATCH + 1, 1, 2, BATCH, BATCH + 1, 2 * BATCH - 1, 3 * BATCH):
        path = pairs(tmp_path / f'{count}.tsv', 3 * BATCH + 1)
        lines = Path(path).read_text(encoding='utf-8').splitlines()[: count + 1]
        Path(path).write_text('\n'.join(lines) + '\n', encoding='utf-8')
        settings = {'init_checkpoint': room.exported(kind), 'batch_size': BATCH, 'length_window': 1 + count % 2}
        found = cells(infer(**settings, predict_set=path).out)
        everything = classified(path, kind) if everything is None else everything
        assert found.shape == (count, everything.shape[1])
        assert np.abs(found - everything[:count]).max() < 1e-5


def test_an_exported_folder_is_enough_by_itself(tmp_path, room):
    moved = tmp_path / 'elsewhere'
    room.exported().rename(moved)
    ran = infer(b'', init_checkpoint=moved, predict_set=pairs(tmp_path / 'a.tsv', 5), format='jsonl')
    results = [json.loads(line) for line in ran.out.splitlines()]
    assert [list(r['probabilities']) for r in results] == [list(LABELS['classify'])] * 5
    assert all(r['label'] == max(r['probabilities'], key=r['probabilities'].get) for r in results)
    assert not any('save inference model' in line for line in messages(ran.log))
    moved.rename(room.root / 'exports' / 'classify_inference_model')


def test_standard_input_to_a_file(tmp_path, room):
    rows = texts(11)
    expected = infer('\n'.join(rows).encode() + b'\n', init_checkpoint=room.exported(), predict_set='-', batch_size=3)
    assert len(expected.out.splitlines()) == 11
    output = tmp_path / 'new' / 'out.tsv'
    ran = infer(
        ''.join(json.dumps({'text_a': text}) + '\n' for text in rows).encode(),
        init_checkpoint=room.exported(),
        predict_set='-',
        batch_size=2,
        output=output,
    )
    assert ran.out == ''
    assert np.abs(cells(output.read_text()) - cells(expected.out)).max() < 1e-5


@pytest.mark.parametrize('engine', ['executor', 'onnxruntime', 'openvino'])
def test_engines_without_an_export_that_stays(tmp_path, room, engine, monkeypatch):
    if engine != 'executor' and not all(map(importlib.util.find_spec, (engine, 'onnxruntime', 'paddle2onnx'))):
        pytest.skip('not installed')
    monkeypatch.chdir(tmp_path)
    path = pairs(tmp_path / 'a.tsv', 7)
    settings = {'predict_set': path, 'init_checkpoint': room.checkpoint(), 'save_inference_model_path': ''}
    expected = infer(predict_set=path, init_checkpoint=room.exported())
    assert np.abs(cells(infer(**settings, engine=engine).out) - cells(expected.out)).max() < 1e-5
    assert [p.name for p in tmp_path.iterdir()] == ['a.tsv']


def test_tagging(room, tmp_path):
    rows = [r['text_a'] for r in records('tagging', 9)]
    path = table(tmp_path / 'a.tsv', [[text] for text in rows], ['text_a'])
    for kind in ('tagging', 'crf'):
        ran = infer(init_checkpoint=room.exported(kind), predict_set=path, format='jsonl', task='sequence_labeling')
        results = [json.loads(line) for line in ran.out.splitlines()]
        assert [r['text'] for r in results] == rows
        entities = [(r['text'], e) for r in results for e in r['entities']]
        assert len(entities) > 5
        assert all(text[e['start'] : e['end']] == e['text'] for text, e in entities)
        lines = infer(init_checkpoint=room.exported(kind), predict_set=path).out.split('\n')
        assert [len(line.split('\t')) if line else 0 for line in lines[:-1]] == [len(r['entities']) for r in results]


def test_reading_of_squad_json(room, tmp_path):
    paragraphs = puzzles(7, 2)
    path = write_json(tmp_path / 'dev.json', squad(*paragraphs))
    ran = infer(init_checkpoint=room.exported('reading'), predict_set=path, format='jsonl')
    results = [json.loads(line) for line in ran.out.splitlines()]
    assert [r['id'] for r in results] == [f'q2_{i}' for i in range(7)]
    for result, (context, _) in zip(results, paragraphs, strict=True):
        assert result['answer']
        assert context[result['start'] : result['end']] == result['answer']
    lines = infer(init_checkpoint=room.exported('reading'), predict_set=path).out.splitlines()
    assert lines[0].split('\t') == ['id', 'answer', 'start', 'end', 'probability']
    assert [line.split('\t')[1] for line in lines[1:]] == [r['answer'] for r in results]


# ------------------------------------------------------------------------------------------------ checkpoints of 2019


def fluid(folder, kind='classify'):
    """The same random model as a folder of 2019: parameters only."""
    from safetensors.numpy import load_file

    source = write_checkpoint(folder / 'source', kind)
    (folder / 'step_9').mkdir()
    for name, value in load_file(source / 'model.safetensors').items():
        write_variable(folder / 'step_9' / name, value)
    return folder / 'step_9', source


def test_a_checkpoint_of_2019_needs_the_flags_that_it_lacks(tmp_path, room):
    old, source = fluid(tmp_path)
    path = pairs(tmp_path / 'a.tsv', 5)
    settings = {'init_checkpoint': old, 'predict_set': path, 'save_inference_model_path': tmp_path / 'im'}
    with pytest.raises(UsageError, match='--ernie_config_path is missing'):
        infer(**settings)
    settings['ernie_config_path'] = source / 'ernie_config.json'
    with pytest.raises(UsageError, match='--vocab_path is missing'):
        infer(**settings)
    settings |= {'vocab_path': source / 'vocab.txt', 'max_seq_len': 15}
    expected = infer(init_checkpoint=room.exported(), predict_set=path)
    found = infer(**settings, format='jsonl')
    results = [json.loads(line)['probabilities'] for line in found.out.splitlines()]
    assert [list(r) for r in results] == [['0', '1', '2']] * 5
    assert np.abs(np.array([list(r.values()) for r in results]) - cells(expected.out)).max() < 1e-5
    names = tmp_path / 'labels.json'  # beside the parameters, and not what we call so in a checkpoint
    names.write_text(json.dumps({'nein': 2, 'ja': 0, 'jein': 1}))
    found = infer(**settings, format='jsonl', label_map_config=names, overwrite=())
    assert list(json.loads(found.out.splitlines()[0])['probabilities']) == ['ja', 'jein', 'nein']
    assert 'nein' not in json.loads((tmp_path / 'im/step_9_inference_model/labels.json').read_text())


def test_a_regression_of_2019_is_told_by_the_task(tmp_path):
    old, source = fluid(tmp_path, 'regression')
    files = {'ernie_config_path': source / 'ernie_config.json', 'vocab_path': source / 'vocab.txt'}
    settings = {'init_checkpoint': old, 'predict_set': pairs(tmp_path / 'a.tsv', 5), 'save_inference_model_path': ''}
    found = cells(infer(**settings, **files, task='regression').out)
    assert found.shape == (5, 1)
    assert np.ptp(found) > 0.01
    with pytest.raises(UserError, match='labels.json: found no such file, and a head of one output.*--task regression'):
        infer(**settings, **files)


# ----------------------------------------------------------------------------------------------------------- mistakes


def test_only_export(tmp_path, room):
    settings = {'init_checkpoint': room.checkpoint(), 'save_inference_model_path': tmp_path / 'im'}
    ran = infer(**settings, do_prediction=False, predict_set=tmp_path / 'not there.tsv')
    assert ran.out == ''
    assert messages(ran.log)[-1] == f'save inference model to {tmp_path}/im/classify_inference_model'
    ran = infer(**settings, overwrite=())
    assert messages(ran.log)[-1] == 'no --predict_set: nothing to predict'


def test_an_export_onto_a_folder_is_refused(tmp_path, room):
    settings = {'init_checkpoint': room.checkpoint(), 'save_inference_model_path': tmp_path}
    (tmp_path / 'classify_inference_model').mkdir()
    with pytest.raises(UserError, match=r'classify_inference_model: found a folder that exists.*--overwrite true'):
        infer(**settings)
    assert list((tmp_path / 'classify_inference_model').iterdir()) == []


def test_rows_that_were_cut_are_told(tmp_path, room):
    path = table(tmp_path / 'a.tsv', [['今天'], ['今天很热' * 200]], ['text_a'])
    ran = infer(init_checkpoint=room.exported(), predict_set=path)
    assert f'{path}: 1 of 2 rows do not fit into' in ran.log


def test_bad_rows(tmp_path, room):
    path = tmp_path / 'a.tsv'
    path.write_bytes(b'text_a\ttext_b\n1\t2\n3\n4\t5\n\xff\t6\n')
    settings = {'init_checkpoint': room.exported(), 'predict_set': path}
    output = tmp_path / 'out.tsv'
    with pytest.raises(UserError, match=r'a.tsv:3: found 1 cells, expected 2 as in the header'):
        infer(**settings, output=output)
    assert not output.exists()
    ran = infer(**settings, skip_bad_rows=True)
    assert [bool(line) for line in ran.out.split('\n')[:-1]] == [True, False, True, False]
    assert f'empty result for {path}:3: found 1 cells' in ran.log
    assert 'do not fit' not in ran.log
    ran = infer(**settings, skip_bad_rows=True, format='jsonl')
    results = [json.loads(line) for line in ran.out.splitlines()]
    assert [sorted(r) for r in results] == [['label', 'probabilities'], ['error']] * 2
    assert results[3]['error'].startswith('found byte 0xff')


@pytest.mark.parametrize(
    ('values', 'error', 'text'),
    [
        ({'init_checkpoint': None}, UsageError, '--init_checkpoint is missing'),
        ({'init_checkpoint': '/no/where'}, UserError, '/no/where: found no such folder'),
        ({'predict_set': '/no/where.tsv'}, UserError, '/no/where.tsv: found no such file'),
        ({'output': '/proc/no/where.tsv'}, UserError, 'cannot write there'),
        ({'task': 'mrc'}, UserError, r'found a checkpoint of the task classification \(classify\), expected mrc'),
        ({'task': 'regression'}, UserError, r'task classification \(classify\), expected regression'),
        ({'num_labels': 2}, UsageError, '--num_labels 2: the model has 3'),
        ({'num_labels': 0}, UsageError, '--num_labels 0: expected at least 1'),
        ({'batch_size': 0}, UsageError, '--batch_size 0'),
        ({'max_seq_len': 2}, UsageError, '--max_seq_len 2: expected at least 3'),
        ({'max_seq_len': 18}, UsageError, '--max_seq_len 18: the model has 17 positions'),
        ({'use_fp16': True}, UsageError, '--use_fp16 true'),
        ({'tokenizer': 'Nonsense'}, UsageError, '--tokenizer Nonsense: expected one of FullTokenizer'),
        ({'precision': 'bf16', 'engine': 'executor'}, UsageError, '--precision bf16: --engine executor cannot'),
        ({'export_format': 'onnx'}, UsageError, '--export_format onnx: --engine predictor reads paddle'),
        ({'input_format': 'squad'}, UsageError, 'only a model of the task mrc'),
        ({'predict_set': None, 'save_inference_model_path': ''}, UsageError, 'nothing to do'),
        ({'label_map_config': '/no/map.json'}, UserError, '/no/map.json'),
        ({'vocab_path': '/no/vocab.txt'}, UserError, '/no/vocab.txt'),
        ({'ernie_config_path': '/no/config.json'}, UserError, '/no/config.json'),
    ],
)
def test_mistakes(tmp_path, room, values, error, text):
    right = {'init_checkpoint': room.checkpoint(), 'predict_set': pairs(tmp_path / 'a.tsv', 3)}
    right['save_inference_model_path'] = tmp_path / 'im'
    with pytest.raises(error, match=text):
        infer(**(right | values))


@pytest.mark.parametrize('what', ['input', 'link', 'hard link', 'vocabulary', 'parameters', 'standard input'])
def test_what_is_read_is_not_written(tmp_path, what):
    checkpoint, given = write_checkpoint(tmp_path / 'checkpoint'), tmp_path / 'a.tsv'
    pairs(given, 3)
    (tmp_path / 'link').symlink_to('a.tsv')
    (tmp_path / 'hard').hardlink_to(given)
    output = {
        'link': tmp_path / 'link',
        'hard link': tmp_path / 'hard',
        'vocabulary': checkpoint / 'vocab.txt',
        'parameters': checkpoint / 'model.safetensors',
    }.get(what, given)
    before = output.read_bytes()
    values = {'init_checkpoint': checkpoint, 'predict_set': given, 'output': output, 'save_inference_model_path': ''}
    if what == 'standard input':
        command = [sys.executable, ROOT / 'infer_classifyer.py', *flags(**(values | {'predict_set': '-'}))]
        with open(given, 'rb') as stdin:
            done = subprocess.run(command, stdin=stdin, capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].endswith('a.tsv: the same file as standard input, which is read. '
                                                     'Choose another --output.')  # fmt: skip
    else:
        with pytest.raises(UserError, match='the same file as .*, which is read. Choose another --output'):
            infer(**values)
    assert output.read_bytes() == before and output.is_symlink() == (what == 'link')


def test_what_is_read_does_not_lie_in_what_is_replaced(tmp_path):
    checkpoint, target = write_checkpoint(tmp_path / 'best'), tmp_path / 'im' / 'best_inference_model'
    target.mkdir(parents=True)
    pairs(target / 'a.tsv', 3)
    (tmp_path / 'link.tsv').symlink_to(target / 'a.tsv')
    with pytest.raises(UserError, match='link.tsv: is read, and lies in .*im/best_inference_model, which --overwrite'):
        infer(
            init_checkpoint=checkpoint,
            predict_set=tmp_path / 'link.tsv',
            save_inference_model_path=tmp_path / 'im',
            overwrite=True,
        )
    assert (target / 'a.tsv').exists()


@pytest.mark.parametrize('kind', ['classify', 'tagging'])
def test_labels_that_the_model_does_not_have(tmp_path, room, kind):
    saved = json.loads((room.checkpoint(kind) / 'labels.json').read_text(encoding='utf-8'))
    right = {'init_checkpoint': room.checkpoint(kind), 'predict_set': pairs(tmp_path / 'a.tsv', 3)}
    right['save_inference_model_path'] = ''
    number, path = saved['num_labels'], tmp_path / 'map.json'
    with pytest.raises(UsageError, match=f'--num_labels {number + 1}: the model has {number} classes'):
        infer(**right, num_labels=number + 1)
    path.write_text(json.dumps(saved['label_map'] | {'I-MISC': number}))
    with pytest.raises(UsageError, match=rf'map\.json has {number + 1} classes; the model has {number}\.'):
        infer(**right, label_map_config=path)
    ids = list(saved['label_map'].values())
    path.write_text(json.dumps(dict(zip(saved['label_map'], [*ids[1:], ids[0]], strict=True))))
    with pytest.raises(UserError, match=r'map\.json: found other labels than those of the checkpoint; leave out'):
        infer(**right, label_map_config=path)


@pytest.mark.parametrize(
    ('values', 'text'),
    [
        ({'engine': 'openvino'}, r'--engine openvino: the model in .* is paddle; give --engine executor or predictor'),
        ({'predict_set': None}, 'is exported already'),
        ({'ernie_config_path': 'x'}, 'has the configuration that it was made with'),
        ({'num_labels': 4}, '--num_labels 4: the model has 3'),
    ],
)
def test_mistakes_with_an_exported_model(tmp_path, room, values, text):
    right = {'init_checkpoint': room.exported(), 'predict_set': pairs(tmp_path / 'a.tsv', 3)}
    with pytest.raises(UsageError, match=text):
        infer(**(right | values))


@pytest.mark.parametrize(
    ('name', 'content', 'text'),
    [
        ('labels.json', '{"task": "poetry"}', "labels.json: found task 'poetry', expected one of classification"),
        ('labels.json', '{"task": ["x"]}', 'labels.json: found task'),
        ('labels.json', '{"labels": ["a"]}', 'labels.json: found 1 labels, expected 3'),
        ('labels.json', '{"task": "mrc", "label_map": 3}', 'labels.json: found label_map 3'),
        ('labels.json', '{"task": "sequence_labeling"}', 'labels.json: found no label_map'),
        ('labels.json', '{"max_seq_len": "long"}', "labels.json: found max_seq_len 'long'"),
        ('labels.json', '{', 'labels.json:1: found bad JSON'),
        ('inference.json', '{}', 'inference.json: found format None'),
        ('inference.json', '[]', 'inference.json: found a JSON list'),
        ('ernie_config.json', '{}', 'ernie_config.json: key'),
        ('vocab.txt', '[PAD]\n', 'vocab.txt'),
    ],
)
def test_damaged_folders(tmp_path, room, name, content, text):
    folder = tmp_path / 'c'
    write_checkpoint(folder)
    (folder / name).write_text(content)
    settings = {'predict_set': pairs(tmp_path / 'a.tsv', 3), 'save_inference_model_path': tmp_path / 'im'}
    with pytest.raises(UserError, match=re.escape(text).replace(r'\ ', ' ')):
        infer(init_checkpoint=folder, **settings)


@pytest.mark.skipif(bool(cuda_devices()), reason='a GPU is here')
def test_a_gpu_that_is_not_there_is_refused_only_when_asked_for(tmp_path, room):
    path = pairs(tmp_path / 'a.tsv', 3)
    with pytest.raises(UserError, match='--use_cuda true, but'):
        infer(init_checkpoint=room.exported(), predict_set=path, use_cuda=True)
    assert 'disable gpu' in infer(init_checkpoint=room.exported(), predict_set=path).log


def test_the_programs_as_a_shell_sees_them(tmp_path, room):
    command = [sys.executable, ROOT / 'infer_classifier.py', *flags(init_checkpoint=room.exported(), predict_set='-')]
    done = subprocess.run(command, input='好\n坏\n', capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, cells(done.stdout).shape) == (0, (2, 3)), done.stderr
    done = subprocess.run([sys.executable, ROOT / 'infer_classifyer.py'], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == 'error: --init_checkpoint is missing: the folder of the model.'
    assert 'Traceback' not in done.stderr
