import re
import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as oracle

from ernie.metrics import classification as c
from ernie.metrics import ranking
from propeller.errors import UsageError, UserError

METRICS = (
    'simple_accuracy',
    'acc_and_f1',
    'matthews_corrcoef',
    'acc_and_f1_and_mrr',
    'pearson_and_spearman',
    'macro_f1',
    'micro_f1',
    'weighted_f1',
    'multilabel_f1',
)
AVERAGES = ('macro_f1', 'micro_f1', 'weighted_f1')
TWO_CLASSES = ('acc_and_f1', 'acc_and_f1_and_mrr', 'pearson_and_spearman')


@pytest.fixture(params=range(4))
def rng(request):
    return np.random.default_rng(request.param)


@pytest.fixture(autouse=True)
def _no_numerical_noise():
    with warnings.catch_warnings(), np.errstate(all='raise'):
        warnings.simplefilter('error')
        yield


def probabilities(rng, rows, classes):
    p = rng.random((rows, classes)) + 0.01
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize('classes', [2, 3, 5])
def test_class_metrics_agree_with_scikit_learn(rng, classes):
    labels, predictions = rng.integers(0, classes, (2, 41))
    assert c.accuracy(predictions, labels[:, None]) == oracle.accuracy_score(labels, predictions)
    assert c.matthews_corrcoef(predictions, labels) == pytest.approx(oracle.matthews_corrcoef(labels, predictions))
    f1 = oracle.f1_score(labels == 1, predictions == 1)
    assert c.binary_f1(predictions, labels) == pytest.approx(f1, abs=1e-7)
    both = c.acc_and_f1(predictions, labels)
    assert both['acc_and_f1'] == (both['acc'] + both['f1']) / 2


def test_binary_f1_has_the_denominator_of_2019():
    predictions, labels = np.array([1, 1, 0, 1, 0]), np.array([1, 0, 1, 1, 0])
    p = r = 2 / 3
    assert c.binary_f1(predictions, labels) == 2 * p * r / (p + r + 1e-8)


@pytest.mark.parametrize('values', [([], []), ([0, 0, 0], [0, 0, 0]), ([0, 0, 0], [1, 1, 1]), ([1, 1, 1], [0, 0, 0])])
def test_undefined_ratios_are_zero(values):
    predictions, labels = (np.array(v, np.int64) for v in values)
    assert c.binary_f1(predictions, labels) == 0.0
    assert c.matthews_corrcoef(predictions, labels) == 0.0
    assert np.isfinite(c.accuracy(predictions, labels))


def test_mcc_of_many_rows_does_not_overflow():
    labels = np.tile([0, 1], 200_000)
    predictions = np.where(np.arange(400_000) % 8 == 0, 1 - labels, labels).astype(np.int32)
    tp, tn = ((labels == k) & (predictions == k) for k in (1, 0))
    fp, fn = ((labels != k) & (predictions == k) for k in (1, 0))
    tp, tn, fp, fn = (float(a.sum()) for a in (tp, tn, fp, fn))
    expected = (tp * tn - fp * fn) / ((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) ** 0.5
    assert c.matthews_corrcoef(predictions, labels) == pytest.approx(expected, abs=1e-12)


def test_correlations_agree_with_definitions(rng):
    labels = rng.integers(0, 6, 29) / 2
    scores = (labels + rng.normal(size=29)).astype(np.float32)[:, None]
    result = c.pearson_and_spearman(scores, labels)
    x, y = scores.reshape(-1).astype(np.float64), labels
    assert result['pearson'] == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert result['spearman'] == pytest.approx(np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1])
    assert result['corr'] == (result['pearson'] + result['spearman']) / 2


@pytest.mark.parametrize(
    ('scores', 'labels'), [([], []), ([1.0], [2.0]), ([3, 3, 3], [1, 2, 3]), ([1, 2, 3], [0, 0, 0])]
)
def test_correlation_without_spread_is_zero(scores, labels):
    assert c.pearson_and_spearman(np.array(scores), np.array(labels)) == {'pearson': 0.0, 'spearman': 0.0, 'corr': 0.0}


def test_multilabel_f1_agrees_with_scikit_learn(rng):
    labels = rng.integers(0, 2, (31, 5))
    labels[:, 3] = 0
    predictions = np.where(rng.random((31, 5)) < 0.7, labels, rng.integers(0, 2, (31, 5)))
    predictions[:, 3] = 0
    result = c.multilabel_f1(predictions, labels)
    for average in ('micro', 'macro', 'weighted'):
        expected = oracle.f1_score(labels, predictions, average=average, zero_division=0.0)
        assert result[f'{average}_f1'] == pytest.approx(expected)
    assert result['subset_acc'] == pytest.approx(oracle.accuracy_score(labels, predictions))
    assert set(c.multilabel_f1(np.zeros((0, 3)), np.zeros((0, 3))).values()) == {0.0}
    with pytest.raises(ValueError, match=re.escape('(3, 2) and (3, 3)')):
        c.multilabel_f1(np.zeros((3, 2)), np.zeros((3, 3)))


