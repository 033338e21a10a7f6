"""The settings of the fine-tuning programs, frozen as flags by `tests/ernie/test_flags.py`."""

import os
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ernie.decoding.scheme import SCHEMES
from ernie.reader.dataset_folder import fetch_named, is_there, named_split, nearest_name, splits_of
from ernie.reader.fitting import HEAD, TRUNCATIONS
from ernie.settings.fields import AUTO, changed, setting
from ernie.settings.groups import (
    BatchSettings,
    CheckpointSettings,
    EvaluationSettings,
    OptimizationSettings,
    Settings,
    SubwordSettings,
    TrainingSettings,
)
from ernie.tasks import table
from ernie.tokenizers import TOKENIZERS
from propeller.args import split_list
from propeller.errors import UsageError, UserError, did_you_mean
from propeller.optimizers import OPTIMIZERS

NEVER = 10**9  # steps


@dataclass(frozen=True, kw_only=True)
class DataSettings(Settings, title='data'):
    train_set: str | None = setting(None, 'Training file.')
    dev_set: str | None = setting(None, 'Files to evaluate; the first chooses the best checkpoint.', joined=True)
    dev_share: float = setting(
        0.0, 'Without --dev_set: share of the training rows that is evaluated and not trained on.', least=0, below=1
    )
    test_set: str | None = setting(None, 'Files to predict.', joined=True)
    test_save: str = setting(
        './checkpoints/test_result',
        'Prediction files, one per test set. Left out: test_result in --checkpoints.',
        joined=True,
    )
    diagnostic: str | None = setting(None, 'One more file to predict, once, at the end (GLUE AX).')
    diagnostic_save: str | None = setting(None, 'Where its predictions go.')
    text_column: str | None = setting(
        None, 'Column of the text (of questions: the question). Left out: found by its name, see docs/data.md.'
    )
    text_b_column: str | None = setting(None, 'Column of the second text (of questions: the context).')
    label_column: str | None = setting(None, 'Column of the label (of questions: the answer).')
    tokenizer: str = setting('FullTokenizer', 'CharTokenizer is for text cut by spaces.', choices=TOKENIZERS)
    do_lower_case: bool = setting(True, 'Lower-case and strip accents.')
    for_cn: bool = setting(True, 'Drop spaces next to ideographs and punctuation; others part words.')
    truncation: str = setting(
        HEAD,
        'What is kept of a text that is longer than --max_seq_len; head+tail: a quarter and the end.',
        choices=TRUNCATIONS,
    )
    drop_html_breaks: bool = setting(False, 'Read <br /> as a space.')
    shuffle: bool = setting(True, 'Training rows in random order.')
    length_window: int = setting(
        50, 'Rows of like length share a batch, in windows of so many; 0: no grouping.', least=0
    )
    predict_batch_size: int | None = setting(None, 'Of evaluation and prediction. Left out: --batch_size.', least=1)
    skip_bad_rows: bool = setting(False, 'Leave out rows that cannot be read, and list them.')
    cache: bool = setting(True, 'Keep tokenized files for the next run (in $ERNIE_CACHE or ~/.cache/ernie).')


@dataclass(frozen=True, kw_only=True)
class TaskSettings(Settings, title='task'):
    task_id: int = setting(0, 'Value of the task id; needs use_task_id in the model configuration.', least=0)
    is_classify: bool = setting(True, 'Classification head.')
    is_regression: bool = setting(False, 'Regression head; exactly one of the two.')
    is_multilabel: bool = setting(False, 'Several classes may hold for a row; labels are joined by commas.')
    label_map_config: str | None = setting(None, 'JSON object: label text -> id.')
    num_labels: int | None = setting(None, "Classes. Left out: the label map's or the checkpoint's, else 2.", least=1)
    class_weights: str | None = setting(None, 'Of each class in the loss; "balanced": by frequency.', joined=True)
    metric: str = setting(
        'simple_accuracy',
        'Metric of the task; also chooses the best checkpoint. Classes: simple_accuracy, macro_f1, micro_f1, '
        'weighted_f1, matthews_corrcoef; two: acc_and_f1, acc_and_f1_and_mrr, pearson_and_spearman too.',
    )
    chunk_scheme: str = setting('IOB', 'Sequence labelling: how labels name chunks.', choices=SCHEMES)
    use_crf: bool = setting(False, 'Sequence labelling: a CRF layer over the labels.')


