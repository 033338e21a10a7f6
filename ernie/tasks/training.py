"""What the fine-tuning loop needs to know of a task. One subclass per program."""

import abc

import numpy as np

from ernie.checkpoint.model_folder import companion_files
from ernie.decoding.classes import label_names, named_labels
from ernie.model.task_model import encoder_feeds
from ernie.reader.columns import ColumnNames
from ernie.reader.naming import column_texts
from ernie.reader.tokenized_set import encoder_arrays
from ernie.run.evaluation import Evaluator
from ernie.survey.dev_share import held_out, too_few_texts
from propeller.errors import UserError
from propeller.types import HParams


class Task(abc.ABC):
    """A task in training and evaluation: its reader, its scores and its prediction file.

    Args:
        args: the parsed flags.
        config: `ErnieConfig`.
        tokenizer: what turns text into ids.
        saved: dict, the `labels.json` of the checkpoint that is loaded, {} if there is none.
        found: None, or what the training file shows (`Survey.labels_found`), which holds where nothing else says it.
    """

    spec = None  # its `TaskSpec`
    evaluator_class = Evaluator
    last_step_name = None  # of the evaluation after the last step, in its lines and files; None: the step's number
    columns = None  # names of the columns that the model learns from; None while that is not known
    loss_unit = 'nats'  # what the loss is measured in, for the axis of its curve
    points = 100  # of a `main_value` of 1
    encoder_dropout = True  # whether the encoder has its dropout in training
    boost = None  # `ernie.finetune.boost.Boost` where the vectors of texts are known

    def __init__(self, args, config, tokenizer, saved, found=None):
        self.args, self.config, self.tokenizer = args, config, tokenizer
        self.saved, self.found, self.training_rows = saved, found or {}, None
        self.column_names = saved.get('column_names')  # dict role -> column that the model learns from; None: not known
        name = self.spec.name
        if saved.get('task', name) != name:
            raise UserError(f'--init_checkpoint: found a checkpoint of the task {saved["task"]}, expected {name}.')

    @staticmethod
    def prepare_flags(args):
        """The flags as they are meant for this task, before anything is done with them.

        Raises:
            UsageError: flags that the task does not have, or that contradict each other.
        """
        return args.with_test_save() if args.gave('checkpoints') and not args.gave('test_save') else args

    @property
    def model_class(self):
        """Its graph, a subclass of `FineTuneModel`."""
        return self.spec.load('graph')

    @property
    def task_id(self):
        """Value of the task id input; None where the model has no task embedding."""
        return self.args.task_id if self.config.use_task_id else None

    def hparams(self, num_train_steps, warmup_steps):
        """-> `HParams` for `model_class`."""
        args = self.args
        return HParams(
            ernie=self.config,
            learning_rate=args.learning_rate,
            num_train_steps=num_train_steps,
            warmup_steps=warmup_steps,
            weight_decay=args.weight_decay,
            optimizer=args.optimizer,
            lr_scheduler=args.lr_scheduler,
            # A warm-up that was asked for, and is less than one step in a short run, does not take the decay away.
            decay_without_warmup=args.decay_without_warmup or args.warmup_proportion > 0,
            clip_norm=args.clip_norm,
            head_learning_rate=args.head_learning_rate,
            freeze_encoder=args.freeze_encoder,
            head_dropout=args.head_dropout,
            encoder_dropout=self.encoder_dropout,
            known_vectors=self.boost and self.boost.parameters,
            recompute=args.recompute,
            **self.head_hparams(),
        )

    def head_hparams(self):
        """-> dict, what `model_class` needs of `HParams` beside the common ones."""
        described = self.describe() if self.model_class.settings else {}
        return {name: described[name] for name in self.model_class.settings}

    def feeds(self, labelled):
        """-> list of `graph.Feed`, the label last if there is one."""
        label = [self.model_class.label_feed(HParams(**self.head_hparams()))] if labelled else []
        return [*([self.boost.feed] if self.boost else encoder_feeds(self.config)), *label]

    @abc.abstractmethod
    def read(self, path, labelled):
        """-> rows of a file: an object with `len()` and `lengths` [N] int."""

    def read_divided(self, path, share):
        """-> (rows to train on, rows that are held out to evaluate with), `TokenizedSet`s of one file."""
        rows = self.read(path, labelled=True)
        held = held_out(*self.groups(rows), share)
        if not held.any():
            raise too_few_texts(path, share)
        return rows.take(np.flatnonzero(~held)), rows.take(np.flatnonzero(held))

    def groups(self, rows):
        """-> the first three arguments of `held_out`: keys, and the pairs of a row and a class."""
        none = np.zeros(0, np.int64)
        return np.asarray(rows.keys), none, none

    def arrays(self, rows, indices, labelled):
        """-> list of arrays for `feeds`."""
        arrays = [rows.vectors.take(indices)] if self.boost else encoder_arrays(rows, indices, self.task_id)
        return [*arrays, self.label_array(rows, indices)] if labelled else arrays

    def label_array(self, rows, indices):
        """-> the labels of a batch, [B, W]."""
        labels = np.asarray(rows.labels)[indices]
        return labels if labels.ndim > 1 else labels[:, None]

    def is_new(self, name):
        """Whether pre-trained parameters may lack `name`, because it belongs to the task's head."""
        return name in self.spec.head

    def other_head(self, saved):
        """-> '' where a training that starts from a model takes its head; else what that has learnt, for people.

        saved: dict, the `labels.json` of the model, {} if it has none: then nothing speaks against the head.
        """
        ours, names = self.describe(), named_labels(saved)
        for what in ('task', 'kind'):
            if saved.get(what, ours.get(what)) != ours.get(what):
                return f'the {what} {saved[what]}'
        labels = names and label_names(names, len(set(names.values())))
        return 'other classes' if labels and labels != ours.get('labels') else ''

    def describe(self):
        """-> JSON-able dict, the `labels.json` of a checkpoint: labels and what else prediction needs."""
        args = self.args
        return {
            'task': self.spec.name,
            'max_seq_len': args.max_seq_len,
            'tokenizer': type(self.tokenizer).__name__,
            'do_lower_case': self.tokenizer.do_lower_case,
            'task_id': args.task_id,
            'head_dropout': args.head_dropout,
            **({'columns': list(self.columns)} if self.columns else {}),
            **({'column_names': self.column_names} if self.column_names else {}),
        }

    def reading(self):
        """dict of what every reader is told of the columns: those of the flags, and those that the model learnt from.

        The flags are about the training file, or without a training about every file.
        """
        learnt = self.column_names or {name: name for name in self.columns or ()}
        asked = ColumnNames() if self.training_rows is not None else ColumnNames.of(self.args)
        return {'columns': asked, 'learnt': learnt}

    def training_sums(self, rows, outputs):
        """-> list of numbers that can be added up over batches, for `training_values`. Called for each batch: cheap.

        rows: indices of the training set. outputs: list of arrays, what the graph predicted for them.
        """
        return []

    def training_values(self, sums):
        """-> dict of numbers for a log line. sums: array, `training_sums` added up since the line before."""
        return {}

    def answers(self, rows, outputs):
        """-> (true classes, predicted classes) of a batch in training, int [B] each; None where there are none.

        Arguments as those of `training_sums`.
        """
        return

    def answers_report(self, answers):
        """-> report of `ernie.metrics.report`. answers: int64 [K, 3], pairs of `answers` and how often each came."""
        raise NotImplementedError

    def epoch_values(self, values, report):
        """-> dict of the numbers that the line of an epoch has, `loss` first.

        Args:
            values: dict of numbers: `training_values` with the loss, or those of an evaluation.
            report: of the same rows, or None.
        """
        return values

    # ------------------------------------------------------------ what the start and the end of a run say

    @property
    def measure(self):
        """Name of what `main_value` is, for people."""
        return 'score'

    def column_texts(self):
        """-> list of str, the columns that the model learns from and the label's: `评论 -> text`; [] without names."""
        return column_texts(self.column_names or {})

    def count_text(self, rows):
        """-> `3,600 rows`."""
        return f'{len(rows):,} rows'

    def classes_text(self, rows):
        """-> the classes with how many rows each has, on a line; '' where there are none. rows: of the training."""
        return ''

    def first_rows(self, path, count):
        """-> list of the first rows of a file as a person reads them, on a line each. path: not a FIFO."""
        return []

    # ------------------------------------------------------------ training and evaluation

    def training_line(self, values, speed):
        """-> the part of the log line after `step: N, `. speed: steps a second."""
        return f'ave loss: {values["loss"]:f}, speed: {speed:f} steps/s'

    @abc.abstractmethod
    def evaluate(self, predictor, rows, path):
        """Score a labelled set. -> `Evaluated`, or a plain tuple of its values."""

    def read_scored(self, path):
        """-> the rows of a file for `evaluate`, where nothing is trained."""
        return self.read(path, labelled=True)

    def predictions_of(self, outputs, constants):
        """-> list of arrays, what the graph predicts, as far as `evaluate` looks at it, of what an export gives.

        constants: dict, those of the export.
        """
        return outputs

    def class_counts(self, rows):
        """-> dict name -> how often each class is in labelled rows; {} where there are no classes."""
        return {}

    def texts(self, rows, wanted):
        """The texts of some rows, for the files of wrong rows.

        Args:
            rows: what `read` gave.
            wanted: ascending numbers of rows.
        Returns:
            iterable of (row number, dict name -> text), the same names in each; rows without are left out.
        """
        return ()

    @abc.abstractmethod
    def main_value(self, values):
        """-> the number that chooses the best checkpoint; larger is better."""

    def predict(self, predictor, rows):
        """-> what `write_predictions` takes; here what the graph predicts last, [N, W]. Called in every process."""
        return predictor.collect(rows, labelled=False)[0]

    def write_predictions(self, predicted, rows, path):
        """Write one line per row, in order, to `path`. Called in the first process of a job."""
        raise UserError(f'{path}: the task {self.spec.name} has nothing to predict. Leave --test_set out.')

    def prepare_training(self, rows):
        """Called with the training rows before any other set is read and the graph is built."""
        self.training_rows = rows
        if names := getattr(rows, 'about', {}).get('column_names'):
            self.column_names = names

    def checkpoint_files(self):
        """dict file name -> bytes: everything that prediction needs beside the parameters."""
        return companion_files(self.config, self.tokenizer, self.describe())
