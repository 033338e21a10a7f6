"""Fused norms beside the plain ones of Paddle, and beside PyTorch: milliseconds, and how many times faster than plain.

    python -m benchmark.ops_norm [--turns 5] [--repeats 20] [--threads 2] [--torch_python VENV/bin/python]

Residual, dropout 0.1 and norm of 768 x 384 numbers (32 texts of 24 tokens) and of 4096 x 768; embeddings of 768 tokens
in tables of 30,522 words, 512 positions and 2 sentence types, 384 wide. Forward alone, and forward with all gradients.
Each form runs in a process of its own, in turns, each time the median of `--repeats` runs over several copies of the
operator; the table shows medians over the turns. That the results are right is the tests' business.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmark import sst2
from propeller.errors import UserError, one_line_errors

# Kind, rows, width, copies in a program.
CASES = (('residual', 768, 384, 10), ('residual', 4096, 768, 4), ('embedding', 768, 384, 4))
TABLES = (30522, 512, 2)
DROPOUT, EPSILON = 0.1, 1e-5
PASSES = ('forward', 'forward and backward')
# Runs under --torch_python, which knows nothing of this repository.
TORCH = """
import json, statistics, sys, time
import torch
from torch.nn import functional as F
args = json.loads(sys.argv[1])
torch.set_num_threads(args['threads'])
result = []
for kind, rows, width, copies in args['cases']:
    scale, bias = torch.ones(width, requires_grad=True), torch.zeros(width, requires_grad=True)
    dy = torch.randn(rows, width)
    if kind == 'residual':
        leaves = [torch.randn(rows, width, requires_grad=True) for _ in range(2)]
        def forward():
            x = leaves[1] + F.dropout(leaves[0], args['dropout'])
            return F.layer_norm(x, [width], scale, bias, args['epsilon'])
    else:
        leaves = [torch.randn(n, width, requires_grad=True) for n in args['tables']]
        ids = [torch.randint(0, n, [rows]) for n in args['tables']]
        def forward():
            x = sum(F.embedding(own, table) for own, table in zip(ids, leaves))
            return F.dropout(F.layer_norm(x, [width], scale, bias, args['epsilon']), args['dropout'])
    def both():
        forward().backward(dy)
        for leaf in [*leaves, scale, bias]:
            leaf.grad = None
    times = []
    for step, grad in ((forward, False), (both, True)):
        with torch.set_grad_enabled(grad):
            step()
            taken = []
            for _ in range(args['repeats']):
                start = time.perf_counter()
                for _ in range(copies):
                    step()
                taken.append((time.perf_counter() - start) / copies)
            times.append(statistics.median(taken))
    result.append(times)
print(json.dumps(result))
"""


def build(kind, rows, width, copies, backward):
    """One number that needs every result: nothing is copied in or out, nothing can be left out."""
    from propeller import graph, ops
    from propeller.graph import paddle

    def tensor(name, *shape):
        return graph.parameter(name, shape, graph.truncated_normal(1.0))

    scale, bias, dy = tensor('scale', width), tensor('bias', width), tensor('dy', rows, width)
    if kind == 'residual':
        leaves, operator = [tensor('x', rows, width), tensor('residual', rows, width)], ops.residual_norm
    else:
        leaves = [tensor(f'table{k}', n, width) for k, n in enumerate(TABLES)]
        ids = [paddle.randint(0, n, [rows], 'int64') for n in TABLES]

        def operator(*tables_and_rest):
            return ops.embedding_norm(tables_and_rest[: len(TABLES)], ids, *tables_and_rest[len(TABLES) :])

    found = []
    for _ in range(copies):
        y = operator(*leaves, scale, bias, EPSILON, DROPOUT)
        gradients = paddle.static.gradients([y], [*leaves, scale, bias], [dy]) if backward else []
        found += [value.flatten()[:1] for value in (y, *gradients)]
    return paddle.add_n(found)


def seconds(form, repeats):
    """list over `CASES` of [seconds forward, seconds forward and backward], of one copy, in this process."""
    from propeller import ops
    from propeller.session import Session

    result = []
    for *case, copies in CASES:
        times = []
        for backward in (False, True):
            session = Session(seed=1)
            with ops.use('true' if form == 'fused' else 'false'):
                program = session.build([], lambda: build(*case, copies, backward))  # noqa: B023
            session.initialize(program)
            taken = []
            for _ in range(repeats + 1):
                start = time.perf_counter()
                session.run(program, [], [program.outputs])
                taken.append((time.perf_counter() - start) / copies)
            times.append(statistics.median(taken[1:]))
        result.append(times)
    return result


def measure(args, form):
    """`seconds` of a form in a process of its own.

    Raises:
        UserError: it failed.
    """
    command = [sys.executable, '-m', 'benchmark.ops_norm', '--form', form, '--repeats', str(args.repeats)]
    if form == 'torch':
        settings = {'cases': CASES, 'tables': TABLES, 'dropout': DROPOUT, 'epsilon': EPSILON}
        settings |= {'repeats': args.repeats, 'threads': args.threads}
        command = [args.torch_python, '-c', TORCH, json.dumps(settings)]
    environ = os.environ | {'OMP_NUM_THREADS': str(args.threads)}
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f'{form}: it failed. {done.stderr[-2000:]}')
    return json.loads(done.stdout.splitlines()[-1])


def table(columns):
    """Lines of text: milliseconds of each case in each column, and how many times those of `plain` are of it.

    Args:
        columns: dict name -> list over turns of what `seconds` returned; among them `plain`.
    """
    yield f'{"ms":<34}' + ''.join(f'{name:>16}' for name in columns)
    for i, (kind, rows, width, _) in enumerate(CASES):
        for j, name in enumerate(PASSES):
            medians = {form: statistics.median(turn[i][j] for turn in turns) for form, turns in columns.items()}
            cells = [f'{1e3 * taken:.3f} ({medians["plain"] / taken:4.1f})' for taken in medians.values()]
            case = f'{kind} norm {rows} x {width}' if j == 0 else f'  {name}'
            yield f'{case:<34}' + ''.join(f'{cell:>16}' for cell in cells)


def main(argv=None):
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--turns', type=int, default=5, help='processes of each form (default: 5)')
    parser.add_argument('--repeats', type=int, default=20, help='runs in each process (default: 20)')
    parser.add_argument('--threads', type=int, default=2, help='threads of each form (default: 2)')
    parser.add_argument('--torch_python', help='a Python with torch, to measure it too')
    parser.add_argument('--form', choices=['fused', 'plain'], help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.form:
        print(json.dumps(seconds(args.form, args.repeats)))
        return
    sst2.limit_cores(args.threads)
    columns = {form: [] for form in ('plain', 'fused', *(['torch'] if args.torch_python else []))}
    for _ in range(args.turns):
        for form, turns in columns.items():
            turns.append(measure(args, form))
    print('\n'.join(table(columns)))


if __name__ == '__main__':
    with one_line_errors():
        main()
