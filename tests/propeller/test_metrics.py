import itertools
import subprocess
import sys

import numpy as np
import pytest
from sklearn import metrics as oracle

from propeller import scores
from propeller.errors import UserError
from propeller.train import metrics as m


def in_batches(metric, *arrays, size=5):
    """The value after feeding `arrays` in batches of odd sizes."""
    metric.reset()
    for i in range(0, len(arrays[0]), size):
        metric.update([a[i : i + size] for a in arrays])
    value = metric.eval()
    assert isinstance(value, np.generic) and value.shape == ()
    return value


@pytest.fixture(params=range(5))
def rng(request):
    return np.random.default_rng(request.param)


@pytest.fixture
def truth(rng):
    return rng.integers(0, 2, (37, 1)).astype(np.int64)


@pytest.fixture
def guess(rng):
    return rng.integers(0, 2, 37).astype(np.int64)


@pytest.fixture
def tied_scores(rng):
    return rng.integers(0, 9, 37).astype(np.float32) / 8


ALL = [
    m.Mean('t'),
    m.Ppl('t'),
    *(kind('label', 'pred') for kind in (m.Acc, m.MSE, m.Cosine, m.Precision, m.Recall, m.F1, m.PrecisionAtThreshold)),
    *(kind('label', 'pred') for kind in (m.Auc, m.RecallAtPrecision)),
    *(kind('qid', 'label', 'pred') for kind in (m.Mrr, m.PNRatio, m.BinaryPNRatio, m.PrecisionAtK)),
    m.ChunkF1('label', 'pred', 'seqlen', 7),
]


@pytest.mark.parametrize('metric', ALL, ids=lambda metric: type(metric).__name__)
def test_graph_values_come_back_untouched_and_no_data_is_zero(metric):
    assert metric.tensor in (('t',), ('label', 'pred'), ('qid', 'label', 'pred'), ('label', 'pred', 'seqlen'))
    metric.reset()
    with np.errstate(all='raise'):
        value = metric.eval()
    assert isinstance(value, np.generic) and value.shape == () and value == 0.0


def test_empty_batches_are_harmless():
    metric = m.Mrr('qid', 'label', 'pred')
    metric.update([np.zeros(0, np.int64)] * 3)
    assert metric.eval() == 0.0
    metric.update([np.array([4]), np.array([1]), np.array([0.5])])
    assert metric.eval() == 1.0


def test_mean_and_ppl(rng):
    losses = rng.random((13, 1)).astype(np.float32)
    assert in_batches(m.Mean('t'), losses) == pytest.approx(losses.astype(np.float64).mean(), abs=1e-12)
    assert in_batches(m.Ppl('t'), losses) == pytest.approx(np.exp(losses.astype(np.float64).mean()), abs=1e-12)
    metric = m.Mean('t')
    metric.update([np.array(3.0)])
    metric.update([np.array([1.0])])
    assert metric.eval() == 2.0


def test_a_column_against_a_row_is_compared_entry_by_entry(truth, guess):
    assert in_batches(m.Acc('l', 'p'), truth, guess) == oracle.accuracy_score(truth, guess)
    assert in_batches(m.MSE('l', 'p'), truth, guess) == pytest.approx(oracle.mean_squared_error(truth, guess))


def test_squared_difference_of_unsigned_numbers_does_not_wrap():
    assert in_batches(m.MSE('l', 'p'), np.array([3], np.uint8), np.array([1], np.uint8)) == 4.0


def test_different_sizes_are_refused():
    with pytest.raises(UserError, match=r'different sizes: \(3, 1\), \(2,\)'):
        m.Acc('l', 'p').update([np.zeros((3, 1)), np.zeros(2)])


def test_cosine(rng):
    a, b = rng.normal(size=(11, 3)), rng.normal(size=(11, 3))
    expected = oracle.pairwise.cosine_similarity(a, b).diagonal().mean()
    assert in_batches(m.Cosine('l', 'p'), a, b) == pytest.approx(expected, abs=1e-12)
    a[4] = 0
    with np.errstate(all='raise'):
        value = in_batches(m.Cosine('l', 'p'), a, b)
    assert value == pytest.approx(oracle.pairwise.cosine_similarity(a, b).diagonal().mean(), abs=1e-12)


