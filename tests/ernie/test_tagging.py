"""Entities and their places in the text, for texts of all scripts and lengths, from scores that a formula gives."""

import itertools
import json
import random
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from ernie.decoding.crf import WEIGHTS
from ernie.decoding.scheme import SCHEMES, chunks, first_broken
from ernie.inference.stream import join_tokens
from ernie.metrics.chunk_errors import join
from ernie.tasks.codec import BadRecord
from ernie.tasks.sequence_labeling.codec import SequenceLabelingCodec, sentence_ends
from ernie.tasks.sequence_labeling.graph import ErnieSequenceLabeler
from ernie.tokenization import CharTokenizer, FullTokenizer
from propeller.errors import UserError

WORDS = [
    '海',
    '钓',
    '比',
    '赛',
    '地',
    '点',
    '在',
    '厦',
    '门',
    '。',
    '，',
    'paul',
    '##walk',
    'new',
    'york',
    '@',
    '!',
    '9',
]
PIECES = [
    *'abcdefghijklmnopqrstuvwxyz',
    *(f'##{c}' for c in 'abcdefghijklmnopqrstuvwxyz'),
    'é',
    'ο',
    'σ',
    '한',
    '😀',
    'に',
]
VOCABULARY = ['[PAD]', '[CLS]', '[SEP]', '[UNK]', '[MASK]', *WORDS, *PIECES]
ALPHABET = [
    *'海钓比赛地点在厦门。，abcXYZÉéñΟΣσς1９한に', '한', '😀', '👨\u200d👩\u200d👧', '🇨🇳', 'e\u0301', 'a\u0323\u0302',
    '\u0301', ' ', '  ', '\t', '\n', '\u3000', '\u00a0', '\u2028', '\x00', '\ufeff', '\ufffd', 'ﬁ', 'İ', 'ß', '२',
    '\u200b', 'new york', 'Paulwalks', '@', '!', '¿', 'ก\u0e49', 'م\u064e', '\U00020000', '\x02', '\x85', '\\',
]  # fmt: skip
TYPES = ('PER', 'LOC')


@pytest.fixture(scope='module')
def vocabulary(tmp_path_factory):
    path = tmp_path_factory.mktemp('tagging') / 'vocab.txt'
    path.write_text('\n'.join(VOCABULARY) + '\n', encoding='utf-8')
    return str(path)


def label_map(scheme='IOB'):
    names = [f'{prefix}-{kind}' for kind in TYPES for prefix in SCHEMES[scheme].prefixes]
    return {name: i for i, name in enumerate([names[0], 'O', *names[1:]])}


def make_task(vocabulary, max_seq_len=64, scheme='IOB', weights=None, tokenizer=FullTokenizer, **changes):
    labels = label_map(scheme)
    values = {'label_map': labels, 'num_labels': len(labels), 'chunk_scheme': scheme, 'use_crf': weights is not None}
    values |= {'max_seq_len': max_seq_len, 'constants': {} if weights is None else {WEIGHTS: weights.tolist()}}
    return SequenceLabelingCodec(SimpleNamespace(use_task_id=False), tokenizer(vocabulary), values | changes)


@pytest.fixture
def task(vocabulary):
    return make_task(vocabulary)


def table_of(task, reach):
    """[reach, V, L]: what a token adds to the scores of one that stands so far to its right."""
    rng = np.random.default_rng(5)
    return rng.normal(size=(reach, len(VOCABULARY), len(task.names))) * 2.0 ** -np.arange(reach)[:, None, None]


def scores_of(task, row, reach):
    """[len(row), L] scores of a row of ids as a model with a window of `reach` tokens to both sides would give."""
    table, scores = table_of(task, reach), np.zeros((len(row), len(task.names)))
    for distance in range(reach):
        for shift in {distance, -distance}:
            inside = [(i, i + shift) for i in range(1, len(row) - 1) if 1 <= i + shift < len(row) - 1]
            for i, j in inside:
                scores[i] += table[distance, row[j]]
    return scores if task.weights is not None else np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)


def tag(task, text, reach=1):
    """The result for a text."""
    record = {'text_a': text}
    windows = task.encode(record)
    assert all(len(row) <= task.settings['max_seq_len'] for row in windows.ids)
    return task.decode(record, windows, [[scores_of(task, row, reach)] for row in windows.ids])


def places(result):
    return [(e['type'], e['start'], e['end']) for e in result['entities']]


def check_places(task, text):
    result = tag(task, text)
    assert result['text'] == text
    plain, best = text.replace('\x02', ' '), table_of(task, 1)[0].argmax(-1)
    ends = [0, *sentence_ends(plain), len(text)] if len(task.tokenizer.encode(plain)) > task.room else [0, len(text)]
    words, expected = [], []
    for part in (plain[a:b] for a, b in itertools.pairwise(ends)):
        pieces = [ids for word in task.tokenizer.words(part) if (ids := task.tokenizer.encode(word))]
        found = get_entities([task.names[best[ids[0]]] for ids in pieces])
        expected += [(kind, first + len(words), last + len(words)) for kind, first, last in found]
        words += pieces
    assert len(result['entities']) == len(expected)
    end = 0
    for entity, (kind, first, last) in zip(result['entities'], expected, strict=True):
        assert entity['type'] == kind and end <= entity['start'] < entity['end'] <= len(text)
        end = entity['end']
        assert text[entity['start'] : end] == entity['text'] == entity['text'].strip()
        # The slice is cut into the very pieces that the entity was made of.
        pieces = [index for ids in words[first : last + 1] for index in ids]
        assert task.tokenizer.encode(entity['text'].replace('\x02', ' ')) == pieces
        assert 0 < entity['confidence'] <= 1
    return len(expected)


