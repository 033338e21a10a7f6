"""Metric objects in an evaluation: shared out over processes, of users, and where a formula is not defined."""

import logging
import threading
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from propeller.errors import UserError
from propeller.train import metrics as m
from propeller.train.loop import run_metrics
from tests.propeller.test_metrics import ALL, in_batches

ROWS, TAGS = 53, 7


def rows(rng):
    """The arrays of a set, by the names of the metrics' arguments; with ties, and a question without a right row."""
    label = rng.integers(0, 2, ROWS)
    qid = rng.integers(0, 9, ROWS)
    tags = rng.integers(0, TAGS, (2, ROWS, 11))
    return {
        't': rng.normal(size=(ROWS, 1)).astype(np.float32),
        'label': np.where(qid == 3, 0, label),
        'class': rng.integers(0, 2, (ROWS, 1)),
        'score': rng.integers(0, 6, ROWS).astype(np.float32) / 5,
        'vector': rng.normal(size=(ROWS, 5)),
        'other': rng.normal(size=(ROWS, 5)),
        'qid': qid,
        'tags': tags[0],
        'predicted': np.where(rng.random((ROWS, 11)) < 0.8, *tags),
        'lengths': rng.integers(2, 12, ROWS),
        'weight': rng.integers(0, 4, ROWS),
    }


def set_of_metrics():
    return {
        'mean': m.Mean('t'),
        'weighted': m.Mean('t', 'weight'),
        'ppl': m.Ppl('t'),
        'acc': m.Acc('label', 'class'),
        'mse': m.MSE('label', 'score'),
        'cosine': m.Cosine('vector', 'other'),
        'precision': m.Precision('label', 'class'),
        'recall': m.Recall('label', 'class'),
        'f1': m.F1('label', 'class'),
        'auc': m.Auc('label', 'score'),
        'recall_at': m.RecallAtPrecision('label', 'score', 0.4),
        'precision_at': m.PrecisionAtThreshold('label', 'score', 0.3),
        'mrr': m.Mrr('qid', 'label', 'score'),
        'chunk_f1': m.ChunkF1('tags', 'predicted', 'lengths', TAGS),
        'pn': m.PNRatio('qid', 'label', 'score'),
        'binary_pn': m.BinaryPNRatio('qid', 'label', 'score'),
        'at_k': m.PrecisionAtK('qid', 'label', 'score', 2),
        'own': Share('label'),
    }


class Share(m.Metrics):
    """As a user of 2019 wrote them: no call of the base class, its own `tensor`, plain sums."""

    def __init__(self, label):
        self.label = label
        self.reset()

    def reset(self):
        self.hits, self.rows = np.array(0.0), np.array(0.0)

    @property
    def tensor(self):
        return [self.label]

    def update(self, args):
        (label,) = args
        self.hits = self.hits + (label == 1).sum()
        self.rows = self.rows + label.size

    def eval(self):
        return self.hits / self.rows


