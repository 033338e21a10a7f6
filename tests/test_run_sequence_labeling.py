"""Runs of run_sequence_labeling: what it learns, logs and writes, in all its modes."""

import json
import os
import re

import numpy as np
import pytest
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOBES

from ernie.decoding.scheme import chunks
from ernie.inference.folder import ModelFolder
from ernie.inference.predict import Prediction
from propeller.errors import UsageError, UserError
from propeller.storage import open_tensors
from tests.ernie.tiny_model import FILLING, messages, records, write_model
from tests.ernie.tiny_tagging import label_map, run, sentences, write_conll, write_map, write_rows

ROWS, EPOCHS, BATCH = 90, 4, 8
PER_EPOCH = -(-ROWS // BATCH)  # 12
STEPS = EPOCHS * PER_EPOCH
NUMBER = r'\d+\.\d{6}'


class Whole:
    """One run with everything, its folders and its data."""

    def __init__(self, root):
        self.root, self.model, self.checkpoints = root, write_model(root / 'model'), root / 'c'
        self.map = write_map(root / 'map.json')
        self.train = write_rows(root / 'train.tsv', sentences(ROWS, 1))
        self.dev_rows, self.other_rows = sentences(29, 2), sentences(25, 3)
        self.dev = write_rows(root / 'dev.tsv', self.dev_rows)
        self.other = write_conll(root / 'other.txt', self.other_rows)
        self.ran = run(
            init_pretraining_params=self.model / 'params',
            checkpoints=self.checkpoints,
            train_set=self.train,
            dev_set=f'{self.dev},{self.other}',
            test_set=f'{self.dev},{self.other}',
            test_save=f'{root}/out/dev,{root}/out/other',
            label_map_config=self.map,
            num_labels=5,
            epoch=EPOCHS,
            batch_size=BATCH,
            learning_rate=0.02,
            validation_steps=20,
            save_steps=30,
            verbose=True,
            metric='macro_f1',
        )
        self.lines = messages(self.ran.log)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    return Whole(tmp_path_factory.mktemp('ner'))


def test_a_metric_that_is_not_obeyed_is_told(whole):
    assert '--metric macro_f1 has no effect: sequence labelling is scored by the F1 of chunks' in whole.lines
    assert f'Max train steps: {STEPS}' in whole.lines


def predictions(path):
    """[(tokens, labels, probabilities)] of a prediction file."""
    rows = [line.split('\t') for line in path.read_text(encoding='utf-8').split('\n')[:-1]]
    return [tuple(cell.split(' ') if cell else [] for cell in row) for row in rows]


def test_it_learns(whole):
    found = [r['f1'] for r in records(whole.checkpoints, 'dev') if r['file'] == whole.dev]
    assert max(found) > 0.9 and found[0] < max(found)


def test_training_lines(whole):
    form = re.compile(
        rf'epoch: (\d+), progress: (\d+)/{ROWS}, step: (\d+), loss: ({NUMBER}), f1: ({NUMBER}), precision: ({NUMBER}), '
        rf'recall: ({NUMBER}), speed: {NUMBER} steps/s, time left: \d+:\d\d:\d\d'
    )
    found = [(i, m) for i, line in enumerate(whole.lines) if (m := form.fullmatch(line))]
    assert [int(m[3]) for _, m in found] == [10, 20, 30, 40]
    by_step = {r['step']: r for r in records(whole.checkpoints, 'train')}
    for i, m in found:
        assert re.fullmatch(rf'train pyreader queue size: \d+, learning rate: {NUMBER}', whole.lines[i - 1])
        record = by_step[int(m[3])]
        assert [record[k] for k in ('loss', 'f1', 'precision', 'recall')] == pytest.approx(
            [float(m[k]) for k in (4, 5, 6, 7)], abs=1e-6
        )
    assert float(found[-1][1][5]) > 0.8


EVALUATIONS = [(12, 0), (20, 1), (24, 1), (36, 2), (40, 3), ('final', 3)]


def test_evaluation_lines(whole):
    form = re.compile(
        rf'\[dev evaluation\] f1: ({NUMBER}), precision: ({NUMBER}), recall: ({NUMBER}), elapsed time: {NUMBER} s, '
        r'file: (\S+), epoch: (\d+), steps: (\w+)'
    )
    found = [(i, m) for i, line in enumerate(whole.lines) if (m := form.fullmatch(line))]
    expected = [(path, str(e), str(s)) for s, e in EVALUATIONS for path in (whole.dev, whole.other)]
    assert [(m[4], m[5], m[6]) for _, m in found] == expected
    for i, m in found:
        assert whole.lines[i - 1] == f'validation result of dataset {m[4]}:'
    assert f'testing {whole.dev}, save to {whole.root}/out/dev.3.final' in whole.lines
    assert [r['step'] for r in records(whole.checkpoints, 'dev')[::2]] == [12, 20, 24, 36, 40, STEPS]


def test_prediction_files_give_the_logged_scores(whole):
    names = sorted(p.name for p in (whole.root / 'out').iterdir())
    assert names == sorted(f'{name}.{e}.{s}' for name in ('dev', 'other') for s, e in EVALUATIONS)
    for name, path, rows in (('dev', whole.dev, whole.dev_rows), ('other', whole.other, whole.other_rows)):
        scored = [r for r in records(whole.checkpoints, 'dev') if r['file'] == path]
        for (step, epoch), record in zip(EVALUATIONS, scored, strict=True):
            found = predictions(whole.root / f'out/{name}.{epoch}.{step}')
            # Rows of more than 13 tokens are cut.
            assert [tokens for tokens, _, _ in found] == [tokens[:13] for tokens, _ in rows]
            true, predicted = [labels[:13] for _, labels in rows], [labels for _, labels, _ in found]
            for key, score in (('f1', f1_score), ('precision', precision_score), ('recall', recall_score)):
                assert record[key] == pytest.approx(score(true, predicted, zero_division=0)), (name, step, key)
            for _, labels, probabilities in found:
                assert len(probabilities) == len(labels)
                assert all(re.fullmatch(r'[01]\.\d{5}', p) and 0.2 <= float(p) <= 1 for p in probabilities)


def test_checkpoints_hold_everything(whole):
    best = whole.checkpoints / 'best'
    names = {p.name for p in best.iterdir()}
    assert names >= {'labels.json', 'vocab.txt', 'ernie_config.json', 'metrics.json', 'report.json', 'report.txt'}
    labels = json.loads((best / 'labels.json').read_text(encoding='utf-8'))
    assert labels['task'] == 'sequence_labeling' and labels['label_map'] == label_map()
    assert labels['labels'] == sorted(label_map(), key=label_map().get)
    assert (labels['chunk_scheme'], labels['use_crf'], labels['num_labels']) == ('IOB', False, 5)
    tensors = open_tensors(str(best))
    assert tensors.shape('cls_seq_label_out_w') == (12, 5) and tensors.shape('cls_seq_label_out_b') == (5,)
    assert not any(name.startswith(('_cls', 'crf', 'pooled')) for name in tensors)
    scored = [r for r in records(whole.checkpoints, 'dev') if r['file'] == whole.dev]
    saved = json.loads((best / 'metrics.json').read_text())
    assert saved['f1'] == saved['main_value'] == max(r['f1'] for r in scored)
    equals = [r for r in scored if r['f1'] == saved['f1']]
    assert saved['step'] == min(equals, key=lambda r: r['loss'])['step']
    report = json.loads((whole.checkpoints / 'reports/dev.json').read_text(encoding='utf-8'))
    assert {row['name'] for row in report['classes']} == {'PER', 'LOC'}
    assert report['micro_avg']['f1'] == pytest.approx(scored[-1]['f1'])
    assert (whole.checkpoints / 'curves.png').read_bytes().startswith(b'\x89PNG')
    lines = (whole.checkpoints / 'reports/dev.errors.jsonl').read_text(encoding='utf-8').splitlines()
    summary = json.loads((whole.checkpoints / 'reports/dev.summary.json').read_text(encoding='utf-8'))
    errors = [json.loads(line) for line in lines]
    totals = {what: sum(e['error'] == what for e in errors) for what in ('missed', 'spurious')}
    paired = len(errors) - sum(totals.values())
    chunks = summary['report']['micro_avg']
    # By precision, recall and support: what is missed or paired is labelled and not right.
    assert totals['missed'] + paired == round(chunks['support'] * (1 - chunks['recall']))
    sentences_of = {line: ''.join(tokens) for line, (tokens, _) in enumerate(whole.dev_rows, start=2)}
    assert all(error['sentence'] == sentences_of[error['line']] for error in errors)
    assert len({error['line'] for error in errors}) == summary['wrong']


def test_evaluation_alone_gives_the_same(whole, tmp_path):
    final = (whole.root / 'out/dev.3.final').read_text()
    ran = run(
        init_checkpoint=whole.checkpoints / f'step_{STEPS}',
        do_train=False,
        dev_set=whole.dev,
        test_set=whole.dev,
        test_save=tmp_path / 'again',
        checkpoints=tmp_path / 'e',
    )
    record = [r for r in records(whole.checkpoints, 'dev') if r['file'] == whole.dev][-1]
    assert f'f1: {record["f1"]:f}, precision: {record["precision"]:f}' in ran.log and 'steps: final' in ran.log
    assert (tmp_path / 'again.3.final').read_text() == final


def test_resume_continues_to_the_same_end(whole, tmp_path):
    settings = {
        'init_pretraining_params': whole.model / 'params',
        'checkpoints': tmp_path / 'c',
        'train_set': whole.train,
        'dev_set': whole.dev,
        'do_test': False,
        'label_map_config': whole.map,
        'batch_size': BATCH,
        'epoch': 2,
        'save_steps': 7,
        'cpu_threads': 1,
        'use_crf': True,
    }
    run(**settings)
    whole_run = open_tensors(str(tmp_path / 'c/step_24'))
    expected = {name: whole_run[name] for name in whole_run}
    last = records(tmp_path / 'c', 'dev')[-1]
    for step in (21, 24):
        (tmp_path / f'c/step_{step}').rename(tmp_path / f'gone_{step}')
    ran = run(**settings, resume=True)
    assert 'step_14' in ran.log
    again = open_tensors(str(tmp_path / 'c/step_24'))
    assert set(again) == set(expected) and 'crfw' in expected
    for name, value in expected.items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)
    assert {k: v for k, v in records(tmp_path / 'c', 'dev')[-1].items() if k != 'time'} == {
        k: v for k, v in last.items() if k != 'time'
    }


