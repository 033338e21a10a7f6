"""A file of one's own, one command or one call: what is found out, what is left, and that it is the same again."""

import csv
import json

import numpy as np
import pytest

import ernie
from ernie.command import main
from ernie.finetune.own_data import free, last, with_split
from ernie.settings import run_yaml
from ernie.settings.finetune import FinetuneSettings, OwnDataSettings
from propeller.errors import UsageError, UserError
from propeller.storage import open_tensors
from propeller.storage.locks import FileLock
from tests.ernie import tiny_reading, tiny_tagging
from tests.ernie.tiny_model import records, sentences, table

CLASSES = ['差评', '好评']


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A working folder and a cache of the test's own."""
    monkeypatch.setenv('ERNIE_CACHE', str(tmp_path / 'cache'))
    monkeypatch.chdir(tmp_path)


def reviews(path, count=60, columns=('编号', '评论', '情感')):
    """A CSV file as a spreadsheet of Windows writes it."""
    with open(path, 'w', encoding='utf-8-sig', newline='') as f:
        rows = csv.writer(f, delimiter=';')
        rows.writerow(columns)
        rows.writerows((i, text, CLASSES[label]) for i, (text, label) in enumerate(sentences(count, 3)))
    return str(path)


def finetune(path, model, **values):
    flags = [word for name, value in values.items() for word in (f'--{name}', str(value))]
    return main(['finetune', str(path), '--model', str(model), *flags])


def parameters(folder):
    tensors = open_tensors(str(folder))
    return {name: np.asarray(tensors[name]) for name in tensors}


def test_a_spreadsheet_with_chinese_classes_and_no_dev_set(tmp_path, model):
    path, rate = reviews(tmp_path / 'messages.csv'), {'learning_rate': 0.01, 'epoch': 4}
    assert finetune('messages.csv', model, **rate) == 0
    run = tmp_path / 'runs/messages'
    saved = json.loads((run / 'best/labels.json').read_text())
    assert saved['labels'] == ['好评', '差评'] and saved['label_map'] == {'好评': 0, '差评': 1}
    assert saved['column_names'] == {'text_a': '评论', 'label': '情感'}
    settings = run_yaml.read_settings(str(run / 'run.yaml'), FinetuneSettings)
    assert type(settings['max_seq_len']) is type(settings['batch_size']) is int and settings['use_cuda'] is None
    scores = json.loads((run / 'best/metrics.json').read_text())
    assert scores['file'] == 'messages_dev' and scores['data_num'] == 6 and scores['acc'] > 0.6
    assert {record['file'] for record in records(run, 'dev')} == {'messages_dev'}
    assert (run / 'reports/messages_dev.json').is_file()
    good = next(text for text, label in sentences(60, 3) if label)
    with ernie.load(run / 'best', engine='executor') as answer:
        assert answer(good)['label'] == '好评'
    # Again: another folder, the same model.
    found = ernie.finetune(path, model=str(model), **rate)
    assert found.best == 'runs/messages-2/best' and found.scores['acc'] == scores['acc']
    first, second = (parameters(folder) for folder in (run / 'best', found.best))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_training_that_is_resumed_holds_the_same_rows_out(tmp_path, model):
    reviews(tmp_path / 'm.csv')
    same = {'epoch': 2, 'batch_size': 8, 'lr_scheduler': 'constant', 'warmup_proportion': 0}
    finetune('m.csv', model, **same, max_steps=5)
    finetune('m.csv', model, **same, resume='true')
    finetune('m.csv', model, **same, checkpoints='whole')
    steps = [{r['step']: r['loss'] for r in records(tmp_path / folder, 'dev')} for folder in ('runs/m', 'whole')]
    assert steps[0][14] == steps[1][14] and sorted(steps[0]) == [5, 7, 14]
    with pytest.raises(UsageError, match=r'--dev_share 0.3: .*step_14 was trained with 0.1, and would be scored on'):
        finetune('m.csv', model, epoch=3, resume='true', dev_share=0.3)