@dataclass(frozen=True, kw_only=True)
class MrcSettings(Settings, title='reading comprehension'):
    max_query_length: int = setting(64, 'Longest question in tokens.', least=1)
    max_answer_length: int = setting(100, 'Longest answer in tokens.', least=1)
    doc_stride: int = setting(128, 'Step between two windows of a document, in tokens.', least=1)
    n_best_size: int = setting(20, 'Answers kept per question.', least=1)
    null_score_diff_threshold: float = setting(0.0, 'No answer when its score leads by more than this.')
    to_simplified: bool = setting(False, 'Convert traditional characters to simplified ones (package opencc).')


@dataclass(frozen=True, kw_only=True)
class WorkSettings(Settings, title='what to do'):
    do_train: bool = setting(True, 'Train.')
    do_val: bool = setting(True, 'Evaluate --dev_set.')
    do_test: bool = setting(True, 'Predict --test_set.')
    metrics: bool = setting(True, 'Accuracy on training log lines.')
    enable_ce: bool = setting(False, 'Print kpis lines for continuous evaluation.', switch='always')
    num_iteration_per_drop_scope: int = setting(10, "Hint for 2019's executor; today's needs none.")
    use_multi_gpu_test: bool = setting(False, 'Evaluation is always shared among the processes, with or without it.')


@dataclass(frozen=True, kw_only=True)
class HeadSettings(Settings, title='fine-tuning'):
    """Optimization of a fine-tuning run."""

    warmup_proportion: float = setting(0.1, 'Share of the steps over which the rate rises.', least=0, below=1)
    decay_without_warmup: bool = setting(False, 'Let linear_warmup_decay decay also when there is no warm-up.')
    head_learning_rate: float | None = setting(None, 'Peak rate of the task head. Left out: --learning_rate.', above=0)
    head_dropout: float = setting(0.1, "Dropout on the encoder's result, before the task head.", least=0, below=1)
    freeze_encoder: bool = setting(False, 'Train the task head only; the encoder then has no dropout.')
    boost: bool = setting(
        False,
        "With --freeze_encoder true, tasks of whole texts: compute the encoder's vectors once, keep them in the cache, "
        'and train on them.',
    )
    keep_layers: int = setting(0, 'Layers of a pre-trained encoder that are kept, from below; 0: all.', least=0)
    optimizer: str = setting('adamw', 'What moves the parameters.', choices=OPTIMIZERS)
    clip_norm: float = setting(1.0, 'Largest global norm of the gradients; 0: no clipping.', least=0)
    max_steps: int = setting(0, 'Stop training after so many steps in all; 0: after --epoch epochs.', least=0)


