"""Columns of a text and a label, files of rows of them, and what their data sets give: for tests of feature columns."""

import pytest

from propeller.data.feature_column import (
    FeatureColumns,
    LabelColumn,
    TextColumn,
)
from propeller.errors import UserError

WORDS = {
    b'[PAD]': 0,
    b'[UNK]': 1,
    '今天'.encode(): 2,
    '天气'.encode(): 3,
    '오늘'.encode(): 4,
    b'good': 5,
    b'\xff\xfe': 6,
}
TEXTS = ['今天 天气 good', '오늘', '', '今天  没有 good', ' 天气 ', 'x']


def rows(count, start=0):
    return [f'{TEXTS[i % 6]}\t{i}'.encode() for i in range(start, start + count)]


def write_folder(tmp_path):
    """A folder with three files of 1, 7 and 12 rows."""
    made = tmp_path / 'train'
    made.mkdir()
    for name, lines in (('b', rows(7, 1)), ('a', rows(1)), ('c', rows(12, 8))):
        (made / name).write_bytes(b'\n'.join(lines) + b'\n' * (name != 'c'))
    return made


def columns():
    return FeatureColumns([TextColumn('text', 1, vocab_dict=WORDS), LabelColumn('label')])


def plain(dataset):
    return [[value.tolist() for value in element] for element in dataset]


def labels(dataset):
    return [int(element[1]) for element in dataset]


def refused(make, *texts):
    """`make` raises a `UserError` that says all texts."""
    with pytest.raises(UserError) as caught:
        make()
    for text in texts:
        assert text in str(caught.value)
