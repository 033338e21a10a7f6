"""Programs that share parameters, seeds, random state, export."""

import json

import numpy as np
import pytest

from propeller import graph
from propeller.environment import is_amd, keep_memory, prepare_cpu
from propeller.errors import UsageError, UserError
from propeller.exported import ExportedModel
from propeller.graph import F, paddle
from propeller.session import Session
from propeller.update import minimize

X = graph.Feed('x', (-1, 4), 'float32')


def layer(x, width=3, std=0.2):
    return paddle.matmul(x, graph.parameter('w', [4, width], graph.truncated_normal(std)))


def test_programs_share_parameters_by_name():
    session = Session(seed=1)

    def train(x):
        loss = layer(x).square().mean()
        minimize(loss, lambda step: 0.1)
        return loss

    training = session.build([X], train)
    session.initialize(training)
    evaluation = session.build([X], lambda x: layer(x))
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    for _ in range(2):
        (out,) = session.run(evaluation, [x], [evaluation.outputs])
        np.testing.assert_allclose(out, x @ session.read('w'), rtol=1e-5, atol=1e-6)
        session.step(training, [x], [training.outputs])
    assert not evaluation.training
    assert evaluation.optimizer_state() == {}


def test_programs_of_the_same_names_are_told_apart():
    """Paddle's executor knows a program by its text; here that is a number, as long as the program may be."""
    session = Session(seed=1)
    programs = [session.build([X], lambda x, n=n: x * n) for n in (2.0, 3.0)]
    x = np.ones((2, 4), np.float32)
    for _ in range(2):
        for program, factor in zip(programs, (2, 3), strict=True):
            assert np.array_equal(session.run(program, [x], [program.outputs])[0], factor * x)
    names = [str(program.main) for program in programs]
    assert names[0] != names[1] and 'pd_op.scale' in repr(programs[0].main)
    assert 'pd_op' not in names[0]  # else its text is written at each run


def test_one_name_is_one_parameter():
    session = Session(seed=1)
    program = session.build([X], lambda x: [layer(x), layer(x)])
    session.initialize(program)
    a, b = session.run(program, [np.ones((2, 4), np.float32)], program.outputs)
    np.testing.assert_array_equal(a, b)
    assert program.parameters() == {'w': (4, 3)}


def test_seed_decides_initial_values_and_dropout():
    def run(seed):
        session = Session(seed=seed)
        program = session.build([X], lambda x: F.dropout(layer(x, 200), 0.5))
        session.initialize(program)
        return session.run(program, [np.ones((2, 4), np.float32)], [program.outputs])[0]

    np.testing.assert_array_equal(run(3), run(3))
    assert not np.array_equal(run(3), run(4))


def test_a_seed_has_64_bits():
    assert Session(seed=2**64 - 1).seed == 2**64 - 1
    for seed in (-1, 2**64):
        with pytest.raises(UsageError, match=f'^seed {seed}: expected a whole number from 0 to 18446744073709551615.$'):
            Session(seed=seed)


def test_values_that_are_given_are_not_drawn():
    """Only where all are: a part alone would change what is drawn for the others."""

    def values(given, build=lambda x: layer(x) @ graph.parameter('v', [3, 2], graph.constant(7))):
        session = Session(seed=3)
        session.initialize(session.build([X], build), given)
        return session, {name: session.read(name) for name in ('w', 'v')}

    session, given = values(['v', 'w', 'other'])
    assert np.isnan(given['w']).all() and given['w'].shape == (4, 3)
    assert np.isnan(given['v']).all() and given['v'].dtype == np.float32
    session.write('v', np.ones((3, 2), np.float32))
    np.testing.assert_array_equal(session.read('v'), np.ones((3, 2)))
    drawn = values([])[1]
    for part in (['w'], ['v']):
        for name, array in values(part)[1].items():
            np.testing.assert_array_equal(array, drawn[name])

    def train(x):
        loss = (layer(x) @ graph.parameter('v', [3, 2], graph.constant(7))).square().mean()
        minimize(loss, lambda step: 0.1)
        return loss

    np.testing.assert_array_equal(values(['v', 'w'], train)[1]['w'], drawn['w'])  # an optimizer has values of its own


