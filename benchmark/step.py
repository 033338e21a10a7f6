"""A training step of SST-2 with MiniLM beside the bare executor: what the loop costs, and where the step's time goes.

python -m benchmark.step overhead --data FOLDER [--segments 12] [--steps 15]
    Segments of real training (the runner's graph, hooks with log lines and metrics file, background thread that
    makes the batches; evaluation and saving off) and of nothing but `Executor.run` on those very batches, already
    made, take turns. The overhead is the median over the pairs of neighbouring segments. Exit code 1 above 5 %.

python -m benchmark.step profile --data FOLDER [--steps 20] [--most 12] [--sides plain,fp32,bf16]
    Paddle's own operators and the fused ones, each side in a process of its own, on the same batches: milliseconds
    of a step with the bare executor, how many of its products' floating point operations those are a second, and
    the operators that take most of it, by Paddle's profiler (which makes a step a little slower). The limit is the
    time of the step's products alone at the rate that one large fused product reaches in the same process:
    768 x 384 x 1536, forward, float32 on the sides `plain` and `fp32`.
"""

import argparse
import collections
import contextlib
import functools
import itertools
import json
import os
import statistics
import sys
import tempfile
import time

from benchmark import common, sst2
from benchmark.common import SIDES
from benchmark.ops.clock import clock
from propeller.errors import UsageError, one_line_errors

LIMIT_PERCENT = 5.0
WIDTH, LAYERS = 384, 6  # of MiniLM
# Multiplications and additions of the linear layers of an encoder for one token, forward and both gradients. The last
# layer is computed for the first token of each row (the plain form projects all tokens there, too).
OPERATIONS = 3 * 2 * 12 * (LAYERS - 1) * WIDTH**2


def training_flags(args, folder):
    """Those of run_classifier.py for SST-2. folder: for the checkpoints."""
    flags = sst2.training_flags(args.data, args.model, folder, args.threads, args.seed)
    return [*flags, '--do_val', 'false', '--batch_size', str(args.batch_size), '--epoch', '1000']


def prepare(flags, held):
    """The runner's own objects, as its `train` makes them: (runner, rows, program, batch stream).

    flags: of run_classifier.py. held: `contextlib.ExitStack` that holds the folder of the run.
    """
    from ernie.finetune.schedule import run_length
    from ernie.finetune.trainer import FineTuning
    from ernie.programs import CLASSIFY
    from ernie.run.start import folder_of
    from ernie.tasks.classification.training import ClassificationTask
    from propeller.distribution import join

    flags, world = CLASSIFY.build_parser().parse_args(flags), join(False)
    runner = FineTuning(flags, ClassificationTask, world, held.enter_context(folder_of(flags, world).held()))
    rows = runner.task.read(runner.args.train_set, labelled=True)
    runner.task.prepare_training(rows)
    stream = runner.stream(rows)
    program = runner.build(run_length(runner.args, stream))
    runner.run.begin(runner.session, program, runner.load(program))
    runner.run.open_records()
    return runner, rows, program, stream


class Contest:
    """Both ways to take the same steps, on one set of parameters.

    Args:
        flags: of run_classifier.py.
        steps: of a segment.
    """

    def __init__(self, flags, steps):
        self.held = contextlib.ExitStack()
        self.runner, self.rows, self.program, self.stream = prepare(flags, self.held)
        self.steps, self.gstep, self.position = steps, 0, self.stream.position

    def close(self):
        """Let go of the folder of the run."""
        self.runner.run.records.close()
        self.held.close()

    def next_batches(self):
        """The next segment's batches, ready made; the stream stands before them."""
        self.stream.seek(self.position)
        batches = list(itertools.islice(self.stream, self.steps))
        self.position = batches[-1].position
        return batches

    def loop(self, batches):
        """Seconds of real training. The batches are made anew, in the background."""
        from ernie.finetune.trainer import PREFETCHED_BATCHES
        from propeller.data.prefetch import prefetch
        from propeller.train.loop import LoopState, train_loop

        runner, session, state = self.runner, self.runner.session, LoopState(self.gstep)
        started = time.perf_counter()
        with prefetch(itertools.islice(self.stream, self.steps), PREFETCHED_BATCHES) as made:
            hooks = [runner.log_hook(self.program, self.rows, self.gstep + self.steps)]
            train_loop(session, self.program, made, hooks, state, lambda batch: [(batch.arrays, True)])
        seconds = time.perf_counter() - started
        assert state.step == len(batches) and (state.batch.rows == batches[-1].rows).all()
        self.gstep = state.gstep
        return seconds

    def bare(self, batches):
        """Seconds of `Executor.run` alone; only the loss is fetched."""
        from propeller.graph import paddle

        session, names = self.runner.session, [feed.name for feed in self.program.feeds]
        feeds = [dict(zip(names, batch.arrays, strict=True)) for batch in batches]
        fetch = [self.program.outputs.loss]
        started = time.perf_counter()
        with paddle.static.scope_guard(session.scope):
            for feed in feeds:
                session.executor.run(self.program.main, feed=feed, fetch_list=fetch)
        return time.perf_counter() - started


