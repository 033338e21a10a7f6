"""Fine-tunes MiniLM on SST-2 with run_classifier.py and prints the dev accuracy and the training rate.

    python -m benchmark.sst2_accuracy --data FOLDER [--checkpoints FOLDER] [--seed 42]

One epoch, batch 32, rate 5e-5, warm-up 0.1, at most 128 tokens. The accuracy is that after the last step, not the best
one. Exit code 1 if it is below 0.855; with --max_steps it is only printed.
"""

import argparse
import os
import sys
import tempfile

from benchmark import sst2
from propeller.errors import one_line_errors
from propeller.train.record import read_metrics

LEAST_ACCURACY = 0.855


def main(argv=None):
    """Train and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sst2.add_flags(parser)
    parser.add_argument('--checkpoints', help='keep the run in this folder (default: a temporary one)')
    parser.add_argument('--seed', type=int, default=42)
    parser.add_argument('--max_steps', type=int, default=0, help='stop early, to try the program out')
    args = parser.parse_args(argv)
    sst2.limit_cores(args.threads)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoints = args.checkpoints or scratch
        flags = sst2.training_flags(args.data, args.model, checkpoints, args.threads, args.seed)
        flags += ['--dev_set', sst2.file_of(args.data, 'dev.tsv'), '--do_val', 'true']
        flags += ['--max_steps', str(args.max_steps)] if args.max_steps else []
        sst2.run_classifier(flags, show=True)
        scores = [r for r in read_metrics(os.path.join(checkpoints, 'metrics.jsonl')) if r['phase'] == 'dev']
        rates = sst2.training_rates(checkpoints)
    accuracy = scores[-1]['acc']
    print(f'step {scores[-1]["step"]}: dev accuracy {accuracy:.4f} (at least {LEAST_ACCURACY})')
    print(f'training: {rates["rows_per_second"]:.1f} rows/s, {rates["tokens_per_second"]:.0f} real tokens/s')
    return int(accuracy < LEAST_ACCURACY and not args.max_steps)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
