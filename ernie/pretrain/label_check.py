"""Checks the first samples of a file list before training: labels and task ids that are missing."""

from ernie.pretrain.sample_set import COLUMN, read_sets
from propeller.log import get_logger

log = get_logger(__name__)

MOST_FILES = 64  # some milliseconds each


def warn_of_missing_labels(filelist, files, names, has_task_ids):
    """Warns of tasks that the first samples have no label for, and of task ids that the model has no table for.

    Files are looked at until each task has been found, at most `MOST_FILES`.

    Args:
        filelist: path of the list, for the warning.
        files: its `file_list.ListedFile`s.
        names: names of the tasks that the list is expected to have labels for.
        has_task_ids: whether the model has a task embedding.

    Raises:
        UserError: a sample is wrong.
    """
    absent, numbered, samples = set(names), False, 0
    files = files[:MOST_FILES]
    for file in files:
        block = next(read_sets(file.path))
        absent -= {name for name in absent if (block.labels[:, COLUMN[name]] >= 0).any()}
        numbered = numbered or bool((block.task_ids > 0).any())
        samples += block.count
        if not absent:
            break
    if absent:
        missing = ', '.join(name for name in names if name in absent)
        told = '%s: none of the first %d samples (%d files) has a label of %s: it is neither learnt nor measured here'
        log.warning(told, filelist, samples, len(files), missing)
    if numbered and not has_task_ids:
        log.warning('%s: its task ids have no effect: the model configuration has no use_task_id', filelist)
