"""What a fine-tuning task is, in one description. Everything that must know of tasks asks the table of them for it."""

import dataclasses
import pkgutil
from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """A fine-tuning task.

    The classes are given as 'module:name' and loaded when they are asked for (`load`), so that a description can be
    had without what it describes.

    Attributes:
        name: the task in `labels.json`; also the name of its module in `ernie.tasks`.
        verb, about: `ernie finetune VERB`, and its line in `ernie --help`.
        program: file of the program, for its usage line; '' where the verb is all.
        graph: subclass of `ernie.model.task_model.FineTuneModel`.
        training: subclass of `ernie.tasks.training.Task`: reads files, scores, writes predictions.
        codec: subclass of `ernie.tasks.codec.Codec`: texts to arrays, arrays to results.
        head: names of the parameters that a pre-trained folder need not hold, the weight first.
        huggingface: end of the name of the class that has this head there, and its module's; None: none has.
        has_classes: whether the columns of that weight are the classes of `labels.json`.
        kinds: kinds of the task by what `--task` calls them, `kind` in `labels.json`; the first one holds where nothing
            says otherwise. {}: there is one.
        columns: the lists of columns that it may have learnt from.
        fields: what may stand in its fields of `labels.json`: dict name -> (test of a value, what is expected), or
            'module:name' of one. Those that all tasks share are checked anyway.
        of_texts: whether a row is a text or a pair as a whole, and the head reads one vector of it.
        by_characters: whether labels stand on characters of the text, so that the tokenizer must not hide them.
        needs_labels: whether a folder without `labels.json` cannot be of this task.
        survey: 'module:name' of a function of (path, settings) -> `ernie.survey.survey.Survey` of a training file; '':
            there is none, and labels must be given.
        forms: further forms of input: dict `--input_format` -> 'module:name' of an `InputForm`.
    """

    name: str
    verb: str
    about: str
    graph: str
    training: str
    codec: str
    head: tuple[str, ...]
    program: str = ''
    huggingface: tuple[str, str] | None = None
    has_classes: bool = False
    kinds: Mapping[str, str] = dataclasses.field(default_factory=dict)
    columns: tuple[list[str], ...] = (['text_a'], ['text_a', 'text_b'])
    fields: Mapping[str, tuple[Callable[[object], bool], str]] | str = dataclasses.field(default_factory=dict)
    of_texts: bool = False
    by_characters: bool = False
    needs_labels: bool = True
    survey: str = ''
    forms: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def load(self, part):
        """The object that `graph`, `training`, `codec`, `survey` or `fields` stands for."""
        value = getattr(self, part)
        return pkgutil.resolve_name(value) if isinstance(value, str) else value
