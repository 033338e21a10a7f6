import csv
import json

import numpy as np
import pytest

from ernie.metrics.outcomes import class_outcomes
from ernie.reader.again import rows_again
from ernie.reader.classify import ClassifyReader
from ernie.report.names import OF_SET
from ernie.report.sets import read_rows, read_summaries, write_set, wrong_rows_text
from ernie.report.wrong_rows import cell
from ernie.tokenization import FullTokenizer
from propeller.errors import UserError
from tests.ernie.tiny_model import VOCABULARY

NAMES = ['不好', 'gut;"', '=SUM(A1)']
TEXTS = ['=cmd|x', '好\t坏', '这 "是"\n的', '+1', '아니요 <b>', '@中', '-3 国', '好美', 'x' * 500]


@pytest.fixture
def reader(tmp_path):
    vocab = tmp_path / 'vocab.txt'
    vocab.write_text('\n'.join(VOCABULARY) + '\n', encoding='utf-8')
    return ClassifyReader(FullTokenizer(vocab), 16, num_labels=3, cache=False, skip_bad_rows=True)


def write_csv(path, texts):
    with open(path, 'w', encoding='utf-8', newline='') as f:
        rows = csv.writer(f)
        rows.writerow(['text_a', 'label', 'id'])
        rows.writerows([text, i % 3, f'n{i}'] for i, text in enumerate(texts))
    return str(path)


def texts_of(reader, rows):
    for row, record in rows_again(reader, rows.path, rows.lines, np.arange(len(rows))):
        yield row, {'text_a': record.cells['text_a']}


def outcomes_of(rows, seed=0):
    return class_outcomes(rows.labels, np.random.default_rng(seed).dirichlet([1, 1, 1], len(rows)), NAMES)


def test_files_of_wrong_rows(reader, tmp_path):
    rows = reader.read(write_csv(tmp_path / 'dev.csv', TEXTS))
    outcomes = outcomes_of(rows)
    facts = {'file': rows.path, 'step': 7, 'values': {'acc': 0.5}, 'report': None}
    for folder in ('a', 'b'):
        write_set(tmp_path / folder, 'dev', rows, lambda wanted: texts_of(reader, rows), outcomes, facts)
    assert sorted(p.name for p in (tmp_path / 'a').iterdir()) == sorted(f'dev{end}' for end in OF_SET)
    for end in OF_SET:
        assert (tmp_path / f'a/dev{end}').read_bytes() == (tmp_path / f'b/dev{end}').read_bytes()
    lines = (tmp_path / 'a/dev.errors.jsonl').read_text(encoding='utf-8').splitlines()
    entries = [json.loads(line) for line in lines]
    assert len(entries) == outcomes.wrong > 3
    assert [e['confidence'] for e in entries] == sorted((e['confidence'] for e in entries), reverse=True)
    # The third text has a line break: the rows after it begin one line later.
    assert {e['line']: e['text_a'] for e in entries}.items() <= {
        2 + i + (i > 2): text for i, text in enumerate(TEXTS)
    }.items()
    with open(tmp_path / 'a/dev.errors.tsv', encoding='utf-8-sig', newline='') as f:
        table = list(csv.DictReader(f, dialect='excel-tab'))
    assert list(table[0]) == ['line', 'text_a', 'true', 'predicted', 'confidence', 'confidence_of_true']
    assert [row['text_a'] for row in table] == [cell(e['text_a']) for e in entries]
    assert [float(row['confidence']) for row in table] == [e['confidence'] for e in entries]
    assert not [c for row in table for c in row.values() if c[:1] in ('=', '+', '-', '@', '\t')]
    (summary,) = read_summaries(tmp_path / 'a').values()
    assert (summary['step'], summary['count'], summary['wrong']) == (7, 9, len(entries))
    assert wrong_rows_text('r', 'dev', summary) == f'r/dev.errors.tsv ({len(entries)} of 9)'
    kept = read_rows(tmp_path / 'a', 'dev')
    assert kept['line'].tolist() == rows.lines.tolist() and (~kept['right']).sum() == len(entries)
    assert read_rows(tmp_path, 'dev') is None


def test_a_part_of_a_file_keeps_its_lines(reader, tmp_path):
    """A dev set that was cut out of the training file: its rows are found by their lines."""
    rows = reader.read(write_csv(tmp_path / 'all.csv', TEXTS))
    lines = rows.lines[[6, 1, 3]]
    found = {row: record.cells['id'] for row, record in rows_again(reader, rows.path, lines, [0, 2])}
    assert found == {0: 'n6', 2: 'n3'}


def test_rows_that_share_a_line(reader, tmp_path):
    path = tmp_path / 'dev.json'
    a, b, c, d = (json.dumps({'text_a': f't{i}', 'label': i % 3}) for i in range(4))
    path.write_text(f'[{a},\n{b}, {c}, {d}]')
    rows = reader.read(path)
    assert rows.lines.tolist() == [1, 2, 2, 2]
    found = {row: record.cells['text_a'] for row, record in rows_again(reader, path, rows.lines, [1, 3])}
    assert found == {1: 't1', 3: 't3'}
    # Two of three on one line: which of them cannot be told.
    assert list(rows_again(reader, path, rows.lines[:3], [1])) == []


def test_a_file_that_changed_or_went_gives_no_texts(reader, tmp_path, logged):
    path = write_csv(tmp_path / 'dev.csv', TEXTS)
    rows = reader.read(path)
    (tmp_path / 'dev.csv').write_text('')
    write_set(tmp_path / 'r', 'dev', rows, lambda wanted: texts_of(reader, rows), outcomes_of(rows), {'file': path})
    assert sum('changed since it was read' in line for line in logged) == 1
    entries = [json.loads(line) for line in (tmp_path / 'r/dev.errors.jsonl').read_text(encoding='utf-8').splitlines()]
    assert entries and 'text_a' not in entries[0]
    (tmp_path / 'dev.csv').unlink()
    assert list(rows_again(reader, path, rows.lines, [0])) == []


def test_a_summary_that_is_none(tmp_path):
    (tmp_path / 'x.summary.json').write_text('{"file": 3, "values": {}}')
    with pytest.raises(UserError, match='x.summary.json: found file 3, expected a text'):
        read_summaries(tmp_path)
    assert read_summaries(tmp_path / 'none') == {}
