"""Reading comprehension: run_mrc.py on real questions, and the EM and F1 that it reaches.

    python -m benchmark.reading known --data FOLDER     64 English questions of XQuAD are learnt: EM at least 90
    python -m benchmark.reading xquad --data FOLDER     637 questions of XQuAD are learnt, 189 others answered
    python -m benchmark.reading cmrc2018 --data FOLDER --model FOLDER    2,306 of CMRC 2018 are learnt, 1,002 answered

`known` reads windows of 128 tokens with a stride of 64, so that most answers sit in a later window. The others train in
windows of 384 tokens, XQuAD for two epochs, CMRC 2018 for one (hours on two cores: with --checkpoints it can be stopped
and started again). The scores are those after the last step. Exit code 1 when `known` misses its mark.
"""

import argparse
import json
import os
import sys
import tempfile

from benchmark import common
from propeller.errors import UsageError, one_line_errors
from propeller.train.record import read_metrics

LEAST_EM = 90.0
KNOWN_QUESTIONS = 64
SETS = {  # folder, training file, dev file
    'known': ('xquad', 'train.en.json', 'train.en.json'),
    'xquad': ('xquad', 'train.en.json', 'dev.en.json'),
    'cmrc2018': ('cmrc2018', 'train.json', 'dev.json'),
}
FULL = ['--batch_size', '32', '--max_seq_len', '384']
RECIPES = {
    'known': [
        *('--epoch', '15', '--batch_size', '16', '--learning_rate', '2e-4', '--metric', 'squad'),
        *('--max_seq_len', '128', '--doc_stride', '64'),
    ],
    'xquad': [*FULL, '--doc_stride', '128', '--epoch', '2', '--learning_rate', '5e-5', '--metric', 'squad'],
    'cmrc2018': [*FULL, '--doc_stride', '256', '--epoch', '1', '--learning_rate', '2e-4', '--metric', 'cmrc'],
}


def first_questions(document, count):
    """The document with its first `count` questions only."""
    articles = []
    for article in document['data']:
        paragraphs = []
        for paragraph in article['paragraphs']:
            kept, count = paragraph['qas'][:count], count - len(paragraph['qas'][:count])
            paragraphs += [{**paragraph, 'qas': kept}] if kept else []
        articles += [{**article, 'paragraphs': paragraphs}] if paragraphs else []
    return {**document, 'data': articles}


def files_of(data, name, scratch):
    """Paths of the training and the dev file.

    Raises:
        UsageError: no folder was given.
        UserError: a file is not there.
    """
    folder, *names = SETS[name]
    paths = [common.file_of(data, file, folder, 'SQuAD-form JSON') for file in names]
    if name != 'known':
        return paths
    with open(paths[0], encoding='utf-8') as f:
        document = first_questions(json.load(f), KNOWN_QUESTIONS)
    known = os.path.join(scratch, 'known.json')
    with open(known, 'w', encoding='utf-8') as f:
        json.dump(document, f)
    return [known, known]


def main(argv=None):
    """Train and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', choices=SETS)
    common.add_flags(parser)
    parser.add_argument(
        '--checkpoints',
        help='keep the run in this folder, and continue one that was stopped there (default: a temporary folder)',
    )
    parser.add_argument('--seed', type=int, default=42)
    parser.add_argument('--max_steps', type=int, default=0, help='stop early, to try the program out')
    parser.add_argument('--processes', type=int, default=1, help='share each batch among so many processes')
    parser.add_argument('--parts', type=int, default=1, help='cut the batch of a process into so many, to save memory')
    args = parser.parse_args(argv)
    if args.name == 'cmrc2018' and not args.model:
        raise UsageError('cmrc2018 needs --model, the folder of a Chinese model (see python -m ernie.quickstart).')
    common.limit_cores(args.threads)
    with tempfile.TemporaryDirectory() as scratch:
        train, dev = files_of(args.data, args.name, scratch)
        checkpoints = args.checkpoints or os.path.join(scratch, 'checkpoints')
        threads = str(max(args.threads // args.processes, 1))
        flags = ['--use_cuda', 'false', '--cpu_threads', threads, '--random_seed', str(args.seed)]
        flags += ['--train_set', train, '--dev_set', dev, '--do_test', 'false', '--warmup_proportion', '0.1']
        flags += ['--init_pretraining_params', args.model or common.minilm_folder(), '--checkpoints', checkpoints]
        flags += ['--resume', 'true', '--save_steps', '20', '--max_checkpoints', '1'] if args.checkpoints else []
        flags += [*RECIPES[args.name], '--max_steps', str(args.max_steps)]
        if args.processes * args.parts > 1:
            size = int(flags[flags.index('--batch_size') + 1]) // (args.processes * args.parts)
            flags += ['--batch_size', str(size), '--gradient_accumulation_steps', str(args.parts)]
        common.run_shared('run_mrc.py', flags, args.processes, os.path.join(scratch, 'log'), show=True)
        score = [r for r in read_metrics(os.path.join(checkpoints, 'metrics.jsonl')) if r['phase'] == 'dev'][-1]
    least = f' (EM at least {LEAST_EM:.0f})' if args.name == 'known' else ''
    print(f'step {score["step"]}: EM {score["em"]:.2f}, F1 {score["f1"]:.2f}{least}')
    return int(args.name == 'known' and score['em'] < LEAST_EM and not args.max_steps)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