def test_precision_recall_f1(truth, guess):
    assert in_batches(m.Precision('l', 'p'), truth, guess) == oracle.precision_score(truth, guess)
    assert in_batches(m.Recall('l', 'p'), truth, guess) == oracle.recall_score(truth, guess)
    assert in_batches(m.F1('l', 'p'), truth, guess) == pytest.approx(oracle.f1_score(truth, guess), abs=1e-5)


@pytest.mark.parametrize('value', [0, 1])
def test_with_one_class_only(value, guess, tied_scores):
    truth = np.full(37, value)
    for kind, score in ((m.Precision, 'precision_score'), (m.Recall, 'recall_score'), (m.F1, 'f1_score')):
        expected = getattr(oracle, score)(truth, guess, zero_division=0)
        assert in_batches(kind('l', 'p'), truth, guess) == pytest.approx(expected, abs=1e-5)
    assert in_batches(m.Acc('l', 'p'), truth, guess) == oracle.accuracy_score(truth, guess)
    above = oracle.precision_score(truth, tied_scores > 0.5, zero_division=0)
    assert in_batches(m.PrecisionAtThreshold('l', 'p'), truth, tied_scores) == pytest.approx(above, abs=1e-6)
    assert in_batches(m.RecallAtPrecision('l', 'p'), truth, tied_scores) == value  # scikit-learn: undefined, or 1


def test_precision_and_recall_are_not_swapped():
    truth, guess = np.array([1, 0, 0, 0]), np.array([5, -1, 2, 0])
    assert in_batches(m.Precision('l', 'p'), truth, guess) == pytest.approx(1 / 3)
    assert in_batches(m.Recall('l', 'p'), truth, guess) == 1.0
    precision, recall = 1 / (3 + 1e-6), 1 / (1 + 1e-6)
    assert in_batches(m.F1('l', 'p'), truth, guess) == 2 * precision * recall / (precision + recall + 1e-6)


@pytest.mark.parametrize('kind', [m.Precision, m.Recall, m.F1, m.PrecisionAtThreshold, m.Auc, m.RecallAtPrecision])
def test_what_is_for_two_classes_refuses_more(kind):
    for labels, value in ((np.array([0, 1, 2]), '2'), (np.array([[1.0], [-1.0], [0.0]]), '-1.0')):
        with pytest.raises(UserError, match=f'{kind.__name__} found the label {value}, expected 0 and 1'):
            kind('l', 'p').update([labels, np.zeros(3)])


@pytest.mark.parametrize('metric', [m.PrecisionAtThreshold('l', 'p'), m.Auc('l', 'p'), m.Mrr('q', 'l', 'p')])
def test_one_column_of_several_classes_is_no_score(metric):
    labels = np.array([0, 1, 1])
    arguments = [labels, np.ones((3, 3))]
    with pytest.raises(UserError, match=r'found scores \(3, 3\), expected one for each label, or two'):
        metric.update(arguments if len(metric.tensor) == 2 else [labels, *arguments])


@pytest.mark.parametrize('kind', [m.Precision, m.Recall, m.F1])
def test_nothing_predicted_or_nothing_true_is_zero(kind):
    zeros, ones = np.zeros(3, np.int64), np.ones(3, np.int64)
    with np.errstate(all='raise'):
        assert [in_batches(kind('l', 'p'), a, b) for a, b in ((zeros, ones), (ones, zeros), (zeros, zeros))] == [
            0,
            0,
            0,
        ]


def test_auc_with_ties(truth, tied_scores):
    expected = oracle.roc_auc_score(truth, tied_scores)
    assert in_batches(m.Auc('l', 'p'), truth, tied_scores) == pytest.approx(expected, abs=1e-12)
    columns = np.stack([1 - tied_scores, tied_scores], axis=1)
    assert in_batches(m.Auc('l', 'p'), truth, columns) == pytest.approx(expected, abs=1e-12)


def test_auc_of_one_class_is_zero(tied_scores):
    assert in_batches(m.Auc('l', 'p'), np.ones(37, np.int64), tied_scores) == 0.0


