"""Metrics of the classifier: formulas, the choice by `--metric`, the printed line, the value that ranks checkpoints."""

from typing import NamedTuple

import numpy as np

from ernie.metrics.ranking import mrr
from ernie.metrics.report import score_row, scores_by_class
from propeller.errors import UsageError, one_of
from propeller.scores import flat, ratio


class _Metric(NamedTuple):
    """Attributes: the middle of the printed line; the values whose mean is to be made as large as possible; the kinds
    of task it is for; whether it looks at class 1 of two, and says nothing about more.
    """

    line: str
    main: tuple
    kinds: tuple = ('classify',)
    two_classes: bool = False


_AVERAGES = 'micro_f1: {micro_f1:f}, macro_f1: {macro_f1:f}, weighted_f1: {weighted_f1:f}'
_CLASSES_OR_SETS = ('classify', 'multilabel')
_METRICS = {
    'simple_accuracy': _Metric('acc:{acc:f}', ('acc',)),
    'acc_and_f1': _Metric('ave_acc: {acc:f}, f1: {f1:f}', ('acc', 'f1'), two_classes=True),
    'matthews_corrcoef': _Metric('matthews_corrcoef: {matthews_corrcoef:f}', ('matthews_corrcoef',)),
    'acc_and_f1_and_mrr': _Metric('acc: {acc:f}, f1: {f1:f}, mrr: {mrr:f}', ('f1', 'mrr'), two_classes=True),
    'pearson_and_spearman': _Metric(
        'pearson:{pearson:f}, spearman:{spearman:f}, corr:{corr:f}', ('corr',), ('classify', 'regression'), True
    ),
    'macro_f1': _Metric(_AVERAGES, ('macro_f1',), _CLASSES_OR_SETS),
    'micro_f1': _Metric(_AVERAGES, ('micro_f1',), _CLASSES_OR_SETS),
    'weighted_f1': _Metric(_AVERAGES, ('weighted_f1',), _CLASSES_OR_SETS),
    'multilabel_f1': _Metric(
        'micro_f1: {micro_f1:f}, macro_f1: {macro_f1:f}, subset_acc: {subset_acc:f}', ('micro_f1',), ('multilabel',)
    ),
}


def accuracy(predictions, labels):
    """Share of equal entries; 0.0 of none.

    Args:
        predictions: [N] class ids.
        labels: [N] class ids.
    """
    predictions, labels = flat(predictions, labels)
    return float(ratio((predictions == labels).sum(), labels.size))


def binary_f1(predictions, labels):
    """F1 of class 1 with the 2019 denominator, `2PR / (P + R + 1e-8)`; P and R are 0 where they are not defined.

    Args:
        predictions: [N] class ids.
        labels: [N] class ids.
    """
    predictions, labels = flat(predictions, labels)
    correct = ((predictions == 1) & (labels == 1)).sum()
    precision, recall = ratio(correct, (predictions == 1).sum()), ratio(correct, (labels == 1).sum())
    return float(2 * precision * recall / (precision + recall + 1e-8))


def acc_and_f1(predictions, labels):
    """Accuracy, F1 of class 1 and their mean, as `acc`, `f1` and `acc_and_f1`."""
    acc, f1 = accuracy(predictions, labels), binary_f1(predictions, labels)
    return {'acc': acc, 'f1': f1, 'acc_and_f1': (acc + f1) / 2}


def matthews_corrcoef(predictions, labels):
    """Matthews correlation coefficient, for more than two classes as R_K (Gorodkin 2004).

    Args:
        predictions: [N] class ids.
        labels: [N] class ids.

    Returns:
        float between -1 and 1; 0.0 where one of both holds a single class and the coefficient is not defined.
    """
    predictions, labels = flat(predictions, labels)
    classes = np.union1d(predictions, labels)
    predicted, true = ((a == classes[:, None]).sum(axis=1) for a in (predictions, labels))
    # Python integers: products of counts overflow 64 bits from about 50,000 rows on.
    n, correct = labels.size, int((predictions == labels).sum())
    predicted, true = predicted.tolist(), true.tolist()
    covariance = correct * n - sum(p * t for p, t in zip(predicted, true, strict=True))
    spread_p, spread_t = (n * n - sum(c * c for c in counts) for counts in (predicted, true))
    if not spread_p or not spread_t:
        return 0.0
    return covariance / (spread_p**0.5 * spread_t**0.5)


