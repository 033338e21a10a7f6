"""The main numbers of this suite beside PyTorch on the machine at hand, as a page; about ten minutes on two cores.

    python -m benchmark.report [--rival_python VENV/bin/python] [--out report.md] [--works small,predict]

Training, pre-training and prediction of models with random values on made-up texts (`benchmark/report/works.py`):
nothing is downloaded. The rival runs in a Python with `pip install torch transformers`; without one only this suite is
measured. Each run is a process of its own; both sides take turns on the same cores. The first updates, or the first
pass, are not counted. A number is the median over the rounds; rates are tokens a second without padding.
"""

import argparse
import importlib.util
import json
import os
import statistics
import sys
import tempfile

from benchmark import common
from benchmark.report import ours
from benchmark.report.page import PYTORCH, page_lines
from benchmark.report.works import LATENCY, PREDICT, WORKS, write_files
from propeller.errors import UsageError, one_line_errors, one_of
from propeller.storage.atomic import check_output, output_file

RIVAL = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'rival.py')


def sides_of(work, rival_python, threads):
    """dict (side, precision) -> function of the folder of the work that does one run, gives its dict."""
    sides = {}
    for precision in available(work.precisions):
        if work.kind in (PREDICT, LATENCY):
            for engine in engines(precision):
                sides[engine, precision] = lambda folder, e=engine, p=precision: ours.predict(
                    work, folder, e, p, threads
                )
        else:
            sides['ours', precision] = lambda folder, p=precision: ours.train(work, folder, p, threads)
        if rival_python and precision != 'int8':  # beside its bfloat16
            sides[PYTORCH, precision] = lambda folder, p=precision: rival_run(rival_python, work, folder, p, threads)
    return sides


def available(precisions):
    """Those that the processor multiplies."""
    from ernie.inference.engines import knows_bf16
    from propeller.ops.choice import kernels

    there = {'fp32': True, 'bf16': knows_bf16(), 'int8': 'int8' not in precisions or kernels().int8}
    return [precision for precision in precisions if there[precision]]


def engines(precision):
    """The engines that are installed and have a precision, `int8` without an export in it."""
    from ernie.inference.engines import ENGINES
    from propeller.ops import available

    optional = ('onnxruntime', 'openvino')  # packages of the same names
    there = [name for name in ENGINES if name not in optional or importlib.util.find_spec(name)]
    there = [name for name in there if name != 'executor' and (name != 'fused' or available())]
    able = [name for name in there if precision in ENGINES[name].precisions]
    return [name for name in able if precision != 'int8' or ENGINES[name].quantizes]


def rival_run(python, work, folder, precision, threads):
    """dict of one run of the rival."""
    settings = {name: getattr(work, name) for name in ('kind', 'rows', 'warm', 'counted')}
    settings |= {'folder': folder, 'precision': precision, 'threads': threads}
    return common.run_json(
        [python, RIVAL, json.dumps(settings)], RIVAL, ('gigabytes',), {'OMP_NUM_THREADS': str(threads)}
    )


def measure(works, args):
    """dict work -> dict (side, precision) -> dict of medians."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for work in works:
            place = os.path.join(folder, work.name)
            write_files(work, place)
            sides = sides_of(work, args.rival_python, args.threads)
            runs = {side: [] for side in sides}
            for number in range(args.rounds):
                for side in list(sides)[:: 1 if number % 2 == 0 else -1]:
                    runs[side].append(sides[side](place))
                    shown = ', '.join(f'{key} {value:.4g}' for key, value in runs[side][-1].items())
                    print(f'{work.name}, round {number + 1}, {" ".join(side)}: {shown}', file=sys.stderr, flush=True)
            found[work] = {side: medians(dicts) for side, dicts in runs.items()}
    return found


def medians(dicts):
    """Of each key, over dicts with the same keys."""
    return {key: statistics.median(one[key] for one in dicts) for key in dicts[0]}


def parse_flags(argv=None):
    """The flags; `works` as a list of `Work`.

    Raises:
        UsageError: a work that there is not, or no round.
    """
    parser = argparse.ArgumentParser(
        prog='benchmark.report', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--rival_python', help='Python with PyTorch and transformers')
    parser.add_argument('--out', help='write the page into this file, too')
    names = [work.name for work in WORKS]
    parser.add_argument('--works', default=','.join(names), help=f'of {", ".join(names)} (default: all)')
    parser.add_argument('--rounds', type=int, default=3, help='runs of each side (default: 3)')
    parser.add_argument('--threads', type=int, default=2, help='cores and threads to use (default: 2)')
    args = parser.parse_args(argv)
    for name in args.works.split(','):
        if name not in names:
            raise UsageError(f'--works {name}: expected {one_of(name, names)}')
    if args.rounds < 1:
        raise UsageError(f'--rounds {args.rounds}: expected at least 1.')
    args.works = [work for work in WORKS if work.name in args.works.split(',')]
    return args


def main(argv=None):
    """Measure, print, and write; returns 0."""
    args = parse_flags(argv)
    common.limit_cores(args.threads)
    if args.out:
        check_output(args.out, '--out')
    common.check_python(args.rival_python, '--rival_python')
    found = measure(args.works, args)
    text = '\n'.join(page_lines(found, args)) + '\n'
    print(text, end='')
    if args.out:
        with output_file(args.out) as f:
            f.write(text)
    return 0


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
