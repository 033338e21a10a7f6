"""Writers of results: all columns of the input beside the answer, in every form, and what is selected of an answer."""

import csv
import io
import json
import tracemalloc
import types

import numpy as np
import pytest

from ernie.config import ErnieConfig
from ernie.inference.carried import joined
from ernie.inference.predict import Prediction
from ernie.inference.results import Layout, ending_of, format_of, open_writer, write_results
from ernie.inference.stream import Row, read_rows
from ernie.reader.rows import BadRow
from ernie.tasks.classification.codec import ClassificationCodec
from ernie.tasks.codec import Codec, Selection, Windows
from ernie.tasks.mrc.codec import MrcCodec
from ernie.tasks.sequence_labeling.codec import SequenceLabelingCodec
from propeller.errors import UsageError, UserError
from propeller.width import padded, shortened, width_of
from tests.ernie.tiny_inference import describe
from tests.ernie.tiny_model import CONFIG

LABELS = ['坏', 'so so', '好']


def codec_of(kind):
    settings = describe(kind)
    made = {'reading': MrcCodec, 'tagging': SequenceLabelingCodec}.get(kind, ClassificationCodec)
    tokenizer = types.SimpleNamespace(vocab={'[CLS]': 0, '[SEP]': 1, '[PAD]': 2, '[UNK]': 3})
    return made(ErnieConfig(CONFIG), tokenizer, settings)


def classes(*values):
    return dict(zip(LABELS, values, strict=True))


@pytest.fixture(scope='module')
def classify():
    return codec_of('classify')


# ---------------------------------------------------------------- what is selected


def result_of(classify, *values):
    return classify.decode({}, None, [[np.array(values, np.float32)]])


def test_the_most_probable_classes_in_order(classify):
    result = result_of(classify, 0.2, 0.7, 0.1)
    assert classify.select(result, Selection()) == {'label': 'so so', 'probabilities': classes(0.2, 0.7, 0.1)}
    assert list(classify.select(result, Selection(top_k=2))['probabilities'].items()) == [('so so', 0.7), ('坏', 0.2)]
    everything = classify.select(result, Selection(top_k=9))
    assert list(everything['probabilities']) == ['so so', '坏', '好'] and everything['label'] == 'so so'
    equal = classify.select(result_of(classify, 0.4, 0.2, 0.4), Selection(top_k=1))
    assert (equal['label'], list(equal['probabilities'])) == ('坏', ['坏'])  # of equals the first, in both


def test_a_label_that_is_not_sure_enough_is_held_back(classify):
    result = result_of(classify, 0.2, 0.7, 0.1)
    for least, label in ((0.0, 'so so'), (0.7, 'so so'), (0.70001, None), (1.0, None)):
        selected = classify.select(result, Selection(min_confidence=least))
        assert selected == {'label': label, 'confidence': 0.7, 'probabilities': result['probabilities']}
        cells = classify.selected_cells(selected, Selection(min_confidence=least))
        assert cells == [label or '', '0.7', '0.2', '0.7', '0.1']
    both = Selection(1, 0.9)
    selected = classify.select(result, both)
    assert selected == {'label': None, 'confidence': 0.7, 'probabilities': {'so so': 0.7}}
    assert classify.selected_cells(selected, both) == ['', '0.7', 'so so', '0.7']
    assert classify.answers(selected, both) == [(None, 0.7)]


def test_several_classes_and_a_number():
    several, number = codec_of('multilabel'), codec_of('regression')
    result = several.decode({}, None, [[np.array([0.55, 0.2, 0.9, 0.7], np.float32)]])
    assert several.select(result, Selection(2, 0.6)) == {'labels': ['c', 'd'], 'probabilities': {'c': 0.9, 'd': 0.7}}
    assert several.select(result, Selection(min_confidence=0.1))['labels'] == ['a', 'c', 'd']  # from 0.5 all the same
    for selection in (Selection(top_k=1), Selection(min_confidence=0.5)):
        several.check_selection(selection)
        with pytest.raises(UsageError, match='a regression gives a number'):
            number.check_selection(selection)


def test_entities_and_answers():
    tags, reading = codec_of('tagging'), codec_of('reading')
    entities = [{'type': 'PER', 'text': '王', 'start': 0, 'end': 1, 'confidence': c} for c in (0.5, 0.9)]
    selected = tags.select({'text': '王', 'entities': entities}, Selection(min_confidence=0.9))
    assert selected == {'text': '王', 'entities': entities[1:]}
    with pytest.raises(UsageError, match='--top_k 2: a model that tags gives each entity one type'):
        tags.check_selection(Selection(top_k=2))
    n_best = [{'text': 'ab', 'start': 0, 'end': 2, 'probability': 0.6}, {'text': 'b', 'probability': 0.4}]
    result = {'answer': 'ab', 'start': 0, 'end': 2, 'probability': 0.6, 'n_best': n_best}
    assert reading.select(result, Selection(1)) == result | {'n_best': n_best[:1]}
    held = reading.select(result, Selection(min_confidence=0.7))
    assert held == result | {'answer': None, 'start': None, 'end': None}
    assert reading.cells(held) == ['', '', '', '', '0.600000']
    with pytest.raises(UsageError, match='--top_k 4: this model keeps 3 answers'):
        reading.check_selection(Selection(4))


