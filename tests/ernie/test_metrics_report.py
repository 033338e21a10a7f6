import json
import os
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as oracle

from ernie.metrics import report as r
from propeller.errors import UserError

NAMES = ['体育', '财经news', 'c', 'Émile', '한국어']


@pytest.fixture(params=range(3))
def rng(request):
    return np.random.default_rng(request.param)


@pytest.fixture
def rows(rng):
    """Labels and predictions of five classes; class 3 never occurs, class 4 is never predicted."""
    labels = rng.choice([0, 1, 2, 4], 53)
    return labels, np.where(rng.random(53) < 0.6, labels % 4, rng.integers(0, 4, 53))


def check_rows(found, expected, names):
    keys = {'precision': 'precision', 'recall': 'recall', 'f1': 'f1-score', 'support': 'support'}
    for row, name in zip(found, names, strict=True):
        assert {k: row[k] for k in keys} == pytest.approx({k: expected[name][old] for k, old in keys.items()}), name


def test_report_agrees_with_scikit_learn(rows):
    labels, predictions = rows
    found = r.class_report(labels, predictions, 5, NAMES)
    expected = oracle.classification_report(
        labels, predictions, labels=range(5), target_names=NAMES, output_dict=True, zero_division=0.0
    )
    assert [row['name'] for row in found['classes']] == NAMES
    check_rows(found['classes'], expected, NAMES)
    check_rows([found['macro_avg'], found['weighted_avg']], expected, ['macro avg', 'weighted avg'])
    assert found['accuracy'] == pytest.approx(oracle.accuracy_score(labels, predictions))
    assert found['confusion_matrix'] == oracle.confusion_matrix(labels, predictions, labels=range(5)).tolist()


def test_multilabel_report_agrees_with_scikit_learn(rng):
    labels, predictions = rng.integers(0, 2, (2, 47, 5))
    labels[:, 1], predictions[:, 2] = 0, 0
    found = r.multilabel_report(labels, predictions, NAMES)
    expected = oracle.classification_report(
        labels, predictions, target_names=NAMES, output_dict=True, zero_division=0.0
    )
    check_rows(found['classes'], expected, NAMES)
    averages = [found[key] for key in ('micro_avg', 'macro_avg', 'weighted_avg')]
    check_rows(averages, expected, ['micro avg', 'macro avg', 'weighted avg'])
    assert found['accuracy'] == pytest.approx(oracle.accuracy_score(labels, predictions))
    assert found['confusion_matrix'] == oracle.multilabel_confusion_matrix(labels, predictions).tolist()


def cut(line, width):
    """The text of `line` up to and including display column `width`, and the rest."""
    for i in range(len(line) + 1):
        if r.display_width(line[:i]) == width:
            return line[:i], line[i:]
    raise AssertionError(f'no character of {line!r} ends at column {width}')


def test_columns_align_by_display_width(rows):
    text = r.format_report(r.class_report(*rows, 5, NAMES))
    head, matrix = text.split('confusion matrix (rows: true, columns: predicted)\n\n')
    lines = head.splitlines()
    for column in ('precision', 'recall', 'f1'):
        end = lines[0].index(column) + len(column)
        for line in lines[2:7]:
            start, rest = cut(line, end)
            assert start[-1].isdigit() and rest.startswith(' ')
    lines = matrix.splitlines()
    assert lines[0].split() == NAMES and [line.split()[0] for line in lines[1:]] == NAMES
    assert len({r.display_width(line) for line in lines}) == 1


def test_table_shows_the_numbers():
    labels, predictions = np.array([0, 0, 0, 1, 1, 2, 2]), np.array([0, 0, 1, 1, 1, 0, 2])
    assert r.format_report(r.class_report(labels, predictions, 3, ['负面', '中', 'pos'])) == '\n'.join(
        [
            '              precision  recall      f1  support',
            '',
            '负面             0.6667  0.6667  0.6667        3',
            '中               0.6667  1.0000  0.8000        2',
            'pos              1.0000  0.5000  0.6667        2',
            '',
            'accuracy                         0.7143',
            'macro avg        0.7778  0.7222  0.7111        7',
            'weighted avg     0.7619  0.7143  0.7048        7',
            '',
            'confusion matrix (rows: true, columns: predicted)',
            '',
            '      负面  中  pos',
            '负面     2   1    0',
            '中       0   2    0',
            'pos      1   0    1',
            '',
        ]
    )


def test_display_width():
    assert [r.display_width(text) for text in ('', 'abc', '中文', 'Émile', 'E\u0301mile', '한국', 'ｆｕｌｌ')] == [
        0,
        3,
        4,
        5,
        5,
        4,
        8,
    ]


def test_many_classes_list_their_most_frequent_confusions():
    labels = np.array([7] * 5 + [3] * 3 + [29] + list(range(30)))
    predictions = np.array([8] * 5 + [2] * 3 + [0] + list(range(30)))
    text = r.format_report(r.class_report(labels, predictions, 30))
    lines = text.split('most frequent confusions\n\n')[1].splitlines()
    assert [line.split() for line in lines] == [
        ['true', 'predicted', 'rows'],
        ['7', '8', '5'],
        ['3', '2', '3'],
        ['29', '0', '1'],
    ]


def test_empty_set_is_all_zero():
    with np.errstate(all='raise'):
        found = r.class_report([], [], 2)
        several = r.multilabel_report(np.zeros((0, 2)), np.zeros((0, 2)))
    for report in (found, several):
        assert report['accuracy'] == 0.0 and report['weighted_avg']['f1'] == 0.0
        assert not np.any(report['confusion_matrix'])
        assert '0.0000' in r.format_report(report)


def test_wrong_ids_and_names_are_refused():
    with pytest.raises(UserError, match=r'label 3 is outside of 0 \.\.\. 2; see --num_labels'):
        r.class_report([0, 3], [0, 1], 3)
    with pytest.raises(UserError, match='prediction -1 is outside'):
        r.confusion_matrix([0, 1], [0, -1], 3)
    with pytest.raises(UserError, match='found 2 label names, expected 3'):
        r.class_report([0], [0], 3, ['a', 'b'])


def test_files_hold_the_report(rows, tmp_path):
    report = r.class_report(*rows, 5, ['体\t育', *NAMES[1:]])
    paths = r.write_report(tmp_path / 'dev', report)
    assert sorted(os.listdir(tmp_path)) == ['dev.confusion.tsv', 'dev.json', 'dev.txt']
    text, content, tsv = (Path(path).read_text(encoding='utf-8') for path in paths)
    assert json.loads(content) == report and '财经news' in content
    assert text == r.format_report(report)
    cells = [line.split('\t') for line in tsv.splitlines()]
    assert cells[0] == ['true\\predicted', '体 育', *NAMES[1:]]
    assert [[int(cell) for cell in line[1:]] for line in cells[1:]] == report['confusion_matrix']


def test_multilabel_files(tmp_path):
    report = r.multilabel_report([[1, 0], [1, 1]], [[1, 1], [0, 1]], ['甲', 'b'])
    paths = r.write_report(tmp_path / 'test', report)
    tsv = Path(paths[2]).read_text(encoding='utf-8').splitlines()
    assert tsv == [
        'label\ttrue negative\tfalse positive\tfalse negative\ttrue positive',
        '甲\t0\t0\t1\t1',
        'b\t0\t1\t0\t1',
    ]
    with pytest.raises(UserError, match='cannot be written'):
        r.write_report(tmp_path / 'none' / 'test', report)
