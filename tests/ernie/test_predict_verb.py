"""`ernie predict`: texts, files, questions and standard input on one command line; where results go; which model."""

import csv
import io
import json
import os
import sys

import numpy as np
import pytest

import ernie
from ernie.command import main
from ernie.inference.find import find_model
from ernie.inference.given import looks_like_path
from ernie.programs import PREDICT
from propeller.errors import UsageError, UserError
from tests.ernie.tiny_inference import infer, texts, write_checkpoint

TEXTS = ['今天很热', 'so so', '坏']


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """Function kind -> exported model, each made once."""
    root, found = tmp_path_factory.mktemp('made'), {}

    def make(kind='classify'):
        if kind not in found:
            checkpoint = write_checkpoint(root / kind, kind)
            infer(init_checkpoint=checkpoint, save_inference_model_path=root, use_cuda=False)
            found[kind] = str(root / f'{kind}_inference_model')
        return found[kind]

    return make


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def predict(tmp_path, monkeypatch, capsys):
    """Function (words of the command line, standard input) -> standard output; in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*words, stdin=b''):
        monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(stdin)))
        main(['predict', *map(str, words)])
        return capsys.readouterr().out

    return run


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


def test_texts_lines_and_files_have_the_same_answers(made, predict, tmp_path):
    (tmp_path / 'a.csv').write_text('id,review,label\n' + ''.join(f'{i},{t},x\n' for i, t in enumerate(TEXTS)))
    typed = objects(predict(made(), *TEXTS))
    assert [list(row) for row in typed] == [['text', 'label', 'confidence', 'probabilities']] * 3
    assert [row['text'] for row in typed] == TEXTS
    assert objects(predict(made(), stdin='\n'.join(TEXTS).encode())) == typed
    assert objects(predict(made(), '-', '--input_format', 'text', stdin='\n'.join(TEXTS).encode())) == typed
    table = objects(predict(made(), 'a.csv'))
    assert [list(row)[:3] for row in table] == [['id', 'review', 'input_label']] * 3
    assert [{'text': row['review']} | {n: row[n] for n in list(typed[0])[1:]} for row in table] == typed
    bare = objects(predict(made(), 'a.csv', '--carry', 'false', '--min_confidence', '0'))
    assert bare == [{n: v for n, v in row.items() if n != 'text'} for row in typed]
    assert predict(made(), 'a.csv', '--format', 'tsv') == infer(init_checkpoint=made(), predict_set='a.csv').out
    with ernie.load(made()) as model:
        assert [model(text, min_confidence=0) for text in TEXTS] == bare
        expected = [dict(sorted(row['probabilities'].items(), key=lambda p: -p[1])[:2]) for row in bare]
        assert [row['probabilities'] for row in model(TEXTS, top_k=2)] == expected
        with pytest.raises(UsageError, match='--top_k 0'):
            model('x', top_k=0)
    ranked = objects(predict(made(), *TEXTS, '--top_k', '2', '--min_confidence', '1'))
    assert [list(row['probabilities'].items()) for row in ranked] == [list(row.items()) for row in expected]
    assert [row['label'] for row in ranked] == [None] * 3


def test_answers_on_a_terminal(made, predict, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, 'stdout', screen)
    monkeypatch.setenv('COLUMNS', '30')
    main(['predict', made(), '今天很热' * 20, 'a\nb'])
    lines = screen.getvalue().splitlines()
    assert len(lines) == 2 and lines[0].endswith('...') and lines[1].endswith(r'a\nb')
    assert all(line.split()[-2].replace('.', '').isdigit() for line in lines)


def test_typed_lines_are_answered_at_once(made, tmp_path, monkeypatch):
    screen, asked = Terminal(), []

    class Keyboard:
        """Gives the next line when the answer to the one before is there."""

        def isatty(self):
            return True

        @property
        def buffer(self):
            return self

        def peek(self, size):
            return b''

        def readline(self, limit=-1):
            return next(self)

        def __iter__(self):
            return self

        def __next__(self):
            assert screen.getvalue().count('\n') == max(len(asked), 0)
            asked.append(1)
            if len(asked) > 2:
                raise StopIteration
            return TEXTS[len(asked) - 1].encode() + b'\n'

    monkeypatch.setattr(sys, 'stdout', screen)
    monkeypatch.setattr(sys, 'stdin', Keyboard())
    main(['predict', made()])
    assert screen.getvalue().count('\n') == 2


def test_several_files_have_results_in_a_folder(made, predict, tmp_path):
    for name in ('a.csv', 'b.tsv', 'c.jsonl', 'sub/c.csv'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        lines = [json.dumps({'text_a': t}) for t in TEXTS] if name == 'c.jsonl' else ['text_a', *TEXTS]
        path.write_text('\n'.join(lines) + '\n')
    assert predict(made(), 'a.csv', 'b.tsv', 'c.jsonl', 'sub/c.csv', '--output', 'out', '--format', 'csv') == ''
    assert sorted(os.listdir('out')) == ['a.csv', 'b.csv', 'c.csv.csv', 'c.jsonl.csv']
    tables = [list(csv.DictReader(open(f'out/{name}', encoding='utf-8'))) for name in sorted(os.listdir('out'))]  # noqa: SIM115
    assert all(table == tables[0] for table in tables) and [row['text_a'] for row in tables[0]] == TEXTS
    predict(made(), 'a.csv', '--output', 'x.parquet') if _has_arrow() else None
    predict(made(), 'a.csv', '--output', 'x.jsonl')
    predict(made(), 'a.csv', '--output', 'new/')
    assert open('x.jsonl', 'rb').read() == open('new/a.jsonl', 'rb').read()  # noqa: SIM115
    with pytest.raises(UserError, match='their results would have one name'):
        predict(made(), 'c.jsonl', 'sub/../c.jsonl', '--output', 'out')
    with pytest.raises(UserError, match='the same file as a.csv, which is read'):
        predict(made(), 'a.csv', 'b.tsv', '--output', '.', '--format', 'csv')


def _has_arrow():
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return False
    return True


def test_bad_rows_keep_their_columns(made, predict, tmp_path):
    (tmp_path / 'a.jsonl').write_text('{"id": 1, "text_a": "好"}\n{"id": 2, "text_a": 5}\n{"id": 3, "text_a": "坏"}\n')
    with pytest.raises(UserError, match=r'a.jsonl:2: found a int as text_a'):
        predict(made(), 'a.jsonl', '--output', 'out.csv')
    assert not os.path.exists('out.csv')
    found = objects(predict(made(), 'a.jsonl', '--skip_bad_rows', 'true'))
    assert found[1] == {'id': 2, 'text_a': 5, 'error': 'found a int as text_a, expected a text'}
    predict(made(), 'a.jsonl', '--skip_bad_rows', 'true', '--output', 'out.csv')
    table = list(csv.DictReader(open('out.csv', encoding='utf-8')))  # noqa: SIM115
    assert [(row['id'], bool(row['label']), bool(row['error'])) for row in table] == [
        *(('1', True, False), ('2', False, True), ('3', True, False))
    ]


def test_a_table_whose_rows_are_all_bad(made, predict, tmp_path):
    (tmp_path / 'a.tsv').write_bytes(b'text_a\ncaf\xe9\n\xff\n')
    with pytest.raises(UserError, match=r'a.tsv:2: found byte 0xe9 at byte 4 of the line'):
        predict(made(), 'a.tsv')
    found = objects(predict(made(), 'a.tsv', '--skip_bad_rows', 'true'))
    assert [row['error'][:15] for row in found] == ['found byte 0xe9', 'found byte 0xff']
    (tmp_path / 'a.tsv').write_bytes(b'text_a\n')
    with pytest.raises(UserError, match='found a header line and no row'):
        predict(made(), 'a.tsv', '--skip_bad_rows', 'true')


def test_an_article_of_squad_is_no_text(made, predict, tmp_path):
    article = {'title': '好', 'paragraphs': [{'context': '今天', 'qas': []}]}
    (tmp_path / 'a.json').write_text(json.dumps({'version': '1', 'data': [article]}))
    with pytest.raises(UserError, match=r'a.json.*an article of SQuAD.*A model of reading comprehension'):
        predict(made(), 'a.json')
    (tmp_path / 'b.json').write_text(json.dumps([{'title': '好', 'paragraphs': 3}]))
    assert objects(predict(made(), 'b.json'))[0]['label']


def test_sentences_of_conll_are_tagged(made, predict, tmp_path):
    content = '# id 1\n好\tO\n坏\tB-x\n\n今\tO\n'
    (tmp_path / 'a.conll').write_text(content)
    (tmp_path / 'a.jsonl').write_text('{"tokens": ["好", "坏"]}\n{"tokens": ["今"]}\n')
    right = objects(predict(made('tagging'), 'a.jsonl', '--carry', 'false'))
    assert objects(predict(made('tagging'), 'a.conll', '--carry', 'false')) == right
    (tmp_path / 'a.txt').write_text(content)
    found = objects(predict(made('tagging'), 'a.txt', '--input_format', 'conll'))
    assert [row.pop('text_a') for row in found] == [['好', '坏'], ['今']] and found == right
    with pytest.raises(UsageError, match='only a model of the task sequence_labeling reads it'):
        predict(made(), 'a.conll', '--input_format', 'conll')
    (tmp_path / 'a.conll').write_text('好 O\n坏\n')
    with pytest.raises(UserError, match='a.conll:2: found 1 columns, expected 2'):
        predict(made('tagging'), 'a.conll')


def test_pairs_and_questions(made, predict, tmp_path):
    pair = objects(predict(made(), '今天', '好', '--text_b', 'x', 'y'))
    assert [(row['text_a'], row['text_b']) for row in pair] == [('今天', 'x'), ('好', 'y')]
    page = '北京是首都。上海很大。'
    (tmp_path / 'page.txt').write_text(page)
    found = objects(predict(made('reading'), '--question', '谁', '哪里', '--context', 'page.txt'))
    assert [(row['question'], row['context']) for row in found] == [
        (q, '北京是首都。上海很大。') for q in ('谁', '哪里')
    ]
    assert all(row['context'][row['start'] : row['end']] == row['answer'] for row in found)
    tags = objects(predict(made('tagging'), *texts(3, 7), '--min_confidence', '0.5'))
    assert [row['text'] for row in tags] == texts(3, 7) and all('entities' in row for row in tags)


@pytest.mark.parametrize(
    ('kind', 'words', 'text'),
    [
        ('classify', ['new.csv'], 'new.csv: found no such file.*If it is a text, put --text before it'),
        ('classify', ['a.cvs.csv'], r'no such file'),
        ('classify', ['./new'], r'\./new: found no such file'),
        ('classify', ['here/nothing'], 'here/nothing: found no such file'),
        ('classify', ['good.tsv', 'a text'], 'give one kind'),
        ('classify', ['x', '--text_b', 'y', 'z'], 'found 2 texts for 1 first ones'),
        ('classify', ['--question', 'x'], '--context is missing'),
        ('classify', ['--question', 'x', '--context', 'y'], 'does not answer questions'),
        ('classify', ['--question', 'x', '--context', 'none.txt'], 'none.txt: found no such file'),
        ('reading', ['a text'], "'a text': this model answers questions: give --question and --context"),
        ('tagging', ['x', '--top_k', '3'], '--top_k 3: a model that tags gives each entity one type'),
        ('classify', ['x', '--min_confidence', '1.5'], '--min_confidence 1.5: expected a share from 0 to 1'),
        ('classify', ['good.tsv', 'good.tsv'], '2 files: give --output FOLDER'),
        ('classify', ['good.tsv', '--output', 'x.csv', '--format', 'jsonl'], 'do not go together'),
        ('classify', ['good.tsv', '--format', 'parquet'], 'needs --output FILE'),
        ('classify', ['good.tsv', '--engine', 'onnxruntime'], 'give --engine executor or predictor'),
        ('classify', ['good.tsv', '--engine', 'fussed'], r"'fused'\)\. Did you mean fused\? --help lists"),
        ('classify', ['good.tsv', '--topk', '3'], 'Did you mean --top_k'),
    ],
)
def test_mistakes(made, predict, tmp_path, kind, words, text):
    (tmp_path / 'here').mkdir()
    (tmp_path / 'good.tsv').write_text('text_a\n好\n')
    with pytest.raises(UserError, match=text):
        predict(made(kind), *words)


def test_what_looks_like_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir('data')
    paths = ['a.csv', 'my reviews.CSV', '/x', './x', '../x', '~/x', 'data/x', 'x.parquet']
    plain = ['good', 'and/or', '24/7', '好/坏', '/ or not', 'see a.csv!', 'a.csv\nb', '', '3.5', 'U.S.', 'http://x']
    assert [looks_like_path(text) for text in (*paths, *plain)] == [True] * len(paths) + [False] * len(plain)


def test_flags_stand_anywhere_and_a_text_may_begin_with_a_dash():
    parse = lambda *words: PREDICT.build_parser().parse_args(words)  # noqa: E731
    found = parse('m', 'a', '--top_k', '3', 'b')
    assert (found.model, found.inputs, found.top_k) == ('m', ('a', 'b'), 3)
    found = parse('--top_k', '3', 'm', '--', '--a', '-b')
    assert (found.model, found.inputs) == ('m', ('--a', '-b'))
    assert (parse().model, parse().inputs, parse('m').inputs) == (None, (), ())
    checked = parse('--init_checkpoint', 'm', 'a', 'b').checked()
    assert (checked.init_checkpoint, checked.inputs) == ('m', ('a', 'b'))
    with pytest.raises(UsageError, match='no model is given'):
        parse().checked()


# ---------------------------------------------------------------- which model


def test_the_folder_of_a_training_means_its_best_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('runs/a/step_9', 'runs/a/step_10', 'runs/b/best', 'runs/b/step_3'):
        os.makedirs(name)
        open(f'{name}/model.safetensors', 'w').close()
    assert find_model('runs/a') == 'runs/a/step_10'
    assert find_model('runs/b/') == 'runs/b/best'
    assert find_model('runs/b/step_3') == 'runs/b/step_3'
    assert find_model('runs/b/step_3/model.safetensors') == 'runs/b/step_3/model.safetensors'
    os.mkdir('empty')
    for name, text in {
        'runs': r'runs: found a folder without a model, with others below it.*: runs/a, runs/b\.',
        '.': r'Models below it: \./runs/a, \./runs/b',
        'runs/c/d': "no folder 'runs/c' either",
        'rums': 'Did you mean runs',
        'runs/bb': 'Did you mean runs/b?',
        'empty': 'empty: found a folder without a model',
        'no-such-model': 'no-such-model',
    }.items():
        with pytest.raises(UserError, match=text):
            find_model(name)


def test_a_checkpoint_is_run_without_an_export_for_typed_texts(made, predict, tmp_path, monkeypatch):
    def no_export(*_, **__):
        raise AssertionError

    monkeypatch.setattr('ernie.inference.program.export', no_export)
    run = tmp_path / 'run' / 'best'
    write_checkpoint(run, 'classify')
    expected, found = (objects(predict(model, *TEXTS)) for model in (made(), tmp_path / 'run'))
    assert [row['label'] for row in found] == [row['label'] for row in expected]
    a, b = ([list(row['probabilities'].values()) for row in rows] for rows in (expected, found))
    assert np.abs(np.array(a) - np.array(b)).max() < 1e-5
