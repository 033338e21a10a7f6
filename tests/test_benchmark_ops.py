"""`benchmark.ops`: its programs run, and its table has medians over turns."""

import math

import pytest

from benchmark.ops import __main__ as program
from benchmark.ops import attention, linear, norm, update
from propeller import ops
from propeller.session import Session

CASES = {  # small ones
    'linear': [(7, 12, 5, None, 2), (7, 12, 5, 'gelu', 1)],
    'attention': [(3, 7, 24, 0.5, 2)],
    'norm': [('residual', 13, 12, 2), ('embedding', 13, 12, 2)],
    'update': [('update', 2, 12, 50, 1), ('loss', 7, 0, 30, 1), ('loss', 7, 12, 30, 1)],
}


def table(name, columns, *flags):
    args = program.parse_flags([name, *flags])
    return list(program.table(program.OPERATORS[name], args, columns))


def test_linear_layers_in_work_over_median_time():
    turn = [[0.001 * (i + 1), 0.004] for i in range(len(linear.LAYERS))]
    slow = [[9.0, 9.0] for _ in linear.LAYERS]
    columns = {'plain fp32': [turn, slow, turn], 'fused bf16': [turn, turn, slow]}
    lines = table('linear', columns, '--rows', '1000')
    assert lines[0].split() == ['GFLOPS', 'plain', 'fp32', 'fused', 'bf16']
    # 2 x 1000 x 384 x 384 operations in 1 ms; three such products in 4 ms.
    assert lines[1].split() == ['1000', 'x', '384', 'x', '384', '295', '295']
    assert lines[2].split() == ['forward', 'and', 'backward', '221', '221']
    assert lines[5].startswith('1000 x 384 x 1536, gelu ') and lines[5].split()[-1] == '393'
    assert len(lines) == 1 + 2 * len(linear.LAYERS)


@pytest.mark.parametrize(
    ('name', 'first', 'second', 'fourth'),
    [
        (  # 4 x 24 x 24 x 384 x 32 operations in half a millisecond, 3.5 times as many in three
            *('attention', '32 x 24 tokens, 384 wide  1.00 ( 1.0) 0.50 ( 2.0) 57', '4.00 ( 1.0) 3.00 ( 1.3) 33'),
            '32 x 12-24 tokens, 384 wide 2.00 ( 1.0)',
        ),
        (
            *('norm', 'residual norm 768 x 384  1.000 ( 1.0) 0.500 ( 2.0)', '4.000 ( 1.0) 3.000 ( 1.3)'),
            'residual norm 4096 x 768 2.000 ( 1.0)',
        ),
    ],
)
def test_passes_in_medians_and_ratios(name, first, second, fourth):
    count = len(program.OPERATORS[name].cases(None))
    turn = [[0.001 * (i + 1), 0.004] for i in range(count)]
    slow, fast = ([[value, value * 6] for _ in range(count)] for value in (9.0, 0.0005))
    lines = table(name, {'plain fp32': [turn, slow, turn], 'fused bf16': [fast, fast, slow]})
    assert lines[0].split() == ['ms', 'plain', 'fp32', 'fused', 'bf16', *(['GFLOPS', 'bf16'] if '57' in first else [])]
    assert lines[1].split() == first.split()
    assert lines[2].split() == ['forward', 'and', 'backward', *second.split()]
    assert lines[3].split()[: len(fourth.split())] == fourth.split()
    assert len(lines) == 1 + 2 * count


def test_one_pass_in_medians_and_ratios():
    turn = [[0.001 * (i + 1)] for i in range(len(update.CASES))]
    slow, fast = ([[seconds]] * len(turn) for seconds in (9.0, 0.0005))
    lines = table('update', {'plain': [turn, slow, turn], 'fused': [fast, fast, slow]})
    assert lines[0].split() == ['ms', 'plain', 'fused']
    assert lines[1] == f'{"update 12 x 768 x 30522":<34}' + f'{"1.0 ( 1.0)":>16}' + f'{"0.5 ( 2.0)":>16}'
    assert lines[3].startswith('loss 307 x 18000 ') and lines[3].endswith('0.5 ( 6.0)')
    assert len(lines) == 1 + len(update.CASES)


def test_lengths_are_spread_evenly():
    assert attention.lengths_of(5, 24, 0.5) == [12, 15, 18, 21, 24]
    assert attention.lengths_of(3, 24, 1.0) == [24, 24, 24]
    assert attention.lengths_of(1, 24, 1.0) == [24]


def test_the_parameters_are_those_of_a_bert():
    sizes = [sum(map(math.prod, update.shapes(*case[:-1]))) for case in update.CASES[:2]]
    assert sizes == [pytest.approx(109e6, rel=0.01), pytest.approx(22.6e6, rel=0.01)]


@pytest.mark.parametrize('form', ['plain', 'fused'])
@pytest.mark.parametrize('name', CASES)
def test_each_pass_of_each_case_is_timed(name, form, monkeypatch):
    if form == 'fused' and not ops.available():
        pytest.skip('no fused operators')
    operator = program.OPERATORS[name]
    monkeypatch.setattr(norm, 'TABLES', (50, 7, 2))
    monkeypatch.setattr(operator, 'cases', lambda args: CASES[name])
    flags = ['--form', form, '--repeats', '1', *(['--precision', 'fp32'] if operator.PRECISIONS[0] else [])]
    found = program.seconds(operator, program.parse_flags([name, *flags]))
    assert [len(passes) for passes in found] == [len(operator.PASSES)] * len(CASES[name])
    assert all(0 < seconds < 10 for passes in found for seconds in passes)


def test_the_result_of_a_program_is_one_number():
    session = Session(seed=1)
    with ops.use('false'):
        built = session.build([], lambda: attention.build('fp32', True, 3, 7, 24, 0.5, 2))
    session.initialize(built)
    assert session.run(built, [], [built.outputs])[0].shape == (1,)


@pytest.mark.parametrize('name', CASES)
def test_what_pytorch_reads_is_json_for_each_case(name):
    operator = program.OPERATORS[name]
    given = program.torch_settings(operator, program.parse_flags([name, '--rows', '9']), 'bf16')
    assert (given['precision'], given['threads'], given['repeats']) == ('bf16', 2, 20)
    assert len(given['cases']) == len(operator.cases(program.parse_flags([name])))
    compile(program.TORCH + operator.TORCH, name, 'exec')
    for key in ('lengths', 'shapes'):
        assert len(given.get(key, given['cases'])) == len(given['cases'])
