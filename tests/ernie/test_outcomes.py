import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, precision_recall_curve

from ernie.decoding.scheme import Chunk, chunks
from ernie.metrics.chunk_errors import ChunkOutcomes, join, pair_chunks
from ernie.metrics.outcomes import (
    class_outcomes,
    column_name,
    multilabel_outcomes,
    reading_outcomes,
    regression_outcomes,
)
from ernie.metrics.probabilities import calibration, precision_recall
from ernie.reader.squad_json import Question

NAMES = ['物流', '상품', 'service']


def softmax(rng, rows, width):
    values = np.exp(rng.normal(size=(rows, width)))
    return (values / values.sum(-1, keepdims=True)).astype(np.float32)


def test_calibration_is_scikit_learns():
    rng = np.random.default_rng(0)
    confidence, right = rng.random(537) ** 0.3, rng.random(537) < 0.7
    found = calibration(confidence, right)
    accuracy, stated = calibration_curve(right, confidence, n_bins=10)
    filled = np.array(found['count']) > 0
    np.testing.assert_allclose(np.array(found['accuracy'])[filled], accuracy)
    np.testing.assert_allclose(np.array(found['confidence'])[filled], stated)
    weights = np.array(found['count'])[filled] / 537
    assert found['ece'] == pytest.approx(float(np.sum(weights * np.abs(accuracy - stated))))
    assert calibration([], [])['ece'] == 0.0
    assert calibration([1.0, 0.0, 0.1], [1, 0, 0])['count'] == [2, *[0] * 8, 1]


@pytest.mark.parametrize('rows', [1, 7, 3000])
def test_precision_recall_is_scikit_learns(rows):
    rng = np.random.default_rng(rows)
    scores, true = np.round(rng.random(rows), 2 if rows < 100 else 9), rng.random(rows) < 0.4
    true[0] = True
    found = precision_recall(scores, true)
    precision, recall, thresholds = precision_recall_curve(true, scores)
    points = {
        (p, r, t) for p, r, t in zip(*(a[:-1].round(9).tolist() for a in (precision, recall)), thresholds, strict=True)
    }
    mine = list(
        zip(*(np.round(found[key], 9).tolist() for key in ('precision', 'recall')), found['threshold'], strict=True)
    )
    assert set(mine) <= points and len(mine) == len(points) if rows < 100 else 100 < len(mine) <= 200
    assert max(recall for _, recall, _ in mine) == 1.0
    assert found['average_precision'] == pytest.approx(average_precision_score(true, scores))


def test_a_class_without_rows_has_no_curve():
    assert precision_recall([0.1, 0.9], [False, False]) is None


def test_columns_of_the_user_keep_their_names_and_ours_too():
    assert [column_name(name) for name in ('评论', 'text_a', 'true', 'id')] == [
        '评论',
        'text_a',
        'input_true',
        'input_id',
    ]


def test_wrong_rows_of_a_classifier_come_surest_first():
    rng = np.random.default_rng(1)
    labels, probabilities = rng.integers(3, size=43), softmax(rng, 43, 3)
    probabilities[[5, 9]] = probabilities[3]
    labels[[3, 5, 9]] = (probabilities[3].argmax() + 1) % 3
    found = class_outcomes(labels, probabilities, NAMES)
    wrong = [i for i in range(43) if probabilities[i].argmax() != labels[i]]
    assert found.places.tolist() == sorted(wrong, key=lambda i: (-probabilities[i].max(), i))
    assert (found.count, found.wrong) == (43, len(wrong))
    first = found.places[0]
    assert found.entry(0, {'text_a': '慢'}) == {
        'text_a': '慢',
        'true': NAMES[labels[first]],
        'predicted': NAMES[probabilities[first].argmax()],
        'confidence': pytest.approx(float(probabilities[first].max()), rel=1e-5),
        'confidence_of_true': pytest.approx(float(probabilities[first, labels[first]]), rel=1e-5),
    }
    assert found.by_row['right'].sum() == 43 - len(wrong) and set(found.curves) == set(NAMES)


def test_wrong_rows_of_sets_of_labels():
    labels = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]], np.float32)
    probabilities = np.array([[0.9, 0.2, 0.6], [0.1, 0.7, 0.1], [0.2, 0.4, 0.8], [0.6, 0.9, 0.02]], np.float32)
    found = multilabel_outcomes(labels, probabilities, NAMES, 0.5)
    assert found.places.tolist() == [3, 2, 1] and found.wrong == 3
    assert found.entry(1, {}) == {
        'true': ['상품'],
        'predicted': ['service'],
        'missed': ['상품'],
        'spurious': ['service'],
        'confidence': 0.8,
    }
    assert found.by_row['hits'].tolist() == [2, 0, 0, 2] and sum(found.calibration['count']) == 12


