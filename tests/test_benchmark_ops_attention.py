"""The table of `benchmark.ops_attention`: medians over turns in milliseconds, and how many times faster than plain."""

import pytest

from benchmark import ops_attention
from propeller import ops
from propeller.session import Session


def test_table_has_medians_and_ratios():
    turn = [[0.001 * (i + 1), 0.004] for i in range(len(ops_attention.CASES))]
    slow, fast = ([[value, value * 6] for _ in ops_attention.CASES] for value in (9.0, 0.0005))
    lines = list(ops_attention.table(None, {'plain fp32': [turn, slow, turn], 'fused bf16': [fast, fast, slow]}))
    assert lines[0].split() == ['ms', 'plain', 'fp32', 'fused', 'bf16']
    assert lines[1].split() == ['32', 'x', '24', 'tokens,', '384', 'wide', '1.00', '(', '1.0)', '0.50', '(', '2.0)']
    assert lines[2].split() == ['forward', 'and', 'backward', '4.00', '(', '1.0)', '3.00', '(', '1.3)']
    assert lines[3].startswith('32 x 12-24 tokens, 384 wide ') and '2.00 ( 1.0)' in lines[3]
    assert len(lines) == 1 + 2 * len(ops_attention.CASES)


def test_lengths_are_spread_evenly():
    assert ops_attention.lengths_of(5, 24, 0.5) == [12, 15, 18, 21, 24]
    assert ops_attention.lengths_of(3, 24, 1.0) == [24, 24, 24]
    assert ops_attention.lengths_of(1, 24, 1.0) == [24]


@pytest.mark.parametrize('mode', ['false', 'auto'])
def test_its_programs_run(mode):
    session = Session(seed=1)
    with ops.use(mode):
        program = session.build([], lambda: ops_attention.build(3, 7, 24, 0.5, 2, 'fp32', True))
    session.initialize(program)
    assert session.run(program, [], [program.outputs])[0].shape == (1,)
