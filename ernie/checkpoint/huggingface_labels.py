"""The classes of a model: `id2label` of Hugging Face and PaddleNLP configurations to and from our `labels.json`."""

import re
from collections import Counter

from ernie.tasks import table
from propeller.errors import bad_input, quoted

_PROBLEMS = {
    'single_label_classification': 'classify',
    'multi_label_classification': 'multilabel',
    'regression': 'regression',
}
_PREFIXES = {frozenset('I'): 'IO', frozenset('IE'): 'IOE', frozenset('BIES'): 'IOBES'}
_NUMBERED = re.compile(r'LABEL_(\d{1,6})')
LONGEST = 512
WINDOW = 128  # overlap of windows and length of questions, as run_mrc.py has them by default


def from_huggingface(values, path, architecture):
    """What `labels.json` says, for a configuration of another framework.

    Args:
        values: content of its `config.json`.
        path: its name, for messages.
        architecture: class name, e.g. `BertForSequenceClassification`.

    Returns:
        dict; {} when the class has no task head that is read here.

    Raises:
        UserError: `id2label` has gaps, a name twice, or contradicts `label2id`.
    """
    spec = table.of_huggingface(architecture)
    if spec is None or architecture.startswith('Electra'):  # its classifier has two layers
        return {}
    positions = values.get('max_position_embeddings')
    longest = min(LONGEST, positions) if type(positions) is int and positions >= 3 else LONGEST
    saved = {'task': spec.name, 'max_seq_len': longest, 'task_id': 0}
    if saved['task'] == 'mrc':
        part = min(WINDOW, longest // 4)
        return saved | {'doc_stride': part, 'max_query_length': min(WINDOW // 2, part)}
    names = _names(values, path)
    label_map = {name: i for i, name in enumerate(names)}
    saved |= {'num_labels': len(names), 'labels': names, 'label_map': label_map}
    if saved['task'] == 'sequence_labeling':
        prefixes = frozenset(name.partition('-')[0] for name in names if name != 'O')
        return saved | {'chunk_scheme': _PREFIXES.get(prefixes, 'IOB'), 'use_crf': False}
    saved |= {'kind': _kind(values, path, len(names)), 'for_cn': False}
    return saved | ({'label_map': None} if saved['kind'] == 'regression' else {})


def _kind(values, path, count):
    problem = values.get('problem_type')
    if problem is None:
        return 'regression' if count == 1 else 'classify'  # as transformers decides
    if not isinstance(problem, str) or problem not in _PROBLEMS:
        raise bad_input(path, f'problem_type {quoted(problem)}', f'one of {", ".join(_PROBLEMS)}')
    if (_PROBLEMS[problem] == 'regression') != (count == 1) and problem != 'multi_label_classification':
        raise bad_input(path, f'problem_type {problem} with {count} classes', 'one output for a regression only')
    return _PROBLEMS[problem]


def _names(values, path):
    """Names of the classes by id. `LABEL_0`, `LABEL_1` ..., which nobody chose, are the plain numbers."""
    table = values.get('id2label')
    if table is None:
        count = next((values[key] for key in ('num_labels', 'num_classes') if key in values), 2)
        if type(count) is not int or not 1 <= count <= 1_000_000:
            raise bad_input(path, f'num_labels {quoted(count)}', 'a whole number from 1')
        return [str(i) for i in range(count)]
    if not isinstance(table, dict) or not table or not all(isinstance(name, str) for name in table.values()):
        raise bad_input(path, f'id2label {quoted(table)}', 'an object of id -> name')
    names = [table.get(str(i)) for i in range(len(table))]
    if None in names:
        raise bad_input(path, f'no id {names.index(None)} in id2label', f'the ids 0 .. {len(table) - 1} without a gap')
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise bad_input(path, f'{quoted(twice)} twice in id2label', 'each name once')
    _check_inverse(values.get('label2id'), names, path)
    numbers = [_NUMBERED.fullmatch(name) for name in names]
    return [str(i) for i in range(len(names))] if all(m and int(m[1]) == i for i, m in enumerate(numbers)) else names


def _check_inverse(label2id, names, path):
    if not isinstance(label2id, dict):
        return
    for i, name in enumerate(names):
        if label2id.get(name, i) != i:
            raise bad_input(path, f'{quoted(name)} as {quoted(label2id[name])} in label2id', f'{i}, as in id2label')


def to_huggingface(saved, width):
    """Keys of `config.json` for a task head.

    Args:
        saved: content of `labels.json`, {} where there is none.
        width: outputs of the head.

    Returns:
        dict: `id2label`, `label2id`, and `problem_type` where the kind is known.
    """
    names = saved.get('labels') or [str(i) for i in range(width)]
    if names == [str(i) for i in range(width)]:
        names = [f'LABEL_{i}' for i in range(width)]
    values = {'id2label': {str(i): name for i, name in enumerate(names)}}
    values['label2id'] = {name: i for i, name in enumerate(names)}
    kinds = {kind: problem for problem, kind in _PROBLEMS.items()}
    if saved.get('task') == 'classification' and saved.get('kind') in kinds:
        values['problem_type'] = kinds[saved['kind']]
    return values
