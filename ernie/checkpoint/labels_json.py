"""`labels.json`, what a checkpoint says of its task: read, and checked before anything relies on it."""

import os

from ernie.checkpoint.model_folder import LABELS, read_labels
from ernie.decoding.classes import MOST_LABELS
from ernie.reader.classify import label_map_fault
from ernie.token_cut import TokenCut
from ernie.tokenization import TOKENIZERS
from propeller.errors import bad_input, quoted

# What a user may ask for -> (task in labels.json, kind of classification or None).
TASKS = {
    'classification': ('classification', 'classify'),
    'regression': ('classification', 'regression'),
    'multilabel': ('classification', 'multilabel'),
    'sequence_labeling': ('sequence_labeling', None),
    'mrc': ('mrc', None),
}
TASK_NAMES = tuple(dict.fromkeys(name for name, _ in TASKS.values()))
# Columns that a model may have learnt from.
COLUMNS = (['text_a'], ['text_a', 'text_b'], ['question', 'context'])
KINDS = tuple(kind for _, kind in TASKS.values() if kind)


def read_saved_labels(folder):
    """What a checkpoint folder says of its task, a dict: see `ernie.checkpoint.model_folder.read_labels`.

    Raises:
        UserError: a file is broken, or one of the values that all tasks share cannot be.
    """
    if not folder or not os.path.isdir(folder):
        return {}
    saved = read_labels(folder)
    _check(os.path.join(folder, LABELS), saved)
    return saved


def _check(path, saved):
    """Refuse a `labels.json` whose values cannot be."""
    is_count = lambda value: type(value) is int and 1 <= value < 1 << 31  # noqa: E731
    is_names = lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value)  # noqa: E731
    checks = {
        'task': (lambda value: value in TASK_NAMES, f'one of {", ".join(TASK_NAMES)}'),
        'kind': (lambda value: value in KINDS, f'one of {", ".join(KINDS)}'),
        'tokenizer': (lambda value: value in tuple(TOKENIZERS), f'one of {", ".join(TOKENIZERS)}'),
        'num_labels': (
            lambda value: is_count(value) and value <= MOST_LABELS,
            f'a whole number from 1 to {MOST_LABELS}',
        ),
        'max_seq_len': (is_count, 'a whole number from 3'),
        'labels': (lambda value: value is None or is_names(value), 'a list of names'),
        'label_map': (lambda value: value is None or isinstance(value, dict), 'an object of label -> id'),
        'do_lower_case': (lambda value: isinstance(value, bool), 'true or false'),
        'for_cn': (lambda value: isinstance(value, bool), 'true or false'),
        'columns': (lambda value: value in COLUMNS, ' or '.join(map(quoted, COLUMNS))),
        'task_id': (lambda value: type(value) is int and value >= 0, 'a whole number from 0'),
    }
    for key, (holds, expected) in checks.items():
        if key in saved and not holds(saved[key]):
            raise bad_input(path, f'{key} {quoted(saved[key])}', expected)
    if 'token_cut' in saved:
        try:
            TokenCut.from_json(saved['token_cut'])
        except ValueError as e:
            raise bad_input(path, str(e), 'token_cut as training writes it') from None
    fault = label_map_fault(list(saved['label_map'].items())) if saved.get('label_map') else None
    if fault:
        raise bad_input(path, *fault)