def test_entities_one_token_a_line(tmp_path, model):
    rows = tiny_tagging.sentences(70, 4)
    tiny_tagging.write_conll(tmp_path / 'entities.conll', rows)
    finetune('entities.conll', model, learning_rate=0.01, epoch=8)
    saved = json.loads((tmp_path / 'runs/entities/best/labels.json').read_text())
    names = sorted({label for _, labels in rows for label in labels} - {'O'})
    assert (saved['task'], saved['labels']) == ('sequence_labeling', [*names, 'O'])
    scores = json.loads((tmp_path / 'runs/entities/best/metrics.json').read_text())
    assert scores['data_num'] == 7 and scores['f1'] > 0.3
    with ernie.load('runs/entities/best', engine='executor') as tag:
        assert all(entity['type'] in ('PER', 'LOC') for entity in tag(''.join(rows[0][0]))['entities'])


@pytest.mark.parametrize('form', ['squad', 'records'])
def test_questions_of_json(tmp_path, model, form):
    paragraphs = tiny_reading.puzzles(30, 5)
    if form == 'squad':
        tiny_reading.write_json(tmp_path / 'questions.json', tiny_reading.squad(*paragraphs))
    else:
        answers = [(context, qas[0]['question'], qas[0]['answers'][0]['text']) for context, qas in paragraphs]
        values = [{'context': c, 'question': q, 'answer': a} for c, q, a in answers]
        tiny_reading.write_json(tmp_path / 'questions.json', values)
    # The small model reads 17 tokens.
    finetune('questions.json', model, max_query_length=4, doc_stride=3, epoch=1)
    scores = json.loads((tmp_path / 'runs/questions/best/metrics.json').read_text())
    assert scores['file'] == 'questions_dev' and scores['questions'] == 3
    saved = json.loads((tmp_path / 'runs/questions/best/labels.json').read_text())
    assert saved['task'] == 'mrc' and saved['max_seq_len'] == 17


def test_scores_are_a_regression_and_python_says_so_too(tmp_path, model, logged):
    rows = [(text, f'{label + len(text) / 100:.3f}') for text, label in sentences(50, 8)]
    path = table(tmp_path / 'scores.tsv', rows, ('sentence', 'score'))
    found = ernie.finetune(path, model=model, epoch=1, checkpoints=tmp_path / 'c')
    assert json.loads((tmp_path / 'c/best/labels.json').read_text())['kind'] == 'regression'
    assert 'pearson' in found.scores
    said = [line for line in logged if line.startswith(f'{path}: labels are')]
    assert len(said) == 1 and said[0].endswith('regression (--is_regression false: classes)')


def test_the_programs_of_2019_find_labels_too_and_hold_rows_out_when_asked(tmp_path, model, train):
    rows = [(text, ['新', '旧', '坏'][i % 3]) for i, (text, _) in enumerate(sentences(24, 2))]
    train(train_set=table(tmp_path / 't.tsv', rows), dev_set=table(tmp_path / 'd.tsv', rows[:9]), epoch=1)
    saved = json.loads((tmp_path / 'c/best/labels.json').read_text())
    assert saved['label_map'] == {'坏': 0, '新': 1, '旧': 2}
    rows = [(text, label) for text, label in sentences(24, 2)]
    train(train_set=table(tmp_path / 't.tsv', rows), dev_share=0.25, epoch=1, checkpoints=tmp_path / 'd')
    saved = json.loads((tmp_path / 'd/step_3/labels.json').read_text())
    assert (saved['labels'], saved['label_map'], saved['num_labels']) == (['0', '1'], None, 2)
    assert [(record['file'], record['step']) for record in records(tmp_path / 'd', 'dev')] == [('t_dev', 3)]
    assert json.loads((tmp_path / 'd/best/metrics.json').read_text())['data_num'] == 6


