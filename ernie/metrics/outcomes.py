"""What an evaluation found of each row of a set: which are wrong, surest first, and what two runs are compared by.

Pure functions on numpy arrays. A task gives an `Outcomes` with the scores of a set; `ernie.report` makes files,
pictures and the page of it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ernie.metrics.probabilities import calibration, precision_recall
from ernie.reader.columns import free_name

MOST_CURVES = 10  # classes with a precision-recall curve
_AROUND = 60  # characters of a context that are shown before and after an answer
# Columns of the files of wrong rows that are not the user's.
OWN_COLUMNS = frozenset(
    ('line', 'true', 'predicted', 'missed', 'spurious', 'difference', 'confidence', 'confidence_of_true', 'error', 'id')
    + ('true_type', 'true_text', 'true_tokens', 'predicted_type', 'predicted_text', 'predicted_tokens', 'em', 'f1')
)
MOST_RESIDUALS = 1000  # entries of a regression, where no row is simply wrong


class Outcomes(NamedTuple):
    """Of one set.

    Attributes:
        kind: `classify`, `multilabel`, `regression`, `tagging`, `reading`, or another word of a task of one's own.
        unit: what a row is: `rows`, `sentences`, `questions`.
        count: rows of the set.
        wrong: how many of them are wrong; None where no row is simply right or wrong.
        places: [E] int, the row of each entry of the file of wrong rows, surest first.
        entry: function (number of the entry, dict of the row's texts) -> dict, the entry: texts, numbers and lists of
            texts, by the name of its column.
        by_row: dict name -> [count] array: what the row says in a comparison of two runs.
        calibration: of `ernie.metrics.probabilities.calibration`, or None.
        curves: dict class name -> `precision_recall` of it; {} without.
        answer: function (number of a row, dict of its texts) -> what was predicted for it, as a person reads it; None
            without.
        good: [count] float, how sure a right answer is; 0 for a row that is wrong, or has none; None: not known.
    """

    kind: str
    unit: str
    count: int
    wrong: int | None
    places: np.ndarray
    entry: Callable
    by_row: dict
    calibration: dict | None = None
    curves: dict = {}
    answer: Callable | None = None
    good: np.ndarray | None = None


def column_name(name):
    """What a column of the user's is called in the files of wrong rows: `input_NAME` where we have one of its name."""
    return free_name(name, OWN_COLUMNS, ())


def surest_first(rows, confidence):
    """The rows by falling confidence, equals by their number. rows: [E] int. confidence: [E], of those rows."""
    return np.asarray(rows, np.int64)[np.lexsort((rows, -np.asarray(confidence, np.float64)))]


def number(value):
    """A float as it is written in files of results."""
    return float(f'{value:.6g}')


def class_outcomes(labels, probabilities, names):
    """`Outcomes` of a classifier.

    Args:
        labels: [N] class ids.
        probabilities: [N, C].
        names: [C] str.
    """
    labels, probabilities = np.asarray(labels).reshape(-1).astype(np.int64), np.asarray(probabilities)
    found, rows = probabilities.argmax(-1), np.arange(len(labels))
    confidence, of_true = probabilities[rows, found], probabilities[rows, labels]
    right = found == labels
    wrong = np.flatnonzero(~right)
    places = surest_first(wrong, confidence[wrong])

    def entry(e, texts):
        i = places[e]
        sure = {'confidence': number(confidence[i]), 'confidence_of_true': number(of_true[i])}
        return {**texts, 'true': names[labels[i]], 'predicted': names[found[i]], **sure}

    curves = _curves(probabilities, labels[:, None] == np.arange(len(names)), names)
    by_row = {'true': labels.astype(np.int32), 'predicted': found.astype(np.int32), 'right': right}
    trust = calibration(confidence, right)
    answer = lambda i, _: f'{names[found[i]]} {confidence[i]:.2f}'  # noqa: E731
    good = np.where(right, confidence, 0)
    return Outcomes('classify', 'rows', len(labels), len(wrong), places, entry, by_row, trust, curves, answer, good)


def multilabel_outcomes(labels, probabilities, names, threshold):
    """`Outcomes` of a classifier of several labels a row, sorted by the surest of the wrong decisions of each row.

    Args:
        labels: [N, C] of 0 and 1.
        probabilities: [N, C].
        names: [C] str.
        threshold: a label is predicted from this probability on.
    """
    labels, probabilities = np.asarray(labels).astype(bool), np.asarray(probabilities)
    found = probabilities >= threshold
    confidence = np.where(found, probabilities, 1 - probabilities)
    wrong = np.flatnonzero((found != labels).any(-1))
    surest = np.where(found != labels, confidence, 0).max(-1, initial=0)
    places = surest_first(wrong, surest[wrong])

    def entry(e, texts):
        i = places[e]
        sets = {'true': labels[i], 'predicted': found[i], 'missed': labels[i] & ~found[i]}
        sets |= {'spurious': found[i] & ~labels[i]}
        named = {key: [names[c] for c in np.flatnonzero(of)] for key, of in sets.items()}
        return {**texts, **named, 'confidence': number(surest[i])}

    counts = {'hits': labels & found, 'predicted': found, 'labelled': labels}
    by_row = {key: of.sum(-1).astype(np.int32) for key, of in counts.items()}
    return Outcomes(
        'multilabel', 'rows', len(labels), len(wrong), places, entry, by_row,
        calibration(confidence, found == labels), _curves(probabilities, labels, names),
        lambda i, _: ', '.join(f'{names[c]} {probabilities[i, c]:.2f}' for c in np.flatnonzero(found[i])) or '(none)',
        np.where((found == labels).all(-1) & found.any(-1), confidence.min(-1, initial=1), 0),
    )  # fmt: skip


def regression_outcomes(labels, values):
    """`Outcomes` of a regression: the rows with the largest residuals.

    Args:
        labels: [N] true values.
        values: [N] predicted ones.
    """
    labels, values = (np.asarray(a, np.float32).reshape(-1) for a in (labels, values))
    residuals = np.abs(values.astype(np.float64) - labels)
    places = surest_first(np.arange(len(labels)), residuals)[:MOST_RESIDUALS]

    def entry(e, texts):
        i = places[e]
        return {
            **texts,
            'true': number(labels[i]),
            'predicted': number(values[i]),
            'difference': number(float(values[i]) - float(labels[i])),
        }

    by_row, answer = {'true': labels, 'predicted': values}, lambda i, _: f'{values[i]:.4g}'
    good = 1 / (1 + residuals)
    return Outcomes('regression', 'rows', len(labels), None, places, entry, by_row, answer=answer, good=good)


def reading_outcomes(questions, predictions, probabilities, scores, columns=None):
    """`Outcomes` of reading comprehension: the questions whose answer is not exactly right.

    Args:
        questions: list of `Question`.
        predictions: dict question id -> text.
        probabilities: [Q], of the answers.
        scores: [Q, 2], EM and F1 of each, 0 ... 1.
        columns: dict `question`, `context` -> what the user's file calls it; None: that.
    """
    probabilities, scores = np.asarray(probabilities, np.float64).reshape(-1), np.asarray(scores).reshape(-1, 2)
    names = {role: column_name((columns or {}).get(role, role)) for role in ('question', 'context')}
    wrong = np.flatnonzero(scores[:, 0] < 1)
    places = surest_first(wrong, probabilities[wrong])

    def entry(e, texts):
        i = places[e]
        question = questions[i]
        em, f1 = (number(100 * score) for score in scores[i])
        return {
            'id': question.id,
            names['question']: question.question,
            'true': list(dict.fromkeys(text for text, _ in question.answers)),
            'predicted': predictions[question.id],
            names['context']: _excerpt(question),
            'confidence': number(probabilities[i]),
            'em': em,
            'f1': f1,
        }

    by_row = {'em': scores[:, 0].astype(np.float32), 'f1': scores[:, 1].astype(np.float32)}
    trust = calibration(probabilities, scores[:, 0] == 1)
    answer = lambda i, _: f'{predictions[questions[i].id] or "(no answer)"} {probabilities[i]:.2f}'  # noqa: E731
    return Outcomes('reading', 'questions', len(questions), len(wrong), places, entry, by_row, trust, answer=answer)


def _excerpt(question):
    """The part of the context where the first answer is; its beginning where there is none."""
    context, (answer, start) = question.context, (question.answers or (('', 0),))[0]
    at = start if start is not None and context.startswith(answer, start) else max(context.find(answer), 0)
    first, end = max(at - _AROUND, 0), at + len(answer) + _AROUND
    return ('…' if first else '') + context[first:end] + ('…' if end < len(context) else '')


def _curves(probabilities, true, names):
    """Precision-recall curves of a few classes; of two that exclude each other the second says all."""
    if len(names) > MOST_CURVES:
        return {}
    found = {name: precision_recall(probabilities[:, c], true[:, c]) for c, name in enumerate(names)}
    return {name: curve for name, curve in found.items() if curve}
