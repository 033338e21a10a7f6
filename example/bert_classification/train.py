"""Classifies reviews with BERT: the options of Pytorch-BERT-Classification over `ernie finetune classify`."""

import os
import re
import shlex
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from dataclasses import MISSING, dataclass, fields
from typing import NamedTuple, Self

from ernie.finetune.own_data import fine_tune_file, is_taken
from ernie.finetune.trainer import FineTuning
from ernie.reader.dataset_folder import is_there, nearest_name
from ernie.reader.fitting import HEAD, TRUNCATIONS
from ernie.settings.base import GivenSettings
from ernie.settings.fields import setting
from ernie.settings.finetune import OwnDataSettings
from ernie.settings.flags import SettingsParser
from propeller.environment import LARGEST_SEED
from propeller.errors import UsageError, UserError, one_line_errors
from propeller.log import console
from propeller.train.checkpoint import read_state
from propeller.train.record import read_metrics

NAMES = ('epoch', 'train loss', 'valid loss', 'valid accuracy')
HERE = {  # flags of `ernie finetune classify`, and what they are called here
    '--train_set': '--train_path',
    '--dev_set': '--valid_path',
    '--max_seq_len': '--max_length',
    '--checkpoints': '--save_path',
    '--model': '--bert_name',
    '--epoch': '--n_epochs',
    '--learning_rate': '--lr or --lr_main',
    '--head_learning_rate': '--lr',
    '--head_dropout': '--dropout_p',
}
RESULT = ('Dataset', 'BERT pretrained', 'BERT finetune', 'Max token length', 'Best epoch', *NAMES[1:])


@dataclass(frozen=True, kw_only=True)
class TrainSettings(GivenSettings, title='BERT classification'):
    """Trains a classifier of texts on a CSV or TSV file, and shows which epoch was the best on another."""

    train_path: str = setting(MISSING, 'File to train on: CSV or TSV with a column of texts and one of labels.')
    valid_path: str = setting(MISSING, 'File to evaluate after each epoch.')
    max_length: int = setting(256, 'Most tokens of a text.', least=3, most=512)
    save_path: str = setting('', 'Folder of what is saved. Left out: runs/NAME OF FILE.')
    bert_name: str = setting('bert-base-uncased', 'Pre-trained model: a name or a folder (--model of ernie finetune).')
    bert_finetuning: bool = setting(False, 'Train BERT too, not the classifier alone.')
    dropout_p: float = setting(0.1, 'Dropout on the result of BERT, before the classifier.', least=0, below=1)
    boost: bool = setting(False, 'Without --bert_finetuning: compute the results of BERT once, and keep them on disk.')
    n_epochs: int = setting(10, 'Epochs.', least=1)
    lr: float = setting(1e-3, 'Learning rate of the classifier.', above=0)
    lr_main: float = setting(5e-5, 'Learning rate of BERT.', above=0)
    early_stop: int = setting(-1, 'Stop after so many epochs without a better one; -1: never.', least=-1)
    batch_size: int = setting(32, 'Texts of a batch.', least=1)
    gradient_accumulation_steps: int = setting(1, 'Batches of an update.', least=1)
    text_column: str | None = setting(None, 'Column of the text. Left out: found by its name.')
    label_column: str | None = setting(None, 'Column of the label. Left out: found by its name.')
    truncation: str = setting(HEAD, 'What is kept of a longer text than --max_length.', choices=TRUNCATIONS)
    skip_bad_rows: bool = setting(False, 'Leave out rows that cannot be read, and list them.')
    random_seed: int = setting(1, 'Of initial values, order, dropout.', least=0, most=LARGEST_SEED)
    cpu_threads: int | None = setting(None, 'Threads of matrix products. Left out: one for each core.', least=1)
    resume: bool = setting(False, 'Go on with an interrupted training in --save_path.', of_start=True)

    def checked(self) -> Self:
        settings = super().checked()
        for name in ('train_path', 'valid_path'):
            if not is_there(getattr(self, name)):
                raise UserError(f'--{name} {getattr(self, name)}: no such file.{nearest_name(getattr(self, name))}')
        if self.boost and self.bert_finetuning:
            raise UsageError(
                '--boost True: with --bert_finetuning True the results of BERT change with each update. Give one.'
            )
        if self.save_path and not self.resume and is_taken(self.save_path):
            raise UsageError(
                f'--save_path {self.save_path}: holds a training. Name another folder, go on with it (--resume True), '
                'or delete it.'
            )
        return settings

    def as_finetune(self) -> OwnDataSettings:
        """The same for `ernie finetune classify`."""
        names = ('text_column', 'label_column', 'truncation', 'skip_bad_rows', 'random_seed', 'cpu_threads')
        alike = {name: value for name in names if (value := getattr(self, name)) is not None}
        return OwnDataSettings(
            train_set=self.train_path,
            dev_set=self.valid_path,
            max_seq_len=self.max_length,
            checkpoints=self.save_path,
            model=self.bert_name,
            freeze_encoder=not self.bert_finetuning,
            boost=self.boost,
            head_dropout=self.dropout_p,
            drop_html_breaks=True,
            is_classify=True,  # labels may be numbers, and yet are classes
            epoch=self.n_epochs,
            learning_rate=self.lr_main if self.bert_finetuning else self.lr,
            head_learning_rate=self.lr,
            lr_scheduler='constant',  # this and the next two as in the program whose options these are
            warmup_proportion=0.0,
            weight_decay=0.0,
            early_stop=self.early_stop,
            batch_size=self.batch_size,
            gradient_accumulation_steps=self.gradient_accumulation_steps,
            resume=self.resume,
            **alike,
        )


