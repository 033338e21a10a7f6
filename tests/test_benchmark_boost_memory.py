"""`benchmark.boost_memory` on few rows."""

import os
import re

import pytest

from benchmark import boost_memory


def test_the_second_training_computes_nothing(tmp_path, capsys):
    assert boost_memory.main(['--rows', '1100', '--width', '8', '--folder', str(tmp_path)]) == 0
    first, made, second, found = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r'first: \d+ s, [1-9]\d\d MB at the peak', first) and second.startswith('second: ')
    assert made.startswith('  vectors 1,100 rows, 1,100 computed') and '| done' in made
    assert found.startswith('  vectors 1,100 rows, all of them there already')
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(('peaks', 'code'), [((9e8, 9e8), 0), ((9e8, 1.1e9), 1)])
def test_more_than_a_gigabyte_is_a_failure(tmp_path, monkeypatch, peaks, code):
    left = iter(peaks)
    lines = ['vectors of x: 3 rows, 3 computed in 0:00:01, in /x', 'done  1 step']
    monkeypatch.setattr(boost_memory, 'train', lambda folder, name: (1.0, next(left), lines))
    assert boost_memory.main(['--rows', '3', '--folder', str(tmp_path)]) == code
