"""bfloat16 beside float32 on this processor: rate, memory and accuracy of MiniLM on SST-2.

    python -m benchmark.precision --data FOLDER [--turns 3] [--steps 30]

Short trainings in turns give rate and peak resident memory (medians); then one epoch in each precision gives the dev
accuracy after its last step. Exit code 1 when the two accuracies differ by more than 0.5 points.
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
PRECISIONS = ('fp32', 'bf16')


def train(flags):
    """run_classifier.py with these flags. Returns its peak resident memory in GB.

    Raises:
        UserError: it failed.
    """
    with tempfile.TemporaryFile('w+') as log:
        process = subprocess.Popen([sys.executable, os.path.join(sst2.ROOT, 'run_classifier.py'), *flags], stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            log.seek(0)
            raise UserError(f'run_classifier.py failed. {log.read()[-2000:]}')
    return usage.ru_maxrss / 2**20


def main(argv=None):
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sst2.add_flags(parser)
    parser.add_argument('--turns', type=int, default=3, help='short trainings in each precision (default: 3)')
    parser.add_argument('--steps', type=int, default=30, help='updates of a short training (default: 30)')
    parser.add_argument('--max_steps', type=int, default=0, help='stop the long trainings early, to try it out')
    args = parser.parse_args(argv)
    sst2.limit_cores(args.threads)
    rates, memory = ({precision: [] for precision in PRECISIONS} for _ in range(2))
    for _ in range(args.turns):
        for precision in PRECISIONS:
            with tempfile.TemporaryDirectory() as scratch:
                flags = sst2.training_flags(args.data, args.model, scratch, args.threads, 42)
                memory[precision].append(
                    train([*flags, '--precision', precision, '--max_steps', str(args.steps), '--do_val', 'false'])
                )
                rates[precision].append(sst2.training_rates(scratch)['rows_per_second'])
    accuracy = {}
    for precision in PRECISIONS:
        with tempfile.TemporaryDirectory() as scratch:
            flags = sst2.training_flags(args.data, args.model, scratch, args.threads, 42)
            flags += ['--precision', precision, '--dev_set', sst2.file_of(args.data, 'dev.tsv'), '--do_val', 'true']
            train([*flags, '--max_steps', str(args.max_steps)])
            scores = read_metrics(os.path.join(scratch, 'metrics.jsonl'))
            accuracy[precision] = [r['acc'] for r in scores if r['phase'] == 'dev'][-1]
        print(
            f'{precision}: {statistics.median(rates[precision]):.1f} rows/s, '
            f'{statistics.median(memory[precision]):.2f} GB, dev accuracy {accuracy[precision]:.4f}',
            flush=True,
        )
    points = 100 * abs(accuracy['bf16'] - accuracy['fp32'])
    print(f'the accuracies differ by {points:.2f} points (at most {MOST_POINTS})')
    return int(points > MOST_POINTS and not args.max_steps)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
