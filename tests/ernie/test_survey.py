"""What is found out of a training file: its task, the kind of its labels, classes and their ids; what is refused."""

import json
import random

import pytest

from ernie.finetune.data_check import _about
from ernie.reader.classify import ClassifyReader
from ernie.reader.columns import ColumnNames
from ernie.settings.finetune import FinetuneSettings
from ernie.survey.coverage import coverage_of, unread
from ernie.survey.form import task_of
from ernie.survey.labels import doubtful, kind_of, label_map_of
from ernie.survey.survey import Sample
from ernie.survey.tables import survey_table
from ernie.survey.tagging import scheme_of, survey_sentences
from ernie.tokenization import FullTokenizer
from propeller.errors import UserError
from tests.ernie import tiny_reading, tiny_tagging
from tests.ernie.tiny_model import sentences, table, write_table

NAMES = ['快递', '退货', '发票']


@pytest.fixture(scope='module')
def tokenizer(tmp_path_factory):
    """Of seven tokens."""
    path = tmp_path_factory.mktemp('v') / 'vocab.txt'
    path.write_text('\n'.join(['[PAD]', '[CLS]', '[SEP]', '[UNK]', '[MASK]', '好', '差', '的']), encoding='utf-8')
    return FullTokenizer(str(path))


def counts(*labels, each=9):
    return dict.fromkeys(labels, each)


@pytest.mark.parametrize(
    ('labels', 'expected'),
    [
        (['0', '1'], (None, 2)),
        (['1'], (None, 2)),
        (['2', '0', '1'], (None, 3)),
        (['1', '2', '3', '4', '5'], ({'1': 0, '2': 1, '3': 2, '4': 3, '5': 4}, 5)),
        (['10', '9', '-1'], ({'-1': 0, '9': 1, '10': 2}, 3)),
        (['0.0', '1.0'], ({'0.0': 0, '1.0': 1}, 2)),
        (['退货', '快递', '0'], ({'0': 0, '快递': 1, '退货': 2}, 3)),
        (['긍정', 'neg', 'Neg'], ({'Neg': 0, 'neg': 1, '긍정': 2}, 3)),
    ],
)
def test_ids_of_classes_are_the_same_in_any_order_of_the_rows(labels, expected):
    for seed in range(5):
        shuffled = random.Random(seed).sample(labels, len(labels))
        assert label_map_of(counts(*shuffled)) == expected


def test_whole_numbers_are_ids_where_the_number_of_classes_is_given():
    assert label_map_of(counts('1', '3'), 5) == (None, 5)
    assert label_map_of(counts('1', 'x'), 2) == ({'1': 0, 'x': 1}, 2)


