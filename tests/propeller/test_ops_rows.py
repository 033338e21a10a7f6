"""Tables that are trained by rows, beside the dense update of the same table."""

import numpy as np
import pytest

from propeller import graph, ops
from propeller.graph import paddle
from propeller.ops import rows
from propeller.recompute import recomputation, segment
from propeller.train.checkpoint import restore_training, save_checkpoint
from propeller.update import minimize
from tests.propeller.ops_oracle import Built, difference, same_for_any_threads

pytestmark = pytest.mark.usefixtures('compiled')
WORDS, POSITIONS, WIDTH, DECAY = 53, 7, 12, 0.1
FEEDS = graph.Feed('words', (-1, POSITIONS), 'int64'), graph.Feed('positions', (-1, POSITIONS), 'int64')
NEVER = 40  # words from here on are in no batch


def rate(step):
    return 0.03 / (1 + step / 10)


class Trainer(Built):
    """An encoder with two tables, that of words by rows or dense.

    Args:
        by_rows: which.
        uses: how often the table of words is read, each time by other words.
        tied: whether scores are read from it too.
        frozen, clip_norm, optimizer, recompute: of the training.
        decays: of `minimize`.
    """

    def __init__(
        self,
        by_rows,
        uses=1,
        tied=False,
        frozen=(),
        clip_norm=None,
        optimizer='adamw',
        recompute=False,
        decays=lambda name: True,
        mode='true',
        parts=1,
    ):
        def build(words, positions):
            with recomputation(recompute), graph.parameter_rules(frozen=lambda name: name in frozen):
                x = sum(self.embedded((words + k) % NEVER, positions, by_rows) for k in range(uses))
                weight = graph.parameter('weight', [WIDTH, WIDTH], graph.truncated_normal(0.3))
                x = segment(lambda y: paddle.tanh(y @ weight) + y, x)
                loss = ((x - 0.5) ** 2).mean()
                if tied:
                    scores = paddle.matmul(x, self.table(), transpose_y=True).reshape([-1, WORDS])
                    loss = loss + paddle.nn.functional.cross_entropy(scores, words.reshape([-1]))
            minimize(loss, rate, DECAY, decays, clip_norm, optimizer)
            return loss

        super().__init__(FEEDS, build, mode, seed=7, parts=parts)
        self.parts, self.start = parts, self.session.read('w')

    @staticmethod
    def table():
        return graph.parameter('w', [WORDS, WIDTH], graph.truncated_normal(0.3))

    def embedded(self, words, positions, by_rows):
        tables = [self.table(), graph.parameter('p', [POSITIONS, WIDTH], graph.truncated_normal(0.3))]
        if by_rows:
            tables[0], words = ops.used_rows(tables[0], words)
        scale = graph.parameter('scale', [WIDTH], graph.constant(1))
        bias = graph.parameter('bias', [WIDTH], graph.constant(0))
        return ops.embedding_norm(tables, [words, positions], scale, bias, 1e-6, 0.0)

    def train(self, first, last):
        """The updates of these numbers; their losses."""
        losses = []
        for step in range(first, last):
            parts = [([part, positions_of(part)], True) for part in np.array_split(words_of(step), self.parts)]
            losses.append(self.session.update(self.program, parts, [self.program.outputs]).loss)
        return losses

    def state(self):
        return {n: self.session.read(n) for n in [*self.program.parameters(), *self.program.optimizer_state()]}


def words_of(step):
    """Words of a batch: few, others in each update, some of them for the first time late."""
    rng = np.random.default_rng(step)
    return rng.integers(0, min(5 + 2 * step, NEVER), size=(4, POSITIONS))


def positions_of(words):
    return np.broadcast_to(np.arange(POSITIONS), words.shape).copy()


def same(found, right):
    assert found.keys() == right.keys()
    for name, value in right.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def near(found, right):
    assert found.keys() == right.keys()
    for name, value in right.items():
        assert difference(found[name], value) < 1e-6, name


# ------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize('most_owed', [1, 4, 256])
def test_the_bits_are_those_of_the_dense_update(monkeypatch, most_owed):
    """Before all decays fit, and while they do."""
    monkeypatch.setattr(rows, 'MOST_OWED', most_owed)
    dense, sparse = Trainer(False), Trainer(True)
    assert sparse.operators().count('propeller_adamw_rows_') == 1
    assert not {'propeller_adamw_rows_', 'propeller_used_rows'} & set(dense.operators())
    assert sparse.train(0, 30) == dense.train(0, 30)
    same(sparse.state(), dense.state())
    assert difference(sparse.state()['w'][:NEVER], sparse.start[:NEVER]) > 0.1


