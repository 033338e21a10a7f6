"""The benchmark of the data pipeline, on a few rows."""

import pytest

from benchmark import data_pipeline
from propeller.errors import UsageError


def test_rates_of_both_sides_and_memory_are_printed(capsys):
    data_pipeline.main(['--rows', '60', '--repeat', '1'])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('60 rows, ') and [line.split()[0] for line in lines[1:]] == [
        *('plain', 'pipeline', 'ratio', 'memory', 'rate')
    ]
    assert float(lines[3].split()[1]) > 0


def test_both_sides_read_all_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(data_pipeline, 'WORDS', 300)
    path = str(tmp_path / 'rows')
    rows, characters = data_pipeline.write_rows(path, 70, 0)
    vocabulary = {word: i for i, word in enumerate([b'[UNK]', *data_pipeline.words()])}
    assert data_pipeline.plain(path, vocabulary) == rows == 70
    assert data_pipeline.pipeline(path, vocabulary) == 3
    text = (tmp_path / 'rows').read_text(encoding='utf-8')
    assert characters == sum(len(line.partition('\t')[0].replace(' ', '')) for line in text.splitlines())


def test_a_record_file_is_resumed(capsys):
    assert data_pipeline.main(['resume', '--step', '30', '--repeat', '1']) == 0
    assert [line.split(':')[0] for line in capsys.readouterr().out.splitlines()[:2]] == ['step     10', 'step     30']
    with pytest.raises(UsageError, match='--rows, --repeat and --step must be at least 1'):
        data_pipeline.main(['--rows', '0'])
