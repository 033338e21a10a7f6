"""What a file is: by its content, then by its name. Rows are those that the csv module wrote."""

import csv
import io
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ernie.inference.stream import read_rows
from ernie.reader.encoding import likely_encoding
from ernie.reader.questions import read_questions
from ernie.reader.records import read_records
from propeller.errors import UserError

ROWS = [('1', '很好; 真的, "好"|\t.', '好评'), ('2', '不行\n第二行', '差评'), ('3', '', '差评')]


def table(rows=ROWS, header=('编号', '评论内容', '类别'), **options):
    text = io.StringIO()
    csv.writer(text, **options).writerows([header, *rows])
    return text.getvalue()


def write(path, content, encoding='utf-8'):
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def cells(path):
    return [(r.cells['编号'], r.cells['text_a'], r.cells['label']) for r in read_records(path, ('text_a', 'label'))]


@pytest.mark.parametrize('separator', [',', ';', '\t', '|'])
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-be'])
def test_csv_as_spreadsheets_write_it(tmp_path, separator, encoding):
    text = table(delimiter=separator)
    content = b'\xfe\xff' + text.encode(encoding) if encoding == 'utf-16-be' else text.encode(encoding)
    if encoding.startswith('utf-16') and separator != '\t':
        return  # Excel's "Unicode text" has TABs
    assert cells(write(tmp_path / 'a.csv', content)) == ROWS
    assert [row.cells['评论内容'] for row in read_rows(str(tmp_path / 'a.csv'))] == [row[1] for row in ROWS]
    if separator != '\t' or encoding.startswith('utf-16'):
        assert cells(write(tmp_path / 'a.txt', content)) == ROWS


@pytest.mark.parametrize('name', ['a.csv', 'a.txt'])
@pytest.mark.parametrize(
    ('separator', 'first'), [(';', 'sep=;\r\n'), (',', '"sep=,"\n'), ('|', 'SEP=|\n'), ('\t', 'sep=\t\n')]
)
def test_a_first_line_for_excel_says_the_separator(tmp_path, name, separator, first):
    path = write(tmp_path / name, first + table(delimiter=separator), 'utf-8-sig')
    assert cells(path) == ROWS
    assert [row.cells['类别'] for row in read_rows(str(path))] == [row[2] for row in ROWS]
    # Lines are counted with that one; the second row has two.
    assert [row.line for row in read_records(path, ('text_a', 'label'))] == [3, 4, 6]
    short = write(tmp_path / name, f'{first}text{separator}label\nok{separator}1\nbad\n')
    with pytest.raises(UserError, match=rf'{name}:4: found 1 cells, expected 2'):
        list(read_records(short, ('text_a', 'label')))
    with pytest.raises(UserError, match=rf"{name}:2: found the column 'text' twice"):
        list(read_records(write(tmp_path / name, f'{first}text{separator}text\na{separator}b\n')))
    # Nowhere else does it mean anything.
    assert [r.cells['text_a'] for r in read_records(write(tmp_path / 'b.csv', 'text\nsep=;\n'))] == ['sep=;']


def test_lines_of_fasttext(tmp_path, caplog):
    lines = [
        '__label__好评 很好, 真的  不错',
        '',
        '__label__差评\t不行',
        '慢 __label__差评 __label__贵',
        '__label__b',
        'x __label__',
    ]
    path = write(tmp_path / 'a.txt', '\n'.join(lines[:4]), 'utf-8-sig')
    found = [(1, '很好, 真的  不错', '好评'), (3, '不行', '差评'), (4, '慢', '差评,贵')]
    with caplog.at_level('INFO'):
        assert [(r.line, r.cells['text_a'], r.cells['label']) for r in read_records(path, ('text_a', 'label'))] == found
    assert 'a.txt: lines of fastText: __label__ marks a label' in caplog.text
    predicted = list(read_rows(str(path)))
    assert [(r.line, r.record['text_a'], r.cells['label']) for r in predicted] == found
    for line in (lines[5], '__label__a,b __label__c x', 'no label'):
        with pytest.raises(
            UserError, match=r'a\.csv:2: found .*label.*, expected a line of fastText: __label__NAME, then'
        ):
            list(read_records(write(tmp_path / 'a.csv', f'__label__a x\n{line}\n'), ('text_a', 'label')))
    # A table may have a column of that name.
    path = write(tmp_path / 't.csv', '__label__,text\na,b c\n')
    assert [r.cells for r in read_records(path)] == [{'__label__': 'a', 'text_a': 'b c'}]


