import csv

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ernie.reader.records import read_records
from ernie.reader.rows import BadRow, BadRows
from ernie.reader.warnings import say
from propeller.errors import UserError


def write(tmp_path, content, name='a.tsv'):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows(path, **kw):
    return [(line, cells) for line, cells in read_records(path, **kw)]


def test_columns_by_name_in_any_order(tmp_path):
    path = write(tmp_path, 'label\tqid\ttext_a\n1\t7\t早 上好\n0\t8\t"quoted" # kept\n')
    assert rows(path) == [
        (2, {'label': '1', 'qid': '7', 'text_a': '早 上好'}),
        (3, {'label': '0', 'qid': '8', 'text_a': '"quoted" # kept'}),
    ]


def test_only_a_line_feed_ends_a_line(tmp_path):
    text = 'a\u2028b\u0085c\x0bd\x0ce\x1cf\x1dg\x1eh\ri'
    assert rows(write(tmp_path, f'text_a\tlabel\n{text}\t1\n')) == [(2, {'text_a': text, 'label': '1'})]


def test_byte_order_mark_and_windows_lines(tmp_path):
    path = write(tmp_path, b'\xef\xbb\xbftext_a\tlabel\r\nx\t1\r\n\xef\xbb\xbfy\t0')
    assert rows(path, required=('text_a', 'label')) == [
        (2, {'text_a': 'x', 'label': '1'}),
        (3, {'text_a': '\ufeffy', 'label': '0'}),
    ]
    path = write(tmp_path, b'\xef\xbb\xbf"text",label\r\n"a, ""b""\r\nc",1\r\n', 'a.csv')
    assert rows(path) == [(2, {'text_a': 'a, "b"\r\nc', 'label': '1'})]


def test_empty_lines_are_rows_of_one_empty_cell(tmp_path):
    assert rows(write(tmp_path, 'text_a\n\nx\n')) == [(2, {'text_a': ''}), (3, {'text_a': 'x'})]
    assert rows(write(tmp_path, 'text_a\n\nx\n', 'b.csv')) == [(2, {'text_a': ''}), (3, {'text_a': 'x'})]


@pytest.mark.parametrize('end', ['\n', '\n\n\n', ' \n\t\n\n', '\t', '\r\n \r\n', '\u3000\n'])
def test_blank_lines_at_the_end_are_no_rows(tmp_path, end):
    read = [(2, {'text_a': 'x', 'label': '1'}), (3, {'text_a': '', 'label': ''}), (4, {'text_a': 'y', 'label': '0'})]
    assert rows(write(tmp_path, 'text_a\tlabel\nx\t1\n\t\ny\t0\n' + end)) == read
    csv_end = end.replace('\t', ',')
    assert rows(write(tmp_path, 'text_a,label\nx,1\n,\ny,0\n' + csv_end, 'b.csv')) == read


def test_blank_lines_at_the_end_are_told(tmp_path, caplog):
    assert len(rows(write(tmp_path, 'text_a\nx\n\n\n'))) == 1
    (record,) = caplog.records
    assert record.levelname == 'WARNING' and '2 blank lines at the end (from line 3 on) are no rows' in record.message


def test_an_open_quote_is_told_once(tmp_path, caplog):
    text = 'text_a\tlabel\n"so" it is\t1\n"all" "good"\t1\nan inch is 1"\t1\n"not closed\t0\n"again\t0\n'
    assert len(rows(write(tmp_path, text))) == 5
    (record,) = caplog.records
    assert record.levelname == 'WARNING'
    assert ":5: the cell '\"not closed' begins with a double quote that is not closed" in record.message


def test_csv_lines_are_counted_through_quoted_line_breaks(tmp_path):
    path = write(tmp_path, 'label,text\n1,"a\nb\nc"\n0,d\n2\n', 'a.CSV')
    read = read_records(path)
    assert [next(read).line, next(read).line] == [2, 5]
    with pytest.raises(UserError, match=r'a.CSV:6: found 1 cells, expected 2 as in the header \(label, text\)'):
        next(read)


