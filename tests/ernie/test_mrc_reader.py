"""SQuAD-form files -> windows and labels, and everything that can be wrong with such a file."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ernie.decoding.answers import DecodingRules, cutter, find_answers
from ernie.metrics.mrc import answers_of, evaluate
from ernie.reader.mrc import Limits, build_rows, locate_answer, window_labels
from ernie.reader.question_set import MrcReader
from ernie.reader.simplify import Simplifier
from ernie.reader.squad_json import LineNumbers, read_squad
from ernie.tokenization import FullTokenizer
from propeller.errors import UsageError, UserError
from tests.ernie.tiny_model import VOCABULARY
from tests.ernie.tiny_reading import qa, shared_data, squad, write_json

VOCAB = {'[CLS]': 1, '[SEP]': 2}
CHINESE = '高畠车站位于日本山形县，由东日本旅客铁道（JR东日本）经营；本站在1900年初次启用时，原名糠之目。'
ENGLISH = 'The Battle of Jumonville Glen was fought in 1754, before the capture of Montréal in 1760.'


@pytest.fixture(scope='module')
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp('vocabulary') / 'vocab.txt'
    words = [
        'the',
        'battle',
        'of',
        'was',
        'in',
        'ca',
        '##pt',
        '##ure',
        '175',
        '##4',
        '176',
        '##0',
        '190',
        'mon',
        '##treal',
    ]
    path.write_text('\n'.join(dict.fromkeys([*VOCABULARY, *words, *CHINESE, *'，。？（）；'])) + '\n', encoding='utf-8')
    return FullTokenizer(str(path))


@pytest.fixture
def caplog_text(capsys):
    """Function -> what was logged so far."""
    return lambda: capsys.readouterr().err


def reader(tokenizer, *limits, **options):
    return MrcReader(tokenizer, Limits(*limits), **options)


def read(tokenizer, tmp_path, document, *limits, training=True, **options):
    path = write_json(tmp_path / 'set.json', document)
    return reader(tokenizer, *limits, **options).read(path, training=training)


# ---------------------------------------------------------------- windows


@settings(max_examples=200)
@given(st.integers(0, 12), st.integers(0, 40), st.integers(1, 6), st.integers(1, 9), st.integers(1, 12), st.data())
def test_rows_and_labels(asked, length, longest, room, stride, data):
    limits = Limits(longest + 3 + room, longest, stride)
    limits.check()
    question, document = list(range(100, 100 + asked)), list(range(1000, 1000 + length))
    rows = build_rows(question, document, limits, VOCAB)
    kept = question[:longest]
    seen = set()
    for ids, (start, size) in zip(rows.ids, rows.windows, strict=True):
        assert ids == [1, *kept, 2, *document[start : start + size], 2]
        assert len(ids) <= limits.max_seq_len and rows.split == len(kept) + 2
        seen.update(range(start, start + size))
    assert seen == set(range(length))
    starts = [start for start, _ in rows.windows]
    assert all(
        b - a == min(stride, limits.max_seq_len - len(kept) - 3) for a, b in zip(starts, starts[1:], strict=False)
    )
    if not length:
        return
    first = data.draw(st.integers(0, length - 1))
    last = data.draw(st.integers(first, length - 1))
    answer = document[first : last + 1]
    for ids, (a, b) in zip(rows.ids, window_labels((first, last), rows), strict=True):
        whole = any(ids[i : i + len(answer)] == answer for i in range(len(ids)))
        assert (ids[a : b + 1] == answer) if whole else (a, b) == (0, 0)
    assert set(window_labels(None, rows)) == {(0, 0)}


@pytest.mark.parametrize('limits', [(10, 7, 1), (10, 64, 128), (512, 0, 128), (512, 64, 0)])
def test_impossible_limits(tokenizer, limits):
    with pytest.raises(UsageError, match='--max_query_length|--doc_stride'):
        reader(tokenizer, *limits)


# ---------------------------------------------------------------- training


def decoded(tokenizer, rows, i):
    """(tokens of window i, tokens between its labels)."""
    tokens = tokenizer.convert_ids_to_tokens(rows.tokens.row(i)[0].tolist())
    first, last = rows.labels[i]
    return tokens, tokens[first : last + 1]


def test_labels_of_real_text(tokenizer, tmp_path):
    answers = [('日本山形县', 6), ('1900年', 36), ('高畠车站', 0), ('原名糠之目。', len(CHINESE) - 6)]
    entries = [qa(f'c{i}', '哪里？', (text, CHINESE.index(text))) for i, (text, _) in enumerate(answers)]
    english = [qa('e0', 'When?', ('175', ENGLISH.index('175'))), qa('e1', 'What?', ('Montréal', ENGLISH.index('Mon')))]
    rows = read(tokenizer, tmp_path, squad((CHINESE, entries), (ENGLISH, english)), 24, 5, 7)
    for q, question in enumerate(rows.questions):
        expected, found = tokenizer.tokenize(question.answers[0][0]), 0
        for i in rows.rows_of(q):
            tokens, answer = decoded(tokenizer, rows, i)
            assert tokens[0] == '[CLS]' and tokens.count('[SEP]') == 2
            if rows.labels[i].any():
                assert answer == expected and rows.labels[i][0] >= rows.tokens.split[i]
                found += 1
            else:
                inside = tokens[rows.tokens.split[i] : -1]
                assert not any(inside[k : k + len(expected)] == expected for k in range(len(inside)))
        assert found >= 1, question
    # The answer is a piece of its own: 1754 is cut at its border.
    assert tokenizer.tokenize('1754') == ['175', '##4'] and decoded(tokenizer, rows, rows.first_row[4] + 0)
    types = rows.padded(np.arange(len(rows)))[1]
    assert (types.argmax(1) == rows.tokens.split).all()


def test_several_answers_take_the_first(tokenizer, tmp_path, caplog_text):
    document = squad((CHINESE, [qa('a', '哪？', ('车站', 2), ('高畠', 0)), qa('b', '哪？', ('日本', 6))]))
    rows = read(tokenizer, tmp_path, document, 80, 5, 7)
    assert decoded(tokenizer, rows, 0)[1] == ['车', '站']
    log = caplog_text()
    assert '1 questions have several answers: training takes the first one of each' in log
    assert '2 answers located, 0 of them not at their answer_start; 0 could not be located' in log


def test_an_answer_at_another_place_is_found(tokenizer, tmp_path, caplog_text):
    document = squad((CHINESE, [qa('a', '哪？', ('日本', 12)), qa('b', '哪？', ('山形县', -1))]))
    del document['data'][0]['paragraphs'][0]['qas'][1]['answers'][0]['answer_start']
    rows = read(tokenizer, tmp_path, document, 80, 5, 7)
    second = [m.start() for m in re.finditer('日本', CHINESE)][1]
    assert rows.questions[0].answers == (('日本', second),) and rows.questions[1].answers == (('山形县', 8),)
    assert decoded(tokenizer, rows, 0)[1] == ['日', '本'] and rows.labels[0][0] == second + rows.tokens.split[0]
    assert '2 answers located, 2 of them not at their answer_start; 0 could not be located' in caplog_text()


@settings(max_examples=200)
@given(st.text('ab', max_size=12), st.text('ab', max_size=3), st.none() | st.integers(-2, 14))
def test_locate_answer(context, text, start):
    places = [i for i in range(len(context)) if text and context[i : i + len(text)] == text]
    found = locate_answer(context, text, start)
    if not places:
        assert found is None
    else:
        assert found in places and abs(found - (start or 0)) == min(abs(p - (start or 0)) for p in places)


def test_unanswerable_questions_teach_no_answer(tokenizer, tmp_path):
    document = squad(
        (CHINESE, [qa('a', '哪？', is_impossible=True), qa('b', '哪？', ('日本', 6), is_impossible=False)])
    )
    rows = read(tokenizer, tmp_path, document, 30, 5, 10)
    assert rows.unanswerable and not rows.labels[list(rows.rows_of(0))].any()
    assert rows.labels[list(rows.rows_of(1))].any()


def test_what_cannot_be_learnt_is_counted(tokenizer, tmp_path, caplog_text):
    context = CHINESE[:20] + '\u200b' + CHINESE[20:]
    entries = [
        qa('long', '哪里哪里哪里？', ('日本', 6)),
        qa('invisible', '哪？', ('\u200b', 20)),
        qa('wide', '哪？', (context[:15], 0)),
    ]
    rows = read(tokenizer, tmp_path, squad((context, entries)), 18, 5, 4)
    assert list(np.diff(rows.first_row)) == [len(rows.rows_of(0)), 0, len(rows.rows_of(2))]
    assert not rows.labels[list(rows.rows_of(2))].any()
    log = caplog_text()
    assert '1 questions longer than 5 tokens were cut' in log
    assert '1 questions left out: their answer has no token' in log
    assert '1 answers fit into no window of 18 tokens and are not learned' in log


def test_several_processes_give_the_same(tokenizer, tmp_path):
    entries = [qa(f'q{i}', f'第{i}？', (CHINESE[i % 30 : i % 30 + 4], i % 30)) for i in range(40)]
    document = squad(*[(CHINESE * 40, entries[:20]), (CHINESE * 50, entries[20:])] * 1)
    path = write_json(tmp_path / 'set.json', document)
    for training in (True, False):
        sets = []
        for processes in (1, 2):
            made = reader(tokenizer, 100, 8, 30, processes=processes)
            sets.append(made.read(path, training=training))
        one, two = sets
        assert np.array_equal(one.tokens.ids, two.tokens.ids) and np.array_equal(one.windows, two.windows)
        assert np.array_equal(one.starts, two.starts) and np.array_equal(one.first_row, two.first_row)
        assert training is False or np.array_equal(one.labels, two.labels)


# ---------------------------------------------------------------- evaluation


def test_offsets_of_documents(tokenizer, tmp_path):
    document = squad((CHINESE, [qa('a', '哪？'), qa('b', '什么？')]), (ENGLISH, [qa('c', 'When?')]))
    rows = read(tokenizer, tmp_path, document, 20, 5, 6, training=False)
    assert rows.labels is None and rows.unscorable.id == 'a'
    for q, question in enumerate(rows.questions):
        encoded = tokenizer.encode_aligned(question.context)
        starts, ends = rows.spans(q)
        assert (starts.tolist(), ends.tolist()) == (encoded.starts, encoded.ends)
        for row in rows.rows_of(q):
            start, size = rows.windows[row]
            ids = rows.tokens.row(row)[0].tolist()[rows.tokens.split[row] : -1]
            assert ids == encoded.ids[start : start + size]
        assert rows.windows[rows.rows_of(q).start][0] == 0
    pieces = [ENGLISH[s:e] for s, e in zip(*rows.spans(2), strict=True)]
    assert pieces[:4] == ['The', 'Battle', 'of', 'Jumonville'] and pieces[-4:-1] == ['in', '176', '0']


# ---------------------------------------------------------------- simplified characters


def test_simplified_characters_keep_their_offsets(tokenizer, tmp_path):
    pytest.importorskip('opencc')
    simplify = Simplifier()
    context = '高畠車站位於日本山形縣，由東日本旅客鐵道（JR東日本）經營；'
    assert simplify(context) == CHINESE[:30]
    document = squad((context, [qa('a', '位於哪裡？', ('山形縣', context.index('山形縣')))]))
    rows = read(tokenizer, tmp_path, document, 60, 5, 7, simplify=simplify)
    assert decoded(tokenizer, rows, 0)[1] == ['山', '形', '县'] and rows.questions[0].answers[0][0] == '山形縣'
    scored = read(tokenizer, tmp_path, document, 60, 5, 7, simplify=simplify, training=False)
    starts, ends = scored.spans(0)
    assert context[starts[8] : ends[10]] == '山形縣' and scored.questions[0].context == context


def test_every_text_keeps_its_length():
    pytest.importorskip('opencc')
    simplify = Simplifier()
    with open(shared_data('drcd/dev.json'), encoding='utf-8') as f:
        contexts = [p['context'] for a in json.load(f)['data'] for p in a['paragraphs']]
    changed = [simplify(context) for context in contexts]
    assert [len(c) for c in changed] == [len(c) for c in contexts]
    assert sum(a != b for a, b in zip(changed, contexts, strict=True)) > len(contexts) / 2


def test_a_conversion_of_another_length_goes_by_characters(monkeypatch):
    simplify = Simplifier.__new__(Simplifier)
    table = {'電': '电', '腦': '脑', '俄': 'ru'}
    simplify._convert = lambda text: '计算机' if text == '電腦俄x' else table.get(text, text)
    assert simplify('電腦俄x') == '电脑俄x'


def test_missing_opencc(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'opencc', None)
    with pytest.raises(UserError, match='pip install opencc'):
        Simplifier()


# ---------------------------------------------------------------- bad files

GOOD = squad(
    (CHINESE, [qa('x', '哪？', ('日本', 6))]), (ENGLISH, [qa('y', 'When?', ('1754', 44)), qa('z', 'Who?', ('The', 0))])
)


def spoilt(**changes):
    """A copy of GOOD with values of the question `y` (or of its paragraph, `context`) replaced; ... removes."""
    document = json.loads(json.dumps(GOOD))
    paragraph = document['data'][1]['paragraphs'][0]
    for key, value in changes.items():
        owner = paragraph if key in ('context', 'qas') else paragraph['qas'][0]
        if value is ...:
            del owner[key]
        else:
            owner[key] = value
    return document


@pytest.mark.parametrize(
    'document, found, expected',
    [
        (spoilt(question=' '), "question 'y': an empty question", 'some text'),
        (spoilt(context='\n'), "question 'y': an empty context", 'some text'),
        (spoilt(id='x'), "question 'x': this id a second time", 'each question id once'),
        (spoilt(answers=[]), "question 'y': no answer", 'is_impossible'),
        (spoilt(answers=[{'text': '', 'answer_start': 0}]), "question 'y': an empty answer", 'is_impossible'),
        (
            spoilt(answers=[{'text': '1755', 'answer_start': 44}]),
            "question 'y': the answer '1755', which is not in its context",
            'a part of the context',
        ),
    ],
)
def test_questions_that_cannot_be_used(tokenizer, tmp_path, document, found, expected):
    with pytest.raises(UserError) as e:
        read(tokenizer, tmp_path, document, 40, 5, 7)
    text = (tmp_path / 'set.json').read_text(encoding='utf-8').split('\n')
    line = int(re.match(r'(.*set\.json):(\d+): found (.*), expected ', str(e.value))[2])
    key = re.search(r"question '(\w)'", found)[1]
    assert f'"id": "{key}"' in text[line - 1] and ('second' not in found or line > 20)
    assert found in str(e.value) and expected in str(e.value)
    rows = read(tokenizer, tmp_path, document, 40, 5, 7, skip_bad_rows=True)
    assert 1 <= rows.bad_rows.count <= 2 and 'y' not in [question.id for question in rows.questions]
    assert found in '\n'.join(rows.bad_rows.messages())


@pytest.mark.parametrize(
    'content, found',
    [
        ('{"data": [}', 'set.json:1: found bad JSON'),
        ('{\n"data": [\n{]}', 'set.json:3: found bad JSON'),
        ('[]', 'found a list'),
        ('{"version": "1.1"}', 'no data'),
        ('{"data": {}}', 'data: an object, expected a list'),
        ('{"data": [3]}', 'data[0]: a whole number'),
        ('{"data": []}', 'no question that can be used'),
        ('{"data": [{"paragraphs": [{"qas": []}]}]}', 'no data[0].paragraphs[0].context'),
        (json.dumps(spoilt(question=...)), 'no data[1].paragraphs[0].qas[0].question'),
        (json.dumps(spoilt(id=None)), 'data[1].paragraphs[0].qas[0].id: null, expected a text or a whole number'),
        (json.dumps(spoilt(id=True)), 'qas[0].id: true or false'),
        (json.dumps(spoilt(is_impossible='no')), 'qas[0].is_impossible: a text, expected true or false'),
        (json.dumps(spoilt(answers='1754')), 'qas[0].answers: a text, expected a list'),
        (json.dumps(spoilt(answers=[{'text': '1754', 'answer_start': 4.5}])), 'answers[0].answer_start: a number'),
        (json.dumps(spoilt(answers=[{'text': 7}])), 'answers[0].text: a whole number'),
        ('[' * 100000, 'nested too deeply'),
        (b'\xff{}', 'byte 0xff that is not UTF-8'),
    ],
)
def test_files_of_another_form(tokenizer, tmp_path, content, found):
    path = tmp_path / 'set.json'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as e:
        reader(tokenizer, skip_bad_rows=True).read(str(path), training=True)
    assert found in str(e.value) and str(path) in str(e.value) and 'expected' in str(e.value)


def test_an_empty_question_is_scored_all_the_same(tokenizer, tmp_path, caplog_text):
    rows = read(tokenizer, tmp_path, spoilt(question=' '), 40, 5, 7, training=False)
    assert [question.id for question in rows.questions] == ['x', 'y', 'z']
    tokens = tokenizer.convert_ids_to_tokens(rows.tokens.row(rows.first_row[1])[0].tolist())
    assert tokens[:3] == ['[CLS]', '[SEP]', 'the']
    assert "1 empty questions, the first of them 'y'" in caplog_text()


def test_no_such_file(tokenizer, tmp_path):
    with pytest.raises(UserError, match='none.json: found no such file'):
        reader(tokenizer).read(tmp_path / 'none.json')


def test_numbers_as_ids_and_a_byte_order_mark(tmp_path):
    path = tmp_path / 's.json'
    path.write_text(json.dumps(squad(('今天', [qa(7, '什么？')]))), encoding='utf-8-sig')
    assert [question.id for question in read_squad(path)] == ['7']


def test_lines_of_questions():
    text = '{"id": "a",\n "id" : "b\\u4e2d" ,\n"id": 7}\n {"id": "b中"}'
    lines = LineNumbers(text)
    assert [lines.of(key) for key in ('a', 'b中', '7', 'none')] == [1, 2, 3, None]
    assert LineNumbers(text.replace('b中', 'a')).of('a', last=True) == 4


# ---------------------------------------------------------------- real files


@pytest.mark.parametrize('name, words', [('cmrc2018/train', ''), ('drcd/train', ''), ('xquad/train.en', '_en')])
def test_labels_of_real_files(name, words, caplog_text):
    tokenizer = FullTokenizer(shared_data(f'ernie_official/vocab{words}.txt'))
    rows = reader(tokenizer, 256, 64, 100).read(shared_data(f'{name}.json'), training=True)
    assert f'{len(rows.questions)} answers located, 0 of them' in caplog_text()
    missed = 0
    for q, question in enumerate(rows.questions):
        expected = tokenizer.encode(question.answers[0][0])
        labelled = [i for i in rows.rows_of(q) if rows.labels[i].any()]
        missed += not labelled
        for i in labelled:
            first, last = rows.labels[i]
            assert rows.tokens.row(i)[0][first : last + 1].tolist() == expected
    assert missed <= 0.01 * len(rows.questions)


@pytest.mark.parametrize(
    'name, words, metric, least',
    [('cmrc2018/dev', '', 'cmrc', 99.5), ('drcd/dev', '', 'cmrc', 99), ('xquad/dev.en', '_en', 'squad', 97)],
)
def test_a_model_that_knows_gets_the_full_score(name, words, metric, least):
    """Logits that point at the tokens of the answer in every window that holds them."""
    tokenizer = FullTokenizer(shared_data(f'ernie_official/vocab{words}.txt'))
    rows = reader(tokenizer, 512, 64, 128).read(shared_data(f'{name}.json'))
    predictions = {}
    for q, question in enumerate(rows.questions):
        text, start = question.answers[0]
        start = locate_answer(question.context, text, start)
        starts, ends = rows.spans(q)
        inside = np.flatnonzero((starts < start + len(text)) & (ends > start))
        logits = []
        for row in rows.rows_of(q):
            pair = np.zeros((2, rows.lengths[row]))
            first, last = inside[[0, -1]] - rows.windows[row][0]
            if first >= 0 and last < rows.windows[row][1]:
                pair[0, rows.tokens.split[row] + first] = pair[1, rows.tokens.split[row] + last] = 9
            logits.append(pair)
        windows, split = rows.windows[list(rows.rows_of(q))], int(rows.tokens.split[rows.first_row[q]])
        rules = DecodingRules(max_answer_length=256)
        best, _ = find_answers(windows, logits, split, cutter(question.context, starts, ends), rules)
        predictions[question.id] = best.text
    scores = evaluate(metric, answers_of(rows.questions), predictions)
    assert least <= scores['em'] <= scores['f1'] <= 100 and scores['questions'] == len(rows.questions)


@pytest.mark.parametrize(
    ('context', 'answer', 'expected'),
    [
        ('He ran 175\u00a0in the battle', '175 in', ('175\u00a0in', 7)),
        ('The mon tre\u0301al and the mon tr\u00e9al', 'mon tr\u00e9al and', ('mon tre\u0301al and', 4)),
        ('The capture of 176\u30000', '176 0', ('176\u30000', 15)),
    ],
)
def test_an_answer_that_is_composed_otherwise_is_found(tokenizer, tmp_path, context, answer, expected, caplog_text):
    path = write_json(tmp_path / 'data.json', squad((context, [qa('1', 'the', (answer, 0))])))
    found = reader(tokenizer, 40, 8, 8).read(path, training=True)
    assert found.questions[0].answers == (expected,)
    assert '1 answers are composed otherwise in their context' in caplog_text()
    first, last = found.labels[0]
    begin = len(tokenizer.encode(context[: expected[1]])) + found.tokens.split[0]
    assert (first, last) == (begin, begin + len(tokenizer.encode(expected[0])) - 1)


def test_an_answer_that_only_looks_alike_is_shown_by_code_point(tokenizer, tmp_path):
    path = write_json(tmp_path / 'data.json', squad(('the 1\uff175 of', [qa('1', 'the', ('175', 0))])))
    with pytest.raises(UserError, match=r"The context has '1７5': they look alike, .* U\+0037, the other U\+FF17"):
        reader(tokenizer, 40, 8, 8).read(path, training=True)
