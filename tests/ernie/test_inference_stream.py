"""Rows to predict: every form of file, standard input, bad rows at their place, nothing read before it is needed."""

import io
import itertools
import json
import sys

import pytest

from ernie.inference.stream import count_lines, read_rows
from ernie.tasks.table import find
from propeller.errors import UsageError, UserError
from tests.ernie.tiny_reading import puzzles, squad, write_json

TEXTS = [('屏幕 很好', 'x'), ('', 'a "b"'), ('naïve 😀', ' ')]
PAIR = [{'text_a': a, 'text_b': b} for a, b in TEXTS]


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def stdin(monkeypatch, content):
    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(content.encode())))


def good(rows):
    rows = list(rows)
    assert all(row.bad is None for row in rows)
    return [row.record for row in rows]


SQUAD = find('mrc').forms
TSV = 'text_a\ttext_b\n屏幕 很好\tx\n\ta "b"\nnaïve 😀\t \n'
CSV = 'text,text_b\r\n屏幕 很好,x\r\n,"a ""b"""\r\nnaïve 😀, \r\n'
JSONL = ''.join(json.dumps(r) + '\n' for r in PAIR)


@pytest.mark.parametrize(
    ('name', 'content'),
    [('a.tsv', TSV), ('a', '\ufeff' + TSV), ('a.CSV', CSV), ('a.jsonl', JSONL), ('a.txt', JSONL), ('a.json', JSONL)],
)
@pytest.mark.parametrize('last_line_end', [True, False])
def test_every_form_of_file_gives_the_same_records(tmp_path, name, content, last_line_end):
    content = content if last_line_end else content.rstrip('\r\n')
    assert good(read_rows(written(tmp_path / name, content))) == PAIR


@pytest.mark.parametrize('content', [TSV, JSONL])
def test_standard_input(monkeypatch, content):
    stdin(monkeypatch, content)
    assert good(read_rows('-')) == PAIR


def test_a_form_that_is_asked_for_counts_more_than_the_name(tmp_path, monkeypatch):
    assert good(read_rows(written(tmp_path / 'a.tsv', CSV), input_format='csv')) == PAIR
    assert good(read_rows(written(tmp_path / 'a.csv', TSV), input_format='tsv')) == PAIR
    lines = good(read_rows(written(tmp_path / 'b.tsv', 'text_a\n好\t坏\n'), input_format='text'))
    assert lines == [{'text_a': 'text_a'}, {'text_a': '好\t坏'}]
    stdin(monkeypatch, CSV)
    assert good(read_rows('-', input_format='csv')) == PAIR


def test_plain_lines_are_texts_and_a_lone_column_name_is_a_header(tmp_path):
    assert good(read_rows(written(tmp_path / 'a', 'so, so\r\n\n好\u2028坏'))) == [
        {'text_a': 'so, so'},
        {'text_a': ''},
        {'text_a': '好\u2028坏'},
    ]
    assert good(read_rows(written(tmp_path / 'a', 'text_a\n好\n'))) == [{'text_a': '好'}]
    assert good(read_rows(written(tmp_path / 'a', 'label,text_a\n0,好\n'))) == [{'label': '0', 'text_a': '好'}]


def test_a_table_without_the_column_is_not_taken_for_text(tmp_path):
    for name in ('a.tsv', 'a', 'a.txt'):
        with pytest.raises(UserError, match=rf"{name}:1: found the columns 'tex', 'label', expected also .*'text_a'"):
            list(read_rows(written(tmp_path / name, 'tex\tlabel\n好\t1\n')))
    with pytest.raises(UserError, match="also a column 'question', 'context'"):
        list(read_rows(written(tmp_path / 'a', 'some text\n'), ('question', 'context')))


def test_squad_json_for_reading(tmp_path, monkeypatch):
    paragraphs = puzzles(7, 3)
    path = write_json(tmp_path / 'dev.json', squad(*paragraphs))
    columns = ('question', 'context')
    found = good(read_rows(path, columns, forms=SQUAD))
    assert [r['context'] for r in found] == [context for context, _ in paragraphs]
    assert [r['id'] for r in found] == [f'q3_{i}' for i in range(7)]
    lines = written(tmp_path / 'dev.jsonl', ''.join(json.dumps(r) + '\n' for r in found))
    assert good(read_rows(lines, columns, forms=SQUAD)) == found
    with pytest.raises(UsageError, match='only a model of the task mrc reads it'):
        list(read_rows(path, input_format='squad'))
    with pytest.raises(UsageError, match='needs the columns question, context'):
        list(read_rows(path, columns, 'text'))


BAD_TABLE = b'text_a\ttext_b\n1\tx\nonly one\n2\ty\na\tb\tc\n\xff\xfe\tz\n3\tz\nlast\n'