def test_lone_columns_and_quotes_of_tsv(tmp_path):
    nsmc = write(tmp_path / 'ratings_train.txt', 'id\tdocument\tlabel\n1\t"아 더빙.. 진짜\t0\n2\t흠...\t1\n')
    rows = list(read_records(nsmc, ('text_a', 'label')))
    assert [row.cells['text_a'] for row in rows] == ['"아 더빙.. 진짜', '흠...']
    assert [row.cells['text_a'] for row in read_records(write(tmp_path / 'a.csv', 'text\n"a;b"\nc|d\n'))] == [
        'a;b',
        'c|d',
    ]
    pandas = write(tmp_path / 'p.csv', ',text,label\n0,a,1\n1,b,0\n')
    assert [row.cells for row in read_records(pandas)][1] == {'Unnamed: 0': '1', 'text_a': 'b', 'label': '0'}


def test_empty_columns_of_spreadsheets_do_no_harm(tmp_path):
    content = 'text,label,,\r\n"a, b",1,,\r\nc,0\r\nd,1,,,,\r\ne,0,x,\r\n'
    rows = [record.cells for record in read_records(write(tmp_path / 'a.csv', content), ('text_a', 'label'))]
    assert [(row['text_a'], row['label']) for row in rows] == [('a, b', '1'), ('c', '0'), ('d', '1'), ('e', '0')]
    assert rows[3]['Unnamed: 2'] == 'x' and rows[1]['Unnamed: 3'] == ''
    for content in ('text,label\na\n', 'text,label\na,1,x\n', 'text,label,\na\n'):
        with pytest.raises(UserError, match=r'a\.csv:2: found \d cells'):
            list(read_records(write(tmp_path / 'a.csv', content), ('text_a', 'label')))


def test_text_of_csv_is_the_text_as_always_and_others_are_told(tmp_path, caplog):
    (row,) = read_records(write(tmp_path / 'a.csv', 'title,text,label\na,b,1\n'), ('text_a', 'label'))
    assert row.cells == {'title': 'a', 'text_a': 'b', 'label': '1'}
    assert "'title' could be the text too; read is 'text'" in caplog.text
    with pytest.raises(UserError, match="2 columns that could be the text: 'title', 'text'"):
        list(read_records(write(tmp_path / 'a.tsv', 'title\ttext\tlabel\na\tb\t1\n'), ('text_a', 'label')))


CELL = st.text(st.characters(blacklist_categories=('Cs', 'Cc')), min_size=1, max_size=12).filter(str.strip)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=5),
    separator=st.sampled_from(',;\t|'),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_the_separator_is_found_whatever_the_cells(tmp_path, rows, separator, quoting):
    assert cells(write(tmp_path / 'a.csv', table(rows, delimiter=separator, quoting=quoting))) == rows


