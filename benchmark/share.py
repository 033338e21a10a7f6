"""The share of the products' limit that a step of training reaches.

python -m benchmark.share [--works small,base] [--precision bf16] [--batches 6] [--rounds 3] [--threads 2]

The limit is the time of matrix products alone: of each linear layer the forward product and those of both gradients,
with the numbers of rows that the step's batch has, by the same kernels on as many threads, each again and again on the
same memory (nothing is converted, packed or added up: that is already done), the median. Not counted are the products
of attention, and of the layers behind the encoder. There are two limits: the products that the step computes, and those
of all tokens in all layers, as the model is defined and PyTorch computes it; of its last layer the step needs but what
is read. The works are those of `benchmark.report`: made-up texts, random values. Steps are taken by the bare executor,
each of them between two turns of its products, whose mean it is held against, so that a change of the machine's speed
meets both. Printed are medians over the batches and rounds, and of the shares the quartiles.

Products that are done again and again have all they read in each core's caches; a step's threads read what the other
one wrote. So a step takes longer, and its products alone do not, where a host lays virtual cores on parts of a
processor that share no cache, which it may change from one second to the next. So the time is printed, too, that a
number takes from core to core, some 30 ns where they share a cache: shares of different distance are not comparable.
"""

import argparse
import collections
import ctypes
import functools
import os
import statistics
import sys
import tempfile
from typing import NamedTuple

from benchmark import common
from benchmark.common import SIDES
from benchmark.report import ours
from benchmark.report.works import TRAIN, WORKS, write_files
from benchmark.step import Contest
from propeller.errors import UsageError, one_line_errors, one_of

WORKS_OF = {work.name: work for work in WORKS if work.kind == TRAIN}
PRECISIONS = ('fp32', 'bf16')
DEPTH = 32  # a product over all rows of a batch takes rows of zeros up to a multiple of this, or of 1/32 of the rows


def products_of(tokens, rows, layers, width):
    """Products of the linear layers of a classifier's encoder for a batch, forward and backward.

    Args:
        tokens, rows: of the batch.
        layers, width: of the encoder; its feed-forward layers are four times as wide.
    Returns:
        Two Counters (m, n, k) -> how often, products [m, k] x [k, n]: those that a step computes, and those of all
        tokens in all layers.
    """
    layer, last = _products_of_layer(tokens, width), _products_of_layer(rows, width)
    needed, whole = collections.Counter(), collections.Counter()
    for size, times in layer.items():
        needed[size], whole[size] = (layers - 1) * times, layers * times
    return needed + last, whole


def _products_of_layer(rows, width):
    """Counter of the products of one layer for so many tokens."""
    found, step = collections.Counter(), DEPTH
    while 64 * step <= rows:  # as `depth_of` in csrc/linear.cc
        step *= 2
    depth = -(-rows // step) * step
    for inputs, outputs in ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)):
        found.update([(rows, outputs, inputs), (rows, inputs, outputs), (inputs, outputs, depth)])
    return found


def product_seconds(size, precision, repeats, threads=0):
    """Seconds of a product (m, n, k) by itself, on so many threads (0: all); `RuntimeError` where it fails."""
    from propeller.ops.choice import kernels

    function = kernels().opened.propeller_ops_product_seconds
    function.restype = ctypes.c_double
    taken = function(int(precision == 'bf16'), *map(ctypes.c_int64, size), repeats, ctypes.c_int64(threads))
    if taken < 0:
        raise RuntimeError(f'a product of {size} failed')
    return taken


def core_distance():
    """Nanoseconds that a number takes from a thread to another; -1 where one core has both, or others use the cores."""
    from propeller.ops.choice import kernels

    function = kernels().opened.propeller_ops_core_distance
    function.restype = ctypes.c_double
    return function()


class Turn(NamedTuple):
    """A step of a batch, and what it is held against.

    Attributes:
        step: seconds.
        alone: seconds of the products that it needs.
        all_alone: seconds of all products.
        operations: of the former.
        tokens: of the batch.
        distance: what `core_distance` gives.
    """

    step: float
    alone: float
    all_alone: float
    operations: int
    tokens: int
    distance: float