def test_early_stop_names_the_last_evaluation(whole, tmp_path):
    ran = run(
        init_pretraining_params=whole.model / 'params',
        checkpoints=tmp_path / 'c',
        train_set=whole.train,
        dev_set=whole.dev,
        test_set=whole.dev,
        test_save=tmp_path / 'out/dev',
        label_map_config=whole.map,
        learning_rate=1e-9,
        validation_steps=2,
        early_stop=1,
    )
    assert 'early stop: 1 evaluations' in ran.log
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['dev.0.2', 'dev.0.final']
    assert len(records(tmp_path / 'c', 'dev')) == 2


@pytest.mark.parametrize('scheme', ['IO', 'IOE', 'IOBES'])
def test_other_schemes_with_a_crf(whole, tmp_path, scheme):
    dev_rows = sentences(21, 6, scheme)
    run(
        init_pretraining_params=whole.model / 'params',
        checkpoints=tmp_path / 'c',
        train_set=write_rows(tmp_path / 'train.tsv', sentences(ROWS, 5, scheme), ' '),
        dev_set=write_rows(tmp_path / 'dev.tsv', dev_rows, ' '),
        test_set=write_rows(tmp_path / 'test.tsv', dev_rows, columns=('text_a',)),
        test_save=tmp_path / 'out/dev',
        label_map_config=write_map(tmp_path / 'map.json', scheme),
        chunk_scheme=scheme,
        use_crf=True,
        epoch=6,
        learning_rate=0.03,
        validation_steps=1000,
    )
    record = records(tmp_path / 'c', 'dev')[-1]
    found = predictions(tmp_path / 'out/dev.5.final')
    assert record['f1'] > 0.8
    if scheme == 'IOBES':
        true, predicted = [labels[:13] for _, labels in dev_rows], [labels for _, labels, _ in found]
        assert record['f1'] == pytest.approx(f1_score(true, predicted, mode='strict', scheme=IOBES))


