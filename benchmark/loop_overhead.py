"""What the training loop costs beside the bare executor on the same batches of SST-2 with MiniLM.

    python -m benchmark.loop_overhead --data FOLDER [--segments 12] [--steps 15]

Segments of real training (the runner's graph, hooks with log lines and metrics file, background thread that makes the
batches; evaluation and saving off) and of nothing but `Executor.run` on those very batches, already made, take turns.
The overhead is the median over the pairs of neighbouring segments. Exit code 1 above 5 %.
"""

import argparse
import contextlib
import itertools
import os
import statistics
import sys
import tempfile
import time

from benchmark import sst2
from propeller.errors import UsageError, one_line_errors

LIMIT_PERCENT = 5.0


def build_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sst2.add_flags(parser)
    parser.add_argument('--segments', type=int, default=12, help='segments of each kind (default: 12)')
    parser.add_argument('--steps', type=int, default=15, help='updates of a segment (default: 15)')
    parser.add_argument('--batch_size', type=int, default=sst2.BATCH_SIZE)
    parser.add_argument('--seed', type=int, default=42)
    return parser


def prepare(args, folder, flags, held):
    """The runner's own objects, as its `train` makes them: (runner, rows, program, batch stream).

    flags: more of run_classifier.py. held: `contextlib.ExitStack` that holds the folder of the run.
    """
    from ernie.finetune.flags import build_parser as runner_flags
    from ernie.finetune.schedule import run_length
    from ernie.finetune.trainer import FineTuning, folder_of
    from ernie.tasks.classification.training import ClassificationTask
    from propeller.distribution import join

    flags = [*sst2.training_flags(args.data, args.model, folder, args.threads, args.seed), *flags]
    flags += ['--do_val', 'false', '--batch_size', str(args.batch_size), '--epoch', '1000']
    flags, world = runner_flags().parse_args(flags), join(False)
    runner = FineTuning(flags, ClassificationTask, world, held.enter_context(folder_of(flags, world).held()))
    rows = runner.task.read(runner.args.train_set, labelled=True)
    runner.task.prepare_training(rows)
    stream = runner._stream(rows)
    runner.length = run_length(runner.args, stream)
    program = runner.session.build(runner.task.feeds(True), runner._training_graph())
    runner.load(program)
    runner._open_records(0)
    runner.session.seed_dropout_by_rank()
    return runner, rows, program, stream


class Contest:
    """Both ways to take the same steps, on one set of parameters."""

    def __init__(self, args, folder, flags=()):
        self.held = contextlib.ExitStack()
        self.runner, self.rows, self.program, self.stream = prepare(args, folder, flags, self.held)
        self.steps, self.gstep, self.position = args.steps, 0, self.stream.position

    def close(self):
        """Let go of the folder of the run."""
        self.runner.metrics.close()
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
        from propeller.train.hooks import CheckpointSaverHook
        from propeller.train.loop import LoopState, train_loop

        runner, session, state = self.runner, self.runner.session, LoopState(self.gstep)
        started = time.perf_counter()
        with prefetch(itertools.islice(self.stream, self.steps), PREFETCHED_BATCHES) as made:
            hooks = runner._hooks(self.program, self.rows, made, None)
            hooks = [hook for hook in hooks if not isinstance(hook, CheckpointSaverHook)]
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


def measure(args, folder):
    """Lists of seconds: (segments of the loop, segments of the bare executor), pairs on the same batches."""
    contest = Contest(args, folder)
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


def main(argv=None):
    """Measure and print; returns the exit code."""
    args = build_parser().parse_args(argv)
    if min(args.segments, args.steps, args.batch_size) < 1:
        raise UsageError('--segments, --steps and --batch_size must be at least 1.')
    sst2.limit_cores(args.threads)
    os.environ['OMP_NUM_THREADS'] = str(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        loop, bare = measure(args, folder)
    for name, times in (('training loop', loop), ('bare executor', bare)):
        per_step = [1000 * seconds / args.steps for seconds in times]
        spread = f'{min(per_step):.2f} .. {max(per_step):.2f}'
        print(f'{name}: median {statistics.median(per_step):.2f} ms a step ({spread}), {len(times)} segments')
    pairs = [100 * (a / b - 1) for a, b in zip(loop, bare, strict=True)]
    overhead = statistics.median(pairs)
    print(f'overhead: {overhead:+.2f} % (pairs {min(pairs):+.1f} .. {max(pairs):+.1f}; limit {LIMIT_PERCENT:g} %)')
    return int(overhead > LIMIT_PERCENT)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
