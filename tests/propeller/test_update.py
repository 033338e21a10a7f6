"""One update: parts that add up to the whole, clipping, and gradients that are not finite."""

import numpy as np
import pytest

from propeller import graph
from propeller.errors import UserError
from propeller.graph import F, paddle
from propeller.session import Session
from propeller.train.hooks import CheckpointSaverHook
from propeller.train.loop import LoopState, train_loop
from propeller.train.precision import LossScale
from propeller.update import minimize, run_update

WIDTH, CLASSES = 5, 3
FEEDS = [graph.Feed('x', (-1, WIDTH), 'float32'), graph.Feed('label', (-1, 1), 'int64')]


def network(x):
    hidden = paddle.matmul(x, graph.parameter('w1', [WIDTH, 7], graph.truncated_normal(0.5)))
    hidden = F.gelu(hidden + graph.parameter('b1', [7], graph.constant(0.1)))
    with graph.parameter_rules(rate=lambda name: 3.0):
        return paddle.matmul(hidden, graph.parameter('w2', [7, CLASSES], graph.truncated_normal(0.5)))


def trainer(optimizer='adamw', clip_norm=None, by_tokens=False, **options):
    session = Session(seed=11)

    def build(x, label):
        loss = F.cross_entropy(network(x), label.squeeze(-1))
        if by_tokens:  # a loss that is the mean over other things than rows: here rows of class 0 count twice
            weight = 1.0 + (label == 0).astype('float32')
            loss = (F.cross_entropy(network(x), label.squeeze(-1), reduction='none') * weight.squeeze(-1)).sum()
            loss = loss / weight.sum()
            graph.set_loss_weight(weight.sum())
        minimize(loss, lambda step: 0.05 / (1 + step), 0.01, lambda name: name != 'b1', clip_norm, optimizer)
        return loss

    program = session.build(FEEDS, build, **options)
    session.initialize(program)
    return session, program


def data(rows, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(rows, WIDTH)).astype(np.float32), rng.integers(0, CLASSES, (rows, 1))]


def state(session, program):
    names = [*program.parameters(), *program.optimizer_state()]
    return {name: session.read(name) for name in names}


@pytest.mark.parametrize('by_tokens', [False, True])
@pytest.mark.parametrize('clip_norm', [None, 0.1])
@pytest.mark.parametrize('optimizer', ['adamw', 'sgd'])
def test_parts_add_up_to_the_whole(optimizer, clip_norm, by_tokens):
    whole = trainer(optimizer, clip_norm, by_tokens)
    split = trainer(optimizer, clip_norm, by_tokens, parts=4)
    assert whole[1].optimizer_state() == split[1].optimizer_state()
    for step in range(50):
        x, label = data(13, step)
        cuts = [slice(0, 4), slice(4, 9), slice(9, 13)]
        parts = [([x[cut], label[cut]], True) for cut in cuts] + [([x[:1], label[:1]], False)]
        one = run_update(*whole, [([x, label], True)], [whole[1].outputs])
        several = run_update(*split, parts, [split[1].outputs])
        for fetched in several.fetched:
            assert fetched[0] == pytest.approx(one.fetched[0][0], rel=1e-5)
        assert (one.finite, several.finite, one.stop, several.stop) == (True, True, False, False)
    left, right = state(*whole), state(*split)
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_allclose(right[name], left[name], rtol=0, atol=1e-6, err_msg=name)


def test_an_update_of_nothing_that_counts_moves_nothing_but_the_moments():
    session, program = trainer('sgd', parts=2)
    before = state(session, program)
    x, label = data(3)
    outcome = run_update(session, program, [([x, label], False)] * 2, [program.outputs])
    assert outcome.fetched[0][0] == 0.0
    for name, value in state(session, program).items():
        np.testing.assert_array_equal(value, before[name])


def test_a_wish_to_stop_is_known_after_the_update():
    session, program = trainer(parts=2)
    parts = [(data(2), True)] * 2
    assert run_update(session, program, parts, [], stop=True).stop
    assert not run_update(session, program, parts, []).stop


@pytest.mark.parametrize('clip_norm', [None, 1.0])
@pytest.mark.parametrize('parts', [1, 2])
@pytest.mark.parametrize('optimizer', ['adamw', 'sgd'])
def test_an_overflow_changes_nothing_but_the_scale(optimizer, parts, clip_norm):
    scale = LossScale(1024, decr_every=0, decr_ratio=0.5)
    session, program = trainer(optimizer, clip_norm, parts=parts, loss_scale=scale)
    plain_session, plain = trainer(optimizer, clip_norm, parts=parts)
    good, bad = data(4), data(4)
    bad[0][1, 2] = np.inf
    for _ in range(2):
        run_update(session, program, [(good, True)] * parts, [])
        run_update(plain_session, plain, [(good, True)] * parts, [])
    before, rate = state(session, program), session.learning_rate(program)
    for name, value in state(plain_session, plain).items():  # the scale itself leaves no trace
        np.testing.assert_allclose(before[name], value, rtol=1e-5, atol=1e-7)
    outcome = run_update(session, program, [(good, True)] * (parts - 1) + [(bad, True)], [])
    assert not outcome.finite and scale.scale == 512
    for name, value in state(session, program).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    assert session.learning_rate(program) == rate and session.updates_done(program) == 2
    # The sums of the parts are clean again.
    run_update(session, program, [(good, True)] * parts, [])
    run_update(plain_session, plain, [(good, True)] * parts, [])
    for name, value in state(plain_session, plain).items():
        np.testing.assert_allclose(session.read(name), value, rtol=1e-5, atol=1e-7)


def test_without_a_scale_too_what_is_not_finite_is_left_out():
    session, program = trainer()
    x, label = data(4)
    x[0, 0] = np.nan
    before = state(session, program)
    assert not run_update(session, program, [([x, label], True)], []).finite
    for name, value in state(session, program).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize('parts', [1, 2])
def test_a_loss_that_is_no_number_ends_a_training(parts):
    """Gradients that overflow are left out; what the loss itself says is believed, and nothing is saved after it."""
    session, program = trainer(parts=parts)
    good, bad = data(4), data(4)
    bad[0][2, 1] = np.nan
    batches, saved = [[(good, True)] * parts] * 3 + [[(good, True)] * (parts - 1) + [(bad, True)]], []
    saver = CheckpointSaverHook(lambda state: saved.append(state.gstep), per_step=2, skip_step=0)
    with pytest.raises(UserError, match='step 14: the loss is nan. .*lower learning rate.*check the data'):
        train_loop(session, program, batches, [saver], LoopState(10), parts_of=list)
    assert saved == [12]


def test_under_a_loss_scale_it_is_left_out():
    session, program = trainer(loss_scale=LossScale(1024))
    bad = data(4)
    bad[0][2, 1] = np.inf
    state = LoopState()
    train_loop(session, program, [[(bad, True)], [(data(4), True)]], [], state, parts_of=list)
    assert state.gstep == 2 and session.updates_done(program) == 1


def test_the_loss_of_an_update_is_known():
    for parts in (1, 3):
        session, program = trainer(parts=parts)
        outcome = run_update(session, program, [(data(2), True)] * parts, [program.outputs])
        assert outcome.loss == pytest.approx(float(outcome.fetched[0][0]), rel=1e-6) and not outcome.scaled