# ------------------------------------------------------------------------------------------------ overhead


def overhead(args):
    """Measure and print; returns the exit code."""
    if min(args.segments, args.steps, args.batch_size) < 1:
        raise UsageError('--segments, --steps and --batch_size must be at least 1.')
    os.environ['OMP_NUM_THREADS'] = str(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        loop, bare = segments(args, folder)
    for name, times in (('training loop', loop), ('bare executor', bare)):
        per_step = [1000 * seconds / args.steps for seconds in times]
        spread = f'{min(per_step):.2f} .. {max(per_step):.2f}'
        print(f'{name}: median {statistics.median(per_step):.2f} ms a step ({spread}), {len(times)} segments')
    pairs = [100 * (a / b - 1) for a, b in zip(loop, bare, strict=True)]
    more = statistics.median(pairs)
    print(f'overhead: {more:+.2f} % (pairs {min(pairs):+.1f} .. {max(pairs):+.1f}; limit {LIMIT_PERCENT:g} %)')
    return int(more > LIMIT_PERCENT)


def segments(args, folder):
    """Lists of seconds: (segments of the loop, segments of the bare executor), pairs on the same batches."""
    contest = Contest(training_flags(args, folder), args.steps)
    times = {'loop': [], 'bare': []}
    for number in range(args.segments + 1):
        batches = contest.next_batches()
        order = ('loop', 'bare') if number % 2 else ('bare', 'loop')
        for name in order:
            seconds = getattr(contest, name)(batches)
            if number:  # the first pair compiles
                times[name].append(seconds)
    contest.close()
    return times['loop'], times['bare']


# ------------------------------------------------------------------------------------------------ profile


def profile(args):
    """Measure each side in a process of its own and print; returns 0."""
    if args.side:
        print(json.dumps(measured(args)))
        return 0
    sides = common.sides_of(args.sides)
    if min(args.steps, args.most) < 1:
        raise UsageError('--steps and --most must be at least 1.')
    flags = [f'--{name}={getattr(args, name)}' for name in ('data', 'model', 'threads', 'steps') if getattr(args, name)]
    for side in sides:
        command = [sys.executable, '-m', 'benchmark.step', 'profile', *flags, '--side', side]
        found = common.run_json(command, f'profile of {side}', environment={'OMP_NUM_THREADS': str(args.threads)})
        print('\n'.join(report(side, found, args.most)), flush=True)
    return 0


def measured(args):
    """dict of one side, in this process: seconds of a step, operations a second at best and in the step, operators."""
    with tempfile.TemporaryDirectory() as folder:
        contest = Contest([*training_flags(args, folder), *SIDES[args.side]], args.steps)
        batches = contest.next_batches()
        contest.bare(batches)  # compiles, and makes the kernels for these lengths
        seconds = contest.bare(batches) / args.steps
        operators = operators_of(functools.partial(contest.bare, batches), args.steps)
        contest.close()
    tokens = sum(batch.real_tokens for batch in batches) / args.steps
    return {'seconds': seconds, 'tokens': tokens, 'best': best_rate(args.side, args.steps), 'operators': operators}


def operators_of(run, steps):
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


def best_rate(side, repeats):
    """Floating point operations a second of one large fused product, the median; None without fused operators."""
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

    return 2 * rows * inputs * outputs / clock('fused', repeats, build, copies)


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


# ------------------------------------------------------------------------------------------------ flags


def overhead_flags(parser):
    parser.add_argument('--segments', type=int, default=12, help='segments of each kind (default: 12)')
    parser.add_argument('--steps', type=int, default=15, help='updates of a segment (default: 15)')
    parser.add_argument('--batch_size', type=int, default=sst2.BATCH_SIZE)
    parser.add_argument('--seed', type=int, default=42)


def profile_flags(parser):
    parser.add_argument('--steps', type=int, default=20, help='updates that are measured (default: 20)')
    parser.add_argument('--most', type=int, default=12, help='operators to print (default: 12)')
    parser.add_argument('--sides', default=','.join(SIDES), help=f'some of {", ".join(SIDES)} (default: all)')
    parser.add_argument('--side', choices=SIDES, help=argparse.SUPPRESS)
    parser.set_defaults(batch_size=sst2.BATCH_SIZE, seed=42)


def main(argv=None):
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_programs(parser, {overhead: overhead_flags, profile: profile_flags})
    args = parser.parse_args(argv)
    common.limit_cores(args.threads)
    return args.measure(args)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