@pytest.mark.parametrize('count', [1, 2, 7, 8, 9, 24, 25])
def test_predictions_for_any_number_of_rows(whole, tmp_path, count):
    rows = sentences(count, 7)
    run(
        init_checkpoint=whole.checkpoints / 'best',
        do_train=False,
        do_val=False,
        test_set=write_rows(tmp_path / 'rows.tsv', rows, columns=('text_a',)),
        test_save=tmp_path / 'p',
        checkpoints=tmp_path / 'c',
    )
    (path,) = tmp_path.glob('p.*.final')
    assert [tokens for tokens, _, _ in predictions(path)] == [tokens[:13] for tokens, _ in rows]


class Executor:
    """An engine for `Prediction` over the folder's own graph."""

    def __init__(self, folder):
        from ernie.model.task_model import encoder_feeds
        from propeller.session import Session
        from propeller.train.model import build_model_spec
        from propeller.types import RunMode

        self.session, graph = Session(False, 0), folder.spec.load('graph')
        params = graph.prediction_params(folder.config, folder.settings)
        build = lambda *features: graph.results(  # noqa: E731
            build_model_spec(graph, features, RunMode.PREDICT, params, None).predictions
        )
        self.program = self.session.build(encoder_feeds(folder.config), build)
        self.session.initialize(self.program)
        for name in self.program.parameters():
            self.session.write(name, folder.tensors[name].astype('float32'))

    def run(self, arrays):
        return self.session.run(self.program, arrays, self.program.outputs)