@dataclass(frozen=True, kw_only=True)
class SearchSettings(Settings, title='search'):
    """Several trainings, of which the best is kept."""

    tries: int = setting(
        0,
        'Train so many times, with other rates, batches, epochs and lengths where these were not given; keep the best.',
        least=0,
        short='try',
        of_start=True,
    )
    try_minutes: float = setting(0.0, 'Of all tries together, at most; 0: no limit.', least=0, of_start=True)


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(
    TrainingSettings,
    DataSettings,
    SubwordSettings,
    TaskSettings,
    MrcSettings,
    HeadSettings,
    SearchSettings,
    WorkSettings,
):
    """Fine-tuning: training, evaluation, prediction."""

    max_checkpoints: int = changed(
        CheckpointSettings,
        'max_checkpoints',
        1,
        'Keep so many of the newest checkpoints, the optimizer state in the newest alone, and the best; '
        '0: all, each whole.',
    )
    epoch: int = changed(OptimizationSettings, 'epoch', 3, auto=True)
    learning_rate: float = changed(OptimizationSettings, 'learning_rate', 5e-5, auto=True)
    max_seq_len: int = changed(BatchSettings, 'max_seq_len', 512, auto=True)
    batch_size: int = changed(BatchSettings, 'batch_size', 32, auto=True)
    early_stop: int = changed(EvaluationSettings, 'early_stop', -1, auto=True)
    keep_layers: int = changed(HeadSettings, 'keep_layers', 0, auto=True)

    def checked(self) -> Self:
        settings = super().checked()
        settings._check_work()
        settings._check_outputs()
        settings._check_files()
        settings = settings._with_splits()
        known = AUTO not in (self.batch_size, self.max_seq_len)
        if known and self.in_tokens and self.do_train and self.batch_size < self.max_seq_len:
            raise UsageError(
                f'--in_tokens true: --batch_size {self.batch_size} counts tokens and must be at least '
                f'--max_seq_len {self.max_seq_len}.'
            )
        if self.early_stop != -1 and not (self.do_val and (self.dev_set or self.dev_share)):
            raise UsageError('--early_stop needs --do_val true, and a --dev_set or a --dev_share.')
        settings._check_boost()
        return settings

    def with_test_save(self) -> Self:
        """The settings with the predictions in --checkpoints, so that those of another training stay."""
        return self.replace(test_save=os.path.join(self.checkpoints, 'test_result'))

    def recorded(self) -> dict[str, Any]:
        found = super().recorded()
        if not self.gave('test_save'):  # a run from run.yaml with other --checkpoints predicts there
            found.pop('test_save', None)
        return found

    def _check_boost(self) -> None:
        if not self.boost:
            return
        if not self.do_train:
            raise UsageError('--boost true is of a training: leave it out with --do_train false.')
        if not self.freeze_encoder:
            raise UsageError(
                '--boost true needs --freeze_encoder true: of an encoder that is trained, vectors do not stay the same.'
            )
        if not self.cache:
            raise UsageError(
                '--boost true keeps vectors in the cache: leave out --cache false. $ERNIE_CACHE says where.'
            )

    def _with_splits(self) -> Self:
        """The settings with `FOLDER:SPLIT` where a set has several splits, each flag with its own.

        What the zoo has is fetched: now, and not when the model is loaded.
        """
        splits = {'train_set': 'train', 'dev_set': 'validation', 'test_set': 'test', 'diagnostic': 'test'}
        used = {'train_set': self.do_train, 'dev_set': self.do_val, 'test_set': self.do_test, 'diagnostic': True}
        named = {}
        for flag, split in splits.items():
            paths = split_list(getattr(self, flag)) if used[flag] else []
            chosen = [named_split(path, split) for path in paths]
            if chosen != paths:
                named[flag] = ','.join(chosen)
            for path in chosen:
                fetch_named(path)
        return self.replace(**named)

    def _check_work(self) -> None:
        if not (self.do_train or self.do_val or self.do_test):
            raise UsageError('--do_train, --do_val, --do_test are all false: at least one must be true.')
        if self.do_train and not self.train_set:
            raise UsageError('--do_train true needs --train_set.')
        if self.dev_set and self.dev_share:
            raise UsageError('--dev_set and --dev_share: give one.')
        held = self.dev_share and self.train_set
        work = (
            self.do_train
            or (self.do_val and (self.dev_set or held))
            or (self.do_test and self.test_set)
            or self.diagnostic
        )
        if not work:
            raise UsageError(
                '--do_train false, and nothing else to do: give --dev_set with --do_val true to evaluate, '
                'or --test_set with --do_test true to predict.'
            )
        if not self.do_train and not self.init_checkpoint:
            raise UsageError('--do_train false needs --init_checkpoint: the model to evaluate.')

    def _check_outputs(self) -> None:
        tests, saves = split_list(self.test_set), split_list(self.test_save)
        if self.do_test and tests and self.test_save and len(saves) != len(tests):
            raise UsageError(f'--test_save names {len(saves)} files for {len(tests)} files of --test_set.')
        if bool(self.diagnostic) != bool(self.diagnostic_save):
            raise UsageError('--diagnostic and --diagnostic_save belong together.')
        if self.do_test and saves and len({os.path.abspath(path) for path in saves}) != len(saves):
            raise UsageError(f'--test_save {self.test_save}: one file twice; one would overwrite the other.')

    def _check_files(self) -> None:
        """Every file that will be read is there: said before the model is loaded."""
        wanted = {
            'train_set': self.do_train,
            'dev_set': self.do_val,
            'test_set': self.do_test,
            'diagnostic': True,
            'label_map_config': True,
            'ernie_config_path': True,
            'vocab_path': True,
            'sentence_piece_model': True,
            'word_dict': True,
        }
        for flag in (flag for flag, used in wanted.items() if used):
            value = getattr(self, flag)
            for path in split_list(value) if flag.endswith('_set') else [value] if value else []:
                if not is_there(path):
                    raise UserError(f'--{flag}: {path}: no such file.{nearest_name(path)}')