@pytest.mark.parametrize('classes', [2, 3, 7])
def test_f1_over_classes_agrees_with_scikit_learn(rng, classes):
    labels = rng.integers(0, classes, 41)
    predictions = np.where(rng.random(41) < 0.5, labels, rng.integers(0, classes, 41))
    for true, found in ((labels, predictions), (labels % 2, predictions), (labels, predictions * 0), (labels, labels)):
        result = c.class_f1(found, true)
        assert result['acc'] == oracle.accuracy_score(true, found) == pytest.approx(result['micro_f1'])
        for average in ('micro', 'macro', 'weighted'):
            expected = oracle.f1_score(true, found, average=average, zero_division=0.0)
            assert result[f'{average}_f1'] == pytest.approx(expected, abs=1e-12)
    assert set(c.class_f1([], []).values()) == {0.0}


def test_mrr_ties_keep_file_order_and_a_question_without_answer_counts():
    qids = np.array([7, 3, 7, 3, 7, 9])
    scores = np.array([0.5, 0.2, 0.5, 0.9, 0.5, 0.8])
    labels = np.array([0, 1, 0, 0, 2, 0])
    # qid 3: second; qid 7: all tied, third in the file; qid 9: none.
    assert ranking.mrr(qids, scores, labels) == pytest.approx((1 / 2 + 1 / 3 + 0) / 3)
    assert ranking.mean_average_precision(qids, scores, labels) == pytest.approx((1 / 2 + 1 / 3 + 0) / 3)
    assert ranking.mrr([], [], []) == ranking.mean_average_precision([], [], []) == 0.0


LINES = {
    'simple_accuracy': '[dev evaluation] ave loss: 0.303819, acc:0.600000, data_num: 5, elapsed time: 16.280898 s',
    'acc_and_f1': '[dev evaluation] ave loss: 0.303819, ave_acc: 0.600000, f1: 0.666667, data_num: 5, '
    'elapsed time: 16.280898 s',
    'matthews_corrcoef': '[dev evaluation] ave loss: 0.303819, matthews_corrcoef: 0.166667, data_num: 5, '
    'elapsed time: 16.280898 s',
    'acc_and_f1_and_mrr': '[dev evaluation] ave loss: 0.303819, acc: 0.600000, f1: 0.666667, mrr: 0.750000, '
    'data_num: 5, elapsed time: 16.280898 s',
    'pearson_and_spearman': '[dev evaluation] ave loss: 0.303819, pearson:0.443607, spearman:0.577350, corr:0.510479, '
    'data_num: 5, elapsed time: 16.280898 s',
    'weighted_f1': '[dev evaluation] ave loss: 0.303819, micro_f1: 0.600000, macro_f1: 0.583333, '
    'weighted_f1: 0.600000, data_num: 5, elapsed time: 16.280898 s',
}


@pytest.mark.parametrize('metric', LINES)
def test_dev_lines_of_classification(metric):
    scores = np.array([0.9, 0.6, 0.7, 0.3, 0.2])
    probs = np.stack([1 - scores, scores], axis=1)
    labels, qids = np.array([1, 0, 1, 1, 0]), np.array([1, 2, 1, 2, 2])
    values = c.evaluate(metric, probs, labels, qids, average_loss=0.303819, elapsed=16.280898)
    assert c.format_dev_line(metric, values) == LINES[metric]
    assert c.format_dev_line(metric, values, phase='test') == LINES[metric].replace('[dev', '[test')


@pytest.mark.parametrize('shape', [(7,), (7, 1)])
def test_regression_prints_its_real_loss_and_no_row_count(shape):
    labels = np.arange(7.0)
    values = c.evaluate(
        'pearson_and_spearman', labels.reshape(shape) ** 3, labels, average_loss=1.25, elapsed=2, kind='regression'
    )
    pearson = np.corrcoef(labels, labels**3)[0, 1]
    line = f'[dev evaluation] ave loss: 1.250000, pearson:{pearson:f}, spearman:1.000000, corr:{(pearson + 1) / 2:f}, '
    assert c.format_dev_line('pearson_and_spearman', values, 'regression') == line + 'elapsed time: 2.000000 s'
    assert values['data_num'] == 7


def test_multilabel_line_and_threshold():
    probs, labels = np.array([[0.5, 0.4, 0.9], [0.1, 0.3, 0.6]]), np.array([[1, 0, 1], [0, 1, 1]])
    values = c.evaluate('multilabel_f1', probs, labels, average_loss=0.5, elapsed=1, kind='multilabel')
    expected = 'micro_f1: 0.857143, macro_f1: 0.666667, subset_acc: 0.500000, data_num: 2, elapsed time: 1.000000 s'
    assert c.format_dev_line('multilabel_f1', values) == '[dev evaluation] ave loss: 0.500000, ' + expected
    lower = c.evaluate('multilabel_f1', probs, labels, average_loss=0, elapsed=0, kind='multilabel', threshold=0.3)
    assert lower['micro_f1'] == 8 / 9
    values = c.evaluate('macro_f1', probs, labels, average_loss=0.5, elapsed=1, kind='multilabel')
    assert 'macro_f1: 0.666667, weighted_f1: 0.750000, data_num: 2' in c.format_dev_line('macro_f1', values)
    assert c.main_value('weighted_f1', values) == 0.75


