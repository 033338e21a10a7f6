"""What `benchmark.own_data` makes of its files."""

import pytest

from benchmark.own_data import SETS, command, main, part_of, verdict
from propeller.errors import UsageError, UserError


def test_nothing_but_the_files_is_given():
    words = command('t.csv', 'd.csv', 'out')
    assert words[2:] == ['ernie', 'finetune', 't.csv', '--dev_set', 'd.csv', '--checkpoints', 'out']
    assert command('t', 'd', 'o', 'm')[-2:] == ['--model', 'm']


def test_a_part_of_a_file_keeps_its_header(tmp_path):
    path = tmp_path / 'all.tsv'
    path.write_text('id\tdocument\n' + ''.join(f'{i}\t좋다\u2028{i}\n' for i in range(7)), encoding='utf-8')
    part_of(str(path), 3, str(tmp_path / 'x'))
    found = (tmp_path / 'x').read_text('utf-8').split('\n')[:-1]
    assert found[0] == 'id\tdocument' and len(found) == 4 and set(found) <= set(path.read_text('utf-8').split('\n'))


def test_verdicts():
    assert [verdict(s, 0.85) for s in (0.86, 0.8401, 0.8399)] == ['ok', 'ok', '0.0101 below']
    assert verdict(0.1, None) == 'not recorded'


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(UsageError, match='--sets nothing'):
        main(['--sets', 'nothing'])
    with pytest.raises(UserError, match=f'{next(iter(SETS))}/train.tsv: found no such file'):
        main(['--data', str(tmp_path), '--out', str(tmp_path / 'o')])
