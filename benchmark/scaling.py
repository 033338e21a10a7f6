"""How time and memory grow with each size of a training, beside the law that they should follow.

    python -m benchmark.scaling [--axes length,layers] [--out FOLDER] [--rounds 1] [--threads 2]

Training of a classifier from random values on made-up texts (`benchmark/report/works.py`); of `file`, one update on a
table of so many rows, from start to end: reading, tokenizing, planning. One size changes at a time; the sizes of an
axis are run one after the other, `--rounds` times, and medians are taken. `--out` gets the table as `scaling.md` and a
picture of each curve beside its law as `scaling.png`.

Growth is the slope over the larger half of the sizes where both axes are logarithmic: 1 is linear, 2 quadratic, -1
half the time for twice as much. The law is what the sizes say: products are linear in tokens, rows and layers and
quadratic in the width; attention adds a part that is quadratic in the length; the word table is linear in the
vocabulary; threads, or processes of one thread each, share the same batch: their law is what the products of its linear
layers take alone on as many threads, measured around each run (`benchmark.share` says how), or half the time for twice
as many where the fused operators cannot be had. Exit code 1 where time or memory grows faster than its law by more than
0.15.
"""

import argparse
import os
import statistics
import sys
import tempfile
from typing import NamedTuple

import numpy as np

from benchmark import common, share
from benchmark.common import SIDES
from benchmark.report import ours
from benchmark.report.works import TRAIN, Work, write_files
from propeller.environment import usable_cores
from propeller.errors import UsageError, UserError, one_line_errors, one_of
from propeller.storage.atomic import check_writable, output_file, replacing

SLACK = 0.15
IN_A_LINE = 4  # curves of a picture
BASE = Work('base', '', TRAIN, 4, 384, 18000, 16, (64, 0, 64, 64), 3, 9, ('bf16',))


class Axis(NamedTuple):
    """One size that changes.

    Attributes:
        title: of the size.
        values: of the size, growing.
        run: function (value, folder for files, threads) -> (seconds, GB).
        law: exponent that time may have, in words and as a number; None: that of products alone (`Point.products`).
        memory_law: exponent that memory may have.
    """

    title: str
    values: tuple
    run: object
    law: tuple
    memory_law: float


class Point(NamedTuple):
    """One size of an axis, measured.

    Attributes:
        value: the size.
        seconds: of an update, or of a run.
        gigabytes: of all processes.
        products: seconds of an update's products alone on as many threads; None: not measured.
    """

    value: int
    seconds: float
    gigabytes: float
    products: float | None = None