# ---------------------------------------------------------------- columns of the input


def test_input_columns_come_first_and_none_is_lost(classify):
    result = classify.select(result_of(classify, 0.2, 0.7, 0.1), Selection())
    cells = {
        'id': 7,
        'label': '1',
        'review': '好',
        'input_label': 'x',
        'probabilities': [],
        'confidence': 2,
        'error': '',
    }
    found = joined(Row(2, {}, None, cells), result, classify)
    assert list(found.items()) == [
        ('id', 7),
        ('input_input_label', '1'),
        ('review', '好'),
        ('input_label', 'x'),
        ('input_probabilities', []),
        ('input_confidence', 2),
        ('input_error', ''),
        *result.items(),
    ]
    bad = joined(Row(2, None, None, {'label': '1'}), {'error': 'found x'}, classify)
    assert bad == {'input_label': '1', 'error': 'found x'}  # the column of the input never stands for an answer


def test_what_the_result_repeats_is_not_there_twice():
    row = Row(2, {}, None, {'id': 3, 'sentence': '王'})
    assert joined(row, {'text': '王', 'entities': []}, codec_of('tagging')) == row.cells | {'entities': []}
    result = {'id': 3, 'answer': 'x', 'start': 0, 'end': 1, 'probability': 1.0, 'n_best': []}
    assert list(joined(row, result, codec_of('reading'))) == ['id', 'sentence', *list(result)[1:]]


# ---------------------------------------------------------------- forms of output


def written(form, codec, rows, **layout):
    file = io.BytesIO() if form == 'parquet' else io.StringIO()
    writer = open_writer(form, file, Layout(codec, **layout))
    for row, result in rows:
        writer.write(row, result)
    writer.finish()
    return file.getvalue()


@pytest.fixture(scope='module')
def rows(classify):
    """Rows of a table with odd cells, a bad one first and one in between, with selected results."""
    selection, odd = Selection(min_confidence=0.6), ['a "b", c', 'x\ny', '', '好\u2028坏', "=1+1'"]
    rows = [(Row(2, None, BadRow(2, '1 cells', '3 as in the header')), None)]
    for i, text in enumerate(odd):
        cells = {'id': str(i), 'review': text, 'stars': i, 'label': None if i == 1 else True, 'more': {'a': [i]}}
        result = classify.select(result_of(classify, 0.2, 0.5 + i / 10, 0.1), selection)
        rows.append((Row(i + 3, {'text_a': text}, None, cells), result))
    rows.insert(3, (Row(9, None, BadRow(9, 'no text', 'a text'), {'id': 'q', 'review': ''}), None))
    return rows


def test_json_lines_csv_and_parquet_hold_the_same(classify, rows):
    pyarrow = pytest.importorskip('pyarrow.parquet')
    layout = {'selection': Selection(min_confidence=0.6), 'carry': True, 'skips': True}
    lines = [json.loads(line) for line in written('jsonl', classify, rows, **layout).split('\n')[:-1]]
    cells = {'id': '0', 'review': 'a "b", c', 'stars': 0, 'input_label': True, 'more': {'a': [0]}}
    assert lines[1] == cells | {'label': None, 'confidence': 0.5, 'probabilities': classes(0.2, 0.5, 0.1)}
    assert lines[0] == {'error': 'found 1 cells, expected 3 as in the header'}
    assert lines[3] == {'id': 'q', 'review': '', 'error': 'found no text, expected a text'}
    table = list(csv.DictReader(io.StringIO(written('csv', classify, rows, **layout), newline='')))
    assert list(table[0]) == [*lines[1], 'error'] and len(table) == len(lines)
    for line, cells in zip(lines, table, strict=True):
        for name, cell in cells.items():
            value = line.get(name)
            plain = value is None or isinstance(value, str)
            assert cell == ((value or '') if plain else json.dumps(value, ensure_ascii=False))
    found = pyarrow.read_table(io.BytesIO(written('parquet', classify, rows, **layout))).to_pylist(
        maps_as_pydicts='strict'
    )
    assert [{n: v for n, v in row.items() if v is not None} for row in found] == [
        {n: v for n, v in line.items() if v is not None} for line in lines
    ]


