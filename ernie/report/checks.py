"""What may stand in the files that reports are made of: they may come with a folder from anywhere."""

from propeller.errors import UserError
from propeller.train.state import COUNT, COUNT_OR_NONE, NUMBER, NUMBER_OR_NONE, checked, is_count, is_number, none_or

_TEXT = (lambda value: isinstance(value, str), 'a text')
_SCORES = (lambda v: isinstance(v, dict) and all(map(_is_score, v.values())), 'an object of numbers and texts')


def _is_score(value):
    return value is None or isinstance(value, str) or is_number(value)


def _holds(fields, needed=None):
    """Whether a value is an object with such fields."""

    def test(value):
        try:
            checked(value, fields, needed)
        except UserError:
            return False
        return True

    return test


def _list_of(holds):
    return lambda value: isinstance(value, list) and all(map(holds, value))


def _same_lengths(*names):
    return lambda value: len({len(value[name]) for name in names}) == 1


_numbers = (_list_of(is_number), 'a list of numbers')
_ROW = {'precision': NUMBER, 'recall': NUMBER, 'f1': NUMBER, 'support': COUNT}
_is_average = _holds(_ROW)
_is_class = _holds({'name': _TEXT, **_ROW})
_is_trust = _holds({'count': (_list_of(is_count), ''), 'confidence': _numbers, 'accuracy': _numbers, 'ece': NUMBER})
_is_curve = _holds({'precision': _numbers, 'recall': _numbers, 'average_precision': NUMBER})


def _is_calibration(value):
    return _is_trust(value) and value['count'] and _same_lengths('count', 'confidence', 'accuracy')(value)


def _are_curves(value):
    whole = lambda curve: _is_curve(curve) and curve['precision'] and _same_lengths('precision', 'recall')(curve)  # noqa: E731
    return isinstance(value, dict) and all(map(whole, value.values()))


def _is_matrix(value, size):
    """[C, C] counts, or [C, 2, 2] of sets of labels."""
    if not isinstance(value, list):
        return False
    return _is_square(value, size) or (len(value) == size and all(_is_square(each, 2) for each in value))


def _is_square(value, side):
    rows = value if isinstance(value, list) and len(value) == side else [None]
    return all(isinstance(row, list) and len(row) == side and all(map(is_count, row)) for row in rows)


def _is_report(value):
    averages = dict.fromkeys(('micro_avg', 'macro_avg', 'weighted_avg'), (_is_average, ''))
    names = (_list_of(lambda name: isinstance(name, str)), '')
    fields = {'classes': (_list_of(_is_class), ''), 'accuracy': NUMBER, 'confusion_names': names, **averages}
    if not _holds(fields, ('classes', 'accuracy'))(value) or 'confusion_matrix' not in value:
        return False
    return _is_matrix(value['confusion_matrix'], len(value.get('confusion_names') or value['classes']))


REPORT = {'report': (_is_report, 'a report of classes'), 'epoch': COUNT, 'rows': COUNT}
SUMMARY = {
    'file': _TEXT,
    'values': _SCORES,
    'place': COUNT,
    'step': COUNT_OR_NONE,
    'main_value': NUMBER_OR_NONE,
    'kind': _TEXT,
    'unit': _TEXT,
    'count': COUNT,
    'entries': COUNT,
    'wrong': COUNT_OR_NONE,
    'content': (lambda value: value is None or isinstance(value, str), 'a text or null'),
    'calibration': (none_or(_is_calibration), 'counts, confidences and accuracies of bins'),
    'curves': (_are_curves, 'an object of precision-recall curves'),
    'report': (none_or(_is_report), 'a report of classes'),
}
_OF_ROWS = ('kind', 'unit', 'count', 'wrong')

_is_text = lambda value: isinstance(value, str)  # noqa: E731
_is_entry = lambda value: isinstance(value, list) and len(value) == 2 and _is_text(value[0]) and is_count(value[1])  # noqa: E731
_COUNTS = ('rows', 'tokens_most', 'max_seq_len', 'cut')
_TRAIN = {'file': _TEXT, 'tokens_mean': NUMBER, 'classes': (_list_of(_is_entry), '')} | dict.fromkeys(_COUNTS, COUNT)
_MODEL = {
    'path': (none_or(_is_text), ''),
    'parameters': COUNT,
    'vocabulary': COUNT_OR_NONE,
    'origin': (lambda v: isinstance(v, dict) and all(map(_is_text, v.values())), ''),
}
FACTS = {
    'version': _TEXT,
    'task': (none_or(_is_text), 'a text or null'),
    'kind': (none_or(_is_text), 'a text or null'),
    'seconds': NUMBER,
    'columns': (_list_of(_is_text), 'a list of texts'),
    'languages': (_list_of(_is_text), 'a list of texts'),
    'train': (_holds(_TRAIN, ()), 'file, rows, lengths and classes'),
    'model': (_holds(_MODEL, ()), 'path, origin and sizes'),
    'dev': (_list_of(_holds({'file': _TEXT, 'rows': COUNT})), 'a list of files and their rows'),
}
SCORES = {'step': COUNT_OR_NONE, 'main_value': NUMBER_OR_NONE, 'file': _TEXT}


def checked_summary(values):
    """A summary of `ernie.report.sets` if it is one. Raises `UserError` without the file."""
    checked(values, SUMMARY, ('file', 'values'))
    return checked(values, SUMMARY, _OF_ROWS) if 'entries' in values else values
