"""Several processes on one machine: what they bring, and what they lose while they wait for each other.

    python -m benchmark.parallel rate --data FOLDER
        rows a second of SST-2 with MiniLM: one process with 2 threads beside two with 1 thread, batches of 32 in all
    python -m benchmark.parallel all_reduce --model FOLDER
        share of a step that goes into the sum of the gradients: two processes, batches of 16 rows in all, 128 tokens

Both measure in turns and report medians. Exit code 1 when two processes reach less than 0.9 of the rate of one, or lose
a tenth of a step or more.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time

import numpy as np

from benchmark import common, sst2
from propeller.errors import UsageError, one_line_errors

LEAST_RATIO, MOST_LOSS = 0.9, 0.1
ROWS, LENGTH = 16, 128
RESULT = 'PARALLEL_RESULT'


def rate(args):
    """Train for `--steps` updates in each way, in turns. Returns the exit code."""
    common.limit_cores(args.threads)
    rates = {1: [], args.threads: []}
    for turn in range(args.turns):
        for count in rates:
            with tempfile.TemporaryDirectory() as scratch:
                flags = sst2.training_flags(args.data, args.model, f'{scratch}/c', args.threads // count, 42)
                flags += ['--max_steps', str(args.steps), '--batch_size', str(sst2.BATCH_SIZE // count)]
                flags += ['--do_val', 'false']
                common.run_shared('run_classifier.py', flags, count, f'{scratch}/log')
                rates[count].append(sst2.training_rates(f'{scratch}/c')['rows_per_second'])
            print(f'turn {turn + 1}: {count} process(es) {rates[count][-1]:.1f} rows/s', flush=True)
    one, several = (statistics.median(rates[count]) for count in (1, args.threads))
    ratio = several / one
    print(
        f'median of {args.turns}: 1 process with {args.threads} threads {one:.1f} rows/s, {args.threads} processes '
        f'{several:.1f} rows/s, ratio {ratio:.3f} (at least {LEAST_RATIO})'
    )
    return int(ratio < LEAST_RATIO)


def all_reduce(args):
    """Start two processes of `worker` and print what the first one found. Returns the exit code."""
    if not args.model:
        raise UsageError('all_reduce needs --model, the folder of a model (see python -m ernie.quickstart).')
    common.limit_cores(args.threads)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ[RESULT] = result = os.path.join(scratch, 'result.json')
        os.environ['PYTHONPATH'] = os.pathsep.join([common.ROOT, os.environ.get('PYTHONPATH', '')])
        launch = ['--nproc_per_node', str(args.threads), '--split_log_path', f'{scratch}/log']
        worker_flags = ['worker', '--model', args.model, '--steps', str(args.steps), '--use_cuda', 'false']
        common.run_program('finetune_launch.py', [*launch, os.path.abspath(__file__), *worker_flags])
        with open(result, encoding='utf-8') as f:
            found = json.load(f)
    alone, together, megabytes = (found[key] for key in ('alone', 'together', 'megabytes'))
    lost = 1 - alone / together
    print(
        f'{args.threads} processes, {ROWS} rows of {LENGTH} tokens in all, {megabytes:.0f} MB of gradients: '
        f'{together * 1000:.0f} ms a step, {alone * 1000:.0f} ms without the sum; '
        f'lost {lost:.1%} (below {MOST_LOSS:.0%})'
    )
    return int(lost >= MOST_LOSS)


def worker(args):
    """One process: the same step with and without the sum over processes, in turns."""
    from ernie.checkpoint import open_model
    from ernie.config import ErnieConfig
    from ernie.model.task_model import encoder_feeds
    from ernie.tasks.classification.graph import ErnieClassifier
    from propeller.distribution import join
    from propeller.session import Session
    from propeller.train.model import build_model_spec
    from propeller.types import HParams, RunMode

    world = join()
    config = ErnieConfig(open_model(args.model).config)
    settings = {'learning_rate': 1e-5, 'num_train_steps': 100, 'warmup_steps': 0, 'weight_decay': 0.01}
    settings |= {'lr_scheduler': 'constant', 'decay_without_warmup': False, 'clip_norm': 1.0}
    params = HParams(ernie=config, kind='classify', num_labels=2, freeze_encoder=False, **settings)
    programs = {}
    for name, its_world in (('together', world), ('alone', None)):
        session = Session(seed=1, world=its_world)
        build = lambda *x: build_model_spec(ErnieClassifier, x, RunMode.TRAIN, params, None)  # noqa: E731
        program = session.build([*encoder_feeds(config), ErnieClassifier.label_feed(params)], build)
        session.initialize(program)
        programs[name] = session, program
    rng = np.random.default_rng(world.rank)
    count = ROWS // world.size
    ids = rng.integers(1, config.vocab_size, (count, LENGTH))
    arrays = [ids, np.zeros_like(ids), np.broadcast_to(np.arange(LENGTH), ids.shape)]
    arrays += [np.ones(ids.shape, np.float32), rng.integers(0, 2, (count, 1))]
    seconds = {name: [] for name in programs}
    for _ in range(args.steps):
        for name, (session, program) in programs.items():
            world.barrier()
            started = time.monotonic()
            session.step(program, arrays, [program.outputs.loss])
            seconds[name].append(time.monotonic() - started)
    if world.is_main_process:
        numbers = sum(int(np.prod(shape)) for shape in program.parameters().values())
        found = {name: statistics.median(values[2:]) for name, values in seconds.items()}
        with open(os.environ[RESULT], 'w', encoding='utf-8') as f:
            json.dump({**found, 'megabytes': 4 * numbers / 2**20}, f)
    return 0


def main(argv=None):
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=('rate', 'all_reduce', 'worker'))
    common.add_flags(parser)
    parser.add_argument('--steps', type=int, help='updates of each measurement (default: rate 200, all_reduce 30)')
    parser.add_argument('--turns', type=int, default=3, help='measurements of each way (default: 3)')
    parser.add_argument('--use_cuda', help=argparse.SUPPRESS)
    parser.add_argument('--is_distributed', help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.steps is None:
        args.steps = 200 if args.what == 'rate' else 30  # a few steps would measure the making of kernels
    return {'rate': rate, 'all_reduce': all_reduce, 'worker': worker}[args.what](args)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
