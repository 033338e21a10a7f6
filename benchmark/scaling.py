"""How time and memory grow with each size of a training, beside the law that they should follow.

    python -m benchmark.scaling [--axes length,layers] [--out FOLDER] [--rounds 1] [--threads 2]

Training of a classifier from random values on made-up texts (`benchmark/report/works.py`); of `file`, one update on a
table of so many rows, from start to end: reading, tokenizing, planning. One size changes at a time. `--out` gets the
table as `scaling.md` and a picture of each curve beside its law as `scaling.png`.

Growth is the slope over the larger half of the sizes where both axes are logarithmic: 1 is linear, 2 quadratic. The law
is what the sizes say: products are linear in tokens, rows and layers and quadratic in the width; attention adds a part
that is quadratic in the length; the word table is linear in the vocabulary. Exit code 1 where time or memory grows
faster than its law by more than 0.15. Processes: `benchmark.parallel`.
"""

import argparse
import os
import statistics
import sys
import tempfile
from typing import NamedTuple

import numpy as np

from benchmark import common
from benchmark.report import ours
from benchmark.report.works import TRAIN, Work, write_files
from propeller.errors import UsageError, UserError, one_line_errors, one_of
from propeller.storage.atomic import output_file, replacing

SLACK = 0.15
BASE = Work('base', '', TRAIN, 4, 384, 18000, 16, (64, 0, 64, 64), 3, 9, ('bf16',))


class Axis(NamedTuple):
    """One size that changes.

    Attributes:
        title: of the size.
        values: of the size, growing.
        work: function of a value -> `Work`.
        law: exponent that time may have, in words and as a number.
    """

    title: str
    values: tuple
    work: object
    law: tuple


def _lengths(value):
    return BASE._replace(lengths=(value, 0, value, value), rows=8)


AXES = {
    'length': Axis('tokens of a row', (32, 64, 128, 256, 512), _lengths, ('linear, attention quadratic', 1.25)),
    'rows': Axis('rows of a batch', (4, 8, 16, 32, 64), lambda v: BASE._replace(rows=v), ('linear', 1.0)),
    'layers': Axis('layers', (2, 4, 8, 16), lambda v: BASE._replace(layers=v), ('linear', 1.0)),
    'width': Axis('width', (256, 384, 512, 768, 1024), lambda v: BASE._replace(width=v), ('quadratic', 2.0)),
    'words': Axis('rows of the word table', (5000, 20000, 80000, 320000), lambda v: BASE._replace(words=v),
                  ('linear', 1.0)),
    'file': Axis('rows of the file', (1000, 10000, 100000, 1000000), None, ('linear', 1.0)),
}  # fmt: skip


def of_updates(work, place, threads):
    """(seconds of an update, GB) of a training."""
    write_files(work, place)
    found = ours.train(work, place, _precision(), threads)
    tokens = work.rows * work.lengths[0]
    return tokens / found['rate'], found['gigabytes']


def of_file(count, place, threads):
    """(seconds, GB) of a training of one update that reads so many rows first."""
    work = BASE._replace(layers=1, width=64, rows=10, lengths=(16, 4, 6, 30), warm=0, counted=count // 10)
    write_files(work, place)
    with tempfile.TemporaryDirectory() as checkpoints:
        program, flags = ours.training_flags(work, place, checkpoints, threads)
        command = [sys.executable, os.path.join(common.ROOT, program), *flags, '--max_steps', '1']
        caches = {'ERNIE_CACHE': os.path.join(checkpoints, 'cache')}  # nothing is found there that is done already
        with open(os.devnull, 'wb') as nowhere:
            done = common.run_measured(command, env=os.environ | caches, stdout=nowhere, stderr=nowhere)
    if done.code:
        raise UserError(f'{program} ended with code {done.code} on {count} rows.')
    return done.seconds, done.memory / 2**30


def _precision():
    from ernie.inference.engines import knows_bf16

    return 'bf16' if knows_bf16() else 'fp32'


def slope(values, measured):
    """Growth over the larger half of the sizes: exponent of the power that fits best."""
    half = len(values) // 2
    return float(np.polyfit(np.log(values[half:]), np.log(measured[half:]), 1)[0])


def measure(name, args):
    """list of (value, seconds, GB) of one axis, medians of the rounds."""
    axis, points = AXES[name], []
    for value in axis.values[: args.most]:
        runs = []
        for _ in range(args.rounds):
            with tempfile.TemporaryDirectory() as place:
                run = (
                    of_file(value, place, args.threads)
                    if name == 'file'
                    else of_updates(axis.work(value), place, args.threads)
                )
            runs.append(run)
        points.append((value, *(statistics.median(column) for column in zip(*runs, strict=True))))
        print(f'{name} {value}: {points[-1][1]:.3f} s, {points[-1][2]:.2f} GB', file=sys.stderr, flush=True)
    return points


def report(found):
    """(lines of Markdown, list of what grows faster than its law). found: dict axis -> points."""
    lines, faults = ['| size | time grows as | memory grows as | law | seconds, GB |', '|---|---|---|---|---|'], []
    for name, points in found.items():
        axis = AXES[name]
        values, *columns = zip(*points, strict=True)
        time, memory = (slope(values, column) for column in columns)
        for what, exponent in (('time', time), ('memory', memory)):
            if exponent > axis.law[1] + SLACK:
                faults.append(f'{what} against {axis.title}: {exponent:.2f}, where the law is {axis.law[1]:g}')
        shown = '; '.join(f'{value:,}: {seconds:.3f}, {gigabytes:.2f}' for value, seconds, gigabytes in points)
        lines.append(f'| {axis.title} | {time:.2f} | {memory:.2f} | {axis.law[0]} | {shown} |')
    return lines, faults


def draw(found, path):
    """A picture of each curve beside its law, PNG."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, grid = pyplot.subplots(2, len(found), figsize=(3.2 * len(found), 6), squeeze=False)
    for column, (name, points) in enumerate(found.items()):
        values, *measured = (np.array(numbers, float) for numbers in zip(*points, strict=True))
        for row, (label, curve) in enumerate(zip(('seconds', 'GB'), measured, strict=True)):
            axes = grid[row][column]
            axes.loglog(values, curve, 'o-', label='measured')
            axes.loglog(values, curve[-1] * (values / values[-1]) ** AXES[name].law[1], '--', label='law')
            axes.set_xlabel(AXES[name].title)
            axes.set_ylabel(label)
            axes.legend()
    figure.tight_layout()
    with replacing(path) as partial:
        figure.savefig(partial, format='png', dpi=100)
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
    return args


def main(argv=None):
    """Measure, print, draw; returns the exit code."""
    args = parse_flags(argv)
    common.limit_cores(args.threads)
    found = {name: measure(name, args) for name in args.axes}
    lines, faults = report(found)
    print('\n'.join([*lines, *faults]))
    if args.out:
        os.makedirs(args.out, exist_ok=True)
        with output_file(os.path.join(args.out, 'scaling.md')) as f:
            f.writelines(f'{line}\n' for line in lines)
        draw(found, os.path.join(args.out, 'scaling.png'))
    return int(bool(faults))


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
