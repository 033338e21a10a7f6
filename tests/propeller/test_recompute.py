"""Recomputation: the gradients of the plain backward pass, the same masks in both passes, operators in order."""

import numpy as np
import pytest

from propeller import graph
from propeller.graph import F, paddle
from propeller.recompute import dropout, recomputation, segment
from propeller.session import Session
from propeller.update import backward

WIDTH = 5
X = graph.Feed('x', (-1, WIDTH), 'float32')
BATCH = np.random.default_rng(0).normal(size=(3, WIDTH)).astype(np.float32)
EVERY_PARAMETER = ['w0', 'w1', 'w2', 'w3', 'out']


def weight(name):
    return graph.parameter(name, [WIDTH, WIDTH], graph.truncated_normal(0.7))


def layer(name, rate=0.0):
    return lambda x: paddle.tanh(dropout(x, rate) @ weight(name)) + x


def chain(x):
    """Four segments; 'w0' also makes the first input and the loss, 'w2' is in two segments, others read one output."""
    first = segment(layer('w1'), x @ weight('w0'))
    second = segment(layer('w2'), first)
    third = segment(layer('w2'), second * 0.5 + first)
    fourth = segment(layer('w3'), paddle.tanh(third @ weight('out')))
    return ((fourth + second) @ weight('w0')).square().mean()


def gradients(build_loss, enabled, frozen=(), feeds=(X,), arrays=(BATCH,), seed=1):
    """-> (loss, dict parameter -> gradient) of one run."""

    def build(*inputs):
        with recomputation(enabled), graph.parameter_rules(frozen=lambda name: name in frozen):
            loss = build_loss(*inputs)
        return loss, {p.name: g for p, g in backward(loss)}

    session = Session(seed=seed)
    program = session.build(list(feeds), build)
    session.initialize(program)
    loss, found = program.outputs
    values = session.run(program, list(arrays), [loss, *found.values()])
    return values[0], dict(zip(found, values[1:], strict=True))


def assert_equal_gradients(build_loss, frozen=(), **data):
    loss, plain = gradients(build_loss, False, frozen, **data)
    again, found = gradients(build_loss, True, frozen, **data)
    assert again == pytest.approx(loss, rel=1e-6) and set(found) == set(plain)
    for name in plain:
        assert np.abs(plain[name]).max() > 1e-4, name
        np.testing.assert_allclose(found[name], plain[name], rtol=1e-5, atol=1e-6, err_msg=name)
    return plain


def test_gradients_are_those_of_the_plain_backward_pass():
    assert sorted(assert_equal_gradients(chain)) == sorted(EVERY_PARAMETER)


@pytest.mark.parametrize('frozen', [['w0'], ['w1', 'w0'], ['w2'], ['w1', 'w2', 'w3'], ['out']])
def test_frozen_parameters_get_none(frozen):
    assert sorted(assert_equal_gradients(chain, frozen)) == sorted(set(EVERY_PARAMETER) - set(frozen))


def test_an_output_that_nobody_reads_changes_nothing():
    def unread(x):
        first = segment(layer('w0'), x)
        segment(layer('w1'), first)
        return segment(layer('w2'), first).square().mean()

    assert sorted(assert_equal_gradients(unread)) == ['w0', 'w2']


def test_inputs_without_gradient_may_be_read_inside():
    def masked(x):
        mask = (x > 0).astype('float32')
        return segment(lambda y: paddle.tanh(y @ weight('w0')) * mask, x).square().mean()

    assert_equal_gradients(masked)


def test_a_trained_value_from_outside_is_refused():
    def leaking(x):
        scale = x @ weight('w0')
        return segment(lambda y: paddle.tanh(y @ weight('w1')) * scale, x).square().mean()

    with pytest.raises(ValueError, match='a segment reads a value that needs a gradient'):
        gradients(leaking, True)


def test_a_loop_behind_the_segments():
    def looped(x):
        hidden = segment(layer('w1'), segment(layer('w0'), x))
        more = lambda i, state: i < 3  # noqa: E731
        step = lambda i, state: [i + 1, paddle.tanh(state @ weight('w2'))]  # noqa: E731
        weight('w2')
        _, state = paddle.static.nn.while_loop(more, step, [paddle.full([1], 0, 'int64'), hidden])
        return state.square().mean()

    assert sorted(assert_equal_gradients(looped)) == ['w0', 'w1', 'w2']


def test_second_pass_is_in_the_precision_of_the_first():
    """Built under bfloat16, differentiated outside: a second pass in float32 would give other gradients."""

    def two_layers(x, cast):
        x = x @ weight('w2')
        with paddle.amp.auto_cast(cast, dtype='bfloat16', level='O1'):
            return segment(layer('w1'), segment(layer('w0'), x)).astype('float32').square().mean()

    plain = assert_equal_gradients(lambda x: two_layers(x, True))
    full = gradients(lambda x: two_layers(x, False), False)[1]
    assert all(np.abs(plain[name] - full[name]).max() > 1e-4 for name in full)


