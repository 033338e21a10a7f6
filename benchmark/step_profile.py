"""Where the time of a training step goes: SST-2 with MiniLM, Paddle's own operators and the fused ones.

    python -m benchmark.step_profile --data FOLDER [--steps 20] [--most 12] [--sides plain,fp32,bf16]

Each side in a process of its own, on the same batches: milliseconds of a step with the bare executor, how many of its
products' floating point operations those are a second, and the operators that take most of it, by Paddle's profiler
(which makes a step a little slower). The limit is the time of the step's products alone at the rate that one large
fused product reaches in the same process: 768 x 384 x 1536, forward, float32 on the sides `plain` and `fp32`.
"""

import argparse
import collections
import functools
import json
import sys
import tempfile

from benchmark import forms, sst2
from benchmark.loop_overhead import Contest
from benchmark.precision import SIDES
from propeller.errors import UsageError, one_line_errors

WIDTH, LAYERS = 384, 6  # of MiniLM
# Multiplications and additions of the linear layers of an encoder for one token, forward and both gradients.
OPERATIONS = 3 * LAYERS * 2 * 12 * WIDTH**2


def build_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sst2.add_flags(parser)
    parser.add_argument('--steps', type=int, default=20, help='updates that are measured (default: 20)')
    parser.add_argument('--most', type=int, default=12, help='operators to print (default: 12)')
    parser.add_argument('--sides', default=','.join(SIDES), help=f'some of {", ".join(SIDES)} (default: all)')
    parser.add_argument('--side', choices=SIDES, help=argparse.SUPPRESS)
    parser.set_defaults(batch_size=sst2.BATCH_SIZE, seed=42)
    return parser


def measure(args):
    """dict of one side, in this process: seconds of a step, operations a second at best and in the step, operators."""
    with tempfile.TemporaryDirectory() as folder:
        contest = Contest(args, folder, SIDES[args.side])
        batches = contest.next_batches()
        contest.bare(batches)  # compiles, and makes the kernels for these lengths
        seconds = contest.bare(batches) / args.steps
        operators = profile(functools.partial(contest.bare, batches), args.steps)
        contest.close()
    tokens = sum(batch.real_tokens for batch in batches) / args.steps
    return {'seconds': seconds, 'tokens': tokens, 'best': best_rate(args.side), 'operators': operators}


def profile(run, steps):
    """Milliseconds and calls of each operator in a step.

    Args:
        run: function that does the steps.
        steps: how many.
    Returns:
        list of (name, milliseconds, calls), the most expensive first.
    """
    from propeller.graph import paddle

    profiler = paddle.profiler.Profiler(
        targets=[paddle.profiler.ProfilerTarget.CPU],
        on_trace_ready=lambda _: None,  # by default it writes megabytes into the working folder
    )
    profiler.start()
    run()
    profiler.stop()
    taken, calls = collections.Counter(), collections.Counter()
    nodes = list(profiler.profiler_result.get_data().values())
    while nodes:
        node = nodes.pop()
        if node.type == paddle.base.core.TracerEventType.Operator:
            taken[node.name] += node.end_ns - node.start_ns
            calls[node.name] += 1
        else:
            nodes += node.children_node
    return [(name, 1e-6 * total / steps, calls[name] / steps) for name, total in taken.most_common()]


def best_rate(side):
    """Floating point operations a second of one large fused product; None where there are no fused operators."""
    from propeller import graph, ops
    from propeller.graph import paddle

    if not ops.available():
        return None
    copies, rows, inputs, outputs = 20, 768, WIDTH, 4 * WIDTH

    def build():
        x = graph.parameter('x', [rows, inputs], graph.truncated_normal(1.0))
        total = paddle.zeros([1])
        for i in range(copies):
            weight = graph.parameter(f'w_{i}', [inputs, outputs], graph.truncated_normal(0.1))
            bias = graph.parameter(f'b_{i}', [outputs], graph.constant(0))
            y = ops.linear(x, weight, bias, precision='bf16' if side == 'bf16' else 'fp32')
            total = total + y[0, :1]
        return total

    return 2 * rows * inputs * outputs / forms.clock('fused', 20, build, copies)


def report(side, found, most):
    """Lines of text."""
    work = OPERATIONS * found['tokens']
    line = f'{side}: {1e3 * found["seconds"]:.1f} ms a step of {found["tokens"]:.0f} tokens, '
    line += f'{1e-9 * work / found["seconds"]:.0f} GFLOPS'
    if found['best']:
        line += f'; the limit at {1e-9 * found["best"]:.0f} GFLOPS: {1e3 * work / found["best"]:.1f} ms'
    yield line
    operators = found['operators']
    total = sum(taken for _, taken, _ in operators)
    rest = operators[most:]
    others = (f'{len(rest)} others', sum(taken for _, taken, _ in rest), sum(calls for *_, calls in rest))
    for name, taken, calls in [*operators[:most], *([others] if rest else [])]:
        name = name.removeprefix('custom_op.')
        yield f'  {name:<42}{taken:8.2f} ms  {100 * taken / total:5.1f} %  {calls:6.1f} calls'


def main(argv=None):
    """Measure and print."""
    args = build_parser().parse_args(argv)
    if args.side:
        print(json.dumps(measure(args)))
        return
    sides = args.sides.split(',')
    if not set(sides) <= set(SIDES) or min(args.steps, args.most) < 1:
        raise UsageError(f'expected --sides of {", ".join(SIDES)}, and --steps and --most of at least 1.')
    sst2.limit_cores(args.threads)
    flags = [f'--{name}={getattr(args, name)}' for name in ('data', 'model', 'threads', 'steps') if getattr(args, name)]
    for side in sides:
        found = forms.run([sys.executable, '-m', 'benchmark.step_profile', *flags, '--side', side], args.threads)
        print('\n'.join(report(side, found, args.most)), flush=True)


if __name__ == '__main__':
    with one_line_errors():
        main()
