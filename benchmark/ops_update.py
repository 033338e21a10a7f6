"""The fused update of the parameters and the masked-LM head beside the plain ones of Paddle, and beside PyTorch.

    python -m benchmark.ops_update [--turns 5] [--repeats 20] [--threads 2] [--torch_python VENV/bin/python]

AdamW with clipping over the parameters of an encoder of 12 layers x 768 (30,522 words, 110 million numbers) and of one
of 6 x 384 (23 million); cross entropy, its gradient and the likeliest class of 307 x 18,000 scores; the whole head,
from tokens 256 wide through the word table to the loss and all gradients, in float32 and with products in bfloat16
(plain: float32). Milliseconds, and how many times faster than plain.

Each form runs in a process of its own, in turns, each time the median of `--repeats` runs; the table shows medians
over the turns. That the results are right is the tests' business.
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

# Kind and sizes: layers, width, words; rows, width (0: scores alone), classes.
CASES = (
    ('update', 12, 768, 30522),
    ('update', 6, 384, 30522),
    ('loss', 307, 0, 18000),
    ('loss', 307, 256, 18000),
    ('loss bf16', 307, 256, 18000),
)
POSITIONS = 512
# Runs under --torch_python, which knows nothing of this repository.
TORCH = """
import json, statistics, sys, time
import torch
from torch.nn import functional as F
args = json.loads(sys.argv[1])
torch.set_num_threads(args['threads'])
result = []
for (kind, *sizes), shapes in zip(args['cases'], args['shapes']):
    values = [torch.randn(shape) for shape in shapes]
    for value in values:
        value.requires_grad_()
    if kind == 'update':
        optimizer = torch.optim.AdamW(values, lr=1e-3, weight_decay=0.01, fused=True)
        for value in values:
            value.grad = torch.full_like(value, 0.01)
        def step():
            torch.nn.utils.clip_grad_norm_(values, 1.0)
            optimizer.step()
    else:
        label = torch.randint(0, sizes[-1], [sizes[0]])
        def step():
            with torch.autocast('cpu', torch.bfloat16, enabled='bf16' in kind):
                logits = values[0] if len(values) == 1 else F.linear(*values)
            logits = logits.float()
            logits.argmax(-1)
            F.cross_entropy(logits, label).backward()
            for value in values:
                value.grad = None
    step()
    taken = []
    for _ in range(args['repeats']):
        start = time.perf_counter()
        step()
        taken.append(time.perf_counter() - start)
    result.append(statistics.median(taken))
    del values
print(json.dumps(result))
"""


def shapes(kind, *sizes):
    """Shapes of the tensors of a case, a list of lists."""
    if kind == 'update':
        layers, width, words = sizes
        layer = [[width, 3 * width], [3 * width], [width, width], [width], [width, 4 * width], [4 * width]]
        layer += [[4 * width, width], *[[width]] * 5]
        return [[words, width], [POSITIONS, width], *(layer * layers)]
    rows, width, classes = sizes
    return [[rows, width], [classes, width], [classes]] if width else [[rows, classes]]


def build(kind, *sizes):
    """One number that needs every result: nothing is copied in or out, nothing can be left out."""
    from propeller import graph, ops
    from propeller.graph import np, paddle
    from propeller.update import Schedule

    def tensor(name, shape, value=None):
        initial = graph.truncated_normal(0.1) if value is None else graph.constant(value)
        return graph.parameter(name, shape, initial)

    tensors = [tensor(f'tensor_{i}', shape) for i, shape in enumerate(shapes(kind, *sizes))]
    if kind == 'update':
        gradients = [tensor(f'gradient_{i}', value.shape, 0.01) for i, value in enumerate(tensors)]
        square = ops.square_norm(gradients)
        finite = paddle.isfinite(square)
        factor = 1.0 / paddle.clip(paddle.sqrt(square), min=1.0)
        pairs = list(zip(tensors, gradients, strict=True))
        ops.adamw(pairs, Schedule(lambda step: 1e-3), 0.01, lambda name: True, paddle.logical_not(finite), factor)
        return finite.astype('float32')
    label = paddle.randint(0, sizes[-1], [sizes[0]], 'int64')
    logits = tensors[0]
    if len(tensors) > 1:
        logits = ops.linear(*tensors, precision='bf16' if 'bf16' in kind else 'fp32', transposed=True)
    losses, best = ops.softmax_cross_entropy(logits, label)
    gradients = paddle.static.gradients([losses.mean()], tensors)
    found = [losses, best.astype('float32'), *gradients]
    return paddle.add_n([value.reshape([int(np.prod(value.shape))])[:1] for value in found])


def seconds(form, repeats):
    """list over `CASES` of seconds, in this process."""
    from propeller import ops
    from propeller.session import Session

    result = []
    for case in CASES:
        session = Session(seed=1)
        with ops.use('true' if form == 'fused' else 'false'):
            program = session.build([], lambda: build(*case))  # noqa: B023
        session.initialize(program)
        taken = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            session.run(program, [], [program.outputs])
            taken.append(time.perf_counter() - start)
        result.append(statistics.median(taken[1:]))
    return result


def measure(args, form):
    """`seconds` of a form in a process of its own.

    Raises:
        UserError: it failed.
    """
    command = [sys.executable, '-m', 'benchmark.ops_update', '--form', form, '--repeats', str(args.repeats)]
    if form == 'torch':
        settings = {'cases': CASES, 'shapes': [shapes(*case) for case in CASES]}
        settings |= {'repeats': args.repeats, 'threads': args.threads}
        command = [args.torch_python, '-c', TORCH, json.dumps(settings)]
    environ = os.environ | {'OMP_NUM_THREADS': str(args.threads)}
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f'{form}: it failed. {done.stderr[-2000:]}')
    return json.loads(done.stdout.splitlines()[-1])


def table(columns):
    """Lines of text: milliseconds of each case in each column, and how many times faster than `plain` it is.

    Args:
        columns: dict name -> list over turns of what `seconds` returned; among them `plain`.
    """
    yield f'{"ms":<34}' + ''.join(f'{name:>16}' for name in columns)
    for i, (kind, *sizes) in enumerate(CASES):
        medians = {form: statistics.median(turn[i] for turn in turns) for form, turns in columns.items()}
        cells = [f'{1e3 * taken:.1f} ({medians["plain"] / taken:4.1f})' for taken in medians.values()]
        case = f'{kind} {" x ".join(str(size) for size in sizes if size)}'
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
