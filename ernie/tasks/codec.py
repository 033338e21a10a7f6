"""The text side of a task: texts in, arrays for any engine, results out. No graph, no training, no files; numpy only.

One subclass per task. It is made from what every checkpoint and every export holds (configuration, vocabulary,
`labels.json`), so that nothing but that folder is needed.
"""

import abc
from collections.abc import Mapping
from typing import NamedTuple

from ernie.reader.classify import RowEncoder
from ernie.reader.columns import TEXTS, Columns, listed, text_columns
from ernie.reader.fitting import text_rules
from ernie.reader.sentence_types import ONE_TYPE
from propeller.errors import UsageError


class Windows(NamedTuple):
    """One record as the model reads it: a row of tokens per window. Most records have one.

    ids: list of lists of token ids, special tokens included.
    split: list of int, how many leading tokens of each row have sentence type 0.
    context: whatever `decode` wants to know again.
    cut: whether something of the record was left out because of its length.
    """

    ids: list
    split: list
    context: object = None
    cut: bool = False


class BadRecord(ValueError):
    """A record that cannot be used: (found, expected), the parts of the message; the caller knows file and line."""

    def __init__(self, found, expected):
        super().__init__(found, expected)
        self.found, self.expected = found, expected


class Selection(NamedTuple):
    """What of a result is given out; None: all of it, and no answer is held back.

    top_k: the most probable classes (reading: answers) are given, so many, in order.
    min_confidence: an answer with less confidence is held back; results also have `confidence`, where a task has it.
    """

    top_k: int | None = None
    min_confidence: float | None = None


EVERYTHING = Selection()


class Codec(abc.ABC):
    """What turns records into rows of tokens, and what a model makes of those into results.

    Args:
        config: `ErnieConfig`.
        tokenizer: of `ernie.tokenization`.
        settings: dict, the `labels.json` of the folder (`Task.describe`), with what the user's flags replace in it
            (`max_seq_len`) and with `constants`.
    """

    columns = Columns()  # those of the records
    empty = None  # the results of no records as an array, where results are arrays
    cut = 0  # how many records so far lost something because of their length
    # Fields of `Selection` that this task does not know -> why, in words.
    unselectable: Mapping[str, str] = {
        'top_k': 'this task has no classes to rank',
        'min_confidence': 'the results of this task have no confidence',
    }
    echo = ()  # names in the results of what stood in the record already
    # Names in the results, in order, and what they hold: str, int or float; `{str: float}` for an object whose names
    # are not fixed, `{name: ...}` for one whose names are, `[...]` for a list. {}: not known.
    fields: Mapping[str, object] = {}

    def __init__(self, config, tokenizer, settings):
        self.config, self.tokenizer, self.settings = config, tokenizer, settings

    @property
    def task_id(self):
        """Value of the task id input; None where the model has no task embedding."""
        return self.settings.get('task_id', 0) if self.config.use_task_id else None

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

        outputs: per window a list of arrays, the results of the graph without the batch axis. Arrays with a length
        axis have the window's length, padding is cut off.
        """

    def check_selection(self, selection):
        """Raises `UsageError`: the task cannot select in this way."""
        for name, value in selection._asdict().items():
            if value is not None and name in self.unselectable:
                raise UsageError(f'--{name} {value}: {self.unselectable[name]}. Leave it out.')

    def select(self, result, selection):
        """A result of `decode` -> what of it is given out, of the same form."""
        return result

    def remarks(self):
        """What the user should know before the first result: list of str for the log."""
        unsaid = 'the model does not say which columns it learnt from: text_b is read where there is one'
        return [unsaid] if 'text_b' in self.columns.known else []

    def header(self):
        """Names of the TSV columns; [] for a file without header line, as in 2019."""
        return []

    @abc.abstractmethod
    def cells(self, result):
        """A result -> list of str, the cells of its TSV line, without TAB and line break."""

    def selected_cells(self, result, selection):
        """`cells` for a result of `select`, where something is selected."""
        return self.cells(result)

    def answers(self, result, selection=EVERYTHING):
        """What a person reads of a result of `select`: a list of (text, confidence or None). Of an answer that is held
        back the text is None.
        """
        return [(' '.join(self.cells(result)), None)]


class TextCodec(Codec):
    """Records of one text or a pair of texts, `text_a` and perhaps `text_b`, each of them one row of tokens.

    `settings` also has `for_cn`, perhaps `truncation` and `drop_html_breaks`, and `columns`, the ones that the model
    learnt from, which every record must have.
    """

    def __init__(self, config, tokenizer, settings):
        super().__init__(config, tokenizer, settings)
        self.columns = text_columns(settings.get('columns'))
        rules = text_rules(settings)
        self._encoder = RowEncoder(tokenizer, settings['max_seq_len'], None, 'predict', None, **rules)

    def encode(self, record):
        texts = [record.get(name) for name in TEXTS]
        for name, text in zip(TEXTS, texts, strict=True):
            if text is None and name in self.columns.required:
                expected = f'{" and ".join(self.columns.required)}, from which the model learnt'
                raise BadRecord(_nothing_as(name, record), expected)
            if text and name in self.columns.refused:
                raise BadRecord(f'a text as {name}', 'none: the model learnt from text_a alone')
            if text is not None and not isinstance(text, str):
                raise BadRecord(f'a {type(text).__name__} as {name}', 'a text')
        ids, split, left_out = self._encoder.encode(*texts)
        self.cut += left_out > 0
        if split < len(ids) and self.config.sentence_types < 2:
            raise BadRecord('a pair of texts', ONE_TYPE)
        return Windows([ids], [split], cut=left_out > 0)


def _nothing_as(name, record):
    """What is found in a record that lacks the text `name`, in words."""
    if name in record:
        return f'null as {name}'
    filled = {key: value for key, value in record.items() if value is not None}
    return f'nothing as {name}' + (f' beside {listed(filled)}' if filled else '')


class InputForm(abc.ABC):
    """A form of input files that only one task has, beside tables, JSON and text. An object of it has no state."""

    @abc.abstractmethod
    def is_form_of(self, path):
        """Whether a file is of this form, by its name and, where it can be read twice, by what it holds."""

    @abc.abstractmethod
    def records(self, path):
        """The records of a file as dicts, in order.

        Raises:
            UserError: file, line, found, expected.
        """
