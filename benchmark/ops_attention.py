"""Fused attention beside the plain one of Paddle, and beside PyTorch: milliseconds, and how much faster than plain.

    python -m benchmark.ops_attention [--turns 5] [--repeats 20] [--threads 2] [--torch_python VENV/bin/python]

From queries, keys and values to the result, dropout 0.1 on the weights: 32 rows of 24 tokens, 384 wide; 32 of 128, 768
wide; 8 of 384, 384 wide; 12 heads each. First with rows that are all that long, then with rows of half to all of it,
where the plain forms compute padding. Forward alone, and forward with the gradient. Each form runs in a process of
its own, in turns, each time the median of `--repeats` runs over several copies; the table shows medians over the
turns. That the results are right is the tests' business.
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

# Rows, columns, width, share of its columns that the shortest row fills, copies in a program.
CASES = (
    (32, 24, 384, 1.0, 10),
    (32, 24, 384, 0.5, 10),
    (32, 128, 768, 1.0, 2),
    (32, 128, 768, 0.5, 2),
    (8, 384, 384, 1.0, 2),
    (8, 384, 384, 0.5, 2),
)
HEADS, DROPOUT = 12, 0.1
PASSES = ('forward', 'forward and backward')
# Runs under --torch_python, which knows nothing of this repository.
TORCH = """
import json, statistics, sys, time
import torch
from torch.nn import functional as F
args = json.loads(sys.argv[1])
torch.set_num_threads(args['threads'])
result = []
for (rows, columns, width, _, copies), lengths in zip(args['cases'], args['lengths']):
    x = torch.randn(rows, columns, 3 * width, requires_grad=True)
    dy = torch.randn(rows, columns, width)
    mask = (torch.arange(columns)[None] < torch.tensor(lengths)[:, None])[:, None, None]
    def forward():
        with torch.autocast('cpu', torch.bfloat16, enabled=args['precision'] == 'bf16'):
            q, k, v = x.reshape(rows, columns, 3, args['heads'], -1).permute(2, 0, 3, 1, 4)
            if args['precision'] == 'bf16':
                q, k, v = q.bfloat16(), k.bfloat16(), v.bfloat16()
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=args['dropout'])
            return y.transpose(1, 2).reshape(rows, columns, width)
    def both():
        y = forward()
        y.backward(dy.to(y.dtype))
        x.grad = None
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


def lengths_of(rows, columns, share):
    """list of int: tokens of each row, evenly from `share * columns` to `columns`."""
    return [round(columns * (share + (1 - share) * row / max(rows - 1, 1))) for row in range(rows)]


def build(rows, columns, width, share, copies, precision, backward):
    """One number that needs every result: nothing is copied in or out, nothing can be left out."""
    from propeller import graph, ops
    from propeller.graph import np, paddle
    from propeller.ops.tokens import Packed

    rng = np.random.default_rng(0)

    def tensor(name, *shape):
        return graph.parameter(name, shape, graph.values(rng.normal(size=shape)))

    lengths = np.array(lengths_of(rows, columns, share))
    mask = np.arange(columns) < lengths[:, None]
    layout = ops.token_layout(graph.parameter('mask', mask.shape, graph.values(mask)))
    sizes = [int(lengths.sum())] if isinstance(layout, Packed) else [rows, columns]
    qkv, dy, found = tensor('qkv', *sizes, 3 * width), tensor('dy', *sizes, width), []
    for _ in range(copies):
        y = ops.attention(qkv, layout, HEADS, DROPOUT, precision=precision)
        gradients = paddle.static.gradients([y], [qkv], [dy]) if backward else []
        found += [value.flatten()[:1] for value in (y, *gradients)]
    return paddle.add_n(found)


def seconds(form, precision, repeats):
    """list over `CASES` of [seconds forward, seconds forward and backward], of one copy, in this process."""
    from propeller import ops
    from propeller.session import Session

    result = []
    for case in CASES:
        times = []
        for backward in (False, True):
            session = Session(seed=1)
            with ops.use('true' if form == 'fused' else 'false'):
                program = session.build([], lambda: build(*case, precision, backward))  # noqa: B023
            session.initialize(program)
            taken = []
            for _ in range(repeats + 1):
                start = time.perf_counter()
                session.run(program, [], [program.outputs])
                taken.append((time.perf_counter() - start) / case[-1])
            times.append(statistics.median(taken[1:]))
        result.append(times)
    return result


def measure(args, form, precision):
    """`seconds` of a form in a process of its own.

    Raises:
        UserError: it failed.
    """
    command = [sys.executable, '-m', 'benchmark.ops_attention', '--form', form, '--precision', precision]
    command += ['--repeats', str(args.repeats)]
    if form == 'torch':
        settings = {'cases': CASES, 'lengths': [lengths_of(*case[:2], case[3]) for case in CASES], 'heads': HEADS}
        settings |= {'dropout': DROPOUT, 'repeats': args.repeats, 'threads': args.threads, 'precision': precision}
        command = [args.torch_python, '-c', TORCH, json.dumps(settings)]
    environ = os.environ | {'OMP_NUM_THREADS': str(args.threads)}
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f'{form}, {precision}: it failed. {done.stderr[-2000:]}')
    return json.loads(done.stdout.splitlines()[-1])


def table(columns):
    """Lines of text: milliseconds of each case in each column, and how many times those of `plain fp32` are of it.

    Args:
        columns: dict name -> list over turns of what `seconds` returned; among them `plain fp32`.
    """
    yield f'{"ms":<34}' + ''.join(f'{name:>16}' for name in columns)
    for i, (rows, length, width, share, _) in enumerate(CASES):
        for j, name in enumerate(PASSES):
            medians = {form: statistics.median(turn[i][j] for turn in turns) for form, turns in columns.items()}
            cells = [f'{1e3 * taken:.2f} ({medians["plain fp32"] / taken:4.1f})' for taken in medians.values()]
            tokens = f'{round(share * length)}-{length}' if share < 1 else f'{length}'
            case = f'{rows} x {tokens} tokens, {width} wide' if j == 0 else f'  {name}'
            yield f'{case:<34}' + ''.join(f'{cell:>16}' for cell in cells)


def main(argv=None):
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--turns', type=int, default=5, help='processes of each form (default: 5)')
    parser.add_argument('--repeats', type=int, default=20, help='runs in each process (default: 20)')
    parser.add_argument('--threads', type=int, default=2, help='threads of each form (default: 2)')
    parser.add_argument('--torch_python', help='a Python with torch, to measure it too')
    parser.add_argument('--form', choices=['fused', 'plain'], help=argparse.SUPPRESS)
    parser.add_argument('--precision', choices=['fp32', 'bf16'], help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.form:
        print(json.dumps(seconds(args.form, args.precision, args.repeats)))
        return
    sst2.limit_cores(args.threads)
    forms = [('plain', 'fp32'), ('fused', 'fp32'), ('fused', 'bf16')]
    if args.torch_python:
        forms += [('torch', 'fp32'), ('torch', 'bf16')]
    columns = {f'{form} {precision}': [] for form, precision in forms}
    for _ in range(args.turns):
        for form, precision in forms:
            columns[f'{form} {precision}'].append(measure(args, form, precision))
    print('\n'.join(table(columns)))


if __name__ == '__main__':
    with one_line_errors():
        main()
