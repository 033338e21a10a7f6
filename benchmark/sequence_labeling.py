"""Trains run_sequence_labeling.py on real sets and prints the chunk F1 of the dev set, computed here with seqeval.

    python -m benchmark.sequence_labeling wnut --data FOLDER [--model FOLDER] [--checkpoints FOLDER] [--seed 42]
    python -m benchmark.sequence_labeling msra --data FOLDER --model FOLDER

wnut: WNUT-17, MiniLM, 2 epochs, batch 32, rate 5e-5, at most 256 tokens; F1 at least 0.38.
msra: the MSRA-NER sample, a Chinese encoder of 12 layers and 384 units (that of the quickstart), 3 epochs, batch 8,
rate 2e-4, at most 128 tokens; F1 at least 0.66.

The F1 is that after the last step, of the labels in the prediction file against those in the dev file; tokens that were
cut off count as O. Exit code 1 if it is lower; with --max_steps it is only printed.
"""

import argparse
import os
import sys
import tempfile
from typing import NamedTuple

from benchmark import common
from benchmark.common import file_of
from propeller.errors import UsageError, bad_input, one_line_errors
from propeller.train.record import read_metrics


class Recipe(NamedTuple):
    """What is trained, and what it must reach."""

    folder: str
    least: float
    epochs: int
    batch_size: int
    rate: str
    max_seq_len: int


RECIPES = {
    'wnut': Recipe('wnut17_en', 0.38, 2, 32, '5e-5', 256),
    'msra': Recipe('msra_ner', 0.66, 3, 8, '2e-4', 128),
}


def training_flags(recipe, args, checkpoints):
    """Flags of run_sequence_labeling.py; the dev set is predicted too."""
    content = 'tokens and their labels'
    names = ('train.tsv', 'dev.tsv', 'label_map.json')
    files = [file_of(args.data, name, recipe.folder, content) for name in names]
    if not args.model and recipe.folder != 'wnut17_en':
        raise UsageError('give --model FOLDER: the encoder to start from.')
    train, dev, labels = files
    steps = ['--max_steps', str(args.max_steps)] if args.max_steps else []
    return [
        *('--use_cuda', 'false', '--cpu_threads', str(args.threads), '--random_seed', str(args.seed)),
        *('--train_set', train, '--dev_set', dev, '--test_set', dev, '--label_map_config', labels),
        *('--init_pretraining_params', args.model or common.minilm_folder(), '--checkpoints', checkpoints),
        *('--test_save', os.path.join(checkpoints, 'dev'), '--max_seq_len', str(recipe.max_seq_len)),
        *('--epoch', str(recipe.epochs), '--batch_size', str(recipe.batch_size), '--learning_rate', recipe.rate),
        *('--warmup_proportion', '0.1', '--validation_steps', '1000000', *steps),
    ]


def columns(path, separator, header):
    """Lists of the parts of the first and of the second column, for each line of a TAB-separated file."""
    with open(path, encoding='utf-8', newline='\n') as f:
        rows = f.read().split('\n')[1 if header else 0 : -1]
    return [[cell.split(separator) for cell in row.split('\t')[:2]] for row in rows]


def aligned(tokens, found, labels):
    """`labels` of the tokens `found`, which are those of `tokens` that were read, as labels of all `tokens`."""
    result, rest = [], list(zip(found, labels, strict=True))[::-1]
    for token in tokens:
        known = rest and rest[-1][0] == ''.join(token.split())
        result.append(rest.pop()[1] if known else 'O')
    return result


def labels_of(dev, predictions):
    """(true labels, predicted labels) of the tokens of a dev file, each a list of lists.

    Raises:
        UserError: the files have not one line for each sentence.
    """
    rows, predicted = columns(dev, '\x02', header=True), columns(predictions, ' ', header=False)
    if len(rows) != len(predicted):
        raise bad_input(predictions, f'{len(predicted)} lines', f'{len(rows)}, one for each sentence of {dev}')
    found = [aligned(tokens, *pair) for (tokens, _), pair in zip(rows, predicted, strict=True)]
    return [labels for _, labels in rows], found


def seqeval_scores(dev, predictions):
    """(F1, precision, recall) of a prediction file."""
    from seqeval.metrics import f1_score, precision_score, recall_score

    true, found = labels_of(dev, predictions)
    return tuple(score(true, found) for score in (f1_score, precision_score, recall_score))


def main(argv=None):
    """Train and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('recipe', choices=RECIPES)
    common.add_flags(parser, 'wnut17_en/ or msra_ner/')
    parser.add_argument('--checkpoints', help='keep the run in this folder (default: a temporary one)')
    parser.add_argument('--seed', type=int, default=42)
    parser.add_argument('--max_steps', type=int, default=0, help='stop early, to try the program out')
    args = parser.parse_args(argv)
    recipe = RECIPES[args.recipe]
    common.limit_cores(args.threads)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoints = args.checkpoints or scratch
        flags = training_flags(recipe, args, checkpoints)
        common.run_program('run_sequence_labeling.py', flags, show=True)
        logged = [r for r in read_metrics(os.path.join(checkpoints, 'metrics.jsonl')) if r['phase'] == 'dev'][-1]
        predictions = os.path.join(checkpoints, f'dev.{logged["epoch"]}.final')
        f1, precision, recall = seqeval_scores(os.path.join(args.data, recipe.folder, 'dev.tsv'), predictions)
    print(f'logged: f1 {logged["f1"]:.4f}, of the tokens that were read')
    print(f'seqeval: f1 {f1:.4f} (at least {recipe.least}), precision {precision:.4f}, recall {recall:.4f}')
    return int(f1 < recipe.least and not args.max_steps)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
