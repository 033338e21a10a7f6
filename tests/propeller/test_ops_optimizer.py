"""The fused optimizer beside float64 numpy and beside Paddle's."""

import numpy as np
import pytest

from propeller import graph, ops
from propeller.graph import paddle
from propeller.rate_schedule import Schedule
from propeller.train.checkpoint import restore_training, save_checkpoint
from propeller.update import minimize
from tests.propeller.ops_oracle import Built, difference, refused, same_for_any_threads

pytestmark = pytest.mark.usefixtures('compiled')
# One number, odd sizes, more than one block of the kernel, and nothing at all.
SHAPES = {'table': (401, 170), 'w': (12, 30), 'b': (13,), 'one': (1,), 'none': (0, 7)}
SHARES = {'w': 0.5}
RATE, DECAY, CLIP = 0.01, 0.1, 3.0
BETA1, BETA2 = (float(np.float32(beta)) for beta in (0.9, 0.999))  # 1 - 0.999 is another number in float32


def rate(step):
    return RATE / (1 + step)


def decays(name):
    return {'b': False, 'w': 0.25}.get(name, True)  # or which share


class Trainer(Built):
    """Parameters whose gradients are the arrays that are fed: the loss is the sum of their products."""

    def __init__(self, mode, clip_norm=CLIP, shapes=SHAPES, parts=1, precision='fp32'):
        feeds = [graph.Feed(f'{name}_gradient', shape, 'float32') for name, shape in shapes.items()]

        def build(*gradients):
            with graph.parameter_rules(rate=lambda name: SHARES.get(name, 1.0)):
                values = [graph.parameter(n, s, graph.truncated_normal(0.5)) for n, s in shapes.items()]
            loss = paddle.add_n([(p * g).sum() for p, g in zip(values, gradients, strict=True)])
            before = [paddle.assign(p) for p in values]
            graph.set_loss_weight(paddle.ones([1]))
            minimize(loss, rate, DECAY, decays, clip_norm)
            return loss, before, [paddle.assign(p) for p in values]

        super().__init__(feeds, build, mode, seed=7, precision=precision, parts=parts)

    def step(self, *batches):
        return self.session.update(self.program, [(list(b), True) for b in batches], [self.program.outputs[0]])

    def state(self):
        return {n: self.session.read(n) for n in [*self.program.parameters(), *self.program.optimizer_state()]}

    def operators(self):
        main = self.program.update.main or self.program.main
        return [op.name().split('.')[-1] for op in main.global_block().ops]


def gradients(step, shapes=SHAPES, scale=1.0):
    rng = np.random.default_rng(step)
    return [(scale * rng.normal(size=shape)).astype(np.float32) for shape in shapes.values()]


def expected(parameters, batches, clip_norm):
    """Parameters and moments after AdamW in float64 (Loshchilov, Hutter 2019, algorithm 2)."""
    p = {name: value.astype(np.float64) for name, value in parameters.items()}
    m, v = ({name: np.zeros_like(value) for name, value in p.items()} for _ in range(2))
    for t, batch in enumerate(batches, 1):
        g = dict(zip(p, (array.astype(np.float64) for array in batch), strict=True))
        norm = np.sqrt(sum((array**2).sum() for array in g.values()))
        factor = min(1.0, clip_norm / norm) if clip_norm else 1.0
        for name in p:
            lr = np.float32(rate(t - 1)) * SHARES.get(name, 1.0)
            m[name] = BETA1 * m[name] + (1 - BETA1) * factor * g[name]
            v[name] = BETA2 * v[name] + (1 - BETA2) * (factor * g[name]) ** 2
            step = m[name] / (1 - BETA1**t) / (np.sqrt(v[name] / (1 - BETA2**t)) + 1e-8)
            p[name] = p[name] - lr * (DECAY * decays(name) * p[name] + step)
    return {**p, **{f'{n}_moment1_0': x for n, x in m.items()}, **{f'{n}_moment2_0': x for n, x in v.items()}}


