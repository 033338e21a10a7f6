"""Columns by their names: those that are asked for, learnt from, those of 2019, those that people use."""

import json

import pytest

from ernie.inference.stream import read_rows
from ernie.reader.column_words import LABELS, PAIRS, TEXTS
from ernie.reader.columns import ColumnNames
from ernie.reader.naming import Naming, QuestionNaming, TokenNaming
from ernie.reader.records import read_records
from ernie.reader.sentences import Sentences
from propeller.errors import UsageError, UserError

TRAINING = ('text_a', 'label')


class Told(list):
    def tell(self, text, line=None):
        self.append(text)

    def tell_columns(self, shown):
        self.append(f'columns: {", ".join(shown)}')


def found(names, required=TRAINING, kind=Naming, **options):
    naming = kind(required, **options)
    naming.of(names, 'f.tsv', 1)
    return naming.found


@pytest.mark.parametrize(
    ('names', 'text', 'label'),
    [
        (['id', 'document', 'label'], 'document', 'label'),  # NSMC
        (['label', 'review'], 'review', 'label'),  # waimai_10k
        (['Review_Body', 'STAR', 'date'], 'Review_Body', 'STAR'),
        (['text', 'intent'], 'text', 'intent'),
        (['评论内容', '情感倾向', '编号'], '评论内容', '情感倾向'),
        (['텍스트', '감정'], '텍스트', '감정'),
        (['Sentence', 'Target'], 'Sentence', 'Target'),
        (['tweet', 'Sentiment', 'user', 'date'], 'tweet', 'Sentiment'),
    ],
)
def test_names_that_people_use(names, text, label):
    assert found(names) == {'text_a': text, 'label': label}


@pytest.mark.parametrize(
    'pair', ['sentence1 sentence2', 'premise hypothesis', 'question1 question2', 'sentence_A sentence_B']
)
def test_second_texts_where_the_first_is_of_the_same_pair(pair):
    first, second = pair.split()
    assert found(['id', second, first, 'label']) == {'text_a': first, 'text_b': second, 'label': 'label'}
    alone = {'text_a': first, 'label': 'label'}
    assert found([first, 'label']) == alone == found([first, 'label', 'hypothesis' if 'pre' not in first else 'text2'])
    assert found([first, second, 'label'], learnt={'text_a': first, 'label': 'label'}) == alone
    pair = {'text_a': 'text_a', 'text_b': 'text_b', 'label': 'label'}
    assert found([second, first], ('text_a', 'text_b'), learnt=pair) == {'text_a': first, 'text_b': second}
    assert found([first, second, 'label'], asked=ColumnNames(first)) == alone


def test_names_of_2019_win_and_so_do_learnt_and_asked_ones():
    names = ['title', 'text_a', 'review', 'rating', 'label', 'text_b']
    assert found(names) == {'text_a': 'text_a', 'text_b': 'text_b', 'label': 'label'}
    learnt = {'text_a': 'title', 'label': 'rating'}
    assert found(names, learnt=learnt) == {'text_a': 'title', 'text_b': 'text_b', 'label': 'rating'}
    assert found(['text_a', 'label'], learnt=learnt) == {'text_a': 'text_a', 'label': 'label'}
    asked = ColumnNames('review', 'title', 'rating')
    assert found(names, asked=asked) == {'text_a': 'review', 'text_b': 'title', 'label': 'rating'}
    # What another column is called is not reached by that name any more.
    assert Naming(TRAINING, asked).of(names, 'f', 1) == {'review': 'text_a', 'title': 'text_b', 'rating': 'label'}


@pytest.mark.parametrize(
    ('names', 'options', 'message'),
    [
        (
            ['title', 'review', 'label'],
            {},
            r"could be the text: 'title', 'review', .* --text_column title",
        ),
        (['text', 'sentiment', 'score'], {}, r"be the label: 'sentiment', 'score', .* --label_column sentiment"),
        (
            ['text', 'label'],
            {'asked': ColumnNames('txet')},
            r"a column 'txet' \(--text_column\)\. Did you mean text\?",
        ),
        (
            ['text', 'label'],
            {'asked': ColumnNames(label='Lable')},
            r"'Lable' .*\. Did you mean label\?",
        ),
        (['a', 'b', 'label'], {}, r"also a column 'text_a'\. --text_column NAME says which it is"),
        (['lable', 'text'], {}, r"also a column 'label'\. Is 'lable' meant to be 'label'\?"),
        (
            ['text', 'label'],
            {'asked': ColumnNames('label')},
            r"also a column 'label'\. --text_column took 'label'\. --label_column NAME names another\.$",
        ),
        (['a', 'b'], {}, 'The first line must name the columns'),
    ],
)
def test_what_cannot_be_told_is_said(names, options, message):
    with pytest.raises(UserError, match=message) as e:
        Naming(TRAINING, **options).of(names, 'f.tsv', 1, is_header=True)
    assert str(e.value).startswith('f.tsv:1: ')