def pearson_and_spearman(scores, labels):
    """Correlation coefficients of SciPy and their mean, as `pearson`, `spearman` and `corr`.

    Args:
        scores: [N] predicted values.
        labels: [N] true values.

    Returns:
        dict of floats; all 0.0 for fewer than two rows, or where all scores or all labels are equal.
    """
    # Costs most of a second, and only this metric needs it.
    from scipy import stats

    scores, labels = (a.astype(np.float64) for a in flat(scores, labels))
    if labels.size < 2 or np.ptp(scores) == 0 or np.ptp(labels) == 0:
        return {'pearson': 0.0, 'spearman': 0.0, 'corr': 0.0}
    pearson = float(stats.pearsonr(scores, labels)[0])
    spearman = float(stats.spearmanr(scores, labels)[0])
    return {'pearson': pearson, 'spearman': spearman, 'corr': (pearson + spearman) / 2}


def class_f1(predictions, labels):
    """Accuracy, as `acc`, and F1 over the classes: `micro_f1` (counts of all classes summed: the accuracy again),
    `macro_f1` (mean of the classes' F1), `weighted_f1` (mean weighted by how often each class is true).

    As in scikit-learn, classes that occur neither in `labels` nor in `predictions` do not count.

    Args:
        predictions: [N] class ids.
        labels: [N] class ids.
    """
    predictions, labels = flat(predictions, labels)
    _, ids = np.unique(np.concatenate([predictions, labels]), return_inverse=True)
    found, true = ids[: labels.size], ids[labels.size :]
    count = ids.max(initial=-1) + 1
    counts = (np.bincount(a, minlength=count) for a in (true[found == true], found, true))
    return {'acc': accuracy(predictions, labels), **_f1_averages(*counts)}


def _f1_averages(hits, predicted, support):
    """Three averages of F1 from the counts of each class, [C] each."""
    averages = scores_by_class(hits, predicted, support, range(len(hits)))
    return {
        'micro_f1': score_row(hits.sum(), predicted.sum(), support.sum())['f1'],
        'macro_f1': averages['macro_avg']['f1'],
        'weighted_f1': averages['weighted_avg']['f1'],
    }


def multilabel_f1(predictions, labels):
    """F1 over sets of labels.

    Args:
        predictions: [N, C], 1 where the label is predicted.
        labels: [N, C], 1 where the label is true.

    Returns:
        dict of floats: `micro_f1` (counts of all labels summed), `macro_f1` (mean of the labels' F1, 0 for a label that
        is neither predicted nor true), `weighted_f1` (the same weighted by how often each label is true), `subset_acc`
        (share of rows with all labels right).
    """
    predictions, labels = np.asarray(predictions).astype(bool), np.asarray(labels).astype(bool)
    if predictions.shape != labels.shape or labels.ndim != 2:
        raise ValueError(f'multi-label metrics need two [N, C] arrays, found {predictions.shape} and {labels.shape}')
    counts = (a.sum(axis=0) for a in (predictions & labels, predictions, labels))
    right = (predictions == labels).all(axis=1).sum()
    return {**_f1_averages(*counts), 'subset_acc': float(ratio(right, len(labels)))}