def test_clipped_updates_are_those_of_the_dense_form():
    """Sums of squares run in another order."""
    dense, sparse = Trainer(False, clip_norm=0.01), Trainer(True, clip_norm=0.01)
    assert sparse.train(0, 30) == pytest.approx(dense.train(0, 30), rel=1e-6)
    near(sparse.state(), dense.state())


def test_rows_without_a_gradient_decay_as_they_should():
    trainer = Trainer(True)
    trainer.train(0, 300)  # more than are remembered
    right = trainer.start[NEVER:].astype(np.float64) * np.prod([1 - rate(step) * DECAY for step in range(300)])
    assert difference(trainer.session.read('w')[NEVER:], right) < 1e-5
    assert not trainer.session.read('w_moment2_0')[NEVER:].any()
    free = Trainer(True, decays=lambda name: name != 'w')
    free.train(0, 30)
    np.testing.assert_array_equal(free.session.read('w')[NEVER:], free.start[NEVER:])


@pytest.mark.parametrize('settings', [{'uses': 3}, {'recompute': True}, {'frozen': ['p', 'scale']}, {'frozen': ['w']}])
def test_other_programs_are_those_of_the_dense_form(settings):
    dense, sparse = Trainer(False, **settings), Trainer(True, **settings)
    assert ('propeller_adamw_rows_' in sparse.operators()) == ('w' not in settings.get('frozen', ()))
    assert sparse.train(0, 20) == pytest.approx(dense.train(0, 20), rel=1e-6)
    near(sparse.state(), dense.state())


@pytest.mark.parametrize('settings', [{'tied': True}, {'optimizer': 'sgd'}, {'parts': 3}, {'tied': True, 'uses': 2}])
def test_where_rows_will_not_do_the_gradient_is_dense(settings):
    dense, sparse = Trainer(False, **settings), Trainer(True, **settings)
    assert 'propeller_spread_rows' in sparse.operators()
    assert 'propeller_adamw_rows_' not in sparse.operators() and not sparse.program.row_tables
    assert sparse.train(0, 20) == pytest.approx(dense.train(0, 20), rel=1e-6)
    near(sparse.state(), dense.state())


@pytest.mark.parametrize('frozen', [[], ['w']])
def test_rows_without_a_norm(frozen):
    """`trained_rows`, which gives what `F.embedding` gives, and its gradient."""

    def trained(mode):
        def build(words, positions):
            with graph.parameter_rules(frozen=lambda name: name in frozen):
                weight = graph.parameter('weight', [WIDTH, WIDTH], graph.truncated_normal(0.3))
                x = ops.trained_rows(Trainer.table(), words) @ weight
            loss = ((x - 0.5) ** 2).mean()
            minimize(loss, rate, DECAY)
            return loss

        built = Built(FEEDS, build, mode)
        for step in range(20):
            built.session.step(built.program, [words_of(step), positions_of(words_of(step))], [built.program.outputs])
        return built, {name: built.session.read(name) for name in built.program.parameters()}

    (fused, found), (_, right) = trained('true'), trained('false')
    assert ('propeller_adamw_rows_' in fused.operators()) == (not frozen)
    for name, value in right.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)


def test_plain_operators_know_no_rows():
    plain = Trainer(True, mode='false')
    assert not any('propeller' in name for name in plain.operators())
    assert plain.train(0, 20) == pytest.approx(Trainer(True).train(0, 20), rel=1e-4)


def test_threads_do_not_change_the_result(threads):
    def run():
        trainer = Trainer(True, clip_norm=0.01)
        trainer.train(0, 5)
        return trainer.state().values()

    same_for_any_threads(threads, run)


def test_gradients_that_are_not_finite_change_nothing():
    trainer, again = Trainer(True), Trainer(True)
    trainer.train(0, 6), again.train(0, 6)
    values = trainer.session.read('weight')
    trainer.session.write('weight', np.full_like(values, np.inf))
    trainer.train(6, 7)
    assert trainer.session.updates_done(trainer.program) == 6
    trainer.session.write('weight', values)
    same(trainer.state(), again.state())
    trainer.train(6, 12), again.train(6, 12)
    same(trainer.state(), again.state())