def test_values_against_scikit_learn(rng):
    probs, labels = probabilities(rng, 33, 2), rng.integers(0, 2, 33)
    qids = rng.integers(0, 5, 33)
    values = c.evaluate('acc_and_f1_and_mrr', probs, labels, qids, average_loss=0.1, elapsed=0.2)
    assert values['acc'] == oracle.accuracy_score(labels, probs.argmax(axis=1))
    assert values['mrr'] == ranking.mrr(qids, probs[:, 1], labels)
    assert (values['loss'], values['data_num'], values['elapsed']) == (0.1, 33, 0.2)
    correlation = c.evaluate('pearson_and_spearman', probs, labels, average_loss=0, elapsed=0)
    assert correlation['pearson'] == pytest.approx(np.corrcoef(probs[:, 1].astype(float), labels)[0, 1])


@pytest.mark.parametrize(
    ('metric', 'names'),
    [
        ('simple_accuracy', ['acc']),
        ('acc_and_f1', ['acc', 'f1']),
        ('matthews_corrcoef', ['matthews_corrcoef']),
        ('acc_and_f1_and_mrr', ['f1', 'mrr']),
        ('pearson_and_spearman', ['corr']),
        ('macro_f1', ['macro_f1']),
        ('micro_f1', ['micro_f1']),
        ('weighted_f1', ['weighted_f1']),
        ('multilabel_f1', ['micro_f1']),
    ],
)
def test_main_value(rng, metric, names):
    kind = 'multilabel' if metric == 'multilabel_f1' else 'classify'
    labels, probs = rng.integers(0, 2, (11, 2) if kind == 'multilabel' else 11), probabilities(rng, 11, 2)
    values = c.evaluate(metric, probs, labels, np.arange(11) // 3, average_loss=9.0, elapsed=9.0, kind=kind)
    main = c.main_value(metric, values)
    assert type(main) is float and main == pytest.approx(sum(values[name] for name in names) / len(names))


def test_impossible_metrics_are_refused_before_any_work():
    with pytest.raises(UsageError, match=', '.join(METRICS)):
        c.check_metric('accuracy')
    for metric in METRICS:
        if metric != 'pearson_and_spearman':
            with pytest.raises(UsageError, match='regression; use one of pearson_and_spearman'):
                c.check_metric(metric, 'regression')
        if metric not in ('multilabel_f1', *AVERAGES):
            with pytest.raises(UsageError, match=f'multilabel; use one of {", ".join(AVERAGES)}, multilabel_f1'):
                c.check_metric(metric, 'multilabel')
        if metric != 'multilabel_f1':
            c.check_metric(metric)
    c.check_metric('pearson_and_spearman', 'regression', 1)
    for metric in ('multilabel_f1', *AVERAGES):
        c.check_metric(metric, 'multilabel', 5)
    with pytest.raises(UsageError, match='classify; use one of simple_accuracy'):
        c.check_metric('multilabel_f1')
    with pytest.raises(UsageError, match='column qid'):
        c.check_metric('acc_and_f1_and_mrr', has_qid=False)


@pytest.mark.parametrize('metric', [metric for metric in METRICS if metric != 'multilabel_f1'])
@pytest.mark.parametrize('classes', [1, 3, 20])
def test_what_looks_at_class_1_of_two_is_refused_for_more(metric, classes):
    probs = np.full((4, classes), 1 / classes)
    if metric in TWO_CLASSES:
        advice = 'use one of simple_accuracy, matthews_corrcoef, macro_f1, micro_f1, weighted_f1'
        with pytest.raises(UsageError, match=f'{metric}: .* two classes, and the task has {classes}; {advice}'):
            c.check_metric(metric, 'classify', classes)
        with pytest.raises(UsageError, match=f'the task has {classes}'):
            c.evaluate(metric, probs, [0] * 4, [1] * 4, average_loss=0, elapsed=0)
        c.check_metric(metric, 'classify', 2)
    else:
        c.check_metric(metric, 'classify', classes)
        c.evaluate(metric, probs, [0] * 4, [1] * 4, average_loss=0, elapsed=0)


def test_data_that_do_not_fit_the_metric():
    with pytest.raises(UsageError, match=re.escape('a probability for each class, found the shape (3,)')):
        c.evaluate('acc_and_f1', np.ones(3), [0, 0, 0], average_loss=0, elapsed=0)
    with pytest.raises(UserError, match='different sizes'):
        c.evaluate('simple_accuracy', np.ones((3, 1)), [0, 0], average_loss=0, elapsed=0)
