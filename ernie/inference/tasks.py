"""Which tasks there are at prediction time. Loads nothing of them before it is asked to."""

import importlib

MODULES = {
    'classification': ('ernie.inference.classification', 'ClassificationInference'),
    'sequence_labeling': ('ernie.inference.tagging', 'TaggingTask'),
    'mrc': ('ernie.inference.reading', 'ReadingTask'),
}
# What a user may ask for -> (task in labels.json, kind of classification or None).
TASKS = {
    'classification': ('classification', 'classify'),
    'regression': ('classification', 'regression'),
    'multilabel': ('classification', 'multilabel'),
    'sequence_labeling': ('sequence_labeling', None),
    'mrc': ('mrc', None),
}


def inference_task(name):
    """The subclass of `ernie.inference.task.InferenceTask` for a name of `MODULES`."""
    module, class_name = MODULES[name]
    return getattr(importlib.import_module(module), class_name)
