"""What prediction, export and serving need to know of a task: no training, no files, text in and results out.

One subclass per task. It is made from what every checkpoint and every export holds (configuration, vocabulary,
`labels.json`), so that nothing but that folder is needed.
"""

import abc
from typing import NamedTuple

from ernie.model.task_model import encoder_feeds
from ernie.reader.columns import Columns


class Windows(NamedTuple):
    """One record as the model reads it: a row of tokens per window. Most records have one.

    ids: list of lists of token ids, special tokens included.
    split: list of int, how many leading tokens of each row have sentence type 0.
    context: whatever `decode` wants to know again.
    """

    ids: list
    split: list
    context: object = None


class BadRecord(ValueError):
    """A record that cannot be used: (found, expected), the parts of the message; the caller knows file and line."""

    def __init__(self, found, expected):
        super().__init__(found, expected)
        self.found, self.expected = found, expected


class InferenceTask(abc.ABC):
    """A task at prediction time.

    Args:
        config: `ErnieConfig`.
        tokenizer: of `ernie.tokenization`.
        settings: dict, the `labels.json` of the folder (`Task.describe`), with what the user's flags replace in it
            (`max_seq_len`) and with `constants`.
    """

    name = None  # `task` in labels.json
    model_class = None  # subclass of `ernie.model.task_model.FineTuneModel`
    columns = Columns()  # those of the records
    cut = 0  # how many records so far lost something because of their length

    def __init__(self, config, tokenizer, settings):
        self.config, self.tokenizer, self.settings = config, tokenizer, settings

    @property
    def task_id(self):
        """Value of the task id input; None where the model has no task embedding."""
        return self.settings.get('task_id', 0) if self.config.use_task_id else None

    def feeds(self):
        """Inputs of the graph: `propeller.graph.Feed`s for ids, types, positions, mask [, task ids], all [B, T]."""
        return encoder_feeds(self.config)

    @abc.abstractmethod
    def hparams(self):
        """-> `HParams` for `model_class` in PREDICT mode."""

    def outputs(self, predictions):
        """Those of the graph's predictions that `decode` needs, and an export gives: list of values [B, ...]."""
        return list(predictions)

    def constants(self, tensors):
        """JSON-able dict of numbers that `decode` needs and no graph computes.

        tensors: mapping name -> array, the parameters of the checkpoint. The result becomes part of `settings`.
        """
        return {}

    @abc.abstractmethod
    def encode(self, record):
        """dict of str -> `Windows`.

        Raises:
            BadRecord: the record cannot be used.
        """

    @abc.abstractmethod
    def decode(self, record, windows, outputs):
        """The result of a record, a JSON-able dict.

        outputs: per window a list of arrays, those of `outputs` without the batch axis. Arrays with a length axis have
        the window's length, padding is cut off.
        """

    @abc.abstractmethod
    def header(self):
        """Names of the TSV columns; [] for a file without header line."""

    @abc.abstractmethod
    def cells(self, result):
        """A result -> list of str, the cells of its TSV line, without TAB and line break."""
