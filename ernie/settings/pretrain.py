"""The settings of train.py, frozen as flags by `tests/ernie/test_pretrain_flags.py`."""

import os
from dataclasses import dataclass
from typing import Any, Self

from ernie.pretrain.reader_settings import LEAST_BATCH
from ernie.settings.fields import changed, setting
from ernie.settings.groups import (
    BatchSettings,
    ModelSettings,
    OptimizationSettings,
    Settings,
    StartSettings,
    TrainingSettings,
)
from propeller.errors import UsageError, UserError


@dataclass(frozen=True, kw_only=True)
class SampleSettings(Settings, title='samples and tasks'):
    train_filelist: str = setting('', 'List of training files: path, TAB, probability of word-level masking.')
    valid_filelist: str = setting('', 'The same for validation.')
    test_filelist: str = setting('', 'The same for --do_test.')
    tasks: str = setting('knowledge_masking,next_sentence', 'Tasks of --train_filelist.', joined=True)
    schedule: str | None = setting(None, 'Stages, tasks, updates (YAML, JSON) in place of --train_filelist, --tasks.')
    do_test: bool = setting(False, 'Only score --test_filelist with --init_checkpoint.')
    generate_neg_sample: bool = setting(False, 'Make the negative pairs of next_sentence from positive samples.')
    buffer_size: int = setting(10000, 'Samples that are shuffled and sorted by length together.', least=1)


@dataclass(frozen=True, kw_only=True)
class MaskingSettings(Settings, title='masking'):
    masking_rate: float = setting(0.15, 'Share of the units that are masked.', above=0, below=1)
    max_ngram: int = setting(1, 'Longest run of units that is masked as one.', least=1)
    at_least_one: bool = setting(False, 'Mask at least one unit of each sample.')
    whole_unit: bool = setting(False, 'All tokens of a masked unit share one fate.')


@dataclass(frozen=True, kw_only=True)
class UpdateSettings(Settings, title='pre-training'):
    num_train_steps: int = setting(1000000, 'Updates at most; with --schedule its own numbers count.', least=1)
    warmup_steps: int = setting(5000, 'Updates over which the rate rises.', least=0)
    keep_best: bool = setting(False, 'Keep the checkpoint with the smallest validation loss in the folder best.')
    weight_sharing: bool = setting(True, 'The masked-LM output reuses the word table.')


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(TrainingSettings, SampleSettings, MaskingSettings, UpdateSettings):
    """Pre-training of ERNIE 1.0 and 2.0."""

    ernie_config_path: str | None = changed(ModelSettings, 'ernie_config_path', './config/ernie_config.json')
    vocab_path: str | None = changed(ModelSettings, 'vocab_path', './config/vocab.txt')
    init_checkpoint: str | None = changed(
        StartSettings,
        'init_checkpoint',
        None,
        'Checkpoint folder: training continues from it exactly; --do_test uses it.',
    )
    epoch: int = changed(OptimizationSettings, 'epoch', 100, 'Epochs at most.')
    learning_rate: float = changed(OptimizationSettings, 'learning_rate', 1e-4)
    random_seed: int = changed(
        OptimizationSettings, 'random_seed', 1, 'Seed of initial values, order, masks and dropout.'
    )
    max_seq_len: int = changed(
        BatchSettings, 'max_seq_len', 512, 'Longest sample in tokens; longer ones are skipped and counted.'
    )
    batch_size: int = changed(
        BatchSettings, 'batch_size', 16, 'Tokens of a batch of one process, padding included; more than 100.'
    )
    in_tokens: bool = changed(
        BatchSettings, 'in_tokens', False, 'Accepted: the batch size of pre-training always counts tokens.'
    )

    def recorded(self) -> dict[str, Any]:
        values = super().recorded()
        return {name: value for name, value in values.items() if not (name == 'tasks' and self.schedule)}

    def checked(self) -> Self:
        settings = super().checked()
        if self.do_test and not (self.test_filelist and self.init_checkpoint):
            raise UsageError('--do_test true needs --test_filelist and --init_checkpoint.')
        if not self.do_test and bool(self.train_filelist) == bool(self.schedule):
            raise UsageError(
                'found --train_filelist and --schedule both or neither, expected one of them to train from.'
            )
        if self.schedule and self.gave('tasks'):
            raise UsageError('--tasks and --schedule: give one; a schedule names its own tasks.')
        if (self.keep_best or self.early_stop > 0) and not self.valid_filelist:
            raise UsageError('--keep_best and --early_stop need a --valid_filelist.')
        if self.batch_size <= LEAST_BATCH:
            raise UsageError(f'--batch_size {self.batch_size}: it counts tokens and must exceed {LEAST_BATCH}.')
        if self.batch_size < self.max_seq_len:
            raise UsageError(
                f'--batch_size {self.batch_size} counts tokens and must be at least --max_seq_len {self.max_seq_len}.'
            )
        for flag in ('train_filelist', 'valid_filelist', 'test_filelist', 'schedule'):
            path = getattr(self, flag)
            if path and not os.path.isfile(path):
                found = 'found a folder, expected a file' if os.path.isdir(path) else 'no such file'
                raise UserError(f'--{flag}: {path}: {found}.')
        return settings