def measure(work, args):
    """list of `Turn`, over rounds and batches."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        write_files(work, folder)
        _, flags = ours.training_flags(work, folder, os.path.join(folder, 'run'), args.threads)
        contest = Contest([*flags, *SIDES[args.precision], '--epoch', '1000'], args.batches)
        batches = contest.next_batches()
        contest.bare(batches)  # compiles, and makes the kernels for these lengths
        for _ in range(args.rounds):
            for batch in batches:
                before = limits(work, batch, args)
                step, distance = contest.bare([batch]), core_distance()
                after = limits(work, batch, args)
                alone, all_alone = (statistics.mean(pair) for pair in zip(before[:2], after[:2], strict=True))
                found.append(Turn(step, alone, all_alone, before[2], batch.real_tokens, distance))
        contest.close()
    return found


def limits(work, batch, args):
    """(seconds of the products that a step needs, of all products, operations of the former)."""
    repeats = 3 if work.width > 384 else 5
    seconds_of = functools.cache(lambda size: product_seconds(size, args.precision, repeats))
    needed, whole = products_of(int(batch.real_tokens), work.rows, work.layers, work.width)
    alone, all_alone = (sum(times * seconds_of(size) for size, times in some.items()) for some in (needed, whole))
    return alone, all_alone, sum(2 * times * m * n * k for (m, n, k), times in needed.items())


def report(work, precision, found):
    """A line of text. found: what `measure` returns."""
    middle = Turn(*(statistics.median(column) for column in zip(*found, strict=True)))
    share, of_whole = (
        shares([100 * getattr(turn, limit) / turn.step for turn in found]) for limit in ('alone', 'all_alone')
    )
    apart = f' Cores {middle.distance:.0f} ns apart.' if middle.distance > 0 else ''
    rate = f'{1e-9 * middle.operations / middle.alone:.0f} GFLOPS'
    return (
        f'{work.name}, {precision}: {1e3 * middle.step:.1f} ms a step of {middle.tokens:.0f} tokens. Its products '
        f'alone {1e3 * middle.alone:.1f} ms ({rate}): {share} of the limit. '
        f'Those of all tokens in all layers {1e3 * middle.all_alone:.1f} ms: {of_whole}.{apart}'
    )


def shares(found):
    """Text: the median of percents, and their quartiles."""
    low, middle, high = statistics.quantiles(found, n=4, method='inclusive') if len(found) > 1 else found * 3
    return f'{middle:.1f} % ({low:.1f} .. {high:.1f})'


def parse_flags(argv=None):
    """The flags; `works` as a list of `Work`.

    Raises:
        UsageError: no such work, or nothing to measure.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--works', default='small,base', help=f'of {", ".join(WORKS_OF)} (default: small,base)')
    parser.add_argument('--precision', choices=PRECISIONS, default='bf16')
    parser.add_argument('--batches', type=int, default=6, help='different batches (default: 6)')
    parser.add_argument('--rounds', type=int, default=3, help='steps of each batch (default: 3)')
    parser.add_argument('--threads', type=int, default=2, help='cores and threads to use (default: 2)')
    args = parser.parse_args(argv)
    for name in args.works.split(','):
        if name not in WORKS_OF:
            raise UsageError(f'--works {name}: expected {one_of(name, WORKS_OF)}')
    if min(args.batches, args.rounds) < 1:
        raise UsageError('--batches and --rounds must be at least 1.')
    args.works = [WORKS_OF[name] for name in args.works.split(',')]
    return args


def main(argv=None):
    """Measure and print; returns 0."""
    args = parse_flags(argv)
    common.limit_cores(args.threads)
    os.environ['OMP_NUM_THREADS'] = str(args.threads)
    from propeller import ops

    if not ops.available('true'):
        raise UsageError('fused operators cannot be had here: python -m propeller.ops says why.')
    for work in args.works:
        print(report(work, args.precision, measure(work, args)), flush=True)
    return 0


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
