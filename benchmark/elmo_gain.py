"""What ELMo adds to a GRU on reviews: example/elmo with and without the module, several seeds each.

    python -m benchmark.elmo_gain DATA --module FOLDER --folder FOLDER [--learning_rate 5e-5] [--seeds 1 2 3]

DATA holds train.tsv and dev.tsv, columns `label` and `text_a`, as those of ChnSentiCorp. The module must not have
learnt from the texts of dev.tsv: `python -m ernie.hub.elmo_small --folder FOLDER --leave_out DATA/dev.tsv`. Both nets
have the same words, those of the module's vocabulary, a table of 128 numbers a word that is learnt anew, and the GRU;
one has ELMo's vectors beside the table, and trains ELMo too. Each run leaves its scores in a file in --folder, and is
not done again; a run that was ended goes on. Prints the accuracy on dev.tsv of each run at its end and at its best
evaluation, and the gain at the end, which is to be 2 points at least: exit code 1 when it is less.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from propeller.errors import UserError, one_line_errors
from propeller.inputs import read_json_object

WITH, WITHOUT = KINDS = 'elmo', 'plain'
LEAST = 2.0  # points
EVALUATIONS = 50  # steps between two


def cut(data, module, folder):
    """Cut the texts into words once, by the lexer of the module: the files of `folder`/words."""
    from ernie.distill.segmented import Segmenter
    from ernie.reader.columns import ColumnNames
    from ernie.reader.records import read_records
    from ernie.tokenizers.words import lexer_beside
    from propeller.storage.folders import whole_folder

    target = os.path.join(folder, 'words')
    if os.path.isdir(target):
        return target
    segmenter = Segmenter(lexer_beside(os.path.join(module, 'vocab.txt')))
    with whole_folder(target) as place:
        for part in ('train', 'dev'):
            with open(os.path.join(place, f'{part}.tsv'), 'w', encoding='utf-8') as file:
                file.write('label\ttext_a\n')
                path = os.path.join(data, f'{part}.tsv')
                for record in read_records(path, ('text_a', 'label'), columns=ColumnNames()):
                    file.write(f'{record.cells["label"]}\t{" ".join(segmenter(record.cells["text_a"]).texts)}\n')
    return target


def train(args, kind, seed):
    """One run, in this process; its scores are written when it is whole."""
    from example.elmo.network import classifier, data_set, open_module, run_config

    run = os.path.join(args.folder, f'{kind}_{seed}')
    settings = {'use_gpu': False, 'warmup_proportion': 0.0, 'weight_decay': 0.01, 'batch_size': 32}
    settings |= {'learning_rate': args.learning_rate, 'checkpoint_dir': run}
    config = run_config(argparse.Namespace(**settings), args.epoch, eval_interval=EVALUATIONS, save_ckpt_interval=50)
    module = open_module(args.module) if kind == WITH else None
    vocabulary = os.path.join(args.module, 'vocab.txt')
    task = classifier(data_set(os.path.join(args.folder, 'words')), config, 'gru', module, vocabulary, 'spaces')
    task.open_session(seed)
    started = time.monotonic()
    task.finetune(do_eval=True)
    seconds = time.monotonic() - started
    scores = {'last': task.evaluate('dev')['acc'], 'best': task.best_score, 'seconds': seconds}
    with open(f'{run}.json.part', 'w', encoding='utf-8') as file:
        json.dump(scores, file)
    os.replace(f'{run}.json.part', f'{run}.json')


def scores_of(args, kind, seed):
    """The scores of a run, which is done in a process of its own where it is not yet."""
    path = os.path.join(args.folder, f'{kind}_{seed}.json')
    if not os.path.isfile(path):
        command = [sys.executable, '-m', 'benchmark.elmo_gain', *sys.argv[1:], '--run', kind, str(seed)]
        code = subprocess.run(command, check=False).returncode
        if code:
            raise UserError(f'the run {kind} {seed} ended with exit code {code}; the reason stands above.')
    return read_json_object(path, 'the scores of a run')


def table(args):
    """Print the table. Returns the gain in points, of the last evaluations."""
    print(f'{"":6}  {"seed":>4}  {"last":>6}  {"best":>6}')
    means = {}
    for kind in KINDS:
        found = [scores_of(args, kind, seed) for seed in args.seeds]
        for seed, scores in zip(args.seeds, found, strict=True):
            print(f'{kind:6}  {seed:4}  {scores["last"]:6.4f}  {scores["best"]:6.4f}', flush=True)
        means[kind] = [statistics.mean(scores[name] for scores in found) for name in ('last', 'best')]
        print(f'{kind:6}  mean  {means[kind][0]:6.4f}  {means[kind][1]:6.4f}', flush=True)
    gains = [100 * (a - b) for a, b in zip(*(means[kind] for kind in KINDS), strict=True)]
    print(f'gain of ELMo in points: {gains[0]:.2f} at the end, {gains[1]:.2f} at the best evaluations')
    return gains[0]


def parse_flags(argv=None):
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', help='folder with train.tsv and dev.tsv')
    parser.add_argument('--module', required=True, help='folder of the module')
    parser.add_argument('--folder', required=True, help='folder for the runs')
    parser.add_argument('--learning_rate', type=float, default=5e-5)
    parser.add_argument('--epoch', type=int, default=3)
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3])
    parser.add_argument('--run', nargs=2, metavar=('KIND', 'SEED'), help='do one run alone')
    return parser.parse_args(argv)


def main(argv=None):
    """Returns the exit code."""
    args = parse_flags(argv)
    os.makedirs(args.folder, exist_ok=True)
    cut(args.data, args.module, args.folder)
    if args.run:
        train(args, args.run[0], int(args.run[1]))
        return 0
    return int(table(args) < LEAST)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
