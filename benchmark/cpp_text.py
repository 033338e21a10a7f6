"""Texts in, labels out, over the C++ library, beside PyTorch and transformers with the same weights: rows a second.

    python -m benchmark.cpp_text --data FOLDER --checkpoints FOLDER --rival_python PYTHON [--exports FOLDER]

The model is MiniLM after one epoch of SST-2, found in --checkpoints, or trained first (`benchmark.sst2 accuracy`). A
pass takes the texts of SST-2 dev, all at once, and gives a label and probabilities for each: JSON to JSON in C++, lists
to lists in Python. Tokenizing, sorting, padding and softmax lie inside the clock on both sides; the model is open, and
the first pass is given apart. A rate is the median over the passes of a run; in the table, the median over the runs,
each of which is a process of its own; sides take turns. `streams` is how many batches C++ computes at the same time.
--backends says which of `inference/` are measured: `fused`, or `openvino`, for which an export in int8 is made, too.

A setting is safe if its probabilities are those of its backend in fp32 to 1e-3, or in int8 if it loses at most 0.5
points of accuracy. Exit code 1 if the fastest safe one is below 5 times PyTorch in fp32 or 2 times PyTorch in bfloat16,
or if PyTorch in fp32 has other probabilities than C++ in fp32, by more than 1e-4.

--exports FOLDER keeps what is exported. What is there already is measured as it is.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from typing import NamedTuple

import numpy as np

from benchmark import common, cpp, inference
from benchmark.int8 import kept_or_not
from propeller.errors import UsageError, one_line_errors

# Backend -> (precision, streams) of C++.
SIDES = {
    'fused': (('fp32', 1), ('fp32', 2), ('bf16', 1), ('bf16', 2), ('int8', 1), ('int8', 2)),
    'openvino': (('fp32', 1), ('fp32', 2), ('bf16', 2), ('int8', 1), ('int8', 2)),
}
RIVAL = 'PyTorch'
RIVALS = {'fp32': 5.0, 'bf16': 2.0}  # precision -> how much faster the best side must be
MOST_APART, MOST_POINTS, SAME_MODEL = 1e-3, 0.5, 1e-4
LABELS = ('0', '1')


class Run(NamedTuple):
    """A run of a side.

    Attributes:
        first, rate: rows a second of the first pass, and the median over the others.
        probabilities: array [rows, classes].
    """

    first: float
    rate: float
    probabilities: np.ndarray


def measure(args):
    """One run of C++ in this process -> dict, as the rival prints it."""
    with open(args.texts, 'rb') as f:
        texts = f.read()
    settings = {'threads': args.threads, 'streams': args.streams}
    settings |= {'precision': args.precision}
    with cpp.CppModel(cpp.load_library(args.build), args.measure, **settings) as model:

        def timed():
            started = time.perf_counter()
            results = model.call(texts)
            return time.perf_counter() - started, results

        first, results = timed()
        passes = [timed()[0] for _ in range(args.passes)]
    rows = [[row['probabilities'][label] for label in LABELS] for row in json.loads(results)]
    return {'first': first, 'passes': passes, 'probabilities': rows}


def exported(checkpoint, args, place):
    """dict (backend, precision) -> folder of the export; `RIVAL` -> the folder for PyTorch."""
    from ernie.checkpoint.convert import convert
    from ernie.inference.export import export
    from ernie.inference.folder import ModelFolder
    from ernie.inference.int8.exporting import export_int8

    own, plain, int8, rival = (os.path.join(place, name) for name in ('fused', 'plain', 'int8', 'rival'))
    train, dev = (common.file_of(args.data, name) for name in ('train.tsv', 'dev.tsv'))
    folders = {RIVAL: rival}
    if not os.path.isdir(rival):
        convert(checkpoint, rival, 'huggingface')
    if 'fused' in args.backends:
        folders |= {('fused', precision): own for precision in ('fp32', 'bf16', 'int8')}
        if not os.path.isdir(own):
            export(ModelFolder(checkpoint), own, 'fused')
    if 'openvino' in args.backends:
        folders |= {('openvino', 'fp32'): plain, ('openvino', 'bf16'): plain, ('openvino', 'int8'): int8}
        if not os.path.isdir(plain):
            export(ModelFolder(checkpoint), plain, 'openvino')
        if not os.path.isdir(int8):
            export_int8(ModelFolder(checkpoint), int8, 'openvino', train, dev)
    return folders


def commands(args, folders, texts):
    """dict (who, precision, streams) -> command of a run."""
    built = cpp.build(*(() if 'openvino' in args.backends else (cpp.FUSED_ALONE,)))
    ours = [sys.executable, '-m', 'benchmark.cpp_text', '--build', str(built), '--measure']
    rival = [args.rival_python, os.path.join(common.ROOT, 'benchmark', 'cpp_rival.py'), '--model', folders[RIVAL]]
    shared = ['--texts', texts, '--threads', str(args.threads), '--passes', str(args.passes)]
    sides = {}
    for backend in args.backends:
        for precision, streams in SIDES[backend]:
            how = ['--precision', precision, '--streams', str(streams)]
            sides[backend, precision, streams] = [*ours, folders[backend, precision], *shared, *how]
    for precision in RIVALS:
        sides[RIVAL, precision, 1] = [*rival, *shared, '--precision', precision]
    return sides


def run(command, count):
    """`Run` of a command, which ends with a JSON line."""
    result = common.run_json(command, ' '.join(command[:3]), ('first', 'passes', 'probabilities'))
    return Run(count / result['first'], count / statistics.median(result['passes']), np.array(result['probabilities']))


def compare(args):
    """Prepare all models, let all sides take turns, print the table; returns the exit code."""
    from ernie.reader.records import read_records

    common.limit_cores(args.threads)
    common.check_python(args.rival_python, '--rival_python')
    checkpoint = inference.trained(args)
    rows = [row.cells for row in read_records(common.file_of(args.data, 'dev.tsv'))]
    labels = np.array([LABELS.index(row['label']) for row in rows])
    with kept_or_not(args.exports) as place:
        folders = exported(checkpoint, args, place)
        with tempfile.NamedTemporaryFile('w', suffix='.json', encoding='utf-8') as f:
            json.dump([row['text_a'] for row in rows], f)
            f.flush()
            sides = commands(args, folders, f.name)
            results = {side: [] for side in sides}
            for round_number in range(args.rounds):
                for side in list(sides)[:: 1 if round_number % 2 == 0 else -1]:
                    results[side].append(run(sides[side], len(rows)))
    return report(args, results, labels)


def report(args, results, labels):
    """Print the table; returns the exit code."""
    rates = {side: statistics.median(r.rate for r in runs) for side, runs in results.items()}
    bases = {precision: rates[RIVAL, precision, 1] for precision in RIVALS}
    probabilities = {side: runs[0].probabilities for side, runs in results.items()}
    accuracy = {side: 100 * float((found.argmax(1) == labels).mean()) for side, found in probabilities.items()}
    plain = {name: (args.backends[0] if name == RIVAL else name, 'fp32', 1) for name in (RIVAL, *args.backends)}
    apart = {side: float(np.abs(found - probabilities[plain[side[0]]]).max()) for side, found in probabilities.items()}
    print(f'SST-2 dev, {len(labels)} texts, {args.threads} cores, median of {args.rounds} runs of {args.passes} passes')
    print(f'{"":8} {"":5} {"streams":>7} {"rows/s":>8} {"first":>8} {"/ fp32":>7} {"/ bf16":>7} {"accuracy":>9} apart')
    safe = {}
    for side, runs in results.items():
        who, precision, streams = side
        lost = accuracy[plain[who]] - accuracy[side]
        if who != RIVAL and (apart[side] <= MOST_APART or (precision == 'int8' and lost <= MOST_POINTS)):
            safe[side] = rates[side]
        first = statistics.median(r.first for r in runs)
        ratios = ' '.join(f'{rates[side] / base:7.2f}' for base in bases.values())
        print(
            f'{who:8} {precision:5} {streams:7} {rates[side]:8.1f} {first:8.1f} {ratios} {accuracy[side]:9.2f} '
            f'{apart[side]:.1e}{"" if who == RIVAL or side in safe else " not safe"}'
        )
    best = max(safe, key=safe.get)
    reached = {precision: safe[best] / base for precision, base in bases.items()}
    shown = ', '.join(f'{reached[p]:.2f} times PyTorch {p} (at least {least:g})' for p, least in RIVALS.items())
    print(f'fastest safe setting: {best[0]} {best[1]}, {best[2]} streams: {shown}')
    same = apart[RIVAL, 'fp32', 1]
    if same > SAME_MODEL:
        print(f'PyTorch in fp32 gives other probabilities, by {same:.1e} (at most {SAME_MODEL:g})')
    return int(same > SAME_MODEL or any(reached[p] < least for p, least in RIVALS.items()))


def parse_flags(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_flags(parser)
    parser.add_argument('--checkpoints', help='folder of the trained model; made if it is not there')
    parser.add_argument('--rival_python', help='Python with PyTorch and transformers')
    parser.add_argument('--exports', help='folder where exports stay (default: they do not)')
    parser.add_argument('--backends', nargs='+', choices=SIDES, default=list(SIDES), help='of C++ (default: all)')
    parser.add_argument('--rounds', type=int, default=3, help='runs of each side (default: 3)')
    parser.add_argument('--passes', type=int, default=3, help='passes of a run after the first (default: 3)')
    for name in ('measure', 'texts', 'precision', 'build'):
        parser.add_argument(f'--{name}', help=argparse.SUPPRESS)  # a run starts itself with these
    parser.add_argument('--streams', type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if not args.measure and not (args.checkpoints and args.rival_python):
        raise UsageError('--checkpoints and --rival_python are needed.')
    return args


def main(argv=None):
    """Run with the flags in `argv` (default: those of the command line); returns the exit code."""
    args = parse_flags(argv)
    if args.measure:
        print(json.dumps(measure(args)))
        return 0
    return compare(args)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
