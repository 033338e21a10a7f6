"""The table of `benchmark.ops_update`: medians over turns in milliseconds, and how many times faster than plain."""

import math

import pytest

from benchmark import ops_update
from propeller import ops
from propeller.session import Session


def test_table_has_medians_and_ratios():
    turn = [0.001 * (i + 1) for i in range(len(ops_update.CASES))]
    slow, fast = ([seconds] * len(turn) for seconds in (9.0, 0.0005))
    lines = list(ops_update.table(None, {'plain': [turn, slow, turn], 'fused': [fast, fast, slow]}))
    assert lines[0].split() == ['ms', 'plain', 'fused']
    assert lines[1] == f'{"update 12 x 768 x 30522":<34}' + f'{"1.0 ( 1.0)":>16}' + f'{"0.5 ( 2.0)":>16}'
    assert lines[3].startswith('loss 307 x 18000 ') and lines[3].endswith('0.5 ( 6.0)')
    assert len(lines) == 1 + len(ops_update.CASES)


def test_the_parameters_are_those_of_a_bert():
    sizes = [sum(map(math.prod, ops_update.shapes(*case))) for case in ops_update.CASES[:2]]
    assert sizes == [pytest.approx(109e6, rel=0.01), pytest.approx(22.6e6, rel=0.01)]


@pytest.mark.parametrize('case', [('update', 2, 12, 50), ('loss', 7, 0, 30), ('loss', 7, 12, 30)])
def test_its_programs_run(case):
    session = Session(seed=1)
    with ops.use('false'):
        program = session.build([], lambda: ops_update.build(*case))
    session.initialize(program)
    assert session.run(program, [], [program.outputs])[0].shape == (1,)
