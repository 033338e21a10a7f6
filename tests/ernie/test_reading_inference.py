"""Reading comprehension at prediction time: windows, answers, offsets into the text that the user gave."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ernie.config import ErnieConfig
from ernie.reader.mrc import Limits
from ernie.reader.question_set import MrcReader
from ernie.tasks.codec import BadRecord
from ernie.tasks.mrc.codec import MrcCodec
from ernie.tasks.mrc.squad_form import SquadForm
from ernie.tokenization import CharTokenizer, FullTokenizer
from propeller.errors import UsageError
from tests.ernie.test_alignment import SCRIPTS
from tests.ernie.tiny_model import CONFIG, VOCABULARY
from tests.ernie.tiny_reading import qa, squad, write_json

SETTINGS = {'task': 'mrc', 'max_seq_len': 20, 'max_query_length': 5, 'doc_stride': 4, 'max_answer_length': 6}
CONTEXTS = st.lists(SCRIPTS | st.text(max_size=4), min_size=1, max_size=14).map(''.join)


@pytest.fixture(scope='module')
def vocabulary(tmp_path_factory):
    path = tmp_path_factory.mktemp('vocabulary') / 'vocab.txt'
    pieces = [
        *VOCABULARY,
        'new',
        'york',
        '##e',
        '##a',
        'a',
        'e',
        'o',
        '海',
        '上',
        '日',
        '本',
        '👩',
        '##💻',
        '$',
        '.',
        'do',
    ]
    path.write_text('\n'.join(dict.fromkeys(pieces)) + '\n', encoding='utf-8')
    return str(path)


def task(vocabulary, tokenizer=FullTokenizer, **settings_):
    return MrcCodec(ErnieConfig(CONFIG), tokenizer(vocabulary), {**SETTINGS, **settings_})


def logits_for(windows, seed, sharp=1.0):
    """Random logits per window, closed where the graph closes them."""
    rng = np.random.default_rng(seed)
    outputs = []
    for ids, split in zip(windows.ids, windows.split, strict=True):
        pair = (sharp * rng.standard_normal((2, len(ids)))).astype(np.float32)
        pair[:, 1:split] = pair[:, -1] = -10000
        outputs.append(list(pair))
    return outputs


@settings(max_examples=1000)
@given(
    CONTEXTS.filter(str.strip), st.sampled_from([FullTokenizer, CharTokenizer]), st.booleans(), st.integers(0, 10**6)
)
def test_answers_are_slices_of_the_context(vocabulary, context, tokenizer, unanswerable, seed):
    reading = task(vocabulary, tokenizer, unanswerable=unanswerable)
    record = {'id': 7, 'question': '哪里美？', 'context': context}
    windows = reading.encode(record)
    result = reading.decode(record, windows, logits_for(windows, seed))
    assert json.loads(json.dumps(result)) == result and result['id'] == 7
    if result['start'] is None:
        assert result['answer'] == '' and result['end'] is None
        assert unanswerable or not reading.tokenizer.words(context)
    else:
        assert context[result['start'] : result['end']] == result['answer'] != ''
    for entry in result['n_best']:
        assert entry['start'] is None or context[entry['start'] : entry['end']] == entry['text'] != ''
    if result['n_best']:
        assert sum(entry['probability'] for entry in result['n_best']) == pytest.approx(1)


@settings(max_examples=300)
@given(CONTEXTS.filter(str.strip), st.data())
def test_the_slice_stands_for_the_tokens(vocabulary, context, data):
    """Logits that point at whole words: the words of the slice are those words."""
    reading = task(vocabulary, max_seq_len=500, max_answer_length=100)
    tokens = reading.tokenizer.tokenize(context)
    borders = [i for i, token in enumerate(tokens) if not token.startswith('##')]
    if not borders or 'Σ' in context:  # a sigma is written by its place in the word
        return
    first = data.draw(st.sampled_from(borders))
    end = data.draw(st.sampled_from([i for i in [*borders, len(tokens)] if i > first]))
    record = {'question': '哪', 'context': context}
    windows = reading.encode(record)
    outputs = logits_for(windows, 1)
    outputs[0][0][windows.split[0] + first] = outputs[0][1][windows.split[0] + end - 1] = 99
    answer = reading.decode(record, windows, outputs)['answer']
    assert reading.tokenizer.tokenize(answer) == tokens[first:end]


def test_known_slices(vocabulary):
    reading = task(vocabulary, max_seq_len=60)
    context = ' 上海\u3000的 New\u00a0YORK\u0301s  (ÄÖ)，\t👩\u200d💻 '
    record = {'question': '哪', 'context': context}
    windows = reading.encode(record)
    for first, last, expected in [
        (0, 1, '上海'),
        (2, 4, '的 New\u00a0YORK\u0301s'),
        (1, 2, '海\u3000的'),
        (6, 6, 'ÄÖ'),
    ]:
        outputs = logits_for(windows, 1)
        outputs[0][0][windows.split[0] + first] = outputs[0][1][windows.split[0] + last] = 99
        result = reading.decode(record, windows, outputs)
        assert result['answer'] == context[result['start'] : result['end']] == expected
        assert result['probability'] > 0.99


def test_windows_are_those_of_training(vocabulary, tmp_path):
    context = '的一是不了人我在有他这中大来上海国个到说们' * 3
    path = write_json(tmp_path / 's.json', squad((context, [qa('a', '好美赞棒香差丑烂'), qa('b', '哪？')])))
    rows = MrcReader(FullTokenizer(vocabulary), Limits(20, 5, 4)).read(path)
    reading = task(vocabulary)
    records = SquadForm().records(path)
    assert [record['id'] for record in records] == ['a', 'b']
    found = [reading.encode(record) for record in records]
    assert [ids for windows in found for ids in windows.ids] == [
        rows.tokens.row(i)[0].tolist() for i in range(len(rows))
    ]
    assert [split for windows in found for split in windows.split] == rows.tokens.split.tolist()
    assert len(found[0].ids) > 10 and max(map(len, found[0].ids)) == 20


def test_an_answer_in_a_late_window_is_found(vocabulary):
    context = '的一是不了人我在有他这中大来上海国个到说们' * 9 + '好美' + '的一是' * 4
    record = {'question': '哪里', 'context': context}
    reading = task(vocabulary)
    windows, good, fine = reading.encode(record), *reading.tokenizer.encode('好美')
    outputs = logits_for(windows, 3)
    for ids, (start, end) in zip(windows.ids, outputs, strict=True):
        for i, token in enumerate(ids):
            start[i] += 50 * (token == good)
            end[i] += 50 * (token == fine)
    result = reading.decode(record, windows, outputs)
    assert (result['answer'], result['start']) == ('好美', context.index('好美'))


def test_no_answer_depends_on_the_threshold(vocabulary):
    record = {'question': '哪', 'context': '上海的'}
    for threshold, expected in ((0.0, ''), (3.0, '上')):
        reading = task(vocabulary, unanswerable=True, null_score_diff_threshold=threshold)
        windows = reading.encode(record)
        pair = np.full((2, len(windows.ids[0])), -10000.0)
        pair[:, 0], pair[:, 3] = 2, 1
        result = reading.decode(record, windows, [list(pair)])
        assert result['answer'] == expected
        null = next(entry for entry in result['n_best'] if entry['start'] is None)
        assert null['probability'] == pytest.approx(1 / (1 + np.exp(-2)))
        assert (result['probability'] == null['probability']) == (expected == '')


def test_simplified_inside_original_outside(vocabulary):
    pytest.importorskip('opencc')
    reading = task(vocabulary, to_simplified=True)
    record = {'question': '哪裡', 'context': '這國個來到'}
    windows = reading.encode(record)
    assert windows.ids[0][windows.split[0] : -1] == reading.tokenizer.convert_tokens_to_ids(list('这国个来到'))
    outputs = logits_for(windows, 1)
    outputs[0][0][windows.split[0] + 1] = outputs[0][1][windows.split[0] + 3] = 99
    assert reading.decode(record, windows, outputs)['answer'] == '國個來'


@pytest.mark.parametrize(
    'record, found',
    [
        ({'question': '哪'}, 'no text in context'),
        ({'context': '今天'}, 'no text in question'),
        ({'question': ' ', 'context': '今天'}, 'an empty question'),
        ({'question': '哪', 'context': '\n\t'}, 'an empty context'),
        ({'question': 3, 'context': '今天'}, 'question 3'),
    ],
)
def test_bad_records(vocabulary, record, found):
    with pytest.raises(BadRecord) as e:
        task(vocabulary).encode(record)
    assert e.value.found == found and 'text' in e.value.expected


def test_impossible_settings(vocabulary):
    with pytest.raises(UsageError, match='max_query_length'):
        task(vocabulary, max_seq_len=8)


def test_cells(vocabulary):
    reading = task(vocabulary)
    assert reading.header() == ['id', 'answer', 'start', 'end', 'probability']
    result = {'id': 'a\tb', 'answer': 'x\ny\\\u2028', 'start': 3, 'end': 7, 'probability': 0.25}
    assert reading.cells(result) == ['a\\tb', 'x\\ny\\\\\\u2028', '3', '7', '0.250000']
    none = {'answer': '', 'start': None, 'end': None, 'probability': 1.0}
    assert reading.cells(none) == ['', '', '', '', '1.000000']
