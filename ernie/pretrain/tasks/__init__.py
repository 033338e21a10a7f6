"""The pre-training tasks of ERNIE 1.0 and 2.0, each in a file of its own: how its samples are made, and its head.

One more is one new file and one line in `TASKS`; docs/pretraining.md has an example.
"""

from ernie.pretrain.tasks.capitalization import Capitalization
from ernie.pretrain.tasks.dialogue_response import DialogueResponse
from ernie.pretrain.tasks.discourse_relation import DiscourseRelation
from ernie.pretrain.tasks.ir_relevance import IrRelevance
from ernie.pretrain.tasks.knowledge_masking import KnowledgeMasking
from ernie.pretrain.tasks.next_sentence import NextSentence
from ernie.pretrain.tasks.sentence_distance import SentenceDistance
from ernie.pretrain.tasks.sentence_reordering import SentenceReordering
from ernie.pretrain.tasks.token_document import TokenDocument
from propeller.errors import UsageError, one_of

TASKS = {
    task.name: task
    for task in (
        KnowledgeMasking,
        Capitalization,
        TokenDocument,
        SentenceReordering,
        SentenceDistance,
        DiscourseRelation,
        IrRelevance,
        NextSentence,
        DialogueResponse,
    )
}


def make_tasks(names, classes=None):
    """The tasks of these names, in the order of their ids.

    Args:
        names: iterable of names.
        classes: dict name -> number of classes, for tasks that have others than their own.
    Raises:
        UsageError: an unknown name, or a number of classes that cannot be.
    """
    classes = classes or {}
    for name in (*names, *classes):
        if name not in TASKS:
            raise UsageError(f'found the pre-training task {name!r}, expected {one_of(name, TASKS)}')
    for name, count in classes.items():
        if TASKS[name].num_classes is None or isinstance(count, bool) or not isinstance(count, int) or count < 2:
            raise UsageError(f'{name}: found {count!r} classes, expected a whole number from 2 on, or none at all.')
    chosen = [TASKS[name](classes.get(name)) for name in set(names)]
    return sorted(chosen, key=lambda task: task.id)


def make_sample_builders(sample_settings, tokenizer):
    """What makes the samples of the chosen tasks, in the order of `TASKS`.

    Args:
        sample_settings: a `SampleSettings`.
        tokenizer: a `FullTokenizer`.
    """
    builders = [
        task.sample_builder(task, sample_settings, tokenizer)
        for name, task in TASKS.items()
        if name in sample_settings.tasks
    ]
    return [builder for builder in builders if builder.is_needed()]
