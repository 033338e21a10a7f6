"""Groups of settings that several programs share."""

import os
from dataclasses import dataclass
from typing import Any, Self

from ernie.optimization import SCHEDULERS
from ernie.settings.base import GivenSettings, Settings
from ernie.settings.fields import setting
from ernie.tokenizers.subword_files import of_flags
from propeller.environment import FUSED_OPS, LARGEST_SEED
from propeller.errors import UsageError
from propeller.launch.plan import RESUME_ADDED
from propeller.log import LEVELS
from propeller.train.precision import PRECISIONS, LossScale


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Settings, title='model'):
    ernie_config_path: str | None = setting(None, 'Model configuration (JSON). Left out: that beside the parameters.')
    vocab_path: str | None = setting(None, 'Vocabulary. Left out: the one beside the parameters.')


@dataclass(frozen=True, kw_only=True)
class SubwordSettings(Settings, title='tokenizer of ERNIE tiny'):
    sentence_piece_model: str | None = setting(
        None, 'Its sentencepiece model, with --word_dict. Left out: that in the folder subword of the model, if any.'
    )
    word_dict: str | None = setting(None, 'Its word dictionary: the pickle of the official download, or a word a line.')

    @property
    def subword(self) -> tuple[str | None, str | None]:
        """The two."""
        return self.sentence_piece_model, self.word_dict

    def checked(self) -> Self:
        if bool(self.sentence_piece_model) != bool(self.word_dict):
            of_flags(self.sentence_piece_model, self.word_dict)
        return super().checked()


@dataclass(frozen=True, kw_only=True)
class ThreadSettings(Settings, title='threads'):
    cpu_threads: int | None = setting(None, 'Threads of matrix products. Left out: one for each core.', least=1)


@dataclass(frozen=True, kw_only=True)
class UnusedSettings(Settings, title='parameters'):
    allow_unused: str = setting('', 'Tensors of the encoder (or prefixes ending in *) to leave out.', joined=True)


@dataclass(frozen=True, kw_only=True)
class StartSettings(UnusedSettings, title='parameters'):
    """Where the first values of a training come from."""

    init_checkpoint: str | None = setting(None, 'Checkpoint: training continues from it exactly; evaluation uses it.')
    init_pretraining_params: str | None = setting(
        None, 'Pre-trained parameters to start from; ignored beside --init_checkpoint. Heads that they lack are new.'
    )
    allow_missing: str = setting('', 'Parameter names (or prefixes ending in *) that may be new.', joined=True)


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings(Settings, title='checkpoints'):
    """What a training leaves, and whether it goes on from what is there."""

    checkpoints: str = setting('checkpoints', 'Folder of checkpoints, metrics and curves.')
    save_steps: int = setting(10000, 'Checkpoint interval; the last update is always saved.', least=1)
    max_checkpoints: int = setting(0, 'Keep so many of the newest checkpoints (and the best); 0: all.', least=0)
    resume: bool = setting(False, 'Continue from the newest checkpoint in --checkpoints, if any.', of_start=True)
    overwrite_checkpoints: bool = setting(
        False, "Delete an earlier training's checkpoints there, if any.", of_start=True
    )


@dataclass(frozen=True, kw_only=True)
class OptimizationSettings(Settings, title='optimization'):
    epoch: int = setting(3, 'Epochs.', least=1)
    learning_rate: float = setting(5e-5, 'Peak learning rate.', above=0)
    lr_scheduler: str = setting('linear_warmup_decay', 'How the learning rate moves.', choices=SCHEDULERS)
    weight_decay: float = setting(0.01, 'Decoupled weight decay.', least=0)
    gradient_accumulation_steps: int = setting(1, 'Batches of one process for one update.', least=1)
    recompute: bool = setting(False, 'Compute each layer again in the backward pass: less memory, a third more time.')
    random_seed: int | None = setting(
        None, 'Of initial values, order, dropout. Left out: drawn and logged.', least=0, most=LARGEST_SEED
    )


