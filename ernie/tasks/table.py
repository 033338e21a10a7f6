"""The fine-tuning tasks. To add one: a module in `ernie.tasks` that has its description as `SPEC`, and a line here."""

from propeller.table import Table

# Name of the task in labels.json, and without kinds of `--task` -> its `TaskSpec`.
TASKS = Table(
    classification='ernie.tasks.classification:SPEC',
    sequence_labeling='ernie.tasks.sequence_labeling:SPEC',
    mrc='ernie.tasks.mrc:SPEC',
)


def find(name):
    """The `TaskSpec` of a name of `TASKS`."""
    return TASKS[name]


def specs():
    """All descriptions, in the order of the table."""
    return list(TASKS.values())


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
