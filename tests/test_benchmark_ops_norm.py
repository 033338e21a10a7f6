"""The table of `benchmark.ops_norm`: medians over turns in milliseconds, and how many times faster than plain."""

import pytest

from benchmark import ops_norm
from propeller import ops
from propeller.session import Session


def test_table_has_medians_and_ratios():
    turn = [[0.001 * (i + 1), 0.004] for i in range(len(ops_norm.CASES))]
    slow = [[9.0, 9.0] for _ in ops_norm.CASES]
    fast = [[0.0005, 0.003] for _ in ops_norm.CASES]
    lines = list(ops_norm.table(None, {'plain': [turn, slow, turn], 'fused': [fast, fast, slow]}))
    assert lines[0].split() == ['ms', 'plain', 'fused']
    assert lines[1].split(maxsplit=5)[-1].split() == ['1.000', '(', '1.0)', '0.500', '(', '2.0)']
    assert lines[2].split() == ['forward', 'and', 'backward', '4.000', '(', '1.0)', '3.000', '(', '1.3)']
    assert lines[3].startswith('residual norm 4096 x 768 ') and '2.000 ( 1.0)' in lines[3]
    assert len(lines) == 1 + 2 * len(ops_norm.CASES)


@pytest.mark.parametrize('kind', ['residual', 'embedding'])
def test_its_programs_run(kind, monkeypatch):
    monkeypatch.setattr(ops_norm, 'TABLES', (50, 7, 2))
    session = Session(seed=1)
    with ops.use('false'):
        program = session.build([], lambda: ops_norm.build(kind, 13, 12, 2, True))
    session.initialize(program)
    assert session.run(program, [], [program.outputs])[0].shape == (1,)