class Processes:
    """Threads with a `World` each."""

    def __init__(self, size):
        self.size, self.barrier, self.given = size, threading.Barrier(size), [None] * size

    def world(self, rank):
        def all_gather(arrays):
            self.given[rank] = [np.array(a) for a in arrays]
            self.barrier.wait(20)
            everyone = list(self.given)
            self.barrier.wait(20)
            return everyone

        return SimpleNamespace(rank=rank, size=self.size, all_gather=all_gather)

    def evaluate(self, batches):
        """Results and numbers of batches computed, by process."""
        results, computed = [None] * self.size, [0] * self.size

        def work(rank):
            def run(program, arrays, names):
                computed[rank] += 1
                return [arrays[name] for name in names]

            session = SimpleNamespace(world=self.world(rank), run=run)
            results[rank] = run_metrics(session, None, iter(batches), set_of_metrics())

        threads = [threading.Thread(target=work, args=(rank,), daemon=True) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return results, computed


@pytest.mark.parametrize('seed', range(4))
def test_however_the_set_is_cut_and_shared_out_the_values_are_the_same(seed):
    """Bit for bit over processes, of every metric; up to rounding over sizes of batches."""
    rng = np.random.default_rng(seed)
    whole = rows(rng)
    ((one,), _) = Processes(1).evaluate([whole])
    for size in (2, 3):
        cuts = np.sort(rng.integers(0, ROWS + 1, 40))  # empty batches too
        batches = [{k: v[a:b] for k, v in whole.items()} for a, b in zip([0, *cuts], [*cuts, ROWS], strict=True)]
        ((alone,), _) = Processes(1).evaluate(batches)
        several, computed = Processes(size).evaluate(batches)
        assert several == [alone] * size
        assert max(computed) - min(computed) <= 1 and sum(computed) == 41
        assert alone == pytest.approx(one, rel=1e-12)
        assert all(isinstance(value, np.generic) and value.shape == () for value in alone.values())


def test_a_mean_of_batch_means_with_their_numbers_of_rows_is_that_of_the_rows():
    values = np.random.default_rng(1).random(11)
    batches = [values[:5], values[5:10], values[10:]]
    for kind, expected in ((m.Mean, values.mean()), (m.Ppl, np.exp(values.mean()))):
        metric = kind('t', 'rows')
        for batch in batches:
            metric.update([batch.mean(), np.array([len(batch)], np.float32)])
        assert metric.eval() == pytest.approx(expected, rel=1e-12)
        metric.update([np.array(np.nan), np.array([0.0])])  # a batch without a token
        assert metric.eval() == pytest.approx(expected, rel=1e-12)
    with pytest.raises(UserError, match='Ppl found 2 weights of 3 values, expected one for each, or one'):
        metric.update([np.zeros(3), np.ones(2)])
    with pytest.raises(UserError, match='Ppl found weights below 0'):
        metric.update([np.zeros(3), -np.ones(3)])


# ---------------------------------------------------------------- users' own


def evaluated(metric, arrays):
    session = SimpleNamespace(world=SimpleNamespace(size=1), run=lambda program, batch, values: batch)
    return run_metrics(session, None, [arrays], {'mine': metric})


@pytest.mark.parametrize(
    ('value', 'found'),
    [
        (np.array([0.5]), r'ndarray of shape \(1,\)'),
        ((0.5, 1.0), r'tuple of shape \(2,\)'),
        ([[1], [1, 2]], 'list'),
        (None, 'NoneType None'),
        ('good', "str 'good'"),
    ],
)
def test_what_is_no_scalar_is_named(value, found):
    metric = Share('label')
    metric.eval = lambda: value
    with pytest.raises(
        UserError, match=f'metric mine: Share.* gave {found}.*expected one number, a numpy scalar of sh'
    ):
        evaluated(metric, [np.ones(3)])


def test_one_value_need_not_stand_in_a_list_and_numbers_of_python_are_numbers():
    class Latest(Share):
        @property
        def tensor(self):
            return self.label

        def eval(self):
            return float(self.hits)

    (value,) = evaluated(Latest('label'), [np.ones(3)]).values()
    assert isinstance(value, np.float64) and value == 3


def test_a_refused_batch_is_named_by_the_metric():
    with pytest.raises(UserError, match=r'^metric mine: arrays of different sizes: \(3,\), \(2,\)\.$'):
        evaluated(m.Acc('l', 'p'), [np.ones(3), np.ones(2)])


# ---------------------------------------------------------------- where nothing is defined


@pytest.fixture
def log(caplog, monkeypatch):
    """Lines of the package, which keeps them from the root logger."""
    monkeypatch.setattr(logging.getLogger('propeller'), 'propagate', True)
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize('metric', ALL, ids=lambda metric: type(metric).__name__)
def test_no_row_is_said(metric, log):
    metric.reset()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert metric.eval() == 0
    (line,) = log()
    assert line.startswith(f'metric {type(metric).__name__}: ') and line.endswith(': 0 by definition')


ZEROS, ONES, HALVES = np.zeros(5, np.int64), np.ones(5, np.int64), np.full(5, 0.5)


@pytest.mark.parametrize(
    ('metric', 'arrays', 'why'),
    [
        (m.Precision('l', 'p'), (ONES, ZEROS), 'no row is predicted positive'),
        (m.Recall('l', 'p'), (ZEROS, ONES), 'no label is 1'),
        (m.F1('l', 'p'), (ZEROS, ONES), 'no label is 1'),
        (m.F1('l', 'p'), (ONES, ZEROS), 'no row is predicted positive'),
        (m.Auc('l', 'p'), (ONES, HALVES), 'all 5 labels are 1'),
        (m.Auc('l', 'p'), (ZEROS, HALVES), 'all 5 labels are 0'),
        (m.RecallAtPrecision('l', 'p'), (ZEROS, HALVES), 'none of 5 labels is 1'),
        (m.RecallAtPrecision('l', 'p'), (np.arange(5) % 2, HALVES), 'no threshold gives a precision above 0.9'),
        (m.PrecisionAtThreshold('l', 'p'), (ONES, HALVES), 'no score is above 0.5'),
        (m.Mrr('q', 'l', 'p'), (ONES, ZEROS, HALVES), 'the label of all 5 rows is 0'),
        (m.PrecisionAtK('q', 'l', 'p'), (ONES, 2 * ONES, HALVES), 'none of 5 labels is 1'),
        (m.PNRatio('q', 'l', 'p'), (ONES, np.arange(5), np.arange(5)), '10 concordant pairs and no discordant one'),
        (m.BinaryPNRatio('q', 'l', 'p'), (ONES, ONES, HALVES), '0 concordant pairs and no discordant one'),
        (m.ChunkF1('l', 'p', 'n', 3), (2 * np.ones((5, 4), int), np.zeros((5, 4), int), 4 * ONES), '0 chunks in the'),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, m.Metrics) else None,
)
def test_why_it_is_zero_is_said(metric, arrays, why, log):
    with np.errstate(all='raise'):
        assert in_batches(metric, *arrays, size=2) == 0
    (line,) = log()
    assert why in line


@pytest.mark.parametrize('size', [1, 7, 100])
def test_scores_that_are_no_numbers_give_none(size, log):
    score = np.where(np.arange(9) == 4, np.nan, 0.5)
    label = np.arange(9) % 2
    kinds = [m.Auc, m.RecallAtPrecision, m.PrecisionAtThreshold]
    for metric in [kind('l', 'p') for kind in kinds]:
        assert np.isnan(in_batches(metric, label, score, size=size))
    for metric in [kind('q', 'l', 'p') for kind in (m.Mrr, m.PNRatio, m.BinaryPNRatio, m.PrecisionAtK)]:
        assert np.isnan(in_batches(metric, label, label, score, size=size))
    assert len(log()) == 7 and all('1 of 9 scores are NaN, and so is the result' in line for line in log())


@pytest.mark.parametrize('kind', [m.Precision, m.Recall, m.F1])
def test_scores_are_no_decisions(kind):
    """As truth values all of them would be positive."""
    with pytest.raises(UserError, match=rf'{kind.__name__} found the prediction 0.25, expected class ids, 0 and 1'):
        kind('l', 'p').update([np.array([0, 1]), np.array([1, 0.25])])
    kind('l', 'p').update([np.array([0, 1]), np.array([1.0, 0.0])])


def test_too_large_a_loss_has_an_infinite_perplexity():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert in_batches(m.Ppl('t'), np.array([2000.0, 3.0])) == np.inf


def test_vectors_of_other_shapes():
    with pytest.raises(UserError, match=r'Cosine found vectors \(2, 3\) and \(3, 2\)'):
        m.Cosine('l', 'p').update([np.ones((2, 3)), np.ones((3, 2))])
    assert in_batches(m.Cosine('l', 'p'), np.ones((2, 3)), np.ones((2, 3)), size=5) == pytest.approx(1)