@pytest.mark.parametrize('threshold', [0.0, 0.3, 0.5, 0.6, 0.9, 1.0])
def test_recall_at_precision(truth, tied_scores, threshold):
    precision, recall, _ = oracle.precision_recall_curve(truth, tied_scores)
    expected = next((r for p, r in zip(precision, recall, strict=True) if p > threshold), 0.0)
    metric = m.RecallAtPrecision('l', 'p', precision=threshold)
    assert in_batches(metric, truth, np.stack([tied_scores] * 2, axis=1) * [9, 1]) == pytest.approx(expected)
    assert in_batches(metric, truth, np.zeros(37)) == float(truth.mean() > threshold)


def test_precision_at_threshold(truth, tied_scores):
    for threshold in (0.25, 0.5, 2.0):
        chosen = tied_scores > threshold
        expected = truth[chosen].sum() / (chosen.sum() + 1e-6)
        assert in_batches(m.PrecisionAtThreshold('l', 'p', threshold), truth, tied_scores) == expected


def groups(rng, tied_scores, levels):
    """Shuffled qids (one without any relevant row), graded labels."""
    qid = rng.integers(0, 7, 37) * 11
    label = np.where(qid == 33, 0, rng.integers(0, levels, 37))
    return qid, label, tied_scores


def by_hand(qid, label, score):
    """{qid: labels by descending score, ties in file order}."""
    order = sorted(range(len(qid)), key=lambda i: (qid[i], -score[i]))
    return {q: [label[i] for i in rows] for q, rows in itertools.groupby(order, key=lambda i: qid[i])}


def test_mrr(rng, tied_scores):
    rows = groups(rng, tied_scores, 3)
    ranks = [next((1 / r for r, v in enumerate(labels, 1) if v), 0) for labels in by_hand(*rows).values()]
    assert in_batches(m.Mrr('q', 'l', 'p'), *rows) == pytest.approx(np.mean(ranks), abs=1e-12)
    words = np.array([f'问{q}' for q in rows[0]])
    assert in_batches(m.Mrr('q', 'l', 'p'), words, *rows[1:]) == pytest.approx(np.mean(ranks), abs=1e-12)


def test_mrr_of_one_right_row_each_is_scikit_learns_ranking_precision(rng):
    """Without ties, which it counts against the model."""
    right, score = rng.integers(0, 7, 23), rng.permutation(23 * 7).reshape(23, 7) / 161
    label = np.eye(7, dtype=int)[right]
    expected = oracle.label_ranking_average_precision_score(label, score)
    mixed = rng.permutation(23 * 7)
    rows = [a.reshape(-1)[mixed] for a in (np.repeat(np.arange(23), 7), label, score)]
    assert in_batches(m.Mrr('q', 'l', 'p'), *rows) == pytest.approx(expected, abs=1e-12)
    top = oracle.top_k_accuracy_score(right, score, k=3)
    assert in_batches(m.PrecisionAtK('q', 'l', 'p', k=3), *rows) == pytest.approx(top, abs=1e-12)


def test_mean_average_precision_of_single_questions_is_that_of_scikit_learn(rng):
    values = []
    rows = [(q, s, label) for q in range(5) for s, label in zip(rng.random(9), rng.integers(0, 2, 9), strict=True)]
    qid, score, label = map(np.array, zip(*rows, strict=True))
    for q in range(5):
        here = qid == q
        values.append(oracle.average_precision_score(label[here], score[here]) if label[here].any() else 0.0)
    mixed = rng.permutation(len(qid))
    result = scores.mean_average_precision(qid[mixed], score[mixed], label[mixed])
    assert result == pytest.approx(np.mean(values), abs=1e-12)


def test_precision_at_k(rng, tied_scores):
    rows = groups(rng, tied_scores, 3)
    for k in (1, 2, 50):
        expected = np.mean([1 in labels[:k] for labels in by_hand(*rows).values()])
        assert in_batches(m.PrecisionAtK('q', 'l', 'p', k=k), *rows) == pytest.approx(expected)


def test_positive_negative_ratio_against_all_pairs(rng, tied_scores):
    qid, label, score = groups(rng, tied_scores, 4)

    def count(label):
        pairs = [(i, j) for i in range(37) for j in range(37) if qid[i] == qid[j] and label[i] > label[j]]
        good, bad = (sum(sign * (score[i] - score[j]) > 0 for i, j in pairs) for sign in (1, -1))
        return good / bad if bad else 0.0

    assert in_batches(m.PNRatio('q', 'l', 'p'), qid, label, score) == pytest.approx(count(label))
    binary = (label == 1).astype(int)
    assert in_batches(m.BinaryPNRatio('q', 'l', 'p'), qid, label, score) == pytest.approx(count(binary))