def test_types_of_parquet_do_not_depend_on_the_first_rows(classify, rows, monkeypatch):
    pyarrow = pytest.importorskip('pyarrow.parquet')
    monkeypatch.setattr('ernie.inference.parquet._ROWS', 2)
    layout = {'selection': Selection(min_confidence=0.6), 'carry': True, 'skips': True}
    good = [(row, result) for row, result in rows if result]
    schema = pyarrow.read_schema(io.BytesIO(written('parquet', classify, good, **layout)))
    assert str(schema.field('label').type) == 'string' and 'map<string, double' in str(
        schema.field('probabilities').type
    )
    tags = codec_of('tagging')
    entity = {'type': 'PER', 'text': '王', 'start': 0, 'end': 1, 'confidence': 0.5}
    pairs = [(Row(i, {}, None, {'text': '王'}), {'text': '王', 'entities': [entity] * (i > 3)}) for i in range(7)]
    table = pyarrow.read_table(io.BytesIO(written('parquet', tags, pairs, carry=True)))
    of_tokens = {'start_token': None, 'end_token': None}  # the text was no list of tokens
    assert table.column('entities').to_pylist() == [[entity | of_tokens] * (i > 3) for i in range(7)]
    mixed = [(Row(i, {}, None, {'n': 1 if i < 3 else 'x'}), good[0][1]) for i in range(5)]
    with pytest.raises(UserError, match='values of several types in one column.*--format jsonl'):
        written('parquet', classify, mixed, **layout)


@pytest.mark.parametrize('form', ['csv', 'parquet'])
def test_a_table_has_the_columns_of_its_first_row(classify, rows, form):
    if form == 'parquet':
        pytest.importorskip('pyarrow')
    more = [*rows[1:3], (rows[2][0]._replace(cells={'new': 1}), rows[2][1])]
    if form == 'csv':
        with pytest.raises(UserError, match="line 4|found the column 'new'.*--format jsonl"):
            written(form, classify, more, carry=True)
    lines = written('jsonl', classify, more, carry=True).splitlines()
    assert json.loads(lines[2])['new'] == 1


def test_answers_for_a_person(classify, rows):
    layout = {'selection': Selection(min_confidence=0.6), 'carry': True, 'skips': True}
    lines = written('text', classify, rows, **layout).splitlines()
    assert lines[0] == 'error: found 1 cells, expected 3 as in the header'
    assert lines[1] == '? 0.50      a "b", c'
    assert lines[2] == r'so so 0.60  x\ny'
    assert lines[3] == 'error: found no text, expected a text'
    tags, reading = codec_of('tagging'), codec_of('reading')
    row = Row(1, {'question': '谁?', 'context': '我'})
    result = {'answer': '', 'start': None, 'end': None, 'probability': 0.25, 'n_best': []}
    assert written('text', reading, [(row, result)]) == '(none) 0.25  谁?\n'
    answer = written('text', tags, [(Row(1, {'text_a': '王'}), {'text': '王', 'entities': []})])
    assert answer.split() == ['(none)', '王']


def test_endings_and_forms():
    assert [format_of(f'x/a{end}') for end in ('.jsonl', '.CSV', '.parquet', '.tsv', '.ndjson', '.out', '')] == [
        *('jsonl', 'csv', 'parquet', 'tsv', 'jsonl', None, None)
    ]
    assert [ending_of(form) for form in ('jsonl', 'csv', 'text')] == ['.jsonl', '.csv', '.txt']


def test_texts_on_a_terminal():
    assert [width_of(text) for text in ('ab', '差评', 'e\u0301', '한국')] == [2, 4, 1, 4]
    assert (padded('差', 4), padded('abcde', 4)) == ('差  ', 'abcde')
    assert [shortened('送餐很快ab', n) for n in (10, 9, 8)] == ['送餐很快ab', '送餐很...', '送餐...']


# ---------------------------------------------------------------- large files


class Letters(Codec):
    """Each record is one row of two tokens; the result is its number."""

    def encode(self, record):
        return Windows([[1, int(record['text_a']) % 99]], [2])

    def decode(self, record, windows, outputs):
        return {'value': float(outputs[0][0][0])}

    def cells(self, result):
        return [str(result['value'])]


class Echo:
    def run(self, arrays):
        return [arrays[0].sum(1, keepdims=True)]


@pytest.mark.parametrize('form', ['jsonl', 'parquet'])
def test_memory_does_not_grow_with_the_file(tmp_path, form, monkeypatch):
    monkeypatch.setattr('ernie.inference.parquet._ROWS', 200)
    if form == 'parquet':
        pytest.importorskip('pyarrow')
    path, peaks = tmp_path / 'a.csv', []
    for count in (1_200, 3_600):
        path.write_text('id,text_a\n' + ''.join(f'row number {i},{i}\n' for i in range(count)))
        prediction = Prediction(Letters(ErnieConfig(CONFIG), None, {}), Echo(), [(-1, 1)], 64, 2)
        with open(tmp_path / 'out', 'wb' if form == 'parquet' else 'w') as file:
            writer = open_writer(form, file, Layout(prediction.codec, carry=True))
            tracemalloc.start()
            assert write_results(prediction, read_rows(str(path)), writer, 'a', False) == count
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.5
