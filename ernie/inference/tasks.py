"""Where the tasks of `ernie.finetune.saved` are at prediction time. Loads nothing of them before it is asked to."""

import importlib

# name of a task in labels.json -> module and class
MODULES = {
    'classification': ('ernie.inference.classification', 'ClassificationInference'),
    'sequence_labeling': ('ernie.inference.tagging', 'TaggingTask'),
    'mrc': ('ernie.inference.reading', 'ReadingTask'),
}


def inference_task(name):
    """The subclass of `ernie.inference.task.InferenceTask` for a name of `ernie.finetune.saved.TASK_NAMES`."""
    module, class_name = MODULES[name]
    return getattr(importlib.import_module(module), class_name)