def check_metric(metric_name, kind='classify', num_labels=None, has_qid=True):
    """Refuse, before any work, a `--metric` that is unknown or does not fit the task.

    Args:
        metric_name: a `--metric` value.
        kind: `classify`, `regression` or `multilabel`.
        num_labels: number of classes; None if it is not known yet.
        has_qid: whether the data have question ids.

    Raises:
        UsageError: names what is allowed.
    """
    if metric_name not in _METRICS:
        raise UsageError(f'--metric {metric_name}: unknown; choose {one_of(metric_name, _METRICS)}')
    metric = _METRICS[metric_name]
    if kind not in metric.kinds:
        fitting = ', '.join(name for name, other in _METRICS.items() if kind in other.kinds)
        raise UsageError(f'--metric {metric_name}: does not fit the kind of task, {kind}; use one of {fitting}.')
    if metric.two_classes and kind == 'classify' and num_labels not in (None, 2):
        fitting = ', '.join(n for n, other in _METRICS.items() if kind in other.kinds and not other.two_classes)
        raise UsageError(
            f'--metric {metric_name}: it looks at class 1 of two classes, and the task has {num_labels}; '
            f'use one of {fitting}.'
        )
    if metric_name == 'acc_and_f1_and_mrr' and not has_qid:
        raise UsageError(f'--metric {metric_name}: the data set needs a column qid.')


def evaluate(metric_name, probs, labels, qids=None, *, average_loss, elapsed, kind='classify', threshold=0.5):
    """All values of one evaluation.

    Args:
        metric_name: a `--metric` value.
        probs: float [N, C] probabilities; [N] or [N, 1] values for regression; [N, C] one probability per label for
            sets of labels.
        labels: [N] class ids or values; [N, C] of 0 and 1 for sets of labels.
        qids: [N] question ids, for `acc_and_f1_and_mrr`.
        average_loss: mean loss over the rows.
        elapsed: seconds that the evaluation took.
        kind: `classify`, `regression` or `multilabel`.
        threshold: a label of a set is predicted from this probability on.

    Returns:
        dict: `loss`, the values of the metric, `data_num` (rows), `elapsed` (seconds).

    Raises:
        UsageError: the metric is unknown, or does not fit the task or the data.
    """
    probs = np.asarray(probs)
    if kind == 'classify' and probs.ndim != 2:
        raise UsageError(f'--metric {metric_name}: needs a probability for each class, found the shape {probs.shape}.')
    check_metric(metric_name, kind, probs.shape[1] if kind == 'classify' else None, has_qid=qids is not None)
    if kind == 'regression':
        values = pearson_and_spearman(probs, labels)
    elif kind == 'multilabel':
        values = multilabel_f1(probs >= threshold, labels)
    else:
        values = _classification_values(metric_name, probs, labels, qids)
    return {'loss': float(average_loss), **values, 'data_num': len(probs), 'elapsed': float(elapsed)}


def _classification_values(metric_name, probs, labels, qids):
    predictions = probs.argmax(axis=1)
    if metric_name == 'simple_accuracy':
        return {'acc': accuracy(predictions, labels)}
    if metric_name == 'matthews_corrcoef':
        return {'matthews_corrcoef': matthews_corrcoef(predictions, labels)}
    if metric_name == 'pearson_and_spearman':
        return pearson_and_spearman(probs[:, 1], labels)
    if metric_name in ('macro_f1', 'micro_f1', 'weighted_f1'):
        return class_f1(predictions, labels)
    values = acc_and_f1(predictions, labels)
    if metric_name == 'acc_and_f1_and_mrr':
        values['mrr'] = mrr(qids, probs[:, 1], labels)
    return values


def format_dev_line(metric_name, values, kind='classify', phase='dev'):
    """The line that users' scripts parse, e.g. `[dev evaluation] ave loss: 0.303819, acc:0.943333, ...`.

    Args:
        metric_name: a `--metric` value.
        values: the result of `evaluate`.
        kind: the line of `regression` has no `data_num`.
        phase: the set: `dev` or `test`.
    """
    rows = '' if kind == 'regression' else 'data_num: {data_num:d}, '
    form = (
        f'[{phase} evaluation] ave loss: {{loss:f}}, {_METRICS[metric_name].line}, {rows}elapsed time: {{elapsed:f}} s'
    )
    return form.format(**values)


def main_value(metric_name, values):
    """The one number that decides which checkpoint is best; larger is better for every metric.

    In the order of the metrics: `acc`; the mean of `acc` and `f1`; `matthews_corrcoef`; the mean of `f1` and `mrr`,
    which are the two that NLPCC-DBQA reports; `corr`; the F1 that the metric is named after; `micro_f1`.
    """
    return float(np.mean([values[name] for name in _METRICS[metric_name].main]))