def test_places_in_1000_random_strings(vocabulary):
    tasks, rng = [make_task(vocabulary, n) for n in (19, 400)], random.Random(0)
    found = sum(check_places(tasks[i % 2], ''.join(rng.choices(ALPHABET, k=rng.randrange(60)))) for i in range(1000))
    assert found > 5000


@settings(max_examples=200)
@given(text=st.text(st.characters(codec='utf-8'), max_size=80))
def test_places_in_any_string(vocabulary, text):
    check_places(make_task(vocabulary, max_seq_len=12), text)


def test_an_example_by_hand(vocabulary):
    task = make_task(vocabulary)
    wanted = {'paul': 'B-PER', '##walk': 'I-PER', '厦': 'B-LOC', '门': 'I-LOC', 'new': 'B-LOC', 'york': 'I-LOC'}
    text = ' @PaulWalk，在 厦\u3000门 NEW\n YORK! '

    def scores(row):
        labels = [wanted.get(VOCABULARY[i], 'O') for i in row]
        return np.array([[0.7 if name == label else 0.3 / 4 for name in task.names] for label in labels])

    windows = task.encode({'text_a': text})
    result = task.decode({'text_a': text}, windows, [[scores(row)] for row in windows.ids])
    assert [(e['type'], e['text'], e['start'], e['end']) for e in result['entities']] == [
        ('PER', 'PaulWalk', 2, 10),
        ('LOC', '厦\u3000门', 13, 16),
        ('LOC', 'NEW\n YORK', 17, 26),
    ]
    assert all(e['confidence'] == pytest.approx(0.7) for e in result['entities'])
    assert task.cells(result) == [
        'PER:2-10:0.70000:PaulWalk',
        'LOC:13-16:0.70000:厦\u3000门',
        r'LOC:17-26:0.70000:NEW\n YORK',
    ]
    assert task.header() == [] and json.loads(json.dumps(result)) == result


def long_text(seed=0, least=5000):
    """(sentences, each with its full stop): together at least so many characters."""
    rng, sentences = random.Random(seed), []
    while sum(map(len, sentences)) < least:
        sentences.append(''.join(rng.choices('海钓比赛地点在厦门', k=rng.randrange(1, 60))) + '。')
    return sentences


@pytest.mark.parametrize('crf', [False, True])
@pytest.mark.parametrize('max_seq_len', [128, 33])
def test_5000_characters_give_what_their_sentences_give(vocabulary, max_seq_len, crf):
    """Scores reach 8 tokens far, and any label may stand at the end of a sentence."""
    weights = np.random.default_rng(2).normal(size=(7, 5)) if crf else None
    task, sentences, expected, start = make_task(vocabulary, max_seq_len, weights=weights), long_text(), [], 0
    for sentence in sentences:
        expected += [(kind, start + a, start + b) for kind, a, b in places(tag(task, sentence, reach=8))]
        start += len(sentence)
    found = tag(task, ''.join(sentences), reach=8)
    assert places(found) == expected and len(expected) > 500
    assert all(found['text'][e['start'] : e['end']] == e['text'] for e in found['entities'])


def test_ends_of_sentences():
    text = '他说：“好！”她走了……\n再见。3.5元 U.S. President met Mr. Smith in St. Louis. "He left," she said! Then? it '
    text += 'ended. '
    ends = [0, *sentence_ends(text), len(text)]
    assert [text[a:b].strip() for a, b in itertools.pairwise(ends)] == [
        '他说：“好！”',
        '她走了……',
        '',
        '再见。',
        '3.5元 U.S. President met Mr. Smith in St. Louis.',
        '"He left," she said!',
        'Then? it ended.',
    ]


@pytest.mark.parametrize('crf', [False, True])
@pytest.mark.parametrize('scheme', ['IOB', 'IOBES'])
def test_windows_give_what_one_window_gives(vocabulary, scheme, crf):
    """Scores that reach 8 tokens far to both sides, windows of 62 that overlap by half: nothing is lost at edges."""
    labels = len(label_map(scheme))
    weights = np.random.default_rng(1).normal(size=(labels + 2, labels)) if crf else None
    text = ''.join(long_text(seed=1, least=1500)).replace('。', '，') + ' Paulwalks new york' * 20
    whole, cut = (tag(make_task(vocabulary, n, scheme, weights), text, reach=8) for n in (3000, 64))
    assert places(cut) == places(whole) and len(places(whole)) > 60
    sure = [[e['confidence'] for e in result['entities']] for result in (cut, whole)]
    np.testing.assert_allclose(*sure, atol=1e-6)