def test_what_is_odd_about_the_data_is_said_before_the_training(tmp_path, model, logged):
    rows = sentences(15, 2) + [('好的', 1), ('好的', 0), ('', 1)]
    names = [(text, CLASSES[label]) for text, label in rows] + [('在哪', '问题')]
    path = table(tmp_path / 't.tsv', names, ('text', 'label'))
    dev = table(tmp_path / 'd.tsv', [(f' {names[0][0]}', '差评'), ('不在', '好评')], ('text', 'label'))
    finetune(path, model, dev_set=dev, epoch=1)
    for words in (
        f'{path}: only 19 rows. Some hundreds are what a model can learn from; add rows.',
        f"{path}: 1 of 19 rows have no text in the column 'text'. Fill it in, or leave them out.",
        f"{path}: one row only for class '问题': it is hardly learned. Add rows, or join it with another class.",
        f'{path}: 1 texts have different labels in different rows (lines 17 and 18, say). A model cannot learn both; '
        'correct them',
        f'{dev}: 1 of 2 texts are also in {path}, so the score is too high. Take them out of one of the two',
    ):
        assert logged.count(words) == 1, words


@pytest.mark.parametrize(
    ('name', 'content', 'flags', 'words'),
    [
        ('a.csv', '评论,正文,情感\n好,的,1\n差,的,0\n', {}, 'a.csv:1: found 2 columns that could be the text'),
        ('a.csv', 'text,label\n好,1\n差,\n', {}, 'a.csv:3: '),
        ('a.csv', 'text,label\n好,b\n差,a\n好好,b\n差差,a\n', {'dev_set': 'd.csv'}, "d.csv:2: found the label 'bb'"),
        ('a.csv', 'text,label\n好,a\n差,b\n', {}, 'found no class with two different texts, expected one at least'),
        ('a.csv', 'text,label\n好,a\n差,b\n', {'model': './no-model'}, 'no-model'),
        ('a.conll', '好 B-X\n差 O\n\n一 Z-X\n', {}, 'a.conll'),
    ],
)
def test_bad_files_are_one_line_and_leave_nothing(tmp_path, model, name, content, flags, words):
    (tmp_path / name).write_text(content, encoding='utf-8')
    (tmp_path / 'd.csv').write_text('text,label\n好,bb\n', encoding='utf-8')
    with pytest.raises(UserError) as error:
        finetune(name, **({'model': model} | flags))
    assert words in str(error.value) and '\n' not in str(error.value)
    assert not list(tmp_path.glob('runs/*/step_*'))


def test_a_folder_with_splits_has_its_dev_set(tmp_path):
    for split, rows in (('train', 20), ('validation', 6)):
        (tmp_path / 'data').mkdir(exist_ok=True)
        table(tmp_path / f'data/{split}.tsv', sentences(rows, 1))
    args = with_split(OwnDataSettings(train_set='data')).checked()
    assert (args.train_set, args.dev_set, args.dev_share) == ('data:train', 'data:validation', 0.0)
    args = with_split(OwnDataSettings(train_set='data', dev_share=0.2)).checked()
    assert (args.train_set, args.dev_set, args.dev_share) == ('data:train', None, 0.2)


@pytest.mark.parametrize(
    ('values', 'share', 'early_stop'),
    [
        ({}, 0.1, 'auto'),
        ({'dev_set': 'x.tsv'}, 0.0, 'auto'),
        ({'dev_share': 0.0}, 0.0, -1),
        ({'do_val': False}, 0.1, -1),
        ({'early_stop': 4}, 0.1, 4),
    ],
)
def test_what_is_held_out_and_when_it_stops(tmp_path, values, share, early_stop):
    path = table(tmp_path / 'x.tsv', sentences(9, 1))
    args = OwnDataSettings(train_set=path, **values).checked()
    assert (args.dev_share, args.early_stop) == (share, early_stop)


def test_folders_of_runs_are_counted_and_one_that_left_nothing_is_free(tmp_path):
    assert (free('runs/a'), last('runs/a')) == ('runs/a', 'runs/a')
    for folder in ('runs/a', 'runs/a-2'):
        (tmp_path / folder / 'step_3').mkdir(parents=True)
    (tmp_path / 'runs/a-3').mkdir()
    (tmp_path / 'runs/a-3/.propeller-run.json').write_text('{}')
    assert (free('runs/a'), last('runs/a')) == ('runs/a-3', 'runs/a-2')
    lock = FileLock('runs/a-3/.propeller-run.json')
    assert free('runs/a') == 'runs/a-4'
    lock.close()
