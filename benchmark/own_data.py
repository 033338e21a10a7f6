"""Trains on data sets by `ernie finetune FILE`, defaults only, and prints dev scores beside the best that are known.

    python -m benchmark.own_data --data FOLDER [--sets waimai_10k,weibo_ner] [--model NAME_OR_FOLDER] [--out FOLDER]

FOLDER holds folders named like the sets below, each with the two files. Nothing but the files is given: labels,
columns, model, rate, batch, epochs and length are found out. `--model quickstart/model` takes the quickstart's encoder,
which is that of the recorded scores of the Chinese sets. `--rows N` trains on N rows of each, to try it out.

A set is right when its dev score is within a point (0.01) of the best that is recorded here; docs/recipes.md says with
which settings that was. Exit code 1 where one is not.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from benchmark.common import ROOT, file_of
from propeller.errors import UsageError, UserError, one_line_errors
from propeller.inputs import read_json_object, read_yaml_mapping

MARGIN = 0.01
SHOWN = ('learning_rate', 'batch_size', 'epoch', 'max_seq_len')


class Known(NamedTuple):
    """A data set: its files, and the best dev score that any recipe had here; None: none was measured in full."""

    train: str
    dev: str
    best: float | None


SETS = {
    'waimai_10k': Known('train.tsv', 'dev.tsv', 0.913),
    'thucnews_titles': Known('train.tsv', 'dev.tsv', 0.863),  # 0.849 by a PyTorch program, 3 epochs, rate 1e-4
    'nsmc': Known('ratings_train.txt', 'ratings_dev.txt', 0.853),
    'weibo_ner': Known('train.tsv', 'dev.tsv', 0.587),
    'chnsenticorp': Known('train.tsv', 'dev.tsv', None),
}


def command(train, dev, folder, model=None):
    """The command line for a set: the file, its dev set, where to, and perhaps the model."""
    flags = ['--dev_set', dev, '--checkpoints', folder, *(['--model', model] if model else [])]
    return [sys.executable, '-m', 'ernie', 'finetune', train, *flags]


def part_of(path, rows, target, seed=1):
    """Write the first line and `rows` of the others, shuffled, of a text file with a header -> its path."""
    with open(path, encoding='utf-8', newline='\n') as f:
        header, *lines = [f'{line}\n' for line in f.read().removesuffix('\n').split('\n')]
    random.Random(seed).shuffle(lines)
    with open(target, 'w', encoding='utf-8', newline='\n') as f:
        f.writelines([header, *lines[:rows]])
    return target


def train(name, args, out):
    """Train on a set -> dict: its score, seconds, and the settings that were chosen.

    Raises:
        UserError: a file is not there, or the training failed.
    """
    known, folder = SETS[name], os.path.join(out, name)
    files = [file_of(args.data, file, name, 'a table') for file in (known.train, known.dev)]
    os.makedirs(out, exist_ok=True)
    if args.rows:
        ending = os.path.splitext(files[0])[1]
        files[0] = part_of(files[0], args.rows, os.path.join(out, f'{name}.part{ending}'))
    began = time.monotonic()
    with open(os.path.join(out, f'{name}.log'), 'w', encoding='utf-8') as log:
        done = subprocess.run(command(*files, folder, args.model), cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    if done.returncode:
        with open(log.name, encoding='utf-8', errors='replace') as f:
            raise UserError(f'{name}: ended with code {done.returncode}. {f.read()[-2000:]}')
    settings, _ = read_yaml_mapping(os.path.join(folder, 'run.yaml'), 'settings')
    scores = read_json_object(os.path.join(folder, 'best', 'metrics.json'), finite=False)
    return {'score': scores['main_value'], 'seconds': time.monotonic() - began, **{n: settings[n] for n in SHOWN}}


def verdict(score, best):
    """A word on a score: whether it is within a point of the best that is known."""
    if best is None:
        return 'not recorded'
    return 'ok' if score >= best - MARGIN else f'{best - score:.4f} below'


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default=os.environ.get('ERNIE_TEST_DATA'), help='folder (default: $ERNIE_TEST_DATA)')
    parser.add_argument('--sets', default=','.join(SETS), help='joined by commas (default: all)')
    parser.add_argument('--model', help='where left out, one that fits the texts is chosen')
    parser.add_argument('--rows', type=int, default=0, help='train on so many rows (default: all)')
    parser.add_argument('--out', help='where the runs stay (default: they vanish)')
    args = parser.parse_args(argv)
    names = args.sets.split(',')
    if not set(names) <= set(SETS):
        raise UsageError(f'--sets {args.sets}: expected some of {", ".join(SETS)}.')
    print('\t'.join(('set', *SHOWN, 'dev score', 'best known', 'seconds', '')), flush=True)
    words = []
    with tempfile.TemporaryDirectory() as place:
        for name in names:
            found, best = train(name, args, os.path.abspath(args.out or place)), SETS[name].best
            words.append(verdict(found['score'], best))
            cells = [name, *(found[n] for n in SHOWN), f'{found["score"]:.4f}', best or '-', f'{found["seconds"]:.0f}']
            print('\t'.join(map(str, (*cells, words[-1]))), flush=True)
    return int(any('below' in word for word in words))


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