def test_words_keep_their_pieces_together(vocabulary):
    """An entity never ends inside a word, whatever the labels of its pieces are."""
    task = make_task(vocabulary, scheme='IOBES')
    for reach in (1, 3):
        for entity in tag(task, 'Paulwalks new york @paulwalk ' * 30, reach)['entities']:
            text = 'Paulwalks new york @paulwalk ' * 30
            for i in (entity['start'], entity['end']):
                assert i in (0, len(text)) or not (text[i - 1].isalpha() and text[i].isalpha())


def test_iobes_gives_whole_chunks_only(vocabulary):
    task = make_task(vocabulary, scheme='IOBES')
    text = '海 Paulwalks 钓'

    def run(*labels):
        windows = task.encode({'text_a': text})
        hot = np.eye(len(task.names))[[task.names.index(label) for label in ('O', *labels, 'O')]]
        return places(task.decode({}, windows, [[hot]]))

    assert run('O', 'B-PER', 'I-PER', 'E-PER', 'O') == [('PER', 2, 11)]  # a token of three pieces
    assert run('B-PER', 'I-PER', 'I-PER', 'E-PER', 'S-LOC') == [('PER', 0, 11), ('LOC', 12, 13)]
    assert run('B-PER', 'I-PER', 'I-PER', 'I-PER', 'O') == []
    assert chunks(['B-A', 'I-A'], 'IOBES') == [] and first_broken(['B-A', 'I-A'], 'IOBES') == 0


def test_a_cut_text_of_a_character_tokenizer(vocabulary):
    task = make_task(vocabulary, tokenizer=CharTokenizer)
    text = ' 海 钓  new york 厦 '
    for entity in tag(task, text)['entities']:
        assert text[entity['start'] : entity['end']] == entity['text'].strip()


@pytest.mark.parametrize('text', ['', ' ', '\u200b', '\n\t', '\x00'])
def test_texts_without_a_word(task, text):
    windows = task.encode({'text_a': text})
    assert windows.ids == [[1, 2]] and windows.split == [2]
    assert task.decode({}, windows, [[np.zeros((2, 5))]]) == {'text': text, 'entities': []}
    assert task.cells({'text': text, 'entities': []}) == []


@pytest.mark.parametrize('record', [{}, {'text_a': None}, {'text_a': 3}, {'text_a': ['海']}, {'text': '海'}])
def test_records_that_cannot_be_used(task, record):
    with pytest.raises(BadRecord):
        task.encode(record)


def test_separators_of_training_files_count_as_spaces(task):
    joined, spaced = tag(task, '厦\x02门\x02new\x02york'), tag(task, '厦 门 new york')
    assert places(joined) == places(spaced) and places(joined)


@pytest.mark.parametrize(
    'tokens', [['厦', '门', 'new', 'york'], ['new'], ['', '厦', '', 'new', 'york', '厦'], ['', '']]
)
def test_entities_of_a_list_of_tokens_have_their_places_in_it(task, tokens):
    record = {'tokens': tokens}
    record['text_a'] = record.pop('tokens')
    join_tokens(record, task.columns)
    windows = task.encode(record)
    result = task.decode(record, windows, [[scores_of(task, row, 1)] for row in windows.ids])
    assert result['text'] == join(tokens) and '\x02' not in json.dumps(result)
    joined = tag(task, '\x02'.join(tokens))['entities']
    assert len(result['entities']) == len(joined)
    for entity, other in zip(result['entities'], joined, strict=True):
        assert tokens[entity['start_token'] : entity['end_token']] == other['text'].split('\x02')
        assert result['text'][entity['start'] : entity['end']] == entity['text']
        assert entity['text'] == join(other['text'].split('\x02'))


def test_escapes_keep_a_line_whole(task):
    text = 'a\\\t\n\r\x0b\x0c\x1c\x85\u2028\u2029z'
    (cell,) = task.cells({'entities': [{'type': 'X', 'text': text, 'start': 0, 'end': 12, 'confidence': 1.0}]})
    assert cell.splitlines() == [cell] and '\t' not in cell
    assert cell == r'X:0-12:1.00000:a\\\t\n\r\u000b\u000c\u001c\u0085\u2028\u2029z'


def test_constants_and_graph_settings(vocabulary):
    weights = np.arange(35, dtype=np.float32).reshape(7, 5)
    task = make_task(vocabulary, weights=weights)
    assert task.constants({WEIGHTS: weights}) == {WEIGHTS: weights.tolist()}
    assert make_task(vocabulary).constants({}) == {}
    assert ErnieSequenceLabeler.results(['emissions', 'weights']) == ['emissions']
    params = ErnieSequenceLabeler.prediction_params(None, task.settings)
    assert params.num_labels == 5 and params.use_crf is True


@pytest.mark.parametrize(
    'changes', [{'num_labels': 7}, {'label_map': {'B-PER': 0, 'E-PER': 1}}, {'label_map': {'B-PER': 0, 'O': 0}}]
)
def test_labels_that_do_not_fit_the_model(vocabulary, changes):
    with pytest.raises(UserError, match='label map'):
        make_task(vocabulary, **changes)