def test_regression_lists_the_largest_differences():
    found = regression_outcomes([1.0, 2.0, 3.0], [1.5, -1.0, 3.0])
    assert found.places.tolist() == [1, 0, 2] and found.wrong is None
    assert found.entry(0, {'text_a': 'x'}) == {'text_a': 'x', 'true': 2.0, 'predicted': -1.0, 'difference': -3.0}


def test_reading_lists_what_is_not_exactly_right():
    context = '先' * 70 + '甲乙丙'
    questions = [Question(f'q{i}', '谁？', context, (('甲', 70), ('甲乙', None), ('甲', 70))) for i in range(3)]
    answers = {'q0': '甲', 'q1': '丙', 'q2': '乙'}
    found = reading_outcomes(questions, answers, [0.9, 0.4, 0.8], [(1, 1), (0, 0), (0, 0.5)])
    assert found.places.tolist() == [2, 1] and (found.unit, found.count, found.wrong) == ('questions', 3, 2)
    assert found.entry(0, {}) == {
        'id': 'q2',
        'question': '谁？',
        'true': ['甲', '甲乙'],
        'predicted': '乙',
        'context': '…' + '先' * 60 + '甲乙丙',
        'confidence': 0.8,
        'em': 0.0,
        'f1': 50.0,
    }


def test_wrong_chunks_are_told_apart():
    true = ['B-PER', 'I-PER', 'O', 'B-LOC', 'I-LOC', 'O', 'B-ORG', 'O', 'B-PER', 'O', 'O', 'O', 'B-GPE', 'I-GPE']
    found = ['B-PER', 'I-PER', 'O', 'B-ORG', 'I-ORG', 'O', 'B-ORG', 'I-ORG', 'O', 'O', 'B-LOC', 'O', 'O', 'B-LOC']
    pairs = [
        (what, a and a.type, b and b.type) for what, a, b in pair_chunks(chunks(true, 'IOB'), chunks(found, 'IOB'))
    ]
    assert pairs == [
        ('wrong type', 'LOC', 'ORG'),
        ('wrong boundary', 'ORG', 'ORG'),
        ('missed', 'PER', None),
        ('spurious', None, 'LOC'),
        ('wrong type and boundary', 'GPE', 'LOC'),
    ]
    # A chunk goes with the one that it shares most with, and with one alone.
    long, a, b = Chunk('LOC', 0, 5), Chunk('LOC', 0, 2), Chunk('LOC', 2, 5)
    assert pair_chunks([long], [a, b]) == [('spurious', None, a), ('wrong boundary', long, b)]


def test_outcomes_of_sentences():
    collected = ChunkOutcomes('IOB', 3)
    collected.add(2, ['O', 'B-PER'], ['O', 'O'], np.array([0.9, 0.95]))
    collected.add(0, ['B-PER', 'I-PER', 'O'], ['B-PER', 'O', 'O'], np.array([0.5, 0.6, 0.7]))
    collected.add(1, ['B-LOC'], ['B-LOC'], np.array([0.8]))
    found = collected.outcomes()
    assert (found.count, found.wrong, found.places.tolist()) == (3, 2, [2, 0])
    assert found.by_row['hits'].tolist() == [0, 1, 0] and found.by_row['labelled'].tolist() == [1, 1, 1]
    assert found.entry(0, {'tokens': ['见', '他']}) == {
        'sentence': '见他',
        'error': 'missed',
        'true_type': 'PER',
        'true_text': '他',
        'true_tokens': '2-2',
        'predicted_type': '',
        'predicted_text': '',
        'predicted_tokens': '',
        'confidence': 0.95,
    }
    assert found.entry(1, {})['error'] == 'wrong boundary' and found.entry(1, {})['sentence'] == ''
    assert sum(found.calibration['count']) == 2
    answers = [found.answer(row, {'tokens': ['李', '明', '来']}) for row in range(3)]
    assert answers == ['李/PER', '李/LOC', '(none)'] and found.good.tolist() == [0, 0.8, 0]


def test_tokens_are_joined_as_they_are_read():
    assert join(['EU', 'rejects', '德', '国', 'call', '.']) == 'EU rejects德国call .'
    assert join(['이순신은', '서울에']) == '이순신은 서울에' and join([]) == ''
