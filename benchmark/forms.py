"""What the programs that measure operators share: forms in processes of their own, in turns, and their clocks."""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmark import sst2
from propeller.errors import UserError

PASSES = ('forward', 'forward and backward')
# How the programs begin that run under --torch_python, which knows nothing of this repository. They print a JSON list.
TORCH = """
import json, statistics, sys, time
import torch
from torch.nn import functional as F
args = json.loads(sys.argv[1])
torch.set_num_threads(args['threads'])
def clock(step, copies=1):
    step()
    taken = []
    for _ in range(args['repeats']):
        start = time.perf_counter()
        for _ in range(copies):
            step()
        taken.append((time.perf_counter() - start) / copies)
    return statistics.median(taken)
def clock_passes(forward, both, copies):
    with torch.no_grad():
        alone = clock(forward, copies)
    return [alone, clock(both, copies)]
"""


def clock(form, repeats, build, copies=1):
    """Median seconds of one copy of what a program without inputs computes.

    Args:
        form: `fused` or `plain`.
        repeats: runs.
        build: function -> value to fetch.
        copies: how often the program computes it.
    """
    from propeller import ops
    from propeller.session import Session

    session = Session(seed=1)
    with ops.use('true' if form == 'fused' else 'false'):
        program = session.build([], build)
    session.initialize(program)
    taken = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        session.run(program, [], [program.outputs])
        taken.append((time.perf_counter() - start) / copies)
    return statistics.median(taken[1:])


def clock_passes(form, repeats, build, copies):
    """[seconds forward, seconds forward and backward]. build: backward (bool) -> value; the others: see `clock`."""
    return [clock(form, repeats, functools.partial(build, backward), copies) for backward in (False, True)]


def main(name, doc, seconds, torch, settings, table, precisions=False, flags=(), argv=None):
    """Measure and print.

    Args:
        name: of the program, under `benchmark`.
        doc: its documentation.
        seconds: args -> list of what one process measures; `args` has `form`, `precision` (None without `precisions`),
            `repeats` and `flags`.
        torch: program for PyTorch, after `TORCH`.
        settings: args -> dict of what it reads beside `threads`, `repeats` and `precision`.
        table: (args, dict column -> list over turns of what `seconds` returned) -> lines of text.
        precisions: whether fused operators and PyTorch are measured in bfloat16 too.
        flags: (flag, default, help) of numbers.
    """
    args = parse_flags(doc, flags, argv)
    if args.form:
        print(json.dumps(seconds(args)))
        return
    sst2.limit_cores(args.threads)
    kinds = ('fp32', 'bf16') if precisions else (None,)
    forms = [('plain', kinds[0]), *(('fused', kind) for kind in kinds)]
    if args.torch_python:
        forms += [('torch', kind) for kind in kinds]
    columns = {' '.join(filter(None, form)): [] for form in forms}
    own = [part for flag, *_ in flags for part in (f'--{flag}', str(getattr(args, flag)))]
    for _ in range(args.turns):
        for (form, precision), turns in zip(forms, columns.values(), strict=True):
            if form == 'torch':
                given = settings(args) | {'repeats': args.repeats, 'threads': args.threads, 'precision': precision}
                command = [args.torch_python, '-c', TORCH + torch, json.dumps(given)]
            else:
                command = [sys.executable, '-m', f'benchmark.{name}', '--form', form, '--repeats', str(args.repeats)]
                command += [*own, *(['--precision', precision] if precision else [])]
            turns.append(run(command, args.threads))
    print('\n'.join(table(args, columns)))


def parse_flags(doc, flags, argv):
    """The flags, see `main`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, default, text in flags:
        parser.add_argument(f'--{flag}', type=int, default=default, help=f'{text} (default: {default})')
    parser.add_argument('--turns', type=int, default=5, help='processes of each form (default: 5)')
    parser.add_argument('--repeats', type=int, default=20, help='runs in each process (default: 20)')
    parser.add_argument('--threads', type=int, default=2, help='threads of each form (default: 2)')
    parser.add_argument('--torch_python', help='a Python with torch, to measure it too')
    parser.add_argument('--form', choices=['fused', 'plain'], help=argparse.SUPPRESS)
    parser.add_argument('--precision', choices=['fp32', 'bf16'], help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def run(command, threads):
    """What a program prints in its last line, as JSON.

    Raises:
        UserError: it failed.
    """
    environ = os.environ | {'OMP_NUM_THREADS': str(threads)}
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True)
    if done.returncode:
        words = ' '.join(command[3:]) if '-m' in command else 'PyTorch'
        raise UserError(f'{words}: it failed. {done.stderr[-2000:]}')
    return json.loads(done.stdout.splitlines()[-1])


def table_of_passes(names, columns, digits):
    """Lines of text: milliseconds of each case in each column, and how many times those of the first are of it.

    Args:
        names: of the cases.
        columns: dict column -> list over turns of a list over cases of the seconds of both passes.
        digits: of the milliseconds.
    """
    rows, times = [], {column: [] for column in columns}
    for i, name in enumerate(names):
        rows += [name, f'  {PASSES[1]}']
        for column, turns in columns.items():
            times[column] += [[turn[i][j] for turn in turns] for j in range(len(PASSES))]
    return table_of_times(rows, times, digits)


def table_of_times(names, columns, digits):
    """The same of cases without passes. columns: dict column -> list over cases of a list over turns of seconds."""
    yield f'{"ms":<34}' + ''.join(f'{column:>16}' for column in columns)
    for i, name in enumerate(names):
        medians = [statistics.median(cases[i]) for cases in columns.values()]
        cells = [f'{1e3 * taken:.{digits}f} ({medians[0] / taken:4.1f})' for taken in medians]
        yield f'{name:<34}' + ''.join(f'{cell:>16}' for cell in cells)