# ------------------------------------------------------------------------------------------ masks


def dropped(x):
    """Loss and outputs of two segments with two dropouts each, in which every mask can be read off the gradient."""

    def scaled(name):
        def function(y):
            first = dropout(y * graph.parameter(f'{name}_a', [7, 11], graph.constant(2)), 0.4)
            second = dropout(y * graph.parameter(f'{name}_b', [7, 11], graph.constant(4)), 0.4)
            return paddle.concat([first, second], 0)

        return segment(function, x)

    outputs = [scaled('one'), scaled('two')]
    return sum(o.sum() for o in outputs), outputs


def mask_run(seed, steps=1):
    """list over steps of arrays [4, 7, 11]: pairs (masks of the first pass, masks of the second)."""

    def build(x):
        with recomputation():
            loss, outputs = dropped(x)
        return [*outputs, *(g for _, g in backward(loss))]

    session = Session(seed=seed)
    program = session.build([graph.Feed('x', (7, 11), 'float32')], build)
    session.initialize(program)
    result = []
    for _ in range(steps):
        one, two, *grads = session.run(program, [np.ones((7, 11), np.float32)], program.outputs)
        forward = np.concatenate([one, two]).reshape(4, 7, 11) / np.array([2, 4, 2, 4])[:, None, None]
        result.append((forward, np.stack(grads)))
    return result


def test_both_passes_have_the_same_masks():
    for first, second in mask_run(3, steps=3):
        np.testing.assert_allclose(first, second, rtol=1e-6)
        np.testing.assert_allclose(np.unique(first), [0, 1 / 0.6], rtol=1e-6)


def test_masks_of_calls_segments_and_steps_differ():
    masks = [mask for forward, _ in mask_run(3, steps=3) for mask in forward]
    assert len({mask.tobytes() for mask in masks}) == 12
    assert np.mean([mask > 0 for mask in masks]) == pytest.approx(0.6, abs=0.05)


def test_masks_follow_from_the_seed():
    a, b, c = mask_run(3, 2), mask_run(3, 2), mask_run(4, 2)
    np.testing.assert_array_equal([f for f, _ in a], [f for f, _ in b])
    assert not np.array_equal([f for f, _ in a], [f for f, _ in c])


def test_masks_follow_from_the_saved_random_state():
    session = Session(seed=1)

    def build(x):
        with recomputation():
            return segment(lambda y: dropout(y @ weight('w0'), 0.5), x)

    program = session.build([X], build)
    session.initialize(program)
    state = session.random_state()
    runs = [session.run(program, [BATCH], [program.outputs])[0] for _ in range(3)]
    assert not np.array_equal(runs[0], runs[1])
    session.set_random_state(state)
    np.testing.assert_array_equal([session.run(program, [BATCH], [program.outputs])[0] for _ in range(3)], runs)


def test_gradient_with_dropout_is_the_slope_of_the_loss():
    """Central differences along a random direction, with the same masks at each point."""
    names = ['w0', 'w1', 'w2']

    def build(x):
        with recomputation():
            for name in names:
                x = segment(layer(name, 0.3), x)
        loss = x.square().mean()
        return loss, {p.name: g for p, g in backward(loss)}

    session = Session(seed=2)
    program = session.build([X], build)
    session.initialize(program)
    loss, grads = program.outputs
    state, rng = session.random_state(), np.random.default_rng(1)
    start = {name: session.read(name) for name in names}
    direction = {name: rng.normal(size=value.shape).astype(np.float32) for name, value in start.items()}

    def at(distance):
        for name in names:
            session.write(name, start[name] + np.float32(distance) * direction[name])
        session.set_random_state(state)
        return session.run(program, [BATCH], [loss, *grads.values()])

    found = dict(zip(grads, at(0)[1:], strict=True))
    slope = sum(float((found[name].astype(np.float64) * direction[name]).sum()) for name in names)
    h = 2e-3
    expected = (float(at(h)[0]) - float(at(-h)[0])) / (2 * h)
    assert abs(expected) > 0.1 and slope == pytest.approx(expected, rel=5e-3)


# ------------------------------------------------------------------------------------------ without it


def test_off_it_is_the_plain_function():
    """The same operators, so the same random numbers."""

    def build(enabled):
        def loss(x):
            y = layer('w0', 0.5)
            with recomputation(enabled=False):
                return segment(y, x) if enabled else paddle.tanh(F.dropout(x, 0.5) @ weight('w0')) + x

        session = Session(seed=1)
        program = session.build([X], loss)
        assert program.backward is None
        return [op.name() for op in program.main.global_block().ops]

    assert build(True) == build(False)


def test_operators_run_in_the_order_of_the_program():
    assert paddle.get_flags(['FLAGS_enable_pir_in_executor_trace_run']) == {
        'FLAGS_enable_pir_in_executor_trace_run': True
    }