@pytest.mark.parametrize('crf', [False, True])
def test_entities_of_raw_text(whole, tmp_path, crf):
    """The folder of a checkpoint is enough; entities agree with the prediction file; long texts come in windows."""
    checkpoint = whole.checkpoints / 'best'
    if crf:
        checkpoint = tmp_path / 'c/best'
        run(
            init_pretraining_params=whole.model / 'params',
            checkpoints=tmp_path / 'c',
            train_set=whole.train,
            dev_set=whole.dev,
            do_test=False,
            label_map_config=whole.map,
            use_crf=True,
            epoch=8,
        )
    folder = ModelFolder(str(checkpoint))
    predict = Prediction(folder.codec, Executor(folder), [(-1, -1, 5)], batch_size=4).predict
    texts = [''.join(tokens) for tokens, _ in whole.dev_rows] + ['', '好' * 100, ' 美 差 ']
    results = predict([{'text_a': text} for text in texts])
    true = found = right = 0
    for text, result, row in zip(texts, results, whole.dev_rows, strict=False):
        assert result['text'] == text
        places = {(e['type'], e['start'], e['end']) for e in result['entities']}
        assert all(text[e['start'] : e['end']] == e['text'] for e in result['entities'])
        expected = {tuple(chunk) for chunk in chunks(row[1], 'IOB')}
        true, found, right = true + len(expected), found + len(places), right + len(places & expected)
    assert 2 * right / (true + found) > 0.85
    assert results[-3]['entities'] == [] and len(results[-2]['entities']) >= 1
    assert max(e['end'] for e in results[-2]['entities']) == 100  # the last window counts too


def test_a_new_head_begins_with_the_shares_of_the_labels(whole, tmp_path):
    run(
        init_pretraining_params=whole.model / 'params',
        checkpoints=tmp_path / 'c',
        train_set=whole.train,
        do_val=False,
        do_test=False,
        label_map_config=whole.map,
        learning_rate=1e-9,
        max_steps=1,
    )
    names = [name for _, labels in sentences(ROWS, 1) for name in labels[:13]]
    counts = np.array([names.count(name) for name in sorted(label_map(), key=label_map().get)])
    assert counts.min() > 10
    bias = open_tensors(str(tmp_path / 'c/step_1'))['cls_seq_label_out_b']
    np.testing.assert_allclose(bias, np.log((counts + 1) / (counts.sum() + 5)), atol=1e-5)


