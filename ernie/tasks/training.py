"""What the fine-tuning loop needs to know of a task. One subclass per program."""

import abc
import json

from ernie.run.evaluation import Evaluator
from propeller.errors import UserError
from propeller.types import HParams


class Task(abc.ABC):
    """A task: its graph, its reader, its scores and its prediction file.

    Args:
        args: the parsed flags.
        config: `ErnieConfig`.
        tokenizer: what turns text into ids.
        vocab_path: its vocabulary file.
        saved: dict, the `labels.json` of the checkpoint that is loaded, {} if there is none.
    """

    name = None  # of the task, in `labels.json`
    model_class = None  # subclass of `FineTuneModel`
    evaluator_class = Evaluator
    last_step_name = None  # of the evaluation after the last step, in its lines and files; None: the step's number
    columns = None  # names of the columns that the model learns from; None while that is not known
    loss_unit = 'nats'  # what the loss is measured in, for the axis of its curve

    def __init__(self, args, config, tokenizer, vocab_path, saved):
        self.args, self.config, self.tokenizer = args, config, tokenizer
        self.vocab_path, self.saved, self.training_rows = vocab_path, saved, None
        if saved.get('task', self.name) != self.name:
            raise UserError(f'--init_checkpoint: found a checkpoint of the task {saved["task"]}, expected {self.name}.')

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
            lr_scheduler=args.lr_scheduler,
            # A warm-up that was asked for, and is less than one step in a short run, does not take the decay away.
            decay_without_warmup=args.decay_without_warmup or args.warmup_proportion > 0,
            clip_norm=args.clip_norm,
            head_learning_rate=args.head_learning_rate,
            freeze_encoder=args.freeze_encoder,
            recompute=args.recompute,
            **self.head_hparams(),
        )

    @abc.abstractmethod
    def head_hparams(self):
        """-> dict, what `model_class` needs of `HParams` beside the common ones."""

    @abc.abstractmethod
    def feeds(self, labelled):
        """-> list of `graph.Feed`, the label last if there is one."""

    @abc.abstractmethod
    def read(self, path, labelled):
        """-> rows of a file: an object with `len()` and `lengths` [N] int."""

    @abc.abstractmethod
    def arrays(self, rows, indices, labelled):
        """-> list of arrays for `feeds`."""

    def is_new(self, name):
        """Whether pre-trained parameters may lack `name`, because it belongs to the task's head."""
        return self.model_class.is_head(name)

    def describe(self):
        """-> JSON-able dict, the `labels.json` of a checkpoint: labels and what else prediction needs."""
        args = self.args
        return {
            'task': self.name,
            'max_seq_len': args.max_seq_len,
            'tokenizer': args.tokenizer,
            'do_lower_case': args.do_lower_case,
            'task_id': args.task_id,
            **({'columns': list(self.columns)} if self.columns else {}),
        }

    @abc.abstractmethod
    def training_values(self, results):
        """-> dict of numbers for the log line of an update.

        results: list of (row indices of the training set, what the graph predicted for them, a list of arrays).
        """

    @abc.abstractmethod
    def training_line(self, values, speed):
        """-> the part of the log line after `step: N, `. speed: steps a second."""

    @abc.abstractmethod
    def evaluate(self, predictor, rows, path):
        """Score a labelled set. -> (dict of values, log line without its tail, report dict or None)."""

    @abc.abstractmethod
    def main_value(self, values):
        """-> the number that chooses the best checkpoint; larger is better."""

    @abc.abstractmethod
    def predict(self, predictor, rows):
        """-> what `write_predictions` takes. Called in every process of a job."""

    @abc.abstractmethod
    def write_predictions(self, predicted, rows, path):
        """Write one line per row, in order, to `path`. Called in the first process of a job."""

    def prepare_training(self, rows):
        """Called with the training rows before any other set is read and the graph is built."""
        self.training_rows = rows

    def checkpoint_files(self):
        """dict file name -> bytes: everything that prediction needs beside the parameters."""
        return {
            'ernie_config.json': _json(self.config.to_dict()),
            'labels.json': _json(self.describe()),
            **self.tokenizer.files(self.config.max_position_embeddings),
        }


def _json(value):
    return (json.dumps(value, ensure_ascii=False, indent=2) + '\n').encode()