# ------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize('clip_norm', [None, CLIP])
def test_fifty_updates_are_those_of_float64_and_of_the_plain_form(clip_norm):
    plain, fused = Trainer('false', clip_norm), Trainer('true', clip_norm)
    assert 'propeller_adamw_' in fused.operators() and 'adamw_' not in fused.operators()
    assert plain.operators().count('adamw_') == len(SHAPES) and 'propeller_adamw_' not in plain.operators()
    start = plain.state()
    batches = [gradients(step) for step in range(50)]
    for batch in batches:
        assert plain.step(batch).finite and fused.step(batch).finite
    found, other = fused.state(), plain.state()
    assert list(found) == list(other)
    right = expected({name: start[name] for name in SHAPES}, batches, clip_norm)
    for name, value in found.items():
        assert value.dtype == other[name].dtype and difference(value, other[name]) < 1e-6, name
        if name in right:
            # The powers of beta are float32, as in the plain form: 1 - beta2 is off by 5e-5 at the start.
            assert difference(value, right[name]) < (1e-4 if name in SHAPES else 1e-5), name
    assert difference(found['table'], start['table'].astype(np.float64)) > 0.01


def test_square_norm_is_that_of_float64():
    def norm(mode, arrays):
        feeds = [graph.Feed(f'g{i}', array.shape, 'float32') for i, array in enumerate(arrays)]
        (found,) = Built(feeds, lambda *values: ops.square_norm(list(values)), mode).run(*arrays)
        assert found.shape == (1,) and found.dtype == np.float32
        return found[0]

    arrays = [*gradients(3), np.full((3,), 1e-3, np.float32)]
    right = sum((array.astype(np.float64) ** 2).sum() for array in arrays)
    assert norm('true', arrays) == pytest.approx(right, rel=1e-7)
    assert norm('false', arrays) == pytest.approx(right, rel=1e-5)
    for bad in (np.nan, np.inf, 1e25):  # the square of the last is no float32
        arrays[1][3, 4] = bad
        for mode in ('true', 'false'):
            assert not np.isfinite(norm(mode, arrays))
    assert norm('true', [np.zeros((0, 5), np.float32)]) == 0


def test_threads_do_not_change_the_result(threads):
    def run():
        trainer = Trainer('true')
        for step in range(3):
            trainer.step(gradients(step))
        return trainer.state().values()

    same_for_any_threads(threads, run)


@pytest.mark.parametrize('parts', [1, 3])
def test_gradients_that_are_not_finite_change_nothing(parts):
    trainer = Trainer('true', parts=parts)
    assert trainer.step(*[gradients(i) for i in range(parts)]).finite
    before = trainer.state()
    bad = gradients(9)
    bad[2][5] = np.inf
    assert not trainer.step(*[gradients(i) for i in range(parts - 1)], bad).finite
    for name, value in trainer.state().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    assert trainer.step(*[gradients(i) for i in range(parts)]).finite
    assert all(np.isfinite(value).all() for value in trainer.state().values())


def test_several_parts_and_half_precision_are_those_of_the_plain_form():
    plain, fused = (Trainer(mode, parts=3, precision='bf16') for mode in ('false', 'true'))
    assert 'propeller_adamw_' in fused.operators()
    for step in range(5):
        batches = [gradients(10 * step + i) for i in range(3)]
        plain.step(*batches), fused.step(*batches)
    for (name, value), other in zip(fused.state().items(), plain.state().values(), strict=True):
        assert difference(value, other) < 1e-6, name


# ------------------------------------------------------------------------------------------ state and order


@pytest.mark.parametrize('modes', [('true', 'false'), ('false', 'true')])
def test_a_training_goes_on_in_the_other_form(tmp_path, modes):
    first, whole = Trainer(modes[0]), Trainer(modes[0])
    for step in range(3):
        first.step(gradients(step)), whole.step(gradients(step))
    save_checkpoint(tmp_path / 'c', first.session, first.program, {'global_step': 3})
    other = Trainer(modes[1])
    other.step(gradients(77))  # to be overwritten
    restore_training(tmp_path / 'c', other.session, other.program)
    for (name, value), saved in zip(other.state().items(), first.state().values(), strict=True):
        np.testing.assert_array_equal(value, saved, err_msg=name)
    save_checkpoint(tmp_path / 'd', other.session, other.program, {'global_step': 3})
    for file in ('model.safetensors', 'optimizer.safetensors'):
        assert (tmp_path / 'd' / file).read_bytes() == (tmp_path / 'c' / file).read_bytes()
    for step in range(3, 6):
        other.step(gradients(step)), whole.step(gradients(step))
    for name, value in whole.state().items():
        assert difference(other.state()[name], value) < 1e-6, name


