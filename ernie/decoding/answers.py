"""From the scores of positions to answers: pure numpy, after the prediction step of BERT and ERNIE for SQuAD.

A window's logits are two arrays over its positions, `[CLS] question [SEP] part of the document [SEP]`. Only positions
of the document can begin or end an answer; position 0 stands for "no answer".
"""

import math
from typing import NamedTuple

import numpy as np

from ernie.reader.windows import best_windows

EMPTY = 'empty'  # what 2019 writes when nothing is left


class DecodingRules(NamedTuple):
    """n_best_size: answers kept, and starts and ends tried per window. max_answer_length: in tokens.

    unanswerable: whether "no answer" is one of the answers (SQuAD 2.0); it is chosen when its score exceeds that of the
    best answer by more than null_score_diff_threshold.
    """

    n_best_size: int = 20
    max_answer_length: int = 100
    unanswerable: bool = False
    null_score_diff_threshold: float = 0.0


class Candidate(NamedTuple):
    """Tokens `first` to `last` of the document, and the logits of that start and that end."""

    first: int
    last: int
    start_logit: float
    end_logit: float


class Answer(NamedTuple):
    """`text` is `context[start:end]`; for "no answer" it is '' and both are None. probability: softmax of the sums of
    the logits over the n-best list.
    """

    text: str
    start: int | None
    end: int | None
    start_logit: float
    end_logit: float
    probability: float = 0.0


def window_candidates(start_logits, end_logits, is_best, rules):
    """The pairs of one window that may be an answer, unsorted: (first [K], last [K], start logit [K], end logit [K]).

    The `n_best_size` best starts and ends are paired; the end does not lie before the start, the answer is not longer
    than allowed, and no other window shows more of the context of its start.

    Args:
        start_logits, end_logits: [n] float, for the tokens of the document in the window.
        is_best: [n] bool, whether this window is the one that shows most of the token's context.
        rules: `DecodingRules`.
    """
    starts = np.argsort(-start_logits, kind='stable')[: rules.n_best_size]
    ends = np.argsort(-end_logits, kind='stable')[: rules.n_best_size]
    first, last = np.repeat(starts, len(ends)), np.tile(ends, len(starts))
    allowed = is_best[first] & (last >= first) & (last - first < rules.max_answer_length)
    first, last = first[allowed], last[allowed]
    return first, last, start_logits[first], end_logits[last]


def question_candidates(windows, logits, split, rules):
    """The candidates of all windows of a question as a list of `Candidate`, best first; of equals the first found.

    Args:
        windows: [W, 2] int, first token and number of tokens of each window.
        logits: per window (start [T], end [T]) over its positions.
        split: position of the first token of the document, the same in all windows.
        rules: `DecodingRules`.
    """
    best = best_windows(windows, int(windows[-1][0] + windows[-1][1]))
    parts = []
    for number, ((begin, size), pair) in enumerate(zip(windows, logits, strict=True)):
        start, end = (np.asarray(x, np.float64)[split : split + size] for x in pair)
        first, last, *values = window_candidates(start, end, best[begin : begin + size] == number, rules)
        parts.append((first + begin, last + begin, *values))
    first, last, start, end = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(-(start + end), kind='stable')
    rows = zip(first[order], last[order], start[order], end[order], strict=True)
    return [Candidate(int(a), int(b), float(s), float(e)) for a, b, s, e in rows]


def null_candidate(logits):
    """(start logit, end logit) of "no answer": those of position 0 in the window where their sum is least.

    One window that holds the answer is enough to say that there is one.
    """
    pairs = [(float(start[0]), float(end[0])) for start, end in logits]
    return min(pairs, key=sum)


def find_answers(windows, logits, split, cut, rules):
    """The answer of a question and its n-best list.

    Args:
        windows, logits, split, rules: see `question_candidates`.
        cut: function (first, last) token of the document -> (text, start, end) in the context.

    Returns:
        (`Answer`, list of `Answer` best first). Texts in the list are distinct. When no candidate is left, and "no
        answer" is not allowed, the answer is the text `empty` with logits 0, as in 2019.
    """
    found, seen = [], set()
    for candidate in question_candidates(windows, logits, split, rules):
        if len(found) == rules.n_best_size:
            break
        text, start, end = cut(candidate.first, candidate.last)
        if text not in seen:
            seen.add(text)
            found.append(Answer(text, start, end, candidate.start_logit, candidate.end_logit))
    if rules.unanswerable:
        return _or_none(found, Answer('', None, None, *null_candidate(logits)), rules)
    n_best = _with_probabilities(found or [Answer(EMPTY, None, None, 0.0, 0.0)])
    return n_best[0], n_best


def _or_none(found, null, rules):
    n_best = _with_probabilities(sorted([*found, null], key=lambda a: -(a.start_logit + a.end_logit)))
    answers = [answer for answer in n_best if answer.start is not None]
    lead = null.start_logit + null.end_logit - sum((answers[0].start_logit, answers[0].end_logit)) if answers else 0
    if not answers or lead > rules.null_score_diff_threshold:
        return next(answer for answer in n_best if answer.start is None), n_best
    return answers[0], n_best


def _with_probabilities(answers):
    sums = np.array([answer.start_logit + answer.end_logit for answer in answers])
    # The C library's function, which `inference/` calls too: NumPy's own differs in the last digit.
    shares = np.array([math.exp(lead) for lead in sums - sums.max()])
    return [a._replace(probability=float(p)) for a, p in zip(answers, shares / shares.sum(), strict=True)]


def cutter(context, starts, ends):
    """The function `cut` of `find_answers`.

    Args:
        context: str, the text the user gave.
        starts, ends: [T] int, the slice of the context for each token of the document.
    """

    def cut(first, last):
        begin, end = int(min(starts[first : last + 1])), int(max(ends[first : last + 1]))
        return context[begin:end], begin, end

    return cut