# ------------------------------------------------------------------------------------------ who looks at the table


def test_who_reads_the_table_changes_nothing():
    """Another program, reading and writing, in the middle of a training."""
    dense, alone, watched = Trainer(False), Trainer(True), Trainer(True)

    def embedded(words, positions):
        return Trainer.embedded(watched, words, positions, False)

    evaluations = []
    for trainer in (dense, watched):
        with ops.use('true'):
            evaluations.append(trainer.session.build(FEEDS, embedded))
    words = np.arange(WORDS - WORDS % POSITIONS).reshape(-1, POSITIONS)
    for step in range(21):
        for trainer in (dense, alone, watched):
            trainer.train(step, step + 1)
        if step % 3 == 1:
            pairs = zip((dense, watched), evaluations, strict=True)
            arrays = [words, positions_of(words)]
            right, found = (t.session.run(program, arrays, [program.outputs]) for t, program in pairs)
            np.testing.assert_array_equal(found, right)
        elif step % 3 == 2:
            values = watched.session.read('w')
            np.testing.assert_array_equal(values, dense.session.read('w'))
            watched.session.write('w', values)
    same(watched.state(), alone.state())


def test_what_is_written_is_what_the_next_update_reads():
    """Moments too: rows that had none may have some now, and the other way round."""
    dense, sparse, other = Trainer(False), Trainer(True), Trainer(False)
    other.train(5, 25)
    for trainer in (dense, sparse):
        trainer.train(0, 4)
        for name, value in other.state().items():
            trainer.session.write(name, value)
        trainer.train(4, 8)
        for name in ('w_moment1_0', 'w_moment2_0'):
            trainer.session.write(name, np.zeros((WORDS, WIDTH), np.float32))
        trainer.train(8, 12)
    same(sparse.state(), dense.state())


def test_two_trainings_of_one_table():
    """A second program of the session that updates the same table densely."""

    def second(trainer):
        def build(words, positions):
            loss = (Trainer.embedded(trainer, words, positions, False) ** 2).sum()
            minimize(loss, rate, DECAY)
            return loss

        with ops.use('true'):
            return trainer.session.build(FEEDS, build)

    found = []
    for by_rows in (True, False):
        trainer = Trainer(by_rows)
        program = second(trainer)
        for step in range(12):
            trainer.train(step, step + 1)
            if step % 4 == 3:
                words = words_of(30 + step)
                trainer.session.step(program, [words, positions_of(words)], [program.outputs])
        found.append(trainer.state())
    same(*found)


# ------------------------------------------------------------------------------------------ checkpoints


@pytest.mark.parametrize(('before', 'after'), [(True, True), (True, False), (False, True)])
def test_a_training_goes_on_from_a_checkpoint_to_the_bit(tmp_path, before, after):
    whole, first, second = Trainer(before), Trainer(before), Trainer(after)
    whole.train(0, 20)
    first.train(0, 9)
    save_checkpoint(tmp_path / 'c', first.session, first.program, {'global_step': 9})
    second.train(0, 3)  # to be overwritten
    restore_training(tmp_path / 'c', second.session, second.program)
    second.train(9, 20)
    same(second.state(), whole.state())
    first.train(9, 20)  # saving changed nothing
    same(first.state(), whole.state())
    assert not any('@' in name for name in second.state())


# ------------------------------------------------------------------------------------------ mistakes


def test_words_that_are_not_in_the_table_are_named():
    built, words = Built(FEEDS[:1], lambda ids: ops.used_rows(Trainer.table(), ids)), words_of(3)
    for wrong in (WORDS, -1):
        words[1, 2] = wrong
        with pytest.raises(ValueError, match=rf'used_rows: ids hold {wrong} \(element 9\), expected 0 to {WORDS - 1}'):
            built.run(words)


def test_a_batch_without_words_has_one_row():
    def build(ids):
        values, places = ops.used_rows(Trainer.table(), ids)
        return [paddle.assign(values), places]

    values, places = Built(FEEDS[:1], build).run(np.zeros((0, POSITIONS), np.int64))
    assert values.shape == (1, WIDTH) and places.shape == (0, POSITIONS)


def test_wrong_types_are_refused():
    with pytest.raises(ValueError, match=r'ops.used_rows: ids is int32 \[-1\], expected int64'):
        Built([graph.Feed('ids', (-1,), 'int32')], lambda ids: ops.used_rows(Trainer.table(), ids))