def test_no_discordant_pair_is_zero():
    assert in_batches(m.PNRatio('q', 'l', 'p'), np.array([1, 1]), np.array([0, 1]), np.array([0.2, 0.7])) == 0.0


def chunks_by_hand(tags, null):
    """Set of (begin, end, type) by walking the tags one by one."""
    found, begin, kind = set(), None, None
    for i, tag in enumerate([*tags, null]):
        if begin is not None and (tag == null or tag % 2 == 0 or tag // 2 != kind):
            found.add((begin, i, kind))
            begin = None
        if tag != null and begin is None:
            begin, kind = i, tag // 2
    return found


def test_chunk_f1_against_a_walk(rng):
    num_label, null = 7, 6
    lengths = rng.integers(2, 12, 9)
    label, pred = rng.integers(0, num_label, (2, 9, 13))
    pred = np.where(rng.random((9, 13)) < 0.7, label, pred)
    inside = [(label[i, 1 : n - 1], pred[i, 1 : n - 1]) for i, n in enumerate(lengths)]
    found = [(chunks_by_hand(a, null), chunks_by_hand(b, null)) for a, b in inside]
    labelled, inferred = (sum(len(pair[k]) for pair in found) for k in (0, 1))
    correct = sum(len(a & b) for a, b in found)
    assert scores.chunk_counts(label, pred, lengths, num_label) == (inferred, labelled, correct)
    value = in_batches(m.ChunkF1('l', 'p', 'n', num_label), label[..., None], pred, lengths[:, None], size=2)
    assert value.dtype == np.float32
    assert value == pytest.approx(2 * correct / (labelled + inferred), abs=1e-6)


@pytest.mark.parametrize('types', [1, 3])
def test_chunk_f1_against_seqeval(rng, types):
    """Whose default reads tags as conlleval does: an I after O, or of another type, begins a chunk."""
    from seqeval.metrics import f1_score, precision_score, recall_score

    names = [f'{position}-{kind}' for kind in 'ABC'[:types] for position in 'BI'] + ['O']
    lengths = rng.integers(2, 20, 31)  # of 2 only [CLS] and [SEP] are left
    label, pred = rng.integers(0, len(names), (2, 31, 23))
    pred = np.where(rng.random((31, 23)) < 0.8, label, pred)
    said, found = (
        [[names[t] for t in row[1 : n - 1]] for row, n in zip(a, lengths, strict=True)] for a in (label, pred)
    )
    precision, recall, f1 = scores.chunk_f1(scores.chunk_counts(label, pred, lengths, len(names)))
    assert precision == pytest.approx(precision_score(said, found), abs=1e-12)
    assert recall == pytest.approx(recall_score(said, found), abs=1e-12)
    assert f1 == pytest.approx(f1_score(said, found), abs=1e-12)
    value = in_batches(m.ChunkF1('l', 'p', 'n', len(names)), label, pred, lengths, size=3)
    assert value == pytest.approx(f1_score(said, found), abs=1e-6)


def test_padding_and_border_tags_do_not_count():
    label = np.array([[0, 0, 1, 6, 0, -100, 99], [2, 6, 6, 6, 6, 6, 6]])
    pred = np.array([[6, 0, 1, 6, 6, 0, 2], [6, 6, 0, 0, 0, 0, 0]])
    assert scores.chunk_counts(label, pred, [5, 2], 7) == (1, 1, 1)
    with pytest.raises(UserError, match='outside of 0 ... 6'):
        scores.chunk_counts(label, pred, [7, 2], 7)
    with pytest.raises(UserError, match='14 tags are not 3 sequences'):
        scores.chunk_counts(label, pred, [7, 2, 2], 7)


def test_neither_scikit_learn_nor_paddle_is_needed():
    code = """
import sys
sys.modules.update(dict.fromkeys(['sklearn', 'scipy', 'paddle']))
import propeller.train.metrics as m
auc = m.Auc('label', 'pred')
auc.update([[0, 1, 1], [0.2, 0.3, 0.1]])
print(auc.eval())
"""
    run = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True)
    assert run.stdout == '0.5\n'
