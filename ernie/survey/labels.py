"""From the labels of a training file to classes, and to what kind of task it is."""

import math
from collections import Counter

from ernie.reader.classify import parse_integer
from ernie.reader.confusable import appearance
from propeller.errors import bad_input, quoted

_NUMBERS = 10  # different numbers, some of them with fractions, are no classes
_WHOLE_NUMBERS = 50  # as many different ones, in few rows each, are no classes
_ROWS_OF_A_NUMBER = 20
_MOSTLY_NUMBERS = 0.9  # of the rows have a number: the others are slips
_RECURRING = 0.5  # of the parts between commas: so many are in several cells
_ALL_DIFFERENT = 0.8  # of the rows have a label of their own: no classes
_FEWEST = 20  # rows from which on that can be said
_SHOWN = 5


def kind_of(counts, rows):
    """What kind of task labels are for, where nobody says it.

    Args:
        counts: dict label -> its rows.
        rows: their number.
    Returns:
        ('classify', 'regression' or 'multilabel', remark): the remark is a sentence where it could be meant otherwise.
    """
    numbers = [_number(text) for text in counts]
    if None not in numbers:
        return _kind_of_numbers(counts, numbers, rows)
    with_comma = [text for text in counts if ',' in text]
    if not with_comma:
        return 'classify', ''
    if _are_joined(counts, with_comma):
        remark = 'labels joined by commas recur: several classes may hold for a row (--is_multilabel false: one class)'
        return 'multilabel', remark
    shown = quoted(with_comma[0], 40)
    what = f'{len(with_comma)} labels with commas, such as {shown}, are taken as one class each'
    if len(with_comma) == 1:
        what = f'one label with a comma, {shown}, is taken as one class'
    return 'classify', f'{what} (--is_multilabel true: as several)'


def _are_joined(counts, with_comma):
    """Whether the commas of labels part classes."""
    if sum(counts[text] for text in with_comma) == 1:
        return False
    others = [_number(text) for text in counts if ',' not in text]
    if None not in others and any(number != int(number) for number in others):
        return False  # beside 3.5, a comma is that of 3,5
    cells = Counter(part for text in counts for part in set(parts_of(text)))
    joined = {part for text in with_comma for part in parts_of(text)}
    return sum(cells[part] > 1 for part in joined) >= _RECURRING * len(joined)


def numbers_but_for(counts):
    """(the labels that are numbers, the others), where the numbers alone are a regression and the others are few.

    ({}, []) where that is not so. counts: dict label -> its rows.
    """
    numbers = {text: count for text, count in counts.items() if _number(text) is not None}
    others = [text for text in counts if text not in numbers]
    rows = sum(numbers.values())
    if not others or not numbers or rows < _MOSTLY_NUMBERS * sum(counts.values()):
        return {}, []
    return (numbers, others) if kind_of(numbers, rows)[0] == 'regression' else ({}, [])


def _kind_of_numbers(counts, numbers, rows):
    fractions = sum(number != int(number) for number in numbers)
    span = f'{len(set(numbers))} different numbers from {min(numbers):g} to {max(numbers):g}'
    if fractions and len(counts) >= _NUMBERS:
        return 'regression', f'labels are {span}: regression (--is_regression false: classes)'
    if len(counts) > _WHOLE_NUMBERS and rows < _ROWS_OF_A_NUMBER * len(counts):
        return 'regression', f'labels are {span}: regression (--is_regression false: classes)'
    if len(counts) > 2 and len(set(numbers)) == 1:
        return 'classify', f'labels are the number {numbers[0]:g}, written in {len(counts)} ways, taken as classes'
    if len(counts) > 2 and (fractions or set(map(int, numbers)) != set(range(len(counts)))):
        return 'classify', f'labels are {span}, taken as classes (--is_regression true: as numbers)'
    return 'classify', ''


def parts_of(text):
    """The classes of a cell of several, without white space around them. Nothing between two commas is no class: the
    reader says where it stands.
    """
    return [part for part in map(str.strip, text.split(',')) if part]


def label_map_of(counts, asked=None, known=()):
    """(label map or None, number of classes).

    Whole numbers 0 .. n - 1 are the ids themselves, and there are at least two of them; so are all whole numbers where
    the user says how many classes there are. Others are ordered by their value, all else by the texts.

    Args:
        counts: dict class -> its rows, without the empty label.
        asked: the number of classes that the user gave, or None.
        known: all classes in their order, where the file says them.
    """
    if known and counts.keys() <= set(known) and asked in (None, len(known)) and len(set(known)) == len(known):
        return {name: i for i, name in enumerate(known)}, len(known)
    integers = [parse_integer(text) for text in counts]
    if None not in integers:
        if asked or set(integers) <= {0, 1}:
            return None, asked or 2
        if set(integers) == set(range(len(integers))):
            return None, len(integers)
    names = sorted(counts) if None in map(_number, counts) else sorted(counts, key=lambda text: (_number(text), text))
    return {name: i for i, name in enumerate(names)}, len(names)


def in_order(counts, label_map, num_labels):
    """dict class -> its rows, in the order of the ids."""
    if label_map:
        return {name: counts.get(name, 0) for name in label_map}
    by_id = Counter()
    for text, count in counts.items():
        by_id[parse_integer(text)] += count
    return {str(i): by_id[i] for i in range(num_labels)}


def check_classes(path, counts, rows):
    """Refuses labels that are no classes. counts: dict class -> its rows. Raises `UserError`."""
    if len(counts) > _ALL_DIFFERENT * rows and rows >= _FEWEST:
        advice = '--label_column NAME says which column is the label; --is_regression true is for numbers.'
        raise bad_input(path, f'{len(counts)} different labels in {rows} rows', 'classes that recur', advice=advice)
    if len(counts) == 1 and parse_integer(next(iter(counts))) not in (0, 1):
        only = quoted(next(iter(counts)), 40)
        raise bad_input(path, f'the label {only} in all rows', 'two classes at least', advice='Add rows of another.')


def doubtful(counts):
    """Sentences about classes that may be mistakes. counts: dict class -> its rows."""
    rare = [name for name, count in counts.items() if count == 1]
    if rare:
        more = f' and {len(rare) - _SHOWN} more' if len(rare) > _SHOWN else ''
        names = ', '.join(quoted(name, 40) for name in rare[:_SHOWN])
        yield f'one row only for class {names}{more}: it is hardly learned. Add rows, or join it with another class.'
    yield from alike(counts, 'class')


def alike(names, what):
    """Sentences about names that may be meant as one. names: iterable of str. what: each is, a class or a label."""
    seen, numbers = {}, {}
    for name in names:
        other = seen.setdefault(appearance(name).strip().casefold(), name)
        if other != name:
            yield f'{what} {quoted(other, 40)} and {quoted(name, 40)} are nearly the same. One of them by mistake?'
        number = _number(name)
        same = name if number is None else numbers.setdefault(number, name)
        if same != name:
            yield f'{what} {quoted(same, 40)} and {quoted(name, 40)} are one number, and two classes. Write it one way.'


def _number(text):
    try:
        value = float(text) if '_' not in text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