@pytest.mark.parametrize('in_order', [True, False])
def test_what_reads_a_parameter_sees_it_before_or_after_the_update(in_order):
    """Whatever order the executor takes: `propeller.graph` has it run operators as they were built."""
    flag = 'FLAGS_enable_pir_in_executor_trace_run'
    before = paddle.get_flags(flag)
    paddle.set_flags({flag: in_order})
    try:
        trainer = Trainer('true')
        for step in range(5):
            old = trainer.state()
            _, *values = trainer.program.outputs
            found = trainer.session.run(trainer.program, gradients(step), [*values[0], *values[1]])
            new = trainer.state()
            for i, name in enumerate(SHAPES):
                np.testing.assert_array_equal(found[i], old[name], err_msg=name)
                np.testing.assert_array_equal(found[i + len(SHAPES)], new[name], err_msg=name)
            assert not np.array_equal(old['w'], new['w'])
    finally:
        paddle.set_flags(before)


def test_the_update_is_made_though_nothing_is_fetched():
    trainer = Trainer('true')
    before = trainer.state()
    trainer.session.run(trainer.program, gradients(1), [])
    assert all(not np.array_equal(value, before[name]) for name, value in trainer.state().items() if value.size)


# ------------------------------------------------------------------------------------------ mistakes


def refuse(match, call, **shapes):
    """`call` gets values of these shapes and types."""
    refused(match, [graph.Feed(name, *shape) for name, shape in shapes.items()], call)


def test_wrong_shapes_and_types_are_refused_in_both_forms():
    def update(gradient, skip, factor=None):
        p = graph.parameter('p', [3, 4], graph.constant(0))
        ops.adamw([(p, gradient)], None, 0.0, decays, skip, factor)

    right = {'gradient': ((3, 4), 'float32'), 'skip': ((1,), 'bool')}
    text = r'ops.adamw: the gradient of p has shape \[4, 3\], expected \[3, 4\]'
    refuse(text, update, **right | {'gradient': ((4, 3), 'float32')})
    text = r'ops.adamw: the gradient of p is float64 \[3, 4\], expected float32'
    refuse(text, update, **right | {'gradient': ((3, 4), 'float64')})
    refuse(r'ops.adamw: skip is float32 \[1\], expected bool \[1\]', update, **right | {'skip': ((1,), 'float32')})
    text = r'ops.adamw: factor is float32 \[2\], expected float32 \[1\]'
    refuse(text, update, **right | {'factor': ((2,), 'float32')})
    refuse('ops.adamw: found no parameters', lambda: ops.adamw([], None, 0.0, decays, None))
    refuse('ops.square_norm: found no gradients', lambda: ops.square_norm([]))
    text = r'ops.square_norm: gradient 1 is int64 \[2\], expected float32'
    refuse(text, lambda *values: ops.square_norm(list(values)), a=((2,), 'float32'), b=((2,), 'int64'))


def test_shapes_that_show_only_at_run_time_are_refused_by_the_kernel():
    def build(gradient):
        p = graph.parameter('p', [3], graph.constant(0))
        ops.adamw([(p, gradient)], Schedule(rate), 0.0, decays, paddle.zeros([1], 'bool'))

    built = Built([graph.Feed('g', (-1,), 'float32')], build)
    with pytest.raises(ValueError, match=r'adamw: gradients 0 has shape \[4\], expected \[3\]'):
        built.session.run(built.program, [np.ones(4, np.float32)], [])
    np.testing.assert_array_equal(built.session.read('p'), np.zeros(3))