def test_a_mismatch_of_name_and_content_is_read_where_it_is_certain(tmp_path, caplog):
    rows = [{'text': text, 'label': label} for _, text, label in ROWS]
    lines = '\n'.join(json.dumps(row) for row in rows)
    tabs, commas = 'text\tlabel\na\t1\n', 'text,label\n"a",1\n'
    for name, content, note in (
        ('a.csv', lines, 'the content is JSON'),
        ('a.tsv', json.dumps(rows, indent=1), 'the content is JSON'),
        ('a.parquet', lines, 'the content is JSON'),
        ('a.json', tabs, r'the content is a table (TSV)'),
        ('a.jsonl', commas, r'the content is a table (CSV with commas)'),
        ('b.tsv', commas, 'columns are parted by commas: read as CSV'),
    ):
        caplog.clear()
        read = list(read_records(write(tmp_path / name, content), ('text_a', 'label')))
        assert len(read) == (3 if 'JSON' in note else 1) and note in caplog.text
        assert [row.record['text_a'] for row in read_rows(str(tmp_path / name))] == [
            row.cells['text_a'] for row in read
        ]


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        (
            'a.csv',
            b'PK\x03\x04\x14\x00',
            'found an Excel workbook or another zip file, .* In Excel: save it as "CSV UTF-8"',
        ),
        ('a.xls', b'\xd0\xcf\x11\xe0\xa1', 'found an old Excel workbook'),
        ('a.json', b'\x1f\x8b\x08', 'found a gzip file, .* gunzip'),
        ('a.parquet', b'version https://git-lfs.github.com/spec/v1\n', 'found a pointer of Git LFS .* git lfs pull'),
        ('a.tsv', b'<!DOCTYPE html><html>', 'found a web page'),
        ('a.json', '今天\n明天\n', 'found text that is no JSON'),
        ('a.txt', 'text\tlabel\n很好\t1\n'.encode('utf-16-le'), 'zero bytes, as in UTF-16 without a byte order mark'),
        ('a.txt', 'text\tlabel\n很好\t1\n'.encode('utf-16')[:-1], 'UTF-16 that cannot be read'),
        ('a.csv', 'text,label\n,1\n ,0\n', "the column 'text' empty in all rows"),
        ('a.csv', 'text,label\na,\nb, \n', "the column 'label' empty in all rows"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, message):
    for read in (lambda path: read_records(path, ('text_a', 'label')), lambda path: read_rows(str(path))):
        if 'empty in all' in message and 'read_rows' in read.__code__.co_names:
            continue  # texts may be empty where nothing is learnt from them
        with pytest.raises(UserError, match=message) as e:
            list(read(write(tmp_path / name, content)))
        assert '\n' not in str(e.value)


TEXTS = {
    'gb18030': '这家店的菜真好吃，服务也很好，下次还会再来。',
    'cp949': '정말 재미있는 영화였습니다. 강력하게 추천합니다!',
    'big5': '這家店很好，服務也不錯，下次還會再來吃。',
    'shift_jis': 'とても良い映画でした。また見たいと思います。',
    'windows-1252': 'Das Essen war schön für uns.',
}


@pytest.mark.parametrize('encoding', TEXTS)
def test_other_encodings_are_told_with_the_way_to_convert(tmp_path, encoding):
    path = write(tmp_path / 'my data.tsv', f'text\tlabel\nok\t1\n{TEXTS[encoding]}\t1\n', encoding)
    name = encoding.upper()
    with pytest.raises(
        UserError, match=rf"my data.tsv:3: found byte .* iconv -f {name} -t UTF-8 '.*my data.tsv' > utf8.tsv"
    ):
        list(read_records(path))
    assert likely_encoding(TEXTS[encoding].encode(encoding)) == [name]


def test_a_slip_in_utf8_is_no_other_encoding(tmp_path):
    path = write(tmp_path / 'a.tsv', 'text\n很好很好很好\n'.encode() + b'\xff\n')
    with pytest.raises(UserError, match=r'a\.tsv:3: .* Save the file in the encoding UTF-8\.$'):
        list(read_records(path))


CONTEXT = '王小明在北京。'
QUESTIONS = [
    {'question': '谁？', 'context': CONTEXT, 'answer': '王小明', 'answer_start': 0},
    {'question': '哪？', 'context': CONTEXT, 'answer': '北京', 'answer_start': 4},
]


def test_questions_of_records_are_those_of_squad(tmp_path):
    qas = [
        {
            'id': str(i + 1),
            'question': q['question'],
            'answers': [{'text': q['answer'], 'answer_start': q['answer_start']}],
        }
        for i, q in enumerate(QUESTIONS)
    ]
    squad = {'data': [{'paragraphs': [{'context': CONTEXT, 'qas': qas}]}]}
    expected = read_questions(write(tmp_path / 's.json', json.dumps(squad))).questions
    hub = [
        {**q, 'answers': {'text': [q['answer']], 'answer_start': [q['answer_start']]}, 'answer': None}
        for q in QUESTIONS
    ]
    hub = [{key: value for key, value in q.items() if key not in ('answer', 'answer_start')} for q in hub]
    other = [
        {'query': q['question'], 'passage': CONTEXT, 'answers': q['answer'], 'answer_start': q['answer_start']}
        for q in QUESTIONS
    ]
    contents = {
        'a.json': json.dumps(QUESTIONS),
        'b.json': json.dumps({'data': hub}, indent=1),
        'c.jsonl': '\n'.join(map(json.dumps, hub)),
        'd.jsonl': '\n'.join(map(json.dumps, other)),
        'e.csv': table([q.values() for q in QUESTIONS], QUESTIONS[0], delimiter=';'),
        'f.tsv': table([q.values() for q in QUESTIONS], QUESTIONS[0], delimiter='\t', lineterminator='\n'),
    }
    for name, content in contents.items():
        assert read_questions(write(tmp_path / name, content)).questions == expected, name


