"""`ernie.load`: the results of infer_classifyer.py and the vectors of ernie_encoder.py, for whatever is given."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

import ernie
from ernie.inference.folder import ModelFolder
from propeller.errors import UsageError, UserError
from propeller.graph import cuda_devices
from tests.ernie.tiny_inference import KINDS, describe, infer, records, texts, write_checkpoint
from tests.ernie.tiny_model import flags, table


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """Function kind -> (checkpoint, its export), each made once."""
    root, found = tmp_path_factory.mktemp('made'), {}

    def make(kind='classify'):
        if kind not in found:
            folder = write_checkpoint(root / kind, kind)
            if kind == 'classify':
                labels = describe(kind) | {'columns': ['text_a', 'text_b']}
                (folder / 'labels.json').write_text(json.dumps(labels))
            infer(init_checkpoint=folder, save_inference_model_path=root, use_cuda=False)
            found[kind] = folder, root / f'{kind}_inference_model'
        return found[kind]

    return make


def printed(folder, rows, engine='predictor', **values):
    """What infer_classifyer.py prints for records, as results."""
    lines = ''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in rows).encode()
    settings = {'predict_set': '-', 'format': 'jsonl', 'input_format': 'jsonl', 'engine': engine}
    ran = infer(lines, init_checkpoint=folder, **settings, **values)
    return [json.loads(line) for line in ran.out.splitlines()]


@pytest.mark.parametrize('kind', KINDS)
def test_it_gives_what_the_program_prints(made, kind):
    checkpoint, exported = made(kind)
    rows = records(kind, 9, seed=2)
    if kind == 'classify':
        rows = [{'text_b': '好', **row} for row in rows]
    expected = printed(exported, rows)
    # A checkpoint makes an export of its own: seconds.
    for folder in (exported, str(checkpoint)) if kind in ('classify', 'crf') else (exported,):
        with ernie.load(folder, engine='predictor', batch_size=32) as model:
            assert model(rows) == expected
            assert next(model(iter(rows))) == expected[0]


def test_the_executor_needs_no_export(made, monkeypatch):
    checkpoint, exported = made('crf')
    rows = records('crf', 5)
    expected = printed(exported, rows, 'executor')
    monkeypatch.setattr('ernie.api.export', None)
    assert ernie.load(checkpoint, engine='executor')(rows) == expected
    assert ernie.load(exported, engine='executor')(rows) == expected


def test_what_may_be_given(made):
    pairs = ernie.load(made()[1], 'classification', engine='executor', device='cpu')
    rows = [('好', '坏'), {'text_a': '我在', 'text_b': '大来'}, ('好', '')]
    alone = [pairs(row) for row in rows]
    assert [result.keys() for result in alone] == [{'label', 'probabilities'}] * 3
    for found in (pairs(rows), pairs(np.array(rows, object)), list(pairs(row for row in rows))):
        assert [close(result) for result in found] == alone
    assert pairs([]) == [] and list(pairs(iter([]))) == []
    single = ernie.load(made('multilabel')[1], engine='executor')
    assert single('好') == single({'text_a': '好'}) == single([('好',)])[0]
    reader = ernie.load(made('reading')[1], engine='executor')
    question = {'question': '有好', 'context': '在中大来上海国'}
    assert reader(('有好', '在中大来上海国')) == reader(question)
    assert reader(question | {'id': '7'})['id'] == '7'


def close(value):
    """A result whose numbers are equal to those of other batches but for their last digits."""
    if isinstance(value, dict):
        return {key: close(v) for key, v in value.items()}
    return pytest.approx(value, rel=1e-4) if isinstance(value, float) else value


def test_an_iterator_is_taken_as_far_as_it_must(made):
    model, taken = ernie.load(made('tagging')[1], engine='executor', batch_size=3, length_window=2), []
    rows = texts(5)
    found = model(taken.append(text) or text for text in itertools.cycle(rows))
    first = list(itertools.islice(found, 20))
    assert [result['text'] for result in first] == (rows * 4)
    assert len(taken) <= 20 + 4 * 6
    found.close()


def test_several_threads(made):
    model, rows = ernie.load(made('multilabel')[1]), texts(12)
    other = ernie.load(made('multilabel')[0], engine='executor')
    expected, found = [close(result) for result in model(rows)], {}

    def work(number):
        found[number] = [(other if number % 2 else model)(rows) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results for number in range(4) for results in found[number]] == [expected] * 20


class Frame:
    """What a table of pandas looks like: iterated over, it gives the names of its columns."""

    columns = ('text_a',)

    def __len__(self):
        return 2

    def __iter__(self):
        return iter(self.columns)

    def to_dict(self, orient):
        return [{'text_a': '好'}] * 2


def test_a_table_is_not_taken_for_the_names_of_its_columns(made):
    model = ernie.load(made('multilabel')[1], engine='executor')
    with pytest.raises(UserError, match=r"a table \(Frame\).*df\['text_a'\] has texts"):
        model(Frame())
    assert len(model(Frame().to_dict('records'))) == 2


def test_a_folder_that_lost_its_labels_is_no_classifier(made, tmp_path):
    checkpoint, exported = made('regression')
    shutil.copytree(exported, tmp_path / 'export')
    os.remove(tmp_path / 'export' / 'labels.json')
    with pytest.raises(UserError, match='export/labels.json: found no such file, expected the task and labels'):
        ernie.load(tmp_path / 'export')
    shutil.copytree(checkpoint, tmp_path / 'checkpoint')
    os.remove(tmp_path / 'checkpoint' / 'labels.json')
    with pytest.raises(UserError, match='a head of one output, expected that file, or --task regression'):
        ernie.load(tmp_path / 'checkpoint', engine='executor')
    (tmp_path / 'checkpoint' / 'training_state.json').write_text('{}')
    with pytest.raises(UserError, match='checkpoint/labels.json: found no such file, expected the task and labels'):
        ernie.load(tmp_path / 'checkpoint', 'regression', engine='executor')


def test_classes_without_names_are_said(made, tmp_path, logged):
    shutil.copytree(made('multilabel')[0], tmp_path / 'checkpoint')
    os.remove(tmp_path / 'checkpoint' / 'labels.json')
    assert list(ernie.load(tmp_path / 'checkpoint', engine='executor')('好')['probabilities']) == ['0', '1', '2', '3']
    assert any('labels.json: no such file: taken for a classifier' in line for line in logged)


def test_a_vocabulary_that_lost_its_end_is_refused(made, tmp_path):
    shutil.copytree(made('multilabel')[1], tmp_path / 'm')
    path = tmp_path / 'm/vocab.txt'
    lines = path.read_text(encoding='utf-8').splitlines(keepends=True)
    path.write_text(''.join(lines[:-3]), encoding='utf-8')
    with pytest.raises(UserError, match=rf'vocab.txt: found {len(lines) - 3} tokens, expected {len(lines)}, as '):
        ernie.load(tmp_path / 'm', engine='executor')


@pytest.mark.parametrize(
    ('kind', 'value', 'text'),
    [
        ('classify', '好', r"input: found '好' \(str\), expected a pair \(text_a, text_b\) or a dict"),
        ('classify', ('好', 3), r"input: found \('好', 3\) \(tuple\), expected a pair"),
        ('classify', {'text_a': '好'}, "input: found nothing as text_b beside 'text_a', expected text_a and text_b"),
        ('classify', {'text_a': '好', 'text_b': 3}, 'input: found a int as text_b, expected a text'),
        ('classify', {'text_a': None, 'text_b': '好'}, 'input: found null as text_a, expected text_a and text_b'),
        ('multilabel', 3, r'input: found 3 \(int\), expected a text or a pair \(text_a, text_b\) or a dict'),
        ('multilabel', None, 'input: found None'),
        ('multilabel', b'x', r"input: found b'x' \(bytes\)"),
        ('tagging', ('好', '坏'), r'expected a text or a dict'),
        ('reading', '好', r'expected a pair \(question, context\) or a dict'),
        ('reading', ('好', ' '), 'input: found an empty context, expected some text'),
    ],
)
def test_inputs_that_cannot_be(made, kind, value, text):
    model = ernie.load(made(kind)[1], engine='executor')
    with pytest.raises(UserError, match=text):
        model(value)
    good = {'classify': ('好', '坏'), 'reading': ('有', '在中')}.get(kind, '好')
    found = model(iter([good, value]))
    assert isinstance(next(found), dict)
    with pytest.raises(UserError, match='input:2: found'):
        next(found)


@pytest.mark.parametrize(
    ('kind', 'values', 'error', 'text'),
    [
        ('classify', {'task': 'mrc'}, UserError, r'found a checkpoint of the task classification \(classify\), exp'),
        ('classify', {'task': 'regression'}, UserError, 'expected regression'),
        ('classify', {'task': 'poetry'}, UsageError, '--task poetry: expected one of classification, regression'),
        ('classify', {'engine': 'x'}, UsageError, '--engine x: expected one of executor, predictor'),
        ('classify', {'engine': 'onnxruntime'}, UsageError, 'is paddle; give --engine executor or predictor'),
        ('classify', {'precision': 'fp8'}, UsageError, '--precision fp8: expected one of fp32, bf16'),
        ('classify', {'device': 'tpu'}, UsageError, "device 'tpu': expected cpu, gpu or gpu:N"),
        ('classify', {'batch_size': 0}, UsageError, '--batch_size 0: expected at least 1'),
        ('classify', {'threads': 'two'}, UsageError, '--cpu_threads two: expected a whole number'),
        ('classify', {'pooling': 'mean'}, UsageError, "they are for task='embedding'"),
        ('classify', {'max_seq_len': 99}, UsageError, 'the model has 17 positions'),
        *(
            ('classify', {'engine': name, 'device': 'gpu'}, UserError, '--use_cuda true, but')
            for name in (() if cuda_devices() else ('predictor', 'executor'))
        ),
        ('classify', {'max_seq_len': '9'}, UsageError, '--max_seq_len 9: expected a whole number'),
        ('classify', {'tokenizer': 'X'}, UsageError, '--tokenizer X: expected one of FullTokenizer'),
        ('checkpoint', {'task': 'embedding', 'max_seq_len': 2}, UsageError, '--max_seq_len 2: expected at least 3'),
        ('classify', {'task': 'embedding', 'num_labels': 3}, TypeError, 'num_labels'),
        ('classify', {'max_len': 9}, TypeError, "unexpected keyword argument 'max_len'"),
        ('classify', {'task': 'embedding'}, UserError, 'found an exported model of a task, expected a model for'),
        ('checkpoint', {'task': 'embedding', 'pooling': 'sum'}, UsageError, '--pooling sum: expected one of cls'),
        ('checkpoint', {'task': 'embedding', 'engine': 'predictor'}, UsageError, 'come from the executor in fp32'),
    ],
)
def test_arguments_that_cannot_be(made, kind, values, error, text):
    checkpoint, exported = made('classify' if kind == 'checkpoint' else kind)
    with pytest.raises(error, match=text):
        ernie.load(checkpoint if kind == 'checkpoint' else exported, **values)


def test_folders_that_are_no_model(tmp_path):
    for values in ({}, {'task': 'embedding'}):
        with pytest.raises(UserError, match='nowhere: found no such folder'):
            ernie.load(tmp_path / 'nowhere', **values)
        with pytest.raises(UserError, match=str(tmp_path)):
            ernie.load(tmp_path, **values)


def test_a_closed_model(made):
    with ernie.load(made('multilabel')[1], engine='executor', batch_size=2, length_window=1) as model:
        expected = model('好')
        results = model(itertools.repeat('好', 19))
        assert close(next(results)) == expected
    with pytest.raises(UserError, match='this model is closed'):
        model('好')
    assert len(list(results)) == 18


def test_settings_replace_those_of_the_folder(made):
    checkpoint, _ = made('multilabel')
    row = '好坏我在有他这中大来上海国个到说们'
    short = ernie.load(checkpoint, engine='executor', max_seq_len=5)
    assert short(row) == short(row[:3]) != ernie.load(checkpoint, engine='executor')(row)


# ------------------------------------------------------------------------------------------------ vectors


@pytest.mark.parametrize(
    'values', [{}, {'pooling': 'mean', 'layer': 1, 'normalize': True}, {'pooling': 'max', 'layer': -2}]
)
def test_vectors_are_those_of_the_encoder(made, tmp_path, values):
    import ernie_encoder

    checkpoint, rows = made()[0], list(zip(texts(37), texts(37, 1), strict=True))
    path = table(tmp_path / 'a.tsv', rows, ['text_a', 'text_b'])
    sizes = {'batch_size': 4, 'init_pretraining_params': checkpoint, 'use_cuda': False, 'top_layer': False}
    ernie_encoder.main(flags(data_set=path, output_dir=tmp_path / 'o', cache=False, **sizes, **values))
    expected = np.load(tmp_path / 'o' / 'cls_emb.npy')
    model = ernie.load(checkpoint, task='embedding', batch_size=4, **values)
    found = model(rows)
    assert found.dtype == np.float32 and np.array_equal(found, expected)
    one = model(rows[3])
    assert one.shape == (12,) and np.allclose(one, expected[3], atol=1e-5)
    assert np.array_equal(np.stack(list(model(iter(rows)))), expected)
    assert model([]).shape == (0, 12)
    with pytest.raises(UserError, match=r'input:2: found 5 \(int\), expected a text or a pair'):
        model(['好', 5])


def test_vectors_of_a_training_are_those_of_its_best_checkpoint(made, tmp_path):
    shutil.copytree(made()[0], tmp_path / 'run' / 'best')
    found = ernie.load(tmp_path / 'run', task='embedding')('好坏')
    assert np.array_equal(found, ernie.load(made()[0], task='embedding')('好坏'))
    with pytest.raises(UserError, match='found no such folder'):
        ernie.load(tmp_path / 'runs', task='embedding')


def test_vectors_take_a_pretrained_model_and_its_settings(model):
    found = ernie.load(model / 'params', task='embedding', pooling='cls', max_seq_len=4)
    assert np.array_equal(found('好坏大'), found('好坏'))


# ------------------------------------------------------------------------------------------------ what is opened


def test_import_is_instant():
    program = 'import sys, ernie; print({"numpy", "paddle", "propeller"} & set(sys.modules)); ernie.load'
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ('set()\n', 0), done.stderr
    assert 'load' in dir(ernie)
    with pytest.raises(AttributeError, match="no attribute 'lead'"):
        _ = ernie.lead


@pytest.mark.parametrize('kind', ['classify', 'crf'])
def test_each_file_of_a_model_is_opened_twice_at_most(made, monkeypatch, kind):
    opened, watching = [], threading.Event()
    checkpoint, exported = made(kind)

    def hook(event, arguments):
        if event == 'open' and watching.is_set() and isinstance(arguments[0], str):
            opened.append(arguments[0])

    sys.addaudithook(hook)
    for folder in (checkpoint, exported):
        opened.clear()
        watching.set()
        ModelFolder(folder).files()
        watching.clear()
        names = [path.removeprefix(f'{folder}/') for path in opened if path.startswith(str(folder))]
        counts = {name: names.count(name) for name in names}
        assert counts.pop('ernie_config.json') == 1 and counts.pop('vocab.txt') == 2  # the second time for `files`
        assert counts.pop('inference.json', 1) == counts.pop('model.safetensors', 1) == 1
        assert set(counts) <= {'labels.json', 'tokenizer_config.json'} and max(counts.values()) <= 2


def test_a_checkpoint_is_opened_once_by_each_engine(made, tmp_path, monkeypatch):
    """The engine that proved the export predicts with it: where nothing else is asked for it is not opened again."""
    from propeller.exported import ExportedModel
    from propeller.session import Session

    opened = []
    checkpoint, rows = made('multilabel')[0], table(tmp_path / 'a.tsv', [['好'], ['坏']], ['text_a'])
    for kind, name in ((ExportedModel, '__init__'), (Session, 'load_exported')):
        whole = getattr(kind, name)
        monkeypatch.setattr(kind, name, lambda *args, whole=whole, name=name: opened.append(name) or whole(*args))
    infer(init_checkpoint=checkpoint, predict_set=rows, save_inference_model_path='', use_cuda=False)
    assert opened == ['__init__']
    opened.clear()
    assert ernie.load(checkpoint, engine='predictor')('好') and opened == ['__init__']
    opened.clear()
    assert ernie.load(checkpoint, engine='predictor', threads=1)('好') and opened == ['__init__'] * 2