@dataclass(frozen=True, kw_only=True)
class OwnDataSettings(FinetuneSettings, title='your own data'):
    """Fine-tune a model on a file of your own. What is not given is found out from the file."""

    first_flags: ClassVar[tuple[str, ...]] = (
        *('model', 'dev_set', 'dev_share', 'test_set', 'text_column', 'label_column', 'checkpoints', 'epoch'),
        *('learning_rate', 'max_seq_len', 'batch_size', 'tries', 'resume'),
    )
    file_flag = 'train_set'

    model: str | None = setting(None, 'Model to start from: a name or a folder. Left out: one that fits the texts.')
    dev_share: float = changed(
        DataSettings, 'dev_share', 0.1, 'Without --dev_set: share of the rows that is evaluated and not trained on.'
    )
    checkpoints: str = changed(
        TrainingSettings, 'checkpoints', '', 'Folder of what the training leaves. Left out: runs/NAME OF FILE.'
    )
    test_save: str = changed(DataSettings, 'test_save', '', 'Prediction files. Left out: test_result in --checkpoints.')
    epoch: int = changed(FinetuneSettings, 'epoch', AUTO, 'Most epochs.')
    learning_rate: float = changed(FinetuneSettings, 'learning_rate', AUTO)
    max_seq_len: int = changed(FinetuneSettings, 'max_seq_len', AUTO)
    batch_size: int = changed(FinetuneSettings, 'batch_size', AUTO)
    validation_steps: int = changed(
        EvaluationSettings, 'validation_steps', NEVER, 'Evaluation interval beside the end of each epoch.'
    )
    early_stop: int = changed(FinetuneSettings, 'early_stop', AUTO)
    keep_layers: int = changed(FinetuneSettings, 'keep_layers', AUTO)
    random_seed: int | None = changed(OptimizationSettings, 'random_seed', 1)
    do_test: bool = changed(WorkSettings, 'do_test', True, 'Predict --test_set, where there is one.')

    def checked(self) -> Self:
        if self.do_train and not self.train_set:
            raise UsageError('no training file is given: ernie finetune FILE. --help lists the first flags.')
        if self.do_train and self.train_set and not is_there(self.train_set):
            near = nearest_name(self.train_set) or _verb_meant(self.train_set)
            raise UserError(f'{self.train_set}: no such file.{near}')
        if self.model and self.init_pretraining_params:
            raise UsageError('--model and --init_pretraining_params mean the same: give one.')
        dev_set = self.dev_set
        if self.do_train and self.train_set and not dev_set and not self.gave('dev_share'):
            dev_set = splits_of(self.train_set).get('validation')  # of a folder of splits
        share = self.dev_share if self.gave('dev_share') or not dev_set else 0.0
        early_stop = self.early_stop if self.gave('early_stop') or (self.do_val and (dev_set or share)) else -1
        changes = {'dev_set': dev_set, 'dev_share': share, 'early_stop': early_stop}
        return super(OwnDataSettings, self.replace(**changes)).checked()


def _verb_meant(word: str) -> str:
    """A sentence, if a word is no file but nearly a verb of `ernie finetune`."""
    near = did_you_mean(word, [spec.verb for spec in table.specs()])
    return near.replace('mean ', 'mean ernie finetune ')