@pytest.mark.parametrize(
    ('record', 'answers', 'impossible'),
    [
        ({'answer': ''}, (), False),
        ({'answer': None}, (), False),
        ({}, (), False),
        ({'answer': '', 'is_impossible': True}, (), True),
        ({'answer': 'x', 'is_impossible': 'true'}, (), True),
        ({'answers': {'text': [], 'answer_start': []}}, (), True),
        ({'answers': ['王', '明']}, (('王', None), ('明', None)), False),
        ({'answers': [{'text': '王', 'answer_start': 0}]}, (('王', 0),), False),
    ],
)
def test_a_question_is_unanswerable_only_where_the_record_says_so(tmp_path, record, answers, impossible):
    lines = [{'question': 'q', 'context': CONTEXT, **record}]
    (question,) = read_questions(write(tmp_path / 'a.jsonl', json.dumps(lines[0]))).questions
    assert (question.answers, question.is_impossible, question.id) == (answers, impossible, '1')


@pytest.mark.parametrize(
    ('record', 'message'),
    [
        ({'answer': 3}, 'a.jsonl:1: found 3 as answers'),
        ({'answers': {'text': ['a'], 'answer_start': [0, 1]}}, 'a.jsonl:1: found .* as answers'),
        ({'answer': 'x', 'answer_start': 'y'}, "a.jsonl:1: found 'x' as answers"),
        ({'is_impossible': 'perhaps'}, "a.jsonl:1: found 'perhaps' as is_impossible"),
        ({'question': ''}, "a.jsonl:1: found question '1': an empty question"),
        ({'context': None}, "a.jsonl:1: found nothing as 'context'"),
        ({'context': ['x']}, r"a.jsonl:1: found \['x'\] as context"),
    ],
)
def test_questions_that_cannot_be_used(tmp_path, record, message):
    line = json.dumps({'question': 'q', 'context': CONTEXT, **record})
    with pytest.raises(UserError, match=message):
        read_questions(write(tmp_path / 'a.jsonl', line))


def test_a_tsv_whose_names_are_in_quotes_was_written_with_quotes(tmp_path):
    rows = [('他说 "好"', '好评'), ('a\tb', '差评'), ('', '好评')]
    path = tmp_path / 'a.tsv'
    with open(path, 'w', newline='') as f:
        csv.writer(f, delimiter='\t', quoting=csv.QUOTE_ALL).writerows([('text', 'label'), *rows])
    assert [tuple(r.cells.values()) for r in read_records(path, ('text_a', 'label'))] == rows
    os.rename(path, tmp_path / 'a.txt')
    assert [row.record['text_a'] for row in read_rows(str(tmp_path / 'a.txt'))] == [text for text, _ in rows]
    path.write_text('text\tlabel\n"好"\t"好评"\n')  # in the TSV of 2019 quotes mean nothing
    assert [tuple(r.cells.values()) for r in read_records(path, ('text_a', 'label'))] == [('"好"', '"好评"')]


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('a.csv', 'text,label\rgood,1\r', 'a.csv:1: found a carriage return alone'),
        ('a.tsv', 'text\tlabel\rgood\t1\r', 'a.tsv:1: found a carriage return alone'),
        ('b.csv', '\n\ntext,label\ngood,1\n', 'b.csv:1: found an empty first line'),
        ('b.tsv', '\ntext\tlabel\ngood\t1\n', 'b.tsv:1: found an empty first line'),
    ],
)
def test_first_lines_that_are_no_header(tmp_path, name, content, message):
    (tmp_path / name).write_text(content, newline='')
    with pytest.raises(UserError, match=message):
        list(read_records(tmp_path / name, ('text_a', 'label')))
