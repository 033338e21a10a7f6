"""`labels.json`, what a checkpoint says of its task: read, and checked before anything relies on it."""

import os

from ernie.checkpoint.model_folder import LABELS, read_labels
from ernie.decoding.classes import MOST_LABELS
from ernie.reader.classify import label_map_fault
from ernie.reader.fitting import TRUNCATIONS
from ernie.tasks import table
from ernie.tokenization import TOKENIZERS
from propeller.errors import bad_input, quoted


def read_saved_labels(folder):
    """What a checkpoint folder says of its task, a dict: see `ernie.checkpoint.model_folder.read_labels`.

    Raises:
        UserError: a file is broken, or a value cannot be.
    """
    if not folder or not os.path.isdir(folder):
        return {}
    saved, path = read_labels(folder), os.path.join(folder, LABELS)
    for key, (holds, expected) in _fields(saved).items():
        if key in saved and not holds(saved[key]):
            raise bad_input(path, f'{key} {quoted(saved[key])}', expected)
    fault = label_map_fault(list(saved['label_map'].items())) if saved.get('label_map') else None
    if fault:
        raise bad_input(path, *fault)
    return saved


def _fields(saved):
    """dict name of a field -> (test of a value, what is expected), the task first."""
    is_count = lambda value: type(value) is int and 1 <= value < 1 << 31  # noqa: E731
    is_flag = lambda value: isinstance(value, bool)  # noqa: E731
    is_names = lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value)  # noqa: E731
    is_names_of = lambda value: isinstance(value, dict) and is_names(list(value.values()))  # noqa: E731
    # Of all tasks, where the file does not say its own.
    specs = [table.find(saved['task'])] if saved.get('task') in table.TASKS else table.specs()
    columns = [names for spec in specs for names in spec.columns]
    fields = {
        'task': (lambda value: value in table.TASKS, f'one of {", ".join(table.TASKS)}'),
        'tokenizer': (lambda value: value in tuple(TOKENIZERS), f'one of {", ".join(TOKENIZERS)}'),
        'num_labels': (
            lambda value: is_count(value) and value <= MOST_LABELS,
            f'a whole number from 1 to {MOST_LABELS}',
        ),
        'max_seq_len': (is_count, 'a whole number from 3'),
        'labels': (lambda value: value is None or is_names(value), 'a list of names'),
        'label_map': (lambda value: value is None or isinstance(value, dict), 'an object of label -> id'),
        'do_lower_case': (is_flag, 'true or false'),
        'for_cn': (is_flag, 'true or false'),
        'truncation': (lambda value: value in TRUNCATIONS, f'one of {", ".join(TRUNCATIONS)}'),
        'drop_html_breaks': (is_flag, 'true or false'),
        'head_dropout': (lambda value: type(value) in (int, float) and 0 <= value < 1, 'a share from 0 to below 1'),
        'columns': (lambda value: value in columns, ' or '.join(map(quoted, columns))),
        'column_names': (is_names_of, 'an object of role -> column, all of them texts'),
        'task_id': (lambda value: type(value) is int and value >= 0, 'a whole number from 0'),
    }
    for spec in specs:
        fields |= spec.load('fields')
    return fields