def test_csv_text_stays_when_text_a_is_there_too(tmp_path):
    assert rows(write(tmp_path, 'text,text_a\n1,2\n', 'a.csv')) == [(2, {'text': '1', 'text_a': '2'})]


ENDS = st.sampled_from(['\n', '\r\n'])
CELL = st.text(st.characters(blacklist_categories=('Cs',), blacklist_characters='\t\n\r'), max_size=12)
FREE_CELL = st.text(st.characters(blacklist_categories=('Cs',)), max_size=12)


def ends_with_text(rows):
    """Else the last ones are no rows; and a column of texts has some text."""
    return any(cell.strip() for cell in rows[-1]) and any(row[1].strip() for row in rows)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cells=st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=6).filter(ends_with_text),
    end=st.sampled_from(['\n', '\r\n']),
)
def test_any_tsv_comes_back(tmp_path, cells, end):
    lines = ['x\ttext_a\ty', *('\t'.join(row) for row in cells)]
    read = rows(write(tmp_path, end.join(lines) + end))
    assert read == [(i, dict(zip(('x', 'text_a', 'y'), row, strict=True))) for i, row in enumerate(cells, 2)]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(st.tuples(FREE_CELL, FREE_CELL), min_size=1, max_size=6).filter(ends_with_text))
def test_any_csv_comes_back(tmp_path, cells):
    path = tmp_path / 'a.csv'
    with open(path, 'w', encoding='utf-8', newline='') as f:
        csv.writer(f, quoting=csv.QUOTE_ALL).writerows([('label', 'text'), *cells])
    read = rows(path)
    assert [(c['label'], c['text_a']) for _, c in read] == cells
    expected_lines, line = [], 2
    for row in cells:
        expected_lines.append(line)
        line += 1 + sum(cell.count('\n') for cell in row)
    assert [line for line, _ in read] == expected_lines


BAD_FILES = {
    'empty.tsv': (b'', r'empty\.tsv: found an empty file'),
    'header.tsv': (b'text_a\tlabel\n', r'header\.tsv: found a header line and no row, expected at least one row'),
    'noheader.tsv': (
        '很好\t1\n不好\t0\n'.encode(),
        r"noheader\.tsv:1: found the columns '很好', '1', expected also a column 'text_a'\. The first line must name",
    ),
    'column.tsv': (b'text_b\tlabel\nx\t1\n', r"column\.tsv:1: found the columns 'text_b', 'label', expected also"),
    'twice.tsv': (b'text_a\tlabel\ttext_a\nx\t1\ty\n', r"twice\.tsv:1: found the column 'text_a' twice"),
    'unnamed.tsv': (b'text_a\t\nx\t1\n', r'unnamed\.tsv:1: found a column without a name'),
    'cells.tsv': (b'text_a\tlabel\nx\t1\nx\t1\t2\n', r'cells\.tsv:3: found 3 cells, expected 2 as in the header'),
    'blank.tsv': (b'text_a\tlabel\nx\t1\n\ny\t0\n', r'blank\.tsv:3: found 1 cells'),
    'blanks.tsv': (b'text_a\tlabel\nx\t1\n' + b' \n' * 20_000, r'blanks\.tsv:3: found 1 cells'),
    'only_blank.tsv': (b'text_a\n\n \n', r'only_blank\.tsv: found a header line and no row'),
    'gbk.tsv': (
        b'text_a\tlabel\nx\t1\n' + '很好\t1\n'.encode('gbk'),
        r'gbk\.tsv:3: found byte 0xba at byte 1 of the line, expected UTF-8 text\. Save',
    ),
    'gbkhead.tsv': ('文本\ttext_a\nx\t1\n'.encode('gbk'), r'gbkhead\.tsv:1: found byte 0xce'),
    'utf16.tsv': ('text_a\nx\n'.encode('utf-16')[:-1], r'utf16\.tsv: found UTF-16 that cannot be read'),
    'utf16le.tsv': ('text_a\tlabel\nx\t1\n'.encode('utf-16-le'), r'utf16le\.tsv:1: found zero bytes, as in UTF-16'),
    'gbk.csv': (b'text,label\n"a\nb' + '很'.encode('gbk') + b'\n",1\n', r'gbk\.csv:3: found byte 0xba at byte 2'),
    'open.csv': (b'text,label\nx,1\n"y,1\nz,0\n', r'open\.csv:3: found a double quote that is never closed'),
    'quote.csv': (b'text,label\n"x"y,1\n', r'quote\.csv:2: found bad CSV quoting'),
}


