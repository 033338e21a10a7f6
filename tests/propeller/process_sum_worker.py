"""`python -m tests.propeller.process_sum_worker FILE RANK SIZE CASE OUT`: one process that adds up with others.

FILE is the number of an open file. Writes what it got, or the error, into OUT.
"""

import sys

import numpy as np

from propeller.graph import paddle
from propeller.ops.choice import kernels

SHAPES = [(1,), (3, 5), (16_384,), (0, 4), (100_003,), (7,), (2, 16_384), (64, 32)]
ROUNDS = 5


def values_of(rank, number):
    """What a process gives in a round: numbers of very different sizes, for which the order of a sum matters."""
    rng = np.random.default_rng([rank, number])
    return [(rng.normal(size=s) * 10.0 ** rng.integers(-4, 5, s)).astype(np.float32) for s in SHAPES]


def main(file, rank, size, case):
    paddle.disable_static()
    assert kernels().path

    def add(values):
        return [paddle._C_ops._run_custom_op('propeller_process_sum', v, file, rank, size)[0] for v in values]

    def add_shares(values):
        numbers = paddle.to_tensor(np.float32([rank + 1, 0]))
        paddle._C_ops._run_custom_op('propeller_sum_own_share', values, numbers, file, rank, size)
        return [*values, numbers]

    found = {}
    for number in range(ROUNDS):
        if case == 'leaves' and rank == 1 and number == 2:
            return found
        values = [paddle.to_tensor(value) for value in values_of(rank, number)]
        if case == 'counts' and rank == 1 and number == 2:
            values[0] = values[1]
        try:
            sums = (add_shares if case == 'shares' else add)(values)
        except (OSError, RuntimeError) as e:
            found['error'] = str(e)
            try:
                add(values)
            except (OSError, RuntimeError) as again:
                found['again'] = str(again)
            return found
        found |= {f'{number}_{i}': value.numpy() for i, value in enumerate(sums)}
    return found


if __name__ == '__main__':
    *numbers, kind, out = sys.argv[1:]
    np.savez(out, **main(*map(int, numbers), kind))
