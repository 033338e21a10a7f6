"""The table of `benchmark.ops`: medians over turns, as work per second."""

from argparse import Namespace

from benchmark import ops


def test_table_is_work_over_median_time():
    turn = [[0.001 * (i + 1), 0.004] for i in range(len(ops.LAYERS))]
    slow = [[9.0, 9.0] for _ in ops.LAYERS]
    lines = list(ops.table(Namespace(rows=1000), {'plain fp32': [turn, slow, turn], 'fused bf16': [turn, turn, slow]}))
    assert lines[0].split() == ['GFLOPS', 'plain', 'fp32', 'fused', 'bf16']
    # 2 x 1000 x 384 x 384 operations in 1 ms; three such products in 4 ms.
    assert lines[1].split() == ['1000', 'x', '384', 'x', '384', '295', '295']
    assert lines[2].split() == ['forward', 'and', 'backward', '221', '221']
    assert lines[5].startswith('1000 x 384 x 1536, gelu ') and lines[5].split()[-1] == '393'
    assert len(lines) == 1 + 2 * len(ops.LAYERS)