@pytest.mark.parametrize(
    ('labels', 'rows', 'kind', 'words'),
    [
        (['0', '1'], 20, 'classify', ''),
        (['0', '1', '2'], 30, 'classify', ''),
        (['1', '2', '3', '4', '5'], 50, 'classify', '5 different numbers from 1 to 5, taken as classes (--is_regr'),
        (['0.5', '1.0', '1.5'], 30, 'classify', 'taken as classes'),
        ([f'{i / 7:.3f}' for i in range(20)], 100, 'regression', 'regression (--is_regression false: classes)'),
        ([str(i) for i in range(18, 80)], 400, 'regression', 'from 18 to 79: regression'),
        ([str(i) for i in range(60)], 6000, 'classify', ''),
        (['体育,财经', '体育', '财经,娱乐', '娱乐,体育'], 40, 'multilabel', '(--is_multilabel false: one class)'),
        (['Health, Beauty', 'Sports', 'Home, Garden'], 40, 'classify', "'Health, Beauty', are taken as one class each"),
        (['a,b', 'a', 'b', 'c'], 4, 'classify', "one label with a comma, 'a,b', is taken as one class (--is_multi"),
        (['3.5', '2.5', '3', '2', '5', '2,5', '3,5'], 35, 'classify', "2 labels with commas, such as '2,5'"),
        (['1', '01', '1.0'], 30, 'classify', 'labels are the number 1, written in 3 ways, taken as classes'),
        (['好评', '差评'], 20, 'classify', ''),
        (['1', '2', 'x'], 20, 'classify', ''),
    ],
)
def test_the_kind_of_labels_and_what_is_said_of_it(labels, rows, kind, words):
    found, remark = kind_of(dict.fromkeys(labels, rows // len(labels)), rows)
    assert found == kind and words in remark and bool(remark) == bool(words)


def settings(path, **values):
    return FinetuneSettings(train_set=str(path), **values)


def test_a_table_of_reviews(tmp_path):
    rows = [(f'第{i}件 很好', NAMES[i % 3], i) for i in range(31)]
    path = write_table(tmp_path / 'm.tsv', ['评论', '类别', 'id'], rows)
    found = survey_table(path, settings(path))
    assert (found.task, found.kind, found.rows, found.num_labels) == ('classification', 'classify', 31, 3)
    assert found.label_map == {'发票': 0, '快递': 1, '退货': 2} and found.labels == {'发票': 10, '快递': 11, '退货': 10}
    assert found.columns == {'text_a': '评论', 'label': '类别'} and found.first[1] == ('第1件 很好', '退货')
    assert list(found.texts()) == [row[0] for row in rows] and not found.remark


def test_pairs_are_said(tmp_path):
    rows = [('几点开门', '几点营业', i % 2) for i in range(9)]
    found = survey_table(path := write_table(tmp_path / 'p.tsv', ['问题1', '问题2', 'label'], rows), settings(path))
    assert found.remark == "a row is a pair of texts, '问题1' and '问题2'"
    assert found.first[0] == ('几点开门', '几点营业', '0') and found.sample[8] == ('几点开门', '几点营业')
    found = survey_table(path := write_table(tmp_path / 'q.tsv', ['text_a', 'text_b', 'label'], rows), settings(path))
    assert found.remark == '' and found.columns == {'text_a': 'text_a', 'text_b': 'text_b', 'label': 'label'}


def test_white_space_around_a_label_does_not_count(tmp_path, tokenizer):
    rows = [(f'好{i}', label) for i, label in enumerate([' 差评', '好评 ', '差评', '好评'] * 3)]
    found = survey_table(path := write_table(tmp_path / 'x.tsv', ['text_a', 'label'], rows), settings(path))
    assert found.labels == {'好评': 6, '差评': 6}
    read = ClassifyReader(tokenizer, 9, found.label_map, cache=False).read(path)
    assert read.labels.tolist() == [1, 0, 1, 0] * 3


def test_what_the_user_says_of_the_kind_holds(tmp_path):
    path = write_table(tmp_path / 's.tsv', ['text_a', 'label'], [('好', str(1 + i % 5)) for i in range(25)])
    assert survey_table(path, settings(path)).kind == 'classify'
    found = survey_table(path, settings(path, is_regression=True))
    assert (found.kind, found.num_labels, found.labels, found.remark) == ('regression', 1, {}, '')
    path = write_table(tmp_path / 'c.tsv', ['text_a', 'label'], [('好', ('a,b', 'b', 'a')[i % 3]) for i in range(30)])
    assert survey_table(path, settings(path)).labels == {'a': 20, 'b': 20}
    assert survey_table(path, settings(path, is_multilabel=False)).labels == {'a': 10, 'a,b': 10, 'b': 10}


@pytest.mark.parametrize(
    ('rows', 'words'),
    [
        ([(' ', '0'), ('', '1')], "found the column 'text_a' empty in all rows"),
        ([('好', ''), ('差', ' ')], "found the column 'label' empty in all rows"),
        ([('好', 'x'), ('差', 'x')], "found the label 'x' in all rows, expected two classes at least"),
        (
            [(f'好{i}', f'行{i}') for i in range(30)],
            'found 30 different labels in 30 rows, expected classes that recur',
        ),
    ],
)
def test_labels_and_columns_that_cannot_be_used(tmp_path, rows, words):
    path = write_table(tmp_path / 'x.tsv', ['text_a', 'label'], rows)
    with pytest.raises(UserError, match='^' + path) as error:
        survey_table(path, settings(path))
    assert words in str(error.value)


@pytest.mark.parametrize('slip', ['NaN', 'inf', '-', 'n/a', '3,5'])
def test_a_label_that_is_no_number_does_not_make_classes_of_numbers(tmp_path, slip):
    scores = [f'{i % 39 / 8:.3f}' for i in range(100)]
    rows = [('好', slip if i == 60 else score) for i, score in enumerate(scores)]
    path = write_table(tmp_path / 's.tsv', ['text', 'label'], rows)
    with pytest.raises(UserError) as error:
        survey_table(path, settings(path))
    assert str(error.value).startswith(f"{path}:62: found the label '{slip}', expected a number, as nearly all")
    assert '--is_classify true: labels are classes' in str(error.value)
    assert ('--is_multilabel true' in str(error.value)) == (slip == '3,5')
    assert survey_table(path, settings(path, is_classify=True)).num_labels == 40
    assert survey_table(path, settings(path, skip_bad_rows=True)).kind == 'regression'
    rows = [('好', slip if i % 9 == 0 else score) for i, score in enumerate(scores)]
    path = write_table(tmp_path / 'm.tsv', ['text', 'label'], rows)
    assert survey_table(path, settings(path)).kind == 'classify'


def test_classes_that_may_be_mistakes_are_named():
    said = list(doubtful({'快递': 7, '快遞': 1, 'Pos': 3, 'pos ': 1, 'ＰＯＳ': 5}))
    assert said[0].startswith("one row only for class '快遞', 'pos '")
    assert [line for line in said if 'nearly the same' in line] == [
        "class 'Pos' and 'pos ' are nearly the same. One of them by mistake?",
        "class 'Pos' and 'ＰＯＳ' are nearly the same. One of them by mistake?",
    ]
    assert list(doubtful({'0': 7, '1': 7, '1.0': 7})) == [
        "class '1' and '1.0' are one number, and two classes. Write it one way."
    ]
    assert kind_of({'0': 7, '1': 7, '1.0': 7}, 21)[1].startswith('labels are 2 different numbers from 0 to 1')


def test_tags_that_may_be_meant_as_one_are_named(tmp_path):
    rows = [{'tokens': ['王', '在'], 'ner_tags': ['B-PER', 'O']}, {'tokens': ['明', '在'], 'ner_tags': ['B-Per', 'O ']}]
    path = tmp_path / 'a.jsonl'
    path.write_text('\n'.join(map(json.dumps, rows * 15)))
    assert list(_about(survey_sentences(path, settings(path)), None, 'm')) == [
        "label 'B-PER' and 'B-Per' are nearly the same. One of them by mistake?",
        "label 'O ' and 'O' are nearly the same. One of them by mistake?",
    ]


def test_nothing_between_two_commas_is_no_class(tmp_path, tokenizer):
    path = write_table(
        tmp_path / 'a.tsv', ['text', 'label'], [('好', 'a,b'), ('差', 'a'), ('的', 'b,'), ('好差', 'b')] * 9
    )
    found = survey_table(path, settings(path))
    assert (found.kind, found.label_map) == ('multilabel', {'a': 0, 'b': 1})
    with pytest.raises(UserError, match="a.tsv:4: found the label ''"):
        ClassifyReader(tokenizer, 9, found.label_map, 'multilabel', 2, cache=False).read(path)


def test_tags_have_o_last_and_their_scheme(tmp_path):
    rows = tiny_tagging.sentences(20, 1, 'IOBES')
    path = tiny_tagging.write_conll(tmp_path / 'e.conll', rows)
    found = survey_sentences(path, settings(path))
    names = sorted({label for _, labels in rows for label in labels} - {'O'})
    assert list(found.label_map) == [*names, 'O'] and list(found.label_map.values()) == list(range(len(names) + 1))
    assert (found.scheme, found.rows, found.num_labels) == ('IOBES', 20, len(names) + 1)
    assert sum(found.labels.values()) == sum(len(tokens) for tokens, _ in rows)
    assert [scheme_of(names) for names in (['B-A', 'I-A'], ['I-A', 'E-A'], ['B', 'E', 'S', 'I'], ['I-A'])] == [
        *('IOB', 'IOE', 'IOBES', 'IOB')
    ]


@pytest.mark.parametrize('names', ['BMES', 'BILU'])
def test_labels_of_bmes_and_bilou_are_those_of_iobes(tmp_path, names):
    begin, inside, end, single = names if names == 'BMES' else ('B', 'I', 'L', 'U')
    text = f'我 O\n北 {begin}-LOC\n京 {inside}-LOC\n市 {end}-LOC\n他 {single}-PER\n\n' * 3
    path = write(tmp_path / 'x.conll', text)
    assert task_of(path) == 'sequence_labeling'
    found = survey_sentences(path, settings(path))
    assert list(found.labels) == ['B-LOC', 'E-LOC', 'I-LOC', 'S-PER', 'O'] and found.scheme == 'IOBES'


def write(path, text):
    path.write_text(text, encoding='utf-8')
    return path


def test_the_task_of_a_file_by_what_stands_in_it(tmp_path):
    rows = tiny_tagging.sentences(9, 2)
    reading = tiny_reading.write_puzzles(tmp_path / 'q.json', 3, 1)
    records = [
        {'question': '谁', 'context': '我在这', 'answer': '我'},
        {'question': '哪', 'context': 'x', 'answer': 'x'},
    ]
    tagged = [{'tokens': tokens, 'ner_tags': labels} for tokens, labels in rows]
    lines = lambda values: ''.join(json.dumps(value, ensure_ascii=False) + '\n' for value in values)  # noqa: E731
    files = {
        'classification': [
            table(tmp_path / 'a.tsv', sentences(9, 1)),
            write(tmp_path / 'b.csv', 'review,stars\n"O, a b",1\nB,2\n'),
            write(tmp_path / 'c.jsonl', lines([{'text': '好', 'label': ['a', 'b']}, {'text': 'x', 'label': []}])),
            write(tmp_path / 'd.txt', 'id\tdocument\tlabel\n1\t좋다\t1\n2\t싫다\t0\n'),
            write(tmp_path / 'e.jsonl', lines([{'question': '谁', 'context': '我', 'label': 1}])),
            write(tmp_path / 'empty.tsv', ''),
            write(tmp_path / 'f.txt', '__label__a good\n__label__b bad\n'),
        ],
        'sequence_labeling': [
            tiny_tagging.write_conll(tmp_path / 'a.conll', rows),
            tiny_tagging.write_rows(tmp_path / 't.tsv', rows),
            tiny_tagging.write_rows(tmp_path / 'u.tsv', rows, ' '),
            write(tmp_path / 'v.json', json.dumps(tagged)),
            write(
                tmp_path / 'w.txt',
                '-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\nPeter NNP B-NP B-PER\n',
            ),
        ],
        'mrc': [
            reading,
            write(tmp_path / 'r.jsonl', lines(records)),
            write(tmp_path / 's.json', json.dumps({'data': records}, indent=1)),
            write(tmp_path / 't.csv', 'sep=;\nquestion;context;answer\na;b;b\n'),
        ],
    }
    assert {str(path): task_of(path, ColumnNames()) for paths in files.values() for path in paths} == {
        str(path): task for task, paths in files.items() for path in paths
    }
    with pytest.raises(UserError, match=r'b\.csv:1: found a token and its label in each line, .* ends in \.conll\.'):
        task_of(tiny_tagging.write_conll(tmp_path / 'b.csv', rows))


def test_a_sample_is_spread_over_the_file_and_bounded():
    sample = Sample(most=10)
    for i in range(1000):
        sample.add((str(i),), 'x')
    kept = [int(text) for (text,) in sample.kept]
    assert 10 <= len(kept) <= 20 and kept[0] == 0 and kept[-1] >= 900
    assert len({b - a for a, b in zip(kept, kept[1:], strict=False)}) == 1
    assert sample.first == [('0', 'x'), ('1', 'x'), ('2', 'x')] and sample.count == 1000


def test_what_a_vocabulary_does_not_know(tmp_path, tokenizer):
    rows = [('好的', 'a'), ('差的', 'b'), ('재미 있다', 'a'), ('好的好的', 'b')] * 5
    path = table(tmp_path / 'x.tsv', rows)
    survey = survey_table(path, settings(path))
    coverage = coverage_of(survey, tokenizer)
    assert coverage.lengths.tolist() == [4, 4, 4, 6] * 5
    assert (coverage.pieces, coverage.unknown, coverage.examples) == (50, 10, ('재미', '있다'))
    said = unread(coverage, 'models/small/', 'large')
    assert said == "small does not know 20 % of the pieces of the texts ('재미', '있다'). --model large knows them."
    assert '--model large' in unread(coverage, 'small', 'large') and '--model' not in unread(coverage, 'small', 'small')
    assert unread(coverage._replace(unknown=2), 'small', 'large') == ''


@pytest.mark.parametrize(('name', 'separator'), [('a.csv', ','), ('a.tsv', '\t')])
def test_a_table_with_a_token_in_each_row_is_no_table_of_sentences(tmp_path, name, separator):
    header, cells = ['Sentence #', 'Word', 'POS', 'Tag'], [('Thousands', 'NNS', 'O'), ('Paris', 'NNP', 'B-geo')]
    rows = [['' if i % 5 else f'Sentence: {i}', *cells[i % 2]] for i in range(40)]
    (tmp_path / name).write_text('\n'.join(map(separator.join, [header, *rows])) + '\n')
    path = str(tmp_path / name)
    assert task_of(path) == 'sequence_labeling'
    with pytest.raises(UserError, match='a table with a token in each row, expected a sentence in each row. Write'):
        survey_sentences(path, settings(path))
