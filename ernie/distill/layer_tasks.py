"""Tasks of students: a fine-tuning task whose training has a teacher, and texts from which layers alone are learnt."""

import json

from ernie.distill.layer_graph import distilled_graph, layers_graph
from ernie.distill.texts import TextReader
from ernie.reader.sentence_types import check_sentence_types
from ernie.tasks.loss_alone import LossAlone
from ernie.tasks.spec import TaskSpec
from ernie.tasks.training import Task

RECORD = 'distillation.json'  # in each checkpoint of a student: what it has learnt from whom

# No task that a model could have: never in the table, nor in a labels.json.
TEXTS = TaskSpec(
    name='texts',
    verb='',
    about='texts without labels',
    graph='',
    training='ernie.distill.layer_tasks:TextTask',
    codec='',
    head=(),
    of_texts=True,
    needs_labels=False,
)


class _OfStudent:
    """What all tasks of students add to a `Task`. Their class has `plan`, the `Plan`, and `base`, the task itself."""

    def __init__(self, args, config, tokenizer, saved, found=None):
        self.plan.check_tokenizer(tokenizer, self.spec.by_characters)
        self.plan.check_length(args.max_seq_len)
        super().__init__(args, config, tokenizer, saved, found)

    # The losses are the last of what the graph predicts in training; they are logged beside their sum.

    def training_sums(self, rows, outputs):
        count = len(self.plan.terms.weights)
        found = [float(value) * len(rows) for value in outputs[-count:]]
        return [*self.own_sums(rows, outputs[:-count]), *found, len(rows)]

    def own_sums(self, rows, outputs):
        """`training_sums` without the losses."""
        return super().training_sums(rows, outputs)

    def training_values(self, sums):
        names = list(self.plan.terms.weights)
        own, found = sums[: -len(names) - 1], sums[-len(names) - 1 : -1]
        values = super().training_values(own) if len(own) else {}
        return {**values, **{f'loss_{n}': float(v / sums[-1]) for n, v in zip(names, found, strict=True)}}

    def read(self, path, labelled):
        rows = super().read(path, labelled)
        for of_model in (self.config, self.plan.teacher.config):
            check_sentence_types(of_model, getattr(rows, 'tokens', rows), path)
        return rows

    def checkpoint_files(self):
        record = json.dumps(self.plan.record(), indent=2, ensure_ascii=False) + '\n'
        return {**super().checkpoint_files(), RECORD: record.encode()}


class _OfTask(_OfStudent):
    """The task of the teacher; training alone knows of the teacher."""

    def __init__(self, args, config, tokenizer, saved, found=None):
        super().__init__(args, config, tokenizer, saved, found)
        self.plan.check_labels(getattr(self, 'label_names', None))

    @property
    def model_class(self):
        return distilled_graph(super().model_class, self.plan.teacher, self.plan.terms, self.plan.tell)


class _OfLayers(_OfStudent, LossAlone):
    """Layers alone, of the rows of any task."""

    @property
    def model_class(self):
        return layers_graph(self.plan.teacher, self.plan.terms, self.plan.tell, self.plan.has_pooler)

    def own_sums(self, rows, outputs):
        return []


class TextTask(LossAlone, Task):
    """Texts and pairs of texts without labels."""

    spec = TEXTS
    columns = ()

    def read(self, path, labelled):
        args = self.args
        return TextReader(
            self.tokenizer,
            args.max_seq_len,
            args.for_cn,
            args.truncation,
            args.drop_html_breaks,
            skip_bad_rows=args.skip_bad_rows,
            cache=args.cache,
            **self.reading(),
        ).read(path)

    def describe(self):
        return {}

    def count_text(self, rows):
        return f'{len(rows):,} texts'


def task_of_student(base, plan):
    """The class of the task of a run: subclass of `Task`.

    Args:
        base: subclass of `Task` that reads the rows: that of the teacher's task, or `TextTask`.
        plan: `Plan`.
    """
    kind = _OfLayers if plan.terms.of_layers_alone else _OfTask
    return type(f'Student{base.__name__}', (kind, base), {'plan': plan, 'base': base})
