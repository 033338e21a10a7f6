"""The share of the products' limit that a step of training reaches.

python -m benchmark.share [--works small,base] [--precision bf16] [--batches 6] [--rounds 3] [--threads 2]

The limit is the time of the step's matrix products alone: of each linear layer the forward product and those of both
gradients, with the numbers of rows that the step's batch has, by the same kernels on as many threads, each again and
again on the same memory (nothing is converted, packed or added up: that is already done), the median. Not counted are
the products of attention, and of the layers behind the encoder. The works are those of `benchmark.report`: made-up
texts, random values. Steps are taken by the bare executor; a batch and its products are measured one after the other,
in turns, so that a change of the machine's speed meets both. Printed are medians over the batches and rounds.
"""

import argparse
import ctypes
import os
import statistics
import sys
import tempfile

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
        dict (m, n, k) -> how often: products [m, k] x [k, n].
    """
    found = {}

    def linear(rows, inputs, outputs, times):
        step = DEPTH
        while 64 * step <= rows:  # as `depth_of` in csrc/linear.cc
            step *= 2
        depth = -(-rows // step) * step
        for size in ((rows, outputs, inputs), (rows, inputs, outputs), (inputs, outputs, depth)):
            found[size] = found.get(size, 0) + times

    def rest(rows, times):  # of a layer, after attention
        linear(rows, width, width, times)
        linear(rows, width, 4 * width, times)
        linear(rows, 4 * width, width, times)

    linear(tokens, width, 3 * width, layers)
    rest(tokens, layers - 1)
    rest(rows, 1)  # the last layer's, for the first token of each row
    return found


def product_seconds(size, precision, repeats):
    """Seconds of a product (m, n, k) by itself; `RuntimeError` where it fails."""
    from propeller.ops.choice import kernels

    function = kernels().opened.propeller_ops_product_seconds
    function.restype = ctypes.c_double
    taken = function(int(precision == 'bf16'), *map(ctypes.c_int64, size), repeats)
    if taken < 0:
        raise RuntimeError(f'a product of {size} failed')
    return taken


def measure(work, args):
    """list over batches and rounds of (seconds of the step, of its products, operations, tokens)."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        write_files(work, folder)
        _, flags = ours.training_flags(work, folder, os.path.join(folder, 'run'), args.threads)
        contest = Contest([*flags, *SIDES[args.precision], '--epoch', '1000'], args.batches)
        batches = contest.next_batches()
        contest.bare(batches)  # compiles, and makes the kernels for these lengths
        for _ in range(args.rounds):
            for batch in batches:
                step = contest.bare([batch])
                found.append((step, *limit(work, batch, args), batch.real_tokens))
        contest.close()
    return found


def limit(work, batch, args):
    """(seconds of the products of a batch, their multiplications and additions)."""
    products = products_of(int(batch.real_tokens), work.rows, work.layers, work.width)
    repeats = 3 if work.width > 384 else 9
    seconds = sum(times * product_seconds(size, args.precision, repeats) for size, times in products.items())
    return seconds, sum(2 * times * m * n * k for (m, n, k), times in products.items())


def report(work, precision, found):
    """A line of text. found: what `measure` returns."""
    step, alone, operations, tokens = (statistics.median(column) for column in zip(*found, strict=True))
    share = statistics.median(alone / step for step, alone, *_ in found)
    return (
        f'{work.name}, {precision}: {1e3 * step:.1f} ms a step of {tokens:.0f} tokens, its products alone '
        f'{1e3 * alone:.1f} ms ({1e-9 * operations / alone:.0f} GFLOPS): {100 * share:.1f} % of the limit'
    )


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