def of_updates(work, place, threads, processes=1):
    """(seconds of an update, GB of all processes) of a training."""
    write_files(work, place)
    with tempfile.TemporaryDirectory() as checkpoints:
        program, flags = ours.training_flags(work, place, checkpoints, threads)
        flags += [*SIDES[_precision()], '--skip_steps', str(work.warm), '--batch_size', str(work.rows // processes)]
        command = [os.path.join(common.ROOT, program), *flags]
        if processes > 1:
            launch = ['--nproc_per_node', str(processes), '--split_log_path', os.path.join(checkpoints, 'log')]
            command = [os.path.join(common.ROOT, 'finetune_launch.py'), *launch, *command]
        done = _measured(command, f'{program} of {work}')
        return work.rows * work.lengths[0] / ours.rate_of(checkpoints, work), done.memory / 2**30


def of_file(count, place, threads):
    """(seconds, GB) of a training of one update that reads so many rows first."""
    work = BASE._replace(layers=1, width=64, rows=10, lengths=(16, 4, 6, 30), warm=0, counted=count // 10)
    write_files(work, place)
    with tempfile.TemporaryDirectory() as checkpoints:
        program, flags = ours.training_flags(work, place, checkpoints, threads)
        command = [os.path.join(common.ROOT, program), *flags, '--max_steps', '1']
        caches = {'ERNIE_CACHE': os.path.join(checkpoints, 'cache')}  # nothing is found there that is done already
        done = _measured(command, f'{program} on {count} rows', caches)
    return done.seconds, done.memory / 2**30


def _measured(command, name, environment=None):
    """A Python program that is run for its time and memory: `common.Measured`.

    Raises:
        UserError: it failed.
    """
    with open(os.devnull, 'wb') as nowhere:
        environment = os.environ | (environment or {})
        done = common.run_measured([sys.executable, *command], env=environment, stdout=nowhere, stderr=nowhere)
    if done.code:
        raise UserError(f'{name} ended with code {done.code}.')
    return done


def _precision():
    from ernie.inference.engines import knows_bf16

    return 'bf16' if knows_bf16() else 'fp32'


def _updates(change):
    """`Axis.run` of updates. change: function of a value -> what differs from `BASE`."""
    return lambda value, place, threads: of_updates(BASE._replace(**change(value)), place, threads)


def _powers(most):
    return tuple(2**n for n in range(most.bit_length()))


CORES = _powers(usable_cores())
AXES = {
    'length': Axis('tokens of a row', (32, 64, 128, 256, 512),
                   _updates(lambda v: {'lengths': (v, 0, v, v), 'rows': 8}), ('linear, attention quadratic', 1.25), 1),
    'rows': Axis('rows of a batch', (4, 8, 16, 32, 64), _updates(lambda v: {'rows': v}), ('linear', 1), 1),
    'layers': Axis('layers', (2, 4, 8, 16), _updates(lambda v: {'layers': v}), ('linear', 1), 1),
    'width': Axis('width', (256, 384, 512, 768, 1024), _updates(lambda v: {'width': v}), ('quadratic', 2), 2),
    'words': Axis('rows of the word table', (5000, 20000, 80000, 320000), _updates(lambda v: {'words': v}),
                  ('linear', 1), 1),
    'threads': Axis('threads', CORES, lambda v, place, _: of_updates(BASE, place, v), ('products alone', None), 0),
    'processes': Axis('processes of one thread', CORES, lambda v, place, _: of_updates(BASE, place, 1, v),
                      ('products alone', None), 1),
    'file': Axis('rows of the file', (1000, 10000, 100000, 1000000, 10000000), of_file, ('linear', 1), 1),
}  # fmt: skip


def slope(values, measured):
    """Growth over the larger half of the sizes, two at least: exponent of the power that fits best."""
    first = max(min(len(values) // 2, len(values) - 2), 0)
    return float(np.polyfit(np.log(values[first:]), np.log(measured[first:]), 1)[0])


def products_alone(threads):
    """Seconds of the products of an update of `BASE`'s linear layers, on so many threads."""
    needed, _ = share.products_of(BASE.rows * BASE.lengths[0], BASE.rows, BASE.layers, BASE.width)
    precision = _precision()
    return sum(times * share.product_seconds(size, precision, 5, threads) for size, times in needed.items())


def measure(name, args):
    """list of `Point` of one axis, medians of the rounds; no more threads or processes than asked for."""
    from propeller import ops

    axis = AXES[name]
    with_products = axis.law[1] is None and ops.available('true')
    values = [value for value in axis.values if axis.values is not CORES or value <= args.threads][: args.most]
    runs = {value: [] for value in values}
    for number in range(args.rounds):
        for value in values:
            around = [products_alone(value)] if with_products else []
            with tempfile.TemporaryDirectory() as place:
                seconds, gigabytes = axis.run(value, place, args.threads)
            if with_products:
                around.append(products_alone(value))
            runs[value].append((seconds, gigabytes, *([statistics.mean(around)] if around else [])))
            print(f'{name} {value}, {number + 1}: {seconds:.3f} s, {gigabytes:.2f} GB', file=sys.stderr, flush=True)
    return [Point(value, *map(statistics.median, zip(*found, strict=True))) for value, found in runs.items()]


def law_of_time(axis, points):
    """(words, exponent) of what time may do on an axis."""
    words, exponent = axis.law
    if exponent is not None:
        return axis.law
    if any(point.products is None for point in points):
        return 'shared out', -1
    exponent = slope([point.value for point in points], [point.products for point in points])
    return f'{words}: {exponent:.2f}', exponent


def report(found):
    """(lines of Markdown, list of what grows faster than its law). found: dict axis -> list of `Point`."""
    lines, faults = ['| size | time grows as | memory grows as | law | seconds, GB |', '|---|---|---|---|---|'], []
    for name, points in found.items():
        axis = AXES[name]
        words, law_of = law_of_time(axis, points)
        values, seconds, gigabytes, _ = zip(*points, strict=True)
        time, memory = slope(values, seconds), slope(values, gigabytes)
        for what, exponent, law in (('time', time, law_of), ('memory', memory, axis.memory_law)):
            if exponent > law + SLACK:
                faults.append(f'{what} against {axis.title}: {exponent:.2f}, where the law is {law:.3g}')
        shown = '; '.join(f'{point.value:,}: {point.seconds:.3f}, {point.gigabytes:.2f}' for point in points)
        lines.append(f'| {axis.title} | {time:.2f} | {memory:.2f} | {words} | {shown} |')
    return lines, faults


def _short(number):
    """`20000` as `20k`."""
    for unit, letter in ((1e6, 'M'), (1e3, 'k')):
        if number >= unit and number % (unit / 10) == 0:
            return f'{number / unit:g}{letter}'
    return f'{number:g}'


def draw(found, path):
    """A picture of each curve beside its law, PNG."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot, ticker

    across = min(len(found), IN_A_LINE)
    lines = -(-len(found) // across)
    figure, grid = pyplot.subplots(2 * lines, across, figsize=(3 * across, 4.6 * lines), squeeze=False)
    for axes in grid[-2:, (len(found) - 1) % across + 1 :].flat:
        axes.remove()
    for i, (name, points) in enumerate(found.items()):
        values, *measured = (np.array(numbers) for numbers in zip(*(point[:3] for point in points), strict=True))
        axis, (line, column) = AXES[name], divmod(i, across)
        laws = (law_of_time(axis, points)[1], axis.memory_law)
        for row, (label, curve, law) in enumerate(zip(('seconds', 'GB'), measured, laws, strict=True)):
            axes = grid[2 * line + row][column]
            axes.loglog(values, curve, 'o-', label='measured')
            axes.loglog(values, curve[-1] * (values / values[-1]) ** law, '--', label='law')
            axes.set_xticks(values, [_short(value) for value in values])
            axes.set_xticks([], minor=True)
            low, high = axes.get_ylim()
            axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if high < 200 * low else (1,)))
            axes.yaxis.set_major_formatter('{x:g}')
            axes.yaxis.set_minor_formatter(ticker.NullFormatter())
            axes.set_xlabel(axis.title)
            axes.set_ylabel(label)
    grid[0][0].legend()
    figure.tight_layout()
    with replacing(path) as partial:
        figure.savefig(partial, format='png', dpi=80)
    pyplot.close(figure)


def parse_flags(argv=None):
    """The flags; `axes` as a list.

    Raises:
        UsageError: an axis that there is not, too few points.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--axes', default=','.join(AXES), help=f'of {", ".join(AXES)} (default: all)')
    parser.add_argument('--out', help='folder for scaling.md and scaling.png')
    parser.add_argument('--rounds', type=int, default=1, help='runs of each size (default: 1)')
    parser.add_argument('--most', type=int, default=5, help='sizes of an axis, from the smallest (default: all)')
    parser.add_argument('--threads', type=int, default=2, help='cores and threads to use (default: 2)')
    args = parser.parse_args(argv)
    args.axes = args.axes.split(',')
    for name in args.axes:
        if name not in AXES:
            raise UsageError(f'--axes {name}: expected {one_of(name, AXES)}')
    if args.rounds < 1 or args.most < 3:
        raise UsageError('--rounds must be at least 1, and --most at least 3.')
    if args.threads < 2 and {'threads', 'processes'} & set(args.axes):
        raise UsageError(f'--threads {args.threads}: expected at least 2 for the axes threads and processes.')
    return args


def main(argv=None):
    """Measure, print, draw; returns the exit code."""
    args = parse_flags(argv)
    common.limit_cores(args.threads)
    if args.out:
        check_writable(args.out, '--out')
    found = {name: measure(name, args) for name in args.axes}
    lines, faults = report(found)
    print('\n'.join([*lines, *faults]))
    if args.out:
        with output_file(os.path.join(args.out, 'scaling.md')) as f:
            f.writelines(f'{line}\n' for line in lines)
        draw(found, os.path.join(args.out, 'scaling.png'))
    return int(bool(faults))


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
