"""Metrics of the classifier: formulas, the choice by `--metric`, the printed line, the value that ranks checkpoints."""

from typing import NamedTuple

import numpy as np

from ernie.metrics.ranking import mrr
from propeller.errors import UsageError
from propeller.scores import flat, ratio


class _Metric(NamedTuple):
    """Attributes: the middle of the printed line; the values whose mean is to be made as large as possible."""

    line: str
    main: tuple


_METRICS = {
    'simple_accuracy': _Metric('acc:{acc:f}', ('acc',)),
    'acc_and_f1': _Metric('ave_acc: {acc:f}, f1: {f1:f}', ('acc', 'f1')),
    'matthews_corrcoef': _Metric('matthews_corrcoef: {matthews_corrcoef:f}', ('matthews_corrcoef',)),
    'acc_and_f1_and_mrr': _Metric('acc: {acc:f}, f1: {f1:f}, mrr: {mrr:f}', ('f1', 'mrr')),
    'pearson_and_spearman': _Metric('pearson:{pearson:f}, spearman:{spearman:f}, corr:{corr:f}', ('corr',)),
    'multilabel_f1': _Metric(
        'micro_f1: {micro_f1:f}, macro_f1: {macro_f1:f}, subset_acc: {subset_acc:f}', ('micro_f1',)
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


def multilabel_f1(predictions, labels):
    """F1 over sets of labels.

    Args:
        predictions: [N, C], 1 where the label is predicted.
        labels: [N, C], 1 where the label is true.

    Returns:
        dict of floats: `micro_f1` (counts of all labels summed), `macro_f1` (mean of the labels' F1, 0 for a label that
        is neither predicted nor true), `subset_acc` (share of rows with all labels right).
    """
    predictions, labels = np.asarray(predictions).astype(bool), np.asarray(labels).astype(bool)
    if predictions.shape != labels.shape or labels.ndim != 2:
        raise ValueError(f'multi-label metrics need two [N, C] arrays, found {predictions.shape} and {labels.shape}')
    correct = (predictions & labels).sum(axis=0)
    both = predictions.sum(axis=0) + labels.sum(axis=0)
    per_label = [ratio(2 * c, b) for c, b in zip(correct, both, strict=True)]
    return {
        'micro_f1': float(ratio(2 * correct.sum(), both.sum())),
        'macro_f1': float(ratio(sum(per_label), len(per_label))),
        'subset_acc': float(ratio((predictions == labels).all(axis=1).sum(), len(labels))),
    }


def check_metric(metric_name, is_regression=False, is_multilabel=False, has_qid=True):
    """Refuse, before any work, a `--metric` that is unknown or does not fit the task.

    Raises:
        UsageError: names what is allowed.
    """
    if metric_name not in _METRICS:
        raise UsageError(f'--metric {metric_name}: unknown; choose one of {", ".join(_METRICS)}.')
    if is_regression and metric_name != 'pearson_and_spearman':
        raise UsageError(f'--metric {metric_name}: regression has no classes; use --metric pearson_and_spearman.')
    if is_multilabel != (metric_name == 'multilabel_f1'):
        advice = 'use --metric multilabel_f1' if is_multilabel else 'it goes with --is_multilabel true only'
        raise UsageError(f'--metric {metric_name}: does not fit the task; {advice}.')
    if metric_name == 'acc_and_f1_and_mrr' and not has_qid:
        raise UsageError(f'--metric {metric_name}: the data set needs a column qid.')


def evaluate(metric_name, probs, labels, qids=None, *, average_loss, elapsed, is_regression=False, threshold=0.5):
    """All values of one evaluation.

    Args:
        metric_name: a `--metric` value.
        probs: float [N, C] probabilities; [N] or [N, 1] values for regression; [N, C] one probability per label for
            `multilabel_f1`.
        labels: [N] class ids or values; [N, C] of 0 and 1 for `multilabel_f1`.
        qids: [N] question ids, for `acc_and_f1_and_mrr`.
        average_loss: mean loss over the rows.
        elapsed: seconds that the evaluation took.
        is_regression: `probs` are values.
        threshold: a label of `multilabel_f1` is predicted from this probability on.

    Returns:
        dict: `loss`, the values of the metric, `data_num` (rows), `elapsed` (seconds).

    Raises:
        UsageError: the metric is unknown, or does not fit the task or the data.
    """
    is_multilabel = metric_name == 'multilabel_f1'
    check_metric(metric_name, is_regression, is_multilabel, has_qid=qids is not None)
    probs = np.asarray(probs)
    if is_regression:
        values = pearson_and_spearman(probs, labels)
    elif is_multilabel:
        values = multilabel_f1(probs >= threshold, labels)
    else:
        values = _classification_values(metric_name, probs, labels, qids)
    return {'loss': float(average_loss), **values, 'data_num': len(probs), 'elapsed': float(elapsed)}


def _classification_values(metric_name, probs, labels, qids):
    if probs.ndim != 2 or (probs.shape[1] < 2 and metric_name in ('acc_and_f1_and_mrr', 'pearson_and_spearman')):
        raise UsageError(f'--metric {metric_name}: needs at least two classes, found probabilities {probs.shape}.')
    predictions = probs.argmax(axis=1)
    if metric_name == 'simple_accuracy':
        return {'acc': accuracy(predictions, labels)}
    if metric_name == 'matthews_corrcoef':
        return {'matthews_corrcoef': matthews_corrcoef(predictions, labels)}
    if metric_name == 'pearson_and_spearman':
        return pearson_and_spearman(probs[:, 1], labels)
    values = acc_and_f1(predictions, labels)
    if metric_name == 'acc_and_f1_and_mrr':
        values['mrr'] = mrr(qids, probs[:, 1], labels)
    return values


def format_dev_line(metric_name, values, is_regression=False, phase='dev'):
    """The line that users' scripts parse, e.g. `[dev evaluation] ave loss: 0.303819, acc:0.943333, ...`.

    Args:
        metric_name: a `--metric` value.
        values: the result of `evaluate`.
        is_regression: the line of regression has no `data_num`.
        phase: the set: `dev` or `test`.
    """
    rows = '' if is_regression else 'data_num: {data_num:d}, '
    middle = _METRICS[metric_name].line
    form = f'[{phase} evaluation] ave loss: {{loss:f}}, {middle}, {rows}elapsed time: {{elapsed:f}} s'
    return form.format(**values)


def main_value(metric_name, values):
    """The one number that decides which checkpoint is best; larger is better for every metric.

    In the order of the metrics: `acc`; the mean of `acc` and `f1`; `matthews_corrcoef`; the mean of `f1` and `mrr`,
    which are the two that NLPCC-DBQA reports; `corr`; `micro_f1`.
    """
    return float(np.mean([values[name] for name in _METRICS[metric_name].main]))
