"""JSON files where tables are read: training, evaluation, vectors. Their rows are those of the same table as TSV."""

import json

import numpy as np
import pytest

from ernie.reader.again import rows_again
from ernie.reader.classify import ClassifyReader
from ernie.reader.records import read_records
from ernie.reader.rows import BadRows
from ernie.reader.sequence_label import SequenceLabelReader
from ernie.tokenization import FullTokenizer
from propeller.errors import UserError
from tests.ernie.tiny_model import VOCABULARY, sentences, write_table

ROWS = [{'text_a': text, 'label': label, 'qid': 7 * i} for i, (text, label) in enumerate(sentences(9, 3))]


@pytest.fixture
def tokenizer(tmp_path):
    (tmp_path / 'vocab.txt').write_text('\n'.join(VOCABULARY) + '\n', encoding='utf-8')
    return FullTokenizer(tmp_path / 'vocab.txt')


def write(path, content):
    path.write_text(content, encoding='utf-8')
    return str(path)


def forms(rows):
    yield 'a.json', json.dumps(rows, ensure_ascii=False)
    yield 'b.JSON', json.dumps({'data': rows}, indent=1)
    yield 'c.json', '\n'.join(map(json.dumps, rows))
    yield 'd.jsonl', '\n\n'.join(map(json.dumps, rows)) + '\n\n'


def test_rows_are_those_of_the_table(tmp_path, tokenizer):
    table = write_table(tmp_path / 'a.tsv', ROWS[0], [row.values() for row in ROWS])
    expected = ClassifyReader(tokenizer, cache=False).read(table)
    for name, content in forms(ROWS):
        rows = ClassifyReader(tokenizer, cache=False).read(write(tmp_path / name, content))
        for field in ('ids', 'offsets', 'split', 'labels', 'qids'):
            assert list(getattr(rows, field)) == list(getattr(expected, field)), (name, field)


def test_the_ending_is_part_of_the_cache_key(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setenv('ERNIE_CACHE', str(tmp_path / 'cache'))
    content = 'text_a\n' + json.dumps({'text_a': '好'}) + '\n'
    assert len(ClassifyReader(tokenizer, task_kind='predict').read(write(tmp_path / 'a.tsv', content))) == 1
    with pytest.raises(UserError, match='a.json: found text that is no JSON'):
        ClassifyReader(tokenizer, task_kind='predict').read(write(tmp_path / 'a.json', content))


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        (
            [{'text_a': '好', 'label': 1}, {'text_a': '坏'}],
            "a.json:3: found only 'text_a', expected a JSON object with 'text_a'",
        ),
        ([{'text_a': '好', 'label': 1}, {'text_a': '坏', 'lable': 0}], "Is 'lable' meant to be 'label'"),
        ([{'text_a': '好', 'label': [[1]]}], r"a.json:2: found \[\[1\]\] as 'label'"),
        ([{'text_a': '好', 'label': ['a,b']}], r"a.json:2: found \['a,b'\] as 'label'"),
        ([{'text_a': ['好'], 'label': 1}], r"a.json:2: found \['好'\] as 'text_a'"),
        ([{'text_a': True, 'label': 1}], "a.json:2: found True as 'text_a'"),
        ([{'text_a': None, 'label': 1}], "a.json:2: found nothing as 'text_a', expected [^.]*[.]$"),
        (
            [{'text_a': '好', 'label': 1, 'text_b': '坏'}, {'text_a': '坏', 'label': 0}],
            "a.json:3: found the keys 'text_a', 'label', expected 'text_a', 'label', 'text_b'",
        ),
        ([7], 'a.json:2: found 7, expected a JSON object'),
        ([], 'a.json: found no record'),
    ],
)
def test_records_that_are_no_rows(tmp_path, rows, message):
    text = '[\n' + ',\n'.join(map(json.dumps, rows)) + ']'
    with pytest.raises(UserError, match=message):
        list(read_records(write(tmp_path / 'a.json', text), ('text_a', 'label')))


def test_bad_records_can_be_left_out(tmp_path):
    text = '{"text_a": "a", "label": 1.5, "x": [1], "y": null}\n{"text_a"\n\n[]\n{"text_a": "b", "label": "2"}\n'
    bad = BadRows('a.jsonl')
    rows = list(read_records(write(tmp_path / 'a.jsonl', text), ('text_a', 'label'), bad))
    assert rows == [(1, {'text_a': 'a', 'label': '1.5'}), (5, {'text_a': 'b', 'label': '2'})]
    assert [line for line, _ in bad.rows] == [2, 4]


def test_json_is_known_by_its_content_whatever_the_name(tmp_path, tokenizer):
    for name, content in forms(ROWS):
        path = write(tmp_path / f'{name}.txt', content)
        assert [record.cells['label'] for record in read_records(path)] == [str(row['label']) for row in ROWS]
    with pytest.raises(UserError, match='a.json: found no record, expected at least one'):
        SequenceLabelReader(tokenizer, 9, {'O': 0, 'B-X': 1, 'I-X': 2}, 'IOB').read(write(tmp_path / 'a.json', '[]'))


def test_records_on_one_line_are_told_apart(tmp_path, tokenizer):
    path = tmp_path / 'a.json'
    rows = [{'text': text, 'label': i % 2} for i, text in enumerate(['屏幕', '很好', '快递'] * 2)]
    path.write_text(json.dumps(rows))
    reader = ClassifyReader(tokenizer, 9, cache=False)
    part = reader.read(path).take(np.array([1, 2, 5]))
    assert part.lines.tolist() == [2, 3, 6]
    found = [(row, record.cells['text_a']) for row, record in rows_again(reader, path, part.lines, [0, 2])]
    assert found == [(0, '很好'), (2, '快递')]
    path.write_text(json.dumps({'data': [*rows, {'text': 7}]}))
    with pytest.raises(UserError, match="a.json:7: found only 'text_a'"):
        reader.read(path)
