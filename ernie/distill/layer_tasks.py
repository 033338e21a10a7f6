"""Tasks of students: a fine-tuning task whose training has a teacher, and texts from which layers alone are learnt."""

import json
import time

import numpy as np

from ernie.checkpoint.model_folder import companion_files
from ernie.distill.layer_graph import distilled_graph, layers_graph
from ernie.distill.texts import TextReader
from ernie.reader.sentence_types import check_sentence_types
from ernie.run.evaluation import Evaluated, Evaluator
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


class _ScoredByLoss:
    """The score of a task is its loss on the dev set."""

    evaluator_class = Evaluator
    last_step_name = None

    @property
    def measure(self):
        return 'loss, negative:'

    def evaluate(self, predictor, rows, path):
        started, total, count = time.monotonic(), 0.0, 0
        for indices, _, loss in predictor.batches(rows, labelled=True):
            total, count = total + loss * len(indices), count + len(indices)
        values = {'loss': total / count, 'data_num': count, 'elapsed': time.monotonic() - started}
        return Evaluated(values, f'[dev evaluation] loss: {values["loss"]:f}, data_num: {count}')

    def main_value(self, values):
        return -values['loss']


class _OfLayers(_OfStudent, _ScoredByLoss):
    """Layers alone, of the rows of any task: no head, no labels."""

    @property
    def model_class(self):
        return layers_graph(self.plan.teacher, self.plan.terms, self.plan.tell, self.plan.has_pooler)

    def is_new(self, name):
        return False

    def head_hparams(self):
        return {}

    def label_array(self, rows, indices):
        return np.zeros((len(indices), 1), np.int64)

    def own_sums(self, rows, outputs):
        return []

    def checkpoint_files(self):
        files, labels = super().checkpoint_files(), companion_files(self.config, self.tokenizer)
        return {**labels, RECORD: files[RECORD]}


class TextTask(_ScoredByLoss, Task):
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