class EpochRun(FineTuning):
    """A fine-tuning that logs once an epoch, and knows the flags of this program."""

    def log_hook(self, program, rows, steps):
        self.args = self.args.replace(skip_steps=1)  # so that `interval` decides
        return super().log_hook(program, rows, steps)

    def interval(self, steps):
        return -(-steps // self.args.epoch)

    def end_pairs(self, seconds):
        again = shlex.join([*_without_place(sys.argv), '--save_path', self.args.checkpoints, '--resume', 'True'])
        pairs = super().end_pairs(seconds)
        return [(key, (f'python {again}',) if key == 'to resume' else value) for key, value in pairs]


def _without_place(words):
    """A command line without `--save_path` and `--resume` and their values."""
    flags, kept = ('--save_path', '--resume'), []
    for before, word in zip(['', *words], words, strict=False):
        if before not in flags and word.partition('=')[0] not in flags:
            kept.append(word)
    return kept


def in_flags_of_this_program(text):
    """A message of `ernie finetune` with the flags of this program; one that is not here is said to be of the other."""
    known = {f'--{field.name}' for field in fields(TrainSettings)}
    name = lambda flag: HERE.get(flag, flag if flag in known else f'(ernie finetune) {flag}')  # noqa: E731
    return re.sub(r'(?<![\w-])--[a-z]\w*', lambda found: name(found[0]), text)


class Epoch(NamedTuple):
    """An epoch of a run. train_loss: mean over it; None where that was not logged."""

    step: int
    number: int  # from 1
    train_loss: float | None
    valid_loss: float
    valid_accuracy: float


def epochs_of(metrics):
    """The epochs of a run: list of `Epoch`. metrics: file of its records."""
    losses, found = {}, {}
    for record in read_metrics(metrics):
        if record['phase'] == 'train':
            losses[record['step']] = record['loss']
        elif record['phase'] == 'dev':
            found[record['step']] = record
    return [Epoch(step, r['epoch'] + 1, losses.get(step), r['loss'], r['acc']) for step, r in sorted(found.items())]


def report(args, epochs, best_step):
    """The epochs as a table, the best marked, and the row of the best one: list of lines of Markdown.

    args: `TrainSettings`. epochs: list of `Epoch`. best_step: of the best checkpoint.
    """
    best = next(epoch for epoch in epochs if epoch.step == best_step)
    shown = [[f'{e.number}{" (best)" if e == best else ""}', *map(_number, e[2:])] for e in epochs]
    name = os.path.splitext(os.path.basename(args.train_path))[0]
    of_best = [name, args.bert_name, args.bert_finetuning, args.max_length, best.number, *map(_number, best[2:])]
    return [*_table(NAMES, shown), '', *_table(RESULT, [of_best])]


def _number(value):
    return '' if value is None else f'{value:.4f}'


def _table(names, rows):
    lines = [names, ['---'] * len(names), *rows]
    return [f'| {" | ".join(map(str, line))} |' for line in lines]


def main(argv=None):
    """Run with the flags in `argv` (default: those of the command line)."""
    args = SettingsParser(TrainSettings, 'bert_classification', prog='train.py').parse_args(argv).checked()
    with console():
        try:
            found = fine_tune_file(args.as_finetune(), 'classification', EpochRun)
        except UserError as e:
            e.args = (in_flags_of_this_program(str(e)),)
            raise
        if found and found.best:  # in the first process of a job
            best_step = read_state(found.best)['global_step']
            print('', *report(args, epochs_of(found.metrics), best_step), sep='\n', flush=True)


if __name__ == '__main__':
    with one_line_errors():
        main()