def test_one_column_for_two_things():
    with pytest.raises(UsageError, match="'x' is named for two things"):
        Naming(TRAINING, ColumnNames('x', None, 'x'))


def test_prediction_does_not_need_the_label_column():
    assert found(['review'], ('text_a',), asked=ColumnNames('review', None, 'stars')) == {'text_a': 'review'}
    assert found(['review', 'stars'], ('text_a',)) == {'text_a': 'review'}


def test_what_was_recognised_is_told_once_and_what_is_plain_not():
    for names, told in (
        (['text_a', 'label'], []),
        (['text', 'label'], []),
        (['id', 'document', 'label'], ['columns: document -> text, label']),
        (['premise', 'hypothesis', 'label'], ['columns: premise -> text, hypothesis -> text_b, label']),
    ):
        notes = Told()
        Naming(TRAINING).of(names, 'f', 1, notes)
        assert notes == told


def test_tokens_and_questions():
    conll = ['id', 'tokens', 'pos_tags', 'chunk_tags', 'ner_tags']
    assert found(conll, kind=TokenNaming) == {'text_a': 'tokens', 'label': 'ner_tags'}
    assert found(conll, kind=TokenNaming, asked=ColumnNames(label='pos_tags'))['label'] == 'pos_tags'
    needed = {'required': ('question', 'context'), 'optional': ('answers',), 'labelled': True, 'kind': QuestionNaming}
    squad = ['id', 'title', 'context', 'question', 'answers']
    assert found(squad, **needed) == {name: name for name in ('question', 'context', 'answers')}
    asked = ColumnNames('q', 'p', 'a')
    assert found(['q', 'p', 'a'], asked=asked, **needed) == {'question': 'q', 'context': 'p', 'answers': 'a'}


def test_no_word_means_two_things():
    assert not TEXTS & LABELS
    assert all(len(pair) == 2 and pair[0] != pair[1] for pair in PAIRS)


def test_files_of_very_many_columns_are_not_looked_through():
    names = [f'review{i}' for i in range(5000)]
    with pytest.raises(UserError, match='expected also') as e:
        Naming(TRAINING).of(names, 'f', 1)
    assert len(str(e.value)) < 500


@pytest.mark.parametrize('names', [['mood', 'label', 'text', 'text_a'], ['text_a', 'text', 'label', 'mood']])
def test_an_asked_column_is_read_whatever_else_has_the_name_of_its_meaning(tmp_path, names):
    values = {'mood': '好', 'label': '7', 'text': '屏幕', 'text_a': '编号'}
    row = {name: values[name] for name in names}
    files = {'a.csv': ','.join(names) + '\n' + ','.join(row.values()), 'a.jsonl': json.dumps(row)}
    files['a.json'] = json.dumps([row, dict(reversed(row.items()))])
    for name, content in files.items():
        (tmp_path / name).write_text(content + '\n')
        asked = ColumnNames('text', None, 'mood')
        for record in read_records(tmp_path / name, TRAINING, columns=asked):
            assert (record.cells['text_a'], record.cells['label']) == ('屏幕', '好'), name
        learnt = {'text_a': 'text', 'label': 'mood'}
        for row_ in read_rows(str(tmp_path / name), ('text_a',), learnt=learnt):
            assert row_.record['text_a'] == '屏幕'
            assert row_.cells == row_.cells | values


def test_an_asked_column_of_token_lists(tmp_path):
    row = {'label': ['O', 'O'], 'marks': ['B-PER', 'I-PER'], 'tokens': ['小', '明'], 'text_a': ['编', '号']}
    for keys in (list(row), list(reversed(row))):
        (tmp_path / 'a.jsonl').write_text(json.dumps({key: row[key] for key in keys}) + '\n')
        sentences = Sentences(True, columns=ColumnNames('tokens', None, 'marks'))
        (found,) = sentences.of(tmp_path / 'a.jsonl', None, Told())
        assert (found.tokens, found.labels) == (row['tokens'], row['marks'])