@dataclass(frozen=True, kw_only=True)
class PrecisionSettings(GivenSettings, title='precision'):
    """How a step is computed."""

    use_cuda: bool | None = setting(None, 'Run on GPU. Left out: where Paddle has one.')
    precision: str = setting(
        'auto',
        'fp32; bf16 or fp16 (GPU): matrix products in half precision, all else in float32. '
        'auto: bf16 on a processor that has such products and --fused_ops, else fp32.',
        choices=('auto', *PRECISIONS),
    )
    fused_ops: str = setting(
        'auto',
        'Operators of our own on a processor: auto (where they can be had), true (or an error), false.',
        choices=FUSED_OPS,
    )
    use_fp16: bool = setting(False, 'The same as --precision fp16.')
    use_dynamic_loss_scaling: bool = setting(True, 'Adapt the loss scale.')
    init_loss_scaling: float = setting(102400, 'First loss scale.')
    incr_every_n_steps: int = setting(100, 'Good steps before the loss scale grows.')
    decr_every_n_nan_or_inf: int = setting(2, 'Overflows before the loss scale shrinks.')
    incr_ratio: float = setting(2.0, 'Factor by which the loss scale grows.')
    decr_ratio: float = setting(0.8, 'Factor by which the loss scale shrinks.')

    def checked(self) -> Self:
        settings = super().checked()
        if self.use_fp16:
            if self.gave('precision') and self.precision != 'fp16':
                raise UsageError(f'--use_fp16 true and --precision {self.precision}: give one.')
            settings = settings.replace(precision='fp16')
        if settings.precision == 'fp16' and self.use_cuda is False:
            flag = '--use_fp16 true' if self.use_fp16 else '--precision fp16'
            raise UsageError(f'{flag} needs a GPU; on a processor take --precision bf16 or fp32.')
        if self.fused_ops == 'true' and self.use_cuda:
            raise UsageError('--fused_ops true is for processors; on a GPU take auto or false.')
        settings.loss_scale()
        return settings

    def recorded(self) -> dict[str, Any]:
        # Where it was found out, it is found out again: the file may be read on another machine.
        values = super().recorded()
        return {**values, 'use_cuda': None} if 'use_cuda' in values and not self.gave('use_cuda') else values

    def loss_scale(self) -> LossScale | None:
        """The `LossScale`, None where the precision needs none. Raises `UsageError`: a value that cannot be."""
        if self.precision != 'fp16':
            return None
        return LossScale(
            self.init_loss_scaling,
            self.use_dynamic_loss_scaling,
            self.incr_every_n_steps,
            self.decr_every_n_nan_or_inf,
            self.incr_ratio,
            self.decr_ratio,
        )


@dataclass(frozen=True, kw_only=True)
class BatchSettings(Settings, title='batches'):
    max_seq_len: int = setting(512, 'Longest input in tokens, special tokens included.', least=3)
    batch_size: int = setting(32, 'Rows of a batch on one device; tokens with --in_tokens true.', least=1)
    in_tokens: bool = setting(False, 'Batch size counts tokens, padding included.')


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings(Settings, title='evaluation'):
    validation_steps: int = setting(1000, 'Evaluation interval; fine-tuning: also the end of each epoch.', least=1)
    early_stop: int = setting(-1, 'Stop after so many evaluations without a better result; -1: never.', least=-1)

    def checked(self) -> Self:
        if self.early_stop == 0:
            raise UsageError('--early_stop 0: expected the number of evaluations to wait, or -1 for never.')
        return super().checked()


@dataclass(frozen=True, kw_only=True)
class ConsoleSettings(Settings, title='logging'):
    log_level: str | None = setting(
        None,
        'What is printed; debug: all lines, in the form of 2019. Left out: $ERNIE_LOG_LEVEL, else info.',
        choices=LEVELS,
    )

    @property
    def console_level(self) -> str | None:
        """The level that the user asks for; None: that of the environment."""
        return self.log_level


@dataclass(frozen=True, kw_only=True)
class LogSettings(ConsoleSettings, title='logging'):
    skip_steps: int = setting(10, 'Log interval.', least=1)
    verbose: bool = setting(False, 'Print all lines, as --log_level debug does.')
    log_dir: str | None = setting(None, 'Write files for TensorBoard and VisualDL there.')

    @property
    def console_level(self) -> str | None:
        return self.log_level or ('debug' if self.verbose else None)


@dataclass(frozen=True, kw_only=True)
class ProcessSettings(Settings, title='processes'):
    is_distributed: bool = setting(False, 'One of several processes; set by the launcher, whose environment decides.')
    use_fast_executor: bool = setting(False, "Hint for 2019's executor; today's needs none.")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(
    ModelSettings,
    StartSettings,
    CheckpointSettings,
    OptimizationSettings,
    PrecisionSettings,
    BatchSettings,
    EvaluationSettings,
    LogSettings,
    ThreadSettings,
    ProcessSettings,
):
    """What fine-tuning and pre-training share."""

    def checked(self) -> Self:
        settings = super().checked()
        if self.resume and self.init_checkpoint and not os.environ.get(RESUME_ADDED):
            raise UsageError(
                '--resume true and --init_checkpoint: give one; --resume looks in --checkpoints by itself.'
            )
        return settings