def test_truncated_normal_is_cut_at_two_deviations():
    session = Session(seed=2)
    program = session.build([X], lambda x: layer(x, 5000, std=0.3))
    session.initialize(program)
    w = session.read('w')
    assert np.abs(w).max() <= 0.6
    # A normal cut at two deviations has 0.8796 of the deviation.
    assert w.std() == pytest.approx(0.3 * 0.8796, rel=0.02)
    assert abs(w.mean()) < 0.01


def test_random_state_survives_json():
    session = Session(seed=9)
    program = session.build([X], lambda x: F.dropout(x, 0.5))
    x = np.ones((20, 4), np.float32)
    session.run(program, [x], [program.outputs])
    state = json.loads(json.dumps(session.random_state()))
    first = [session.run(program, [x], [program.outputs])[0] for _ in range(3)]
    session.set_random_state(state)
    second = [session.run(program, [x], [program.outputs])[0] for _ in range(3)]
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first[0], first[1])


def test_write_refuses_another_shape_and_unknown_names():
    session = Session(seed=1)
    program = session.build([X], lambda x: layer(x))
    session.initialize(program)
    with pytest.raises(UserError, match=r'w: found shape \[4, 2\], expected \[4, 3\]'):
        session.write('w', np.zeros((4, 2), np.float32))
    with pytest.raises(KeyError):
        session.read('nothing')


def test_export_equals_the_graph_and_takes_any_batch(tmp_path):
    session = Session(seed=6)
    program = session.build([X], lambda x: [x, F.softmax(layer(x))])
    session.initialize(program)
    inputs, output = [program.outputs[0]], program.outputs[1]
    x = np.random.default_rng(1).normal(size=(7, 4)).astype(np.float32)
    session.export_inference(program, inputs, [output], str(tmp_path), [x])
    expected = session.run(program, [x[:3]], [output])[0]
    np.testing.assert_allclose(ExportedModel(str(tmp_path)).run([x[:3]])[0], expected, atol=1e-6)


def test_export_that_differs_is_refused(tmp_path, monkeypatch):
    session = Session(seed=6)
    program = session.build([X], lambda x: [x, layer(x)])
    session.initialize(program)
    monkeypatch.setattr(ExportedModel, 'run', lambda self, arrays: [np.zeros((2, 3), np.float32)])
    with pytest.raises(UserError, match='output 0 of the exported model differs'):
        sample = [np.ones((2, 4), np.float32)]
        session.export_inference(program, program.outputs[:1], program.outputs[1:], str(tmp_path), sample)


@pytest.mark.skipif(bool(graph.cuda_devices()), reason='a GPU is here')
def test_gpu_without_gpu_is_one_clear_error():
    with pytest.raises(UserError, match='--use_cuda false'):
        Session(use_cuda=True)


def test_processor_settings(tmp_path):
    amd, intel = tmp_path / 'amd', tmp_path / 'intel'
    amd.write_text('processor : 0\nvendor_id\t: AuthenticAMD\n')
    intel.write_text('processor : 0\nvendor_id\t: GenuineIntel\n')
    assert is_amd(amd)
    assert not is_amd(intel)
    assert not is_amd(tmp_path / 'none')
    for path, expected in ((amd, '5'), (intel, None)):
        environ = {}
        prepare_cpu(environ, path)
        assert environ.get('MKL_DEBUG_CPU_TYPE') == expected
        assert int(environ['OMP_NUM_THREADS']) >= 1
    chosen = {'MKL_DEBUG_CPU_TYPE': '0', 'OMP_NUM_THREADS': '3'}
    prepare_cpu(chosen, amd)
    assert chosen == {'MKL_DEBUG_CPU_TYPE': '0', 'OMP_NUM_THREADS': '3'}


def test_memory_setting_needs_glibc():
    class Musl:
        pass

    class Glibc:
        calls = []

        def mallopt(self, option, value):
            self.calls.append((option, value))
            return 1

    assert not keep_memory(Musl())
    assert keep_memory(Glibc())
    assert dict(Glibc.calls) == {-3: 1 << 30, -1: (1 << 31) - 1}