def test_bad_rows_of_a_table_come_at_their_place(tmp_path):
    rows = list(read_rows(written(tmp_path / 'a.tsv', BAD_TABLE)))
    assert [row.line for row in rows] == [2, 3, 4, 5, 6, 7, 8]
    assert [row.record and row.record['text_a'] for row in rows] == ['1', None, '2', None, None, '3', None]
    found = [row.bad.found for row in rows if row.bad]
    assert found == ['1 cells', '3 cells', 'byte 0xff at byte 1 of the line', '1 cells']


def test_a_table_of_bad_rows_gives_them_all(tmp_path):
    rows = list(read_rows(written(tmp_path / 'a.tsv', 'text_a\ttext_b\nx\ny\n')))
    assert [(row.line, row.record, row.bad.found) for row in rows] == [(line, None, '1 cells') for line in (2, 3)]
    with pytest.raises(UserError, match='a header line and no row'):
        next(read_rows(written(tmp_path / 'a.tsv', 'text_a\ttext_b\n')))


def test_bad_lines_of_json_and_of_text(tmp_path):
    lines = ['{"text_a": "1"}', '{"text_a": ', '[1]', '{"text_b": "x"}', '', r'{"text_a": "\ud800"}', '{"text_a": "2"}']
    lines.insert(3, '[' * 100_000)
    rows = list(read_rows(written(tmp_path / 'a.jsonl', '\n'.join(lines))))
    assert [row.line for row in rows] == [1, 2, 3, 4, 5, 7, 8]  # a blank line is no row
    assert [row.record and row.record['text_a'] for row in rows] == ['1', *[None] * 5, '2']
    found = [row.bad.found for row in rows if row.bad]
    assert found[0].startswith('bad JSON (Expecting value')
    assert found[1] == '[1]'
    assert found[2] == 'JSON nested too deeply'
    assert found[3] == "only 'text_b'"
    assert found[4].startswith('half of a surrogate pair')
    rows = list(read_rows(written(tmp_path / 'a.txt', b'1\n\xe5\xa5\n2\n')))
    assert [row.record and row.record['text_a'] for row in rows] == ['1', None, '2']
    assert rows[1].bad.found == 'byte 0xe5 at byte 1 of the line'


RECORDS = [{'text_a': '今天', 'id': 1}, {'text_a': 'b\nc', 'more': [{}]}, {'text_a': ''}]
LINES = ''.join(json.dumps(record, ensure_ascii=False) + '\n' for record in RECORDS)
JSON_FILES = {
    'array': json.dumps(RECORDS, ensure_ascii=False),
    'array over lines': json.dumps(RECORDS, indent=2),
    'data': json.dumps({'version': 'x', 'data': RECORDS, 'n': 3}),
    'data over lines': json.dumps({'data': RECORDS}, indent=1),
    'lines': LINES,
    'lines with blank ones': '\n' + LINES.replace('\n', '\n \t\r\n\n') + '\n\n',
    'one record': json.dumps(RECORDS[0]),
}


@pytest.mark.parametrize('kind', JSON_FILES)
@pytest.mark.parametrize('bom', [b'', b'\xef\xbb\xbf'])
@pytest.mark.parametrize('way', ['name', 'flag', 'first line', 'standard input'])
def test_a_json_file_gives_a_row_for_each_record(tmp_path, monkeypatch, kind, bom, way):
    content = bom + JSON_FILES[kind].encode()
    if way == 'standard input':
        monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(content)))
        rows = list(read_rows('-'))
    else:
        path = written(tmp_path / ('data.json' if way == 'name' else 'data'), content)
        if way == 'first line' and kind == 'lines with blank ones':
            return  # its first line is blank: text, for all that can be known
        rows = list(read_rows(path, input_format='json' if way == 'flag' else 'auto'))
    if way == 'standard input' and kind == 'lines with blank ones':
        return
    expected = RECORDS[:1] if kind == 'one record' else RECORDS
    assert [row.record for row in rows] == expected
    if kind == 'lines with blank ones':
        assert [row.line for row in rows] == [2, 5, 8]


def test_a_long_array_on_one_line(tmp_path):
    records = [{'text_a': '字' * 50 + str(i)} for i in range(20_000)]
    for content in (records, {'version': 2, 'data': records}):
        path = written(tmp_path / 'a.json', json.dumps(content, ensure_ascii=False))
        assert [row.record for row in read_rows(path)] == records


