"""Fused operators beside the plain ones of Paddle, and beside PyTorch.

    python -m benchmark.ops linear [--rows 768]
        The layers of an encoder 384 wide: rows x 384 x {384, 1152, 1536} and rows x 1536 x 384, with bias, the widest
        with gelu; 768 rows are 32 texts of 24 tokens. GFLOPS; the gradients are those of input, weight and bias (three
        products).
    python -m benchmark.ops attention
        From queries, keys and values to the result, dropout 0.1 on the weights: 32 rows of 24 tokens, 384 wide; 32 of
        128, 768 wide; 8 of 384, 384 wide; 12 heads each. First with rows that are all that long, then with rows of half
        to all of it, where the plain forms compute padding. Then 8 rows of 512, 384 and 768 wide. The last columns are
        GFLOPS of the products of the fused form: what they could be is the rate of `linear --rows 4096`.
    python -m benchmark.ops norm
        Residual, dropout 0.1 and norm of 768 x 384 numbers (32 texts of 24 tokens) and of 4096 x 768; embeddings of 768
        tokens in tables of 30,522 words, 512 positions and 2 sentence types, 384 wide.
    python -m benchmark.ops update
        AdamW with clipping over the parameters of an encoder of 12 layers x 768 (30,522 words, 110 million numbers) and
        of one of 6 x 384 (23 million); cross entropy, its gradient and the likeliest class of 307 x 18,000 scores; the
        whole masked-LM head, from tokens 256 wide through the word table to the loss and all gradients, in float32 and
        with products in bfloat16 (plain: float32).

Forward alone, and forward with all gradients, where both make sense: milliseconds, and how many times faster than
plain. Each form runs in a process of its own, in turns, each time the median of --repeats runs over several copies of
the operator; the table shows medians over the turns. That the results are right is the tests' business.
"""

import argparse
import functools
import json
import statistics
import sys

from benchmark import common
from benchmark.ops import attention, linear, norm, update
from benchmark.ops.clock import clock
from propeller.errors import one_line_errors

OPERATORS = {'linear': linear, 'attention': attention, 'norm': norm, 'update': update}
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


def seconds(operator, args):
    """Of one copy, in this process: list over the cases of a list over the passes."""
    found = []
    for case in operator.cases(args):
        builds = [
            functools.partial(operator.build, args.precision, timed == len(operator.PASSES) - 1, *case)
            for timed in range(len(operator.PASSES))
        ]
        found.append([clock(args.form, args.repeats, build, case[-1]) for build in builds])
    return found


def torch_settings(operator, args, precision):
    """What the program for PyTorch reads, a dict."""
    cases = operator.cases(args)
    common_ones = {'cases': cases, 'repeats': args.repeats, 'threads': args.threads, 'precision': precision}
    return common_ones | operator.settings(cases)


def measure(operator, args):
    """dict column -> list over turns of what `seconds` returns."""
    forms = [('plain', operator.PRECISIONS[0]), *(('fused', kind) for kind in operator.PRECISIONS)]
    if args.torch_python:
        forms += [('torch', kind) for kind in operator.PRECISIONS]
    columns = {' '.join(filter(None, form)): [] for form in forms}
    own = [
        sys.executable,
        '-m',
        'benchmark.ops',
        args.operator,
        '--repeats',
        str(args.repeats),
        '--rows',
        str(args.rows),
    ]
    for _ in range(args.turns):
        for (form, precision), turns in zip(forms, columns.values(), strict=True):
            if form == 'torch':
                given = json.dumps(torch_settings(operator, args, precision))
                command = [args.torch_python, '-c', TORCH + operator.TORCH, given]
            else:
                command = [*own, '--form', form, *(['--precision', precision] if precision else [])]
            name = f'{args.operator}, {form} {precision or ""}'.strip()
            turns.append(common.run_json(command, name, environment={'OMP_NUM_THREADS': str(args.threads)}))
    return columns


def table(operator, args, columns):
    """Lines of text: medians over the turns of each case and pass.

    Args:
        operator: module.
        args: flags.
        columns: what `measure` returns.
    """
    in_work = hasattr(operator, 'operations')
    width = 12 if in_work else 16
    rated = [column for column in columns if hasattr(operator, 'work') and column.startswith('fused')]
    heads = [*columns, *(f'GFLOPS {column.split()[-1]}' for column in rated)]
    yield f'{"GFLOPS" if in_work else "ms":<34}' + ''.join(f'{head:>{width}}' for head in heads)
    for i, case in enumerate(operator.cases(args)):
        for j, timed in enumerate(operator.PASSES):
            medians = [statistics.median(turn[i][j] for turn in turns) for turns in columns.values()]
            if in_work:
                cells = [f'{1e-9 * operator.operations(*case, j) / taken:.0f}' for taken in medians]
            else:
                cells = [f'{1e3 * taken:.{operator.DIGITS}f} ({medians[0] / taken:4.1f})' for taken in medians]
                taken = dict(zip(columns, medians, strict=True))
                cells += [f'{1e-9 * operator.work(*case, j) / taken[column]:.0f}' for column in rated]
            yield f'{f"  {timed}" if j else operator.name(*case):<34}' + ''.join(f'{cell:>{width}}' for cell in cells)


def parse_flags(argv=None):
    """The flags."""
    parser = argparse.ArgumentParser(
        prog='benchmark.ops', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('operator', choices=OPERATORS)
    parser.add_argument('--rows', type=int, default=linear.ROWS, help='of each product, for linear (default: 768)')
    parser.add_argument('--turns', type=int, default=5, help='processes of each form (default: 5)')
    parser.add_argument('--repeats', type=int, default=20, help='runs in each process (default: 20)')
    parser.add_argument('--threads', type=int, default=2, help='threads of each form (default: 2)')
    parser.add_argument('--torch_python', help='a Python with torch, to measure it too')
    parser.add_argument('--form', choices=['fused', 'plain'], help=argparse.SUPPRESS)
    parser.add_argument('--precision', choices=['fp32', 'bf16'], help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv=None):
    """Measure and print."""
    args = parse_flags(argv)
    operator = OPERATORS[args.operator]
    if args.form:
        print(json.dumps(seconds(operator, args)))
        return
    common.limit_cores(args.threads)
    common.check_python(args.torch_python, '--torch_python', ('torch',))
    print('\n'.join(table(operator, args, measure(operator, args))))


if __name__ == '__main__':
    with one_line_errors():
        main()
