"""Where the tasks are at prediction time. Loads none of them before it is asked to."""

import importlib

# name of a task in labels.json -> module and class
MODULES = {
    'classification': ('ernie.tasks.classification.codec', 'ClassificationInference'),
    'sequence_labeling': ('ernie.tasks.sequence_labeling.codec', 'TaggingTask'),
    'mrc': ('ernie.tasks.mrc.codec', 'ReadingTask'),
}


def inference_task(name):
    """The subclass of `ernie.tasks.codec.InferenceTask` for a name of `ernie.checkpoint.labels_json.TASK_NAMES`."""
    module, class_name = MODULES[name]
    return getattr(importlib.import_module(module), class_name)
