"""Sample lines of pre-training files: the form of ERNIE 1.0, and the form with labels of several tasks.

    token_ids;sentence_type_ids;position_ids;seg_labels;next_sentence_label
    token_ids;sentence_type_ids;position_ids;seg_labels;task_id;name=values;name=values...

Numbers of a list are separated by blanks, and the four lists have one number per token. `seg_labels`: 0 is the first
token of a unit (a word, phrase or entity), 1 a further one, -1 belongs to none (`[CLS]`, `[SEP]`). A named field is the
label of a task: one number, or one per token (-1: this token has none); `knowledge_masking=` says that tokens are to be
masked when the sample is read. The first form is short for task id 0, `knowledge_masking=` and
`next_sentence=next_sentence_label`.
"""

from typing import NamedTuple

import numpy as np

from ernie.pretrain.tasks import TASKS
from ernie.pretrain.tasks.sample import Sample
from ernie.pretrain.tasks.task import NO_LABEL
from propeller.errors import bad_input

LISTS = ('token_ids', 'sentence_type_ids', 'position_ids', 'seg_labels')
FIRST_AND_LAST = {
    'token_ids': (0, 2**31 - 1),
    'sentence_type_ids': (0, 127),
    'position_ids': (0, 32767),
    'seg_labels': (-1, 1),
    'task_id': (0, 32767),
}
MOST_LABEL = 2**31 - 1
MASKED, PAIR = 'knowledge_masking', 'next_sentence'
_DIGITS, _BLANK = b'0123456789', b' '
_MOST_DIGITS = 19  # below, a number fits into int64


def parse_line(line, path='sample', number=None):
    """A `Sample` from a line, str or bytes, with or without its end.

    Args:
        path, number: file and 1-based line, for the error.

    Raises:
        UserError: the line is not one of the two forms; says which field.
    """
    if isinstance(line, bytes):
        line = line.decode('utf-8', errors='replace')
    fields = line.removesuffix('\n').removesuffix('\r').split(';')
    if len(fields) < 5:
        expected = f'{";".join(LISTS)};next_sentence_label, or task_id and name=values fields in place of the last one'
        raise bad_input(path, _too_few(line, len(fields)), expected, number)
    lists = [_parse_list(text, name, path, number) for text, name in zip(fields, LISTS, strict=False)]
    for values, name in zip(lists, LISTS, strict=True):
        if len(values) != len(lists[0]):
            raise bad_input(path, f'{len(values)} numbers in {name}', f'{len(lists[0])} as in token_ids', number)
    if len(fields) == 5:
        return Sample(*lists, 0, {MASKED: None, PAIR: _parse_label(fields[4], 'next_sentence_label', path, number)})
    labels = {}
    for field in fields[5:]:
        name, label = _parse_task(field, len(lists[0]), path, number)
        if name in labels:
            raise bad_input(path, f'the field {name} twice', 'a task once', number)
        labels[name] = label
    return Sample(*lists, _parse_task_id(fields[4], path, number), labels)


def format_line(sample):
    """The line of a sample, without its end: the form of ERNIE 1.0 where that says the same."""
    lists = [' '.join(map(str, values)) for values in sample[:4]]
    if sample.task_id == 0 and sample.labels.keys() == {MASKED, PAIR}:
        return ';'.join([*lists, str(sample.labels[PAIR])])
    named = []
    for name, label in sample.labels.items():
        text = '' if label is None else ' '.join(map(str, np.atleast_1d(label)))
        named.append(f'{name}={text}')
    return ';'.join([*lists, str(sample.task_id), *named])


# ------------------------------------------------------------------------------------------------------ single fields


def _short(text):
    return text if len(text) <= 40 else text[:39] + '…'


def _too_few(line, fields):
    if not line.strip():
        return 'an empty line'
    return f'{fields} field{"s" * (fields > 1)} ({_short(line)!r})'


def _parse_number(text, name, path, number, first, last):
    digits = text.removeprefix('-')
    # isdigit alone takes superscripts, and int() takes signs, underscores and digits of all scripts.
    whole = digits.isascii() and digits.isdigit() and len(digits) < _MOST_DIGITS
    if not whole or not first <= int(text) <= last:
        raise bad_input(path, f'{_short(text)!r} in {name}', f'whole numbers from {first} to {last}', number)
    return int(text)


def _parse_list(text, name, path, number):
    first, last = FIRST_AND_LAST[name]
    values = [_parse_number(word, name, path, number, first, last) for word in text.split()]
    if not values:
        raise bad_input(path, f'nothing in {name}', 'a number for each token', number)
    return np.array(values, np.int64)


def _parse_label(text, name, path, number):
    return _parse_number(text.strip(), name, path, number, 0, MOST_LABEL)


def _parse_task_id(text, path, number):
    return _parse_number(text.strip(), 'task_id', path, number, *FIRST_AND_LAST['task_id'])


