"""Fused operators beside the plain ones of Paddle, and beside PyTorch: GFLOPS of linear layers.

    python -m benchmark.ops [--rows 768] [--turns 5] [--repeats 20] [--threads 2] [--torch_python VENV/bin/python]

The layers of an encoder 384 wide: rows x 384 x {384, 1152, 1536} and rows x 1536 x 384, with bias, the widest with
gelu; 768 rows are 32 texts of 24 tokens. Forward alone, and forward with the gradients of input, weight and bias
(three products). Each form runs in a process of its own, in turns, each time the median of `--repeats` runs over ten
copies of the layer; the table shows medians over the turns. That the results are right is the tests' business.
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

LAYERS = ((384, 384, None), (384, 1152, None), (384, 1536, 'gelu'), (1536, 384, None))
COPIES = 10
PASSES = ('forward', 'forward and backward')
# Runs under --torch_python, which knows nothing of this repository.
TORCH = """
import json, statistics, sys, time
import torch
args = json.loads(sys.argv[1])
torch.set_num_threads(args['threads'])
result = []
for inputs, outputs, activation in args['layers']:
    x = torch.randn(args['rows'], inputs, requires_grad=True)
    layer, dy = torch.nn.Linear(inputs, outputs), torch.randn(args['rows'], outputs)
    def forward():
        with torch.autocast('cpu', torch.bfloat16, enabled=args['precision'] == 'bf16'):
            y = layer(x)
            return torch.nn.functional.gelu(y) if activation else y
    def both():
        forward().backward(dy.to(torch.bfloat16) if args['precision'] == 'bf16' else dy)
        x.grad = layer.weight.grad = layer.bias.grad = None
    times = []
    for step, grad in ((forward, False), (both, True)):
        with torch.set_grad_enabled(grad):
            step()
            taken = []
            for _ in range(args['repeats']):
                start = time.perf_counter()
                for _ in range(args['copies']):
                    step()
                taken.append((time.perf_counter() - start) / args['copies'])
            times.append(statistics.median(taken))
    result.append(times)
print(json.dumps(result))
"""


def seconds(args):
    """list over `LAYERS` of [seconds forward, seconds forward and backward], of one copy, in this process."""
    from propeller import graph, ops
    from propeller.graph import np, paddle
    from propeller.session import Session

    rng = np.random.default_rng(0)

    def tensor(name, *shape):
        return graph.parameter(name, shape, graph.values(rng.normal(size=shape) / shape[0] ** 0.5))

    def build(inputs, outputs, activation, backward):
        """One number that needs every result: nothing is copied in or out, nothing can be left out."""
        x, weight = tensor('x', args.rows, inputs), tensor('weight', inputs, outputs)
        bias, dy = tensor('bias', outputs), tensor('dy', args.rows, outputs)
        found = []
        for _ in range(COPIES):
            y = ops.linear(x, weight, bias, activation, args.precision)
            found += [y, *(paddle.static.gradients([y], [x, weight, bias], [dy]) if backward else [])]
        return paddle.add_n([value.flatten()[:1] for value in found])

    result = []
    for layer in LAYERS:
        times = []
        for backward in (False, True):
            session = Session(seed=1)
            with ops.use('true' if args.form == 'fused' else 'false'):
                program = session.build([], lambda: build(*layer, backward))  # noqa: B023
            session.initialize(program)
            taken = []
            for _ in range(args.repeats + 1):
                start = time.perf_counter()
                session.run(program, [], [program.outputs])
                taken.append((time.perf_counter() - start) / COPIES)
            times.append(statistics.median(taken[1:]))
        result.append(times)
    return result


def measure(args, form, precision):
    """`seconds` of a form in a process of its own.

    Raises:
        UserError: it failed.
    """
    if form == 'torch':
        settings = {'rows': args.rows, 'repeats': args.repeats, 'threads': args.threads, 'precision': precision}
        settings |= {'layers': LAYERS, 'copies': COPIES}
        command = [args.torch_python, '-c', TORCH, json.dumps(settings)]
    else:
        command = [sys.executable, '-m', 'benchmark.ops', '--form', form, '--precision', precision]
        command += ['--rows', str(args.rows), '--repeats', str(args.repeats)]
    environ = os.environ | {'OMP_NUM_THREADS': str(args.threads)}
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f'{form}, {precision}: it failed. {done.stderr[-2000:]}')
    return json.loads(done.stdout.splitlines()[-1])


def table(rows, columns):
    """Lines of text: GFLOPS of each layer in each column.

    Args:
        rows: rows of the product.
        columns: dict name -> list over turns of what `seconds` returned.
    """
    yield f'{"GFLOPS":<34}' + ''.join(f'{name:>12}' for name in columns)
    for i, (inputs, outputs, activation) in enumerate(LAYERS):
        for j, name in enumerate(PASSES):
            work = 2e-9 * rows * inputs * outputs * (1, 3)[j]
            cells = [work / statistics.median(turn[i][j] for turn in turns) for turns in columns.values()]
            layer = f'{rows} x {inputs} x {outputs}' + (f', {activation}' if activation else '')
            yield f'{layer if j == 0 else "  " + name:<34}' + ''.join(f'{cell:>12.0f}' for cell in cells)


def main(argv=None):
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rows', type=int, default=768, help='rows of each product (default: 768)')
    parser.add_argument('--turns', type=int, default=5, help='processes of each form (default: 5)')
    parser.add_argument('--repeats', type=int, default=20, help='runs in each process (default: 20)')
    parser.add_argument('--threads', type=int, default=2, help='threads of each form (default: 2)')
    parser.add_argument('--torch_python', help='a Python with torch, to measure it too')
    parser.add_argument('--form', choices=['fused', 'plain'], help=argparse.SUPPRESS)
    parser.add_argument('--precision', choices=['fp32', 'bf16'], help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.form:
        print(json.dumps(seconds(args)))
        return
    sst2.limit_cores(args.threads)
    forms = [('plain', 'fp32'), ('fused', 'fp32'), ('fused', 'bf16')]
    if args.torch_python:
        forms += [('torch', 'fp32'), ('torch', 'bf16')]
    columns = {f'{form} {precision}': [] for form, precision in forms}
    for _ in range(args.turns):
        for form, precision in forms:
            columns[f'{form} {precision}'].append(measure(args, form, precision))
    print('\n'.join(table(args.rows, columns)))


if __name__ == '__main__':
    with one_line_errors():
        main()
