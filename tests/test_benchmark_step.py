"""The lines of `benchmark.step profile`."""

from benchmark import step


def test_rates_shares_and_the_rest():
    operators = [('custom_op.propeller_linear', 6.0, 25.0), ('pd_op.add', 3.0, 10.0), ('a', 0.5, 1.0), ('b', 0.5, 2.5)]
    found = {'seconds': 0.1, 'tokens': 1000, 'best': 1e12, 'operators': operators}
    head, *lines = step.report('bf16', found, 2)
    # 5 layers of 12 x 384 x 384 weights; 2 operations, 3 products of them: 53.1 million for a token
    assert head == 'bf16: 100.0 ms a step of 1000 tokens, 531 GFLOPS; the limit at 1000 GFLOPS: 53.1 ms'
    assert [line.split() for line in lines] == [
        ['propeller_linear', '6.00', 'ms', '60.0', '%', '25.0', 'calls'],
        ['pd_op.add', '3.00', 'ms', '30.0', '%', '10.0', 'calls'],
        ['2', 'others', '1.00', 'ms', '10.0', '%', '3.5', 'calls'],
    ]


def test_without_a_limit_and_without_a_rest():
    found = {'seconds': 0.1, 'tokens': 1000, 'best': None, 'operators': [('a', 1.0, 1.0)]}
    lines = list(step.report('plain', found, 5))
    assert lines[0].endswith('531 GFLOPS') and len(lines) == 2