def _parse_task(field, tokens, path, number):
    """(name, label) of a field `name=values`."""
    name, separator, text = field.partition('=')
    name = name.strip()
    if not separator or name not in TASKS:
        raise bad_input(path, f'the field {_short(field)!r}', f'name=values with a name of {", ".join(TASKS)}', number)
    if name == MASKED:
        if text.strip():
            raise bad_input(path, f'values in {name}', f'{name}= without any', number)
        return name, None
    if TASKS[name].level == 'sequence':
        return name, _parse_label(text, name, path, number)
    values = [_parse_number(word, name, path, number, NO_LABEL, MOST_LABEL) for word in text.split()]
    if len(values) != tokens:
        raise bad_input(path, f'{len(values)} numbers in {name}', f'{tokens} as in token_ids', number)
    return name, np.array(values, np.int64)


# ------------------------------------------------------------------------------------------------ many lines at once


class Unusual(Exception):
    """A line that `read_columns` does not read; `parse_line` tells whether and why it is wrong."""


class Columns(NamedTuple):
    """The samples of some lines, field by field; a ragged field has the tokens of all samples in a row.

    Attributes:
        token_ids, sentence_types, positions, segments: [total] int64.
        lengths: [N] int64.
        task_ids: list of N int.
        labels: list of (index of the sample, name, label), the label as in `Sample`.
    """

    token_ids: np.ndarray
    sentence_types: np.ndarray
    positions: np.ndarray
    segments: np.ndarray
    lengths: np.ndarray
    task_ids: list
    labels: list


def parse_lines(lines, path='sample', first=1):
    """`Columns` from many lines, bytes without their ends: what `parse_line` gives, some fifty times as fast.

    Args:
        path, first: file, and number of the first of the lines, for the error.

    Raises:
        UserError: as `parse_line`, for the first line that is wrong.
    """
    try:
        return _read_columns([line.split(b';') for line in lines])
    except Unusual:
        samples = [parse_line(line, path, first + i) for i, line in enumerate(lines)]
    lists = (np.concatenate([sample[i] for sample in samples]) for i in range(4))
    lengths = np.array([len(sample.token_ids) for sample in samples], np.int64)
    labels = [(i, name, label) for i, sample in enumerate(samples) for name, label in sample.labels.items()]
    return Columns(*lists, lengths, [sample.task_id for sample in samples], labels)


def _read_columns(rows):
    """`Columns` of split lines that are written as `format_line` writes them. Raises: Unusual."""
    if any(len(row) < 5 for row in rows):
        raise Unusual
    lengths = [row[0].count(_BLANK) + 1 for row in rows]
    total = sum(lengths)
    for i in range(1, 4):
        if [row[i].count(_BLANK) + 1 for row in rows] != lengths:
            raise Unusual
    lists = []
    for i, name in enumerate(LISTS):
        values = _numbers(_BLANK.join([row[i] for row in rows]), total)
        first, last = FIRST_AND_LAST[name]
        if values.min() < first or values.max() > last:
            raise Unusual
        lists.append(values)
    task_ids, labels = [], []
    for i, row in enumerate(rows):
        task_ids.append(0 if len(row) == 5 else _number(row[4], FIRST_AND_LAST['task_id'][1]))
        labels += _labels(i, row, lengths[i])
    return Columns(*lists, np.array(lengths, np.int64), task_ids, labels)


def _labels(i, row, length):
    if len(row) == 5:
        return [(i, MASKED, None), (i, PAIR, _number(row[4], MOST_LABEL))]
    labels = []
    for field in row[5:]:
        name, _, text = field.partition(b'=')
        task = TASKS.get(name.decode('latin1'))
        if task is None:
            raise Unusual
        if task.name == MASKED:
            if text or b'=' not in field:
                raise Unusual
            label = None
        elif task.level == 'sequence':
            label = _number(text, MOST_LABEL)
        else:
            label = _numbers(text, length)
            if label.min() < NO_LABEL or label.max() > MOST_LABEL:
                raise Unusual
        labels.append((i, task.name, label))
    if len({name for _, name, _ in labels}) < len(labels):
        raise Unusual
    return labels


def _number(text, last):
    if not text.isdigit() or len(text) >= _MOST_DIGITS or int(text) > last:
        raise Unusual
    return int(text)


def _numbers(text, count):
    """[count] int64 from numbers with one blank between them. Raises: Unusual.

    `np.fromstring` skips any white space, reads `1-2` as two numbers and `-` as one, so what it never complains about
    is looked for first. A number beyond int64 becomes the largest one.
    """
    # Sentence types and segments have one digit each but for the few -1.
    if len(text) == 2 * count - 1:
        characters = np.frombuffer(text, np.uint8)
        digits = characters[::2] - np.uint8(48)
        if digits.max() <= 9 and (characters[1::2] == 32).all():
            return digits.astype(np.int64)
    if text.translate(None, _DIGITS + b' -') or not text:
        raise Unusual
    if b'-' in text:
        signs = text.count(b'-')
        if signs != text.count(b' -') + text.startswith(b'-') or b'- ' in text or text.endswith(b'-'):
            raise Unusual
    values = np.fromstring(text, np.int64, sep=' ')
    if len(values) != count:
        raise Unusual
    return values