def test_a_label_without_a_token_is_told(whole, tmp_path):
    data = tmp_path / 'train.txt'
    data.write_text(f'# id 1\n{FILLING[0]} B-PER\n{FILLING[1]} O\n\n\n', encoding='utf-8')
    ran = run(
        init_pretraining_params=whole.model / 'params',
        checkpoints=tmp_path / 'c',
        train_set=data,
        do_val=False,
        do_test=False,
        label_map_config=whole.map,
        max_steps=1,
    )
    missing = ', '.join(repr(name) for name in sorted(label_map(), key=label_map().get) if name not in ('B-PER', 'O'))
    assert f'{data}: 3 of 5 classes have no row, and will not be learned: {missing}' in messages(ran.log)


def test_the_head_of_a_tagger_is_taken_for_the_same_labels_alone(whole, tmp_path):
    model, turned = whole.checkpoints / 'best', tmp_path / 'turned.json'
    names = label_map()
    turned.write_text(json.dumps(dict(zip(names, reversed(names.values()), strict=True))))
    for path, is_new in ((whole.map, False), (turned, True)):
        ran = run(
            init_pretraining_params=model,
            checkpoints=tmp_path / f'{is_new}',
            train_set=whole.train,
            do_val=False,
            do_test=False,
            label_map_config=path,
            max_steps=1,
        )
        lines = messages(ran.log)
        assert (f'{model}: the head of other classes is left out: a new one' in lines) == is_new
        assert ('new, with random values: cls_seq_label_out_w, cls_seq_label_out_b' in lines) == is_new


BAD = [
    ({'label_map_config': None, 'num_labels': 7}, UsageError, '--num_labels 7: .* training set has 5 classes'),
    ({'chunk_scheme': 'BMES'}, UsageError, '--chunk_scheme BMES: expected one of IO, IOB, IOE, IOBES'),
    ({'chunk_scheme': 'IO'}, UserError, "the label 'B-PER'"),
    ({'num_labels': 7}, UsageError, '--num_labels 7: the label map of .* has 5 classes'),
    ({'test_save': 'a,b', 'do_test': True, 'test_set': 'x'}, UsageError, '--test_save names 2 files for 1 files'),
    ({'dev_set': 'nowhere.tsv'}, UserError, 'nowhere.tsv: (found )?no such file'),
    ({'init_checkpoint': 'CLASSIFIER', 'init_pretraining_params': None}, UserError, 'a checkpoint of the task'),
]


@pytest.mark.parametrize(('values', 'error', 'text'), BAD)
def test_what_cannot_be_is_refused(whole, tmp_path, values, error, text):
    settings = {
        'init_pretraining_params': whole.model / 'params',
        'checkpoints': tmp_path / 'c',
        'train_set': whole.train,
        'do_test': False,
        'label_map_config': whole.map,
    } | values
    if values.get('init_checkpoint'):
        checkpoint = tmp_path / 'other'
        write_model(checkpoint)
        (checkpoint / 'labels.json').write_text('{"task": "classification"}')
        settings['init_checkpoint'] = checkpoint
    with pytest.raises(error, match=text):
        run(**settings)


def test_a_pipe_cannot_be_predicted(whole, tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(UserError, match='no regular file'):
        run(
            init_checkpoint=whole.checkpoints / 'best',
            do_train=False,
            do_val=False,
            test_set=tmp_path / 'pipe',
            test_save=tmp_path / 'p',
            checkpoints=tmp_path / 'c',
        )


@pytest.mark.parametrize(
    ('flags', 'text'),
    [
        ({'chunk_scheme': 'IOE'}, '--chunk_scheme IOE: found a checkpoint with IOB'),
        ({'use_crf': True}, '--use_crf True: found a checkpoint without a CRF'),
    ],
)
def test_flags_that_contradict_the_checkpoint_are_refused(whole, tmp_path, flags, text):
    with pytest.raises(UsageError, match=text):
        run(
            init_checkpoint=whole.checkpoints / 'best',
            do_train=False,
            do_test=False,
            dev_set=whole.dev,
            checkpoints=tmp_path / 'c',
            **flags,
        )
