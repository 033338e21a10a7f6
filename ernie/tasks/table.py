"""The fine-tuning tasks. To add one: a module in `ernie.tasks` that has its description as `SPEC`, and a line here."""

import importlib

# Each the name of a module of `ernie.tasks`, of the task in labels.json, and without kinds of `--task`.
TASKS = (
    'classification',
    'sequence_labeling',
    'mrc',
)


def find(name):
    """The `TaskSpec` of a name of `TASKS`."""
    return importlib.import_module(f'ernie.tasks.{name}').SPEC


def specs():
    """All descriptions, in the order of the table."""
    return [find(name) for name in TASKS]


def with_head(names):
    """The `TaskSpec` whose head is among names of parameters, or None."""
    return next((spec for spec in specs() if spec.head[0] in names), None)


def of_huggingface(architecture):
    """The `TaskSpec` whose head a class of Hugging Face or PaddleNLP has (`BertForTokenClassification`), or None."""
    known = (spec for spec in specs() if spec.huggingface)
    return next((spec for spec in known if architecture.endswith(spec.huggingface[0])), None)


def choices():
    """What `--task` takes: dict name -> (`TaskSpec`, `kind` in labels.json or None)."""
    return {name: (spec, kind) for spec in specs() for name, kind in (spec.kinds or {spec.name: None}).items()}