def test_records_of_an_array_that_cannot_be_used(tmp_path):
    text = '[{"text_a": "1"},\n {"text_b": "x"}, 7,\n\n{"text_a": "2", "text_a": "3"}, {"text_a": "4"}, {}]'
    rows = list(read_rows(written(tmp_path / 'a.json', text)))
    assert [(row.line, row.bad and row.bad.found) for row in rows] == [
        (1, None),
        (2, "only 'text_b'"),
        (2, '7'),
        (4, "'text_a' twice in one object"),
        (4, None),
        (4, 'an empty object'),
    ]


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        (
            'a.json',
            '今天\n明天\n',
            'a.json: found text that is no JSON, expected a JSON array of objects.*--input_format text',
        ),
        ('a.json', '"text"', 'a.json: found text that is no JSON'),
        ('a.json', '{"text": "x",\n"n": 1}', 'a.json: found a JSON object without a list "data"'),
        ('a.json', '[]', 'a.json: found no record'),
        ('a.json', ' \n\n', 'a.json: found text that is no JSON'),
        ('a.jsonl', '\n\n', 'a.jsonl: found no record'),
        ('a.json', '[{"text_a": "x"},\n{"text_a": "y"}', 'a.json:2: found bad JSON'),
        ('a.json', '{\n"data": [\n{"text_a": "x"},\n', 'a.json:4: found bad JSON'),
    ],
)
def test_json_files_that_are_none(tmp_path, name, content, message):
    with pytest.raises(UserError, match=message):
        list(read_rows(written(tmp_path / name, content)))


def test_text_that_begins_like_json(tmp_path, monkeypatch):
    hint = 'If its lines are text, give --input_format text.'
    for content in ('{笑} 今天很好\n明天\n', '{a'):
        rows = list(read_rows(written(tmp_path / 'a.txt', content)))
        assert rows[0].bad.advice == hint and hint in str(rows[0].bad.as_error('a.txt'))
        assert [
            row.record['text_a'] for row in read_rows(str(tmp_path / 'a.txt'), input_format='text')
        ] == content.splitlines()
    with pytest.raises(UserError, match='{x,|bad JSON.*' + hint):
        list(read_rows(written(tmp_path / 'a.txt', '{x,\ny')))
    path = written(tmp_path / 'a.txt', '[公告] 今天\n[]\n[1]\n')
    assert [row.record['text_a'] for row in read_rows(path)] == ['[公告] 今天', '[]', '[1]']
    assert good(read_rows(written(tmp_path / 'a.jsonl', '[{"text_a": "x"}]'))) == [{'text_a': 'x'}]
    (row,) = read_rows(str(tmp_path / 'a.jsonl'), input_format='jsonl')
    assert row.bad.found.startswith('[{') and '--input_format json' in row.bad.advice


def test_json_for_reading(tmp_path):
    columns, record = ('question', 'context'), {'question': '谁', 'context': '我'}
    squad = {'data': [{'paragraphs': [{'context': '我', 'qas': [{'id': '1', 'question': '谁', 'answers': []}]}]}]}
    for content in (squad, [record], {'data': [record]}, record):
        for indent in (None, 1):
            if content is record and indent:
                continue
            path = written(tmp_path / 'a.json', json.dumps(content, indent=indent))
            (row,) = read_rows(path, columns, forms=SQUAD)
            assert row.record['question'] == '谁' and row.record['context'] == '我'
    path = written(tmp_path / 'a.json', '{"data": [{"title": "x"}]}')
    with pytest.raises(UserError, match='SQuAD'):
        list(read_rows(path, columns, forms=SQUAD))


def test_files_that_cannot_be_used_as_a_whole(tmp_path, monkeypatch):
    with pytest.raises(UserError, match='a.tsv: found an empty file'):
        list(read_rows(written(tmp_path / 'a.tsv', '')))
    with pytest.raises(UserError, match='nothing.tsv: found no such file'):
        list(read_rows(str(tmp_path / 'nothing.tsv')))
    with pytest.raises(UserError, match='a.tsv: found a header line and no row'):
        list(read_rows(written(tmp_path / 'a.tsv', 'text_a\n')))
    stdin(monkeypatch, '')
    with pytest.raises(UserError, match='standard input: found an empty file'):
        list(read_rows('-'))


def test_labels_are_ignored_with_one_line(tmp_path, capsys):
    list(read_rows(written(tmp_path / 'a.tsv', 'label\ttext_a\n1\t好\n0\t坏\n')))
    assert capsys.readouterr().err.count('prediction file with labels') == 1
    list(read_rows(written(tmp_path / 'a.tsv', 'text_a\n好\n坏\n')))
    assert 'labels' not in capsys.readouterr().err


def test_rows_are_read_as_they_are_asked_for(monkeypatch):
    class Endless(io.RawIOBase):
        given = 0

        def readable(self):
            return True

        def readinto(self, buffer):
            line = b'some text that never ends\n'
            Endless.given += 1
            buffer[: len(line)] = line
            return len(line)

    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BufferedReader(Endless(), 64)))
    assert len(list(itertools.islice(read_rows('-'), 100))) == 100
    assert Endless.given < 120


def test_lines_are_counted_for_the_bar(tmp_path):
    assert count_lines(written(tmp_path / 'a', 'x\n' * 70_001)) == 70_001
    assert count_lines('-') is None
    assert count_lines(str(tmp_path)) is None
