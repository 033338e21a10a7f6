"""Fused operators in float32 and bfloat16 beside Paddle's own: rate, memory and accuracy of MiniLM on SST-2.

    python -m benchmark.precision --data FOLDER [--turns 3] [--steps 30] [--seeds 1,2,3]

Short trainings in turns give rate and peak resident memory (medians); then one epoch of each side with each seed gives
the dev accuracy after its last step. Exit code 1 when the mean accuracy of a side differs from that of Paddle's own
operators by more than 0.5 points.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

from benchmark import sst2
from propeller.errors import UserError, one_line_errors
from propeller.train.record import read_metrics

MOST_POINTS = 0.5
SIDES = {
    'plain': ['--fused_ops', 'false', '--precision', 'fp32'],
    'fp32': ['--fused_ops', 'true', '--precision', 'fp32'],
    'bf16': ['--fused_ops', 'true', '--precision', 'bf16'],
}


def run_measured(name, flags):
    """Runs a program of the repository. Returns its peak resident memory in GB.

    Raises:
        UserError: it failed.
    """
    with tempfile.TemporaryFile('w+') as log:
        process = subprocess.Popen([sys.executable, os.path.join(sst2.ROOT, name), *flags], stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            log.seek(0)
            raise UserError(f'{name} failed. {log.read()[-2000:]}')
    return usage.ru_maxrss / 2**20


def main(argv=None):
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sst2.add_flags(parser)
    parser.add_argument('--turns', type=int, default=3, help='short trainings in each precision (default: 3)')
    parser.add_argument('--steps', type=int, default=30, help='updates of a short training (default: 30)')
    parser.add_argument('--seeds', default='1,2,3', help='of the long trainings (default: 1,2,3)')
    parser.add_argument('--max_steps', type=int, default=0, help='stop the long trainings early, to try it out')
    args = parser.parse_args(argv)
    sst2.limit_cores(args.threads)
    rates, memory = ({side: [] for side in SIDES} for _ in range(2))
    for _ in range(args.turns):
        for side in SIDES:
            rate, peak = short_training(args, side)
            rates[side].append(rate)
            memory[side].append(peak)
    means = {}
    for side in SIDES:
        found = [accuracy(args, side, int(seed)) for seed in args.seeds.split(',')]
        means[side] = statistics.mean(found)
        print(
            f'{side:>5}: {statistics.median(rates[side]):.1f} rows/s, {statistics.median(memory[side]):.2f} GB, dev '
            f'accuracy {" ".join(f"{value:.4f}" for value in found)}, mean {means[side]:.4f}',
            flush=True,
        )
    points = max(100 * abs(mean - means['plain']) for mean in means.values())
    print(f'the mean accuracies differ from that of plain by {points:.2f} points at most (limit {MOST_POINTS})')
    return int(points > MOST_POINTS and not args.max_steps)


def short_training(args, side):
    """(rows/s, peak memory in GB) of some updates."""
    with tempfile.TemporaryDirectory() as scratch:
        flags = sst2.training_flags(args.data, args.model, scratch, args.threads, 42)
        peak = run_measured(
            'run_classifier.py', [*flags, *SIDES[side], '--max_steps', str(args.steps), '--do_val', 'false']
        )
        return sst2.training_rates(scratch)['rows_per_second'], peak


def accuracy(args, side, seed):
    """Accuracy on the dev set after one epoch."""
    with tempfile.TemporaryDirectory() as scratch:
        flags = sst2.training_flags(args.data, args.model, scratch, args.threads, seed)
        flags += [*SIDES[side], '--dev_set', sst2.file_of(args.data, 'dev.tsv'), '--do_val', 'true']
        run_measured('run_classifier.py', [*flags, '--max_steps', str(args.max_steps)])
        scores = read_metrics(os.path.join(scratch, 'metrics.jsonl'))
        return [r['acc'] for r in scores if r['phase'] == 'dev'][-1]


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