@pytest.mark.parametrize('name', BAD_FILES)
def test_bad_files_name_file_line_and_finding(tmp_path, name):
    content, message = BAD_FILES[name]
    with pytest.raises(UserError, match=message) as caught:
        rows(write(tmp_path, content, name))
    assert '\n' not in str(caught.value)


def test_paths_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match='found no such file'):
        rows(tmp_path / 'missing.tsv')
    with pytest.raises(UserError, match='found a folder'):
        rows(tmp_path)


@pytest.mark.parametrize('name', ['a.tsv', 'a.csv'])
def test_bad_rows_are_counted_and_listed_and_the_rest_comes(tmp_path, name):
    tab = b'\t' if name.endswith('tsv') else b','
    lines = [b'text_a|label', b'a|1', b'b', b'\xff|1', b'c|0', b'd|0|0', b'e|1']
    path = write(tmp_path, b'\n'.join(lines).replace(b'|', tab), name)
    bad = BadRows(path, shown=2)
    assert [(r.line, r.cells['text_a']) for r in read_records(path, bad_rows=bad)] == [(2, 'a'), (5, 'c'), (7, 'e')]
    assert len(bad) == bad.count == 3
    assert [line for line, _ in bad.rows] == [3, 4]
    assert bad.messages() == [
        f'{path}:3: found 1 cells, expected 2 as in the header (text_a, label)',
        f'{path}:4: found byte 0xff at byte 1 of the line, expected UTF-8 text',
        f'{path}: 1 more',
    ]


def test_bad_quoting_spoils_one_row_only(tmp_path):
    path = write(tmp_path, b'text,label\n"x"y,1\n\xff"z"z,1\nz,0\n"u"u,0\nv,1\n', 'a.csv')
    bad = BadRows(path)
    assert [r.line for r in read_records(path, bad_rows=bad)] == [4, 6]
    assert [line for line, _ in bad.rows] == [2, 3, 5]


def test_a_file_of_bad_rows_only_is_an_error(tmp_path):
    path = write(tmp_path, 'text_a\tlabel\nx\ny\n')
    with pytest.raises(UserError, match='no usable row'):
        rows(path, bad_rows=BadRows(path))


def test_bad_rows_list_the_first_lines_in_whatever_order_they_come():
    bad = BadRows('f', shown=3)
    for line in (9, 4, 30, 2, 7):
        bad.add(BadRow(line, 'x', 'y'))
    assert [line for line, _ in bad.rows] == [2, 4, 7]
    assert bad.messages()[-1] == 'f: 2 more'
    bad.clear()
    assert len(bad) == 0 and bad.messages() == []


def test_notes_from_a_file_are_notes_or_nothing(caplog):
    for notes in (3, {}, ['x', None, [], ['warning', 1], ['warning', 'x', 'y'], [[], 1, 'z'], ['info', 1, 2]]):
        say('data.tsv', notes)
    assert not caplog.records
    say('data.tsv', [['warning', None, 'a\nb'], ['warning', 7, 'c' * 5000], ['loud', 1, 'd']])
    first, second = [record.getMessage() for record in caplog.records if record.levelname == 'WARNING']
    assert first == r"data.tsv: 'a\nb'" and second.startswith('data.tsv:7: ') and len(second) < 300
