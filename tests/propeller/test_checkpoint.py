"""Checkpoints are whole or not there, and strict when they are read."""

import json
import os
import weakref
from pathlib import Path

import numpy as np
import pytest

from propeller import graph
from propeller.errors import UserError
from propeller.graph import F
from propeller.session import Session
from propeller.storage import open_tensors, write_safetensors
from propeller.storage.values import load_values
from propeller.train.checkpoint import (
    Checkpoints,
    can_continue,
    lost_optimizer,
    read_state,
    restore_parameters,
    restore_training,
    save_checkpoint,
)
from propeller.update import minimize


@pytest.fixture
def trained():
    """A session and a training program of one 3 x 2 layer after two updates."""
    session = Session(seed=5)

    def build(x):
        weight = graph.parameter('w', [3, 2], graph.truncated_normal(0.5))
        bias = graph.parameter('b', [2], graph.constant(0.25))
        loss = F.linear(x, weight, bias).square().mean()
        minimize(loss, lambda step: 0.1 / (step + 1))
        return loss

    program = session.build([graph.Feed('x', (-1, 3), 'float32')], build)
    session.initialize(program)
    for _ in range(2):
        session.step(program, [np.ones((5, 3), np.float32)], [program.outputs])
    return session, program


def values(session, program):
    return {name: session.read(name) for name in [*program.parameters(), *program.optimizer_state()]}


def test_restore_gives_back_every_value_and_the_schedule(trained, tmp_path):
    session, program = trained
    before = values(session, program)
    assert {'w', 'b', 'w_moment1_0', 'b_beta2_pow_acc_0'} < set(before)
    folder = Checkpoints(tmp_path, files={'note.txt': b'abc'}).save(session, program, {'global_step': 2})
    rate = session.learning_rate(program)
    for _ in range(3):
        session.step(program, [np.ones((5, 3), np.float32)], [program.outputs])
    assert not np.array_equal(session.read('w'), before['w'])
    assert restore_training(folder, session, program)['global_step'] == 2
    for name, value in values(session, program).items():
        np.testing.assert_array_equal(value, before[name])
    assert session.learning_rate(program) == rate == pytest.approx(0.1 / 3)
    assert Path(folder, 'note.txt').read_bytes() == b'abc'


def test_old_checkpoints_are_deleted_and_listed(trained, tmp_path):
    checkpoints = Checkpoints(tmp_path, prefix='model_', keep=2, list_file='ckpt_info')
    for step in (3, 20, 100):
        checkpoints.save(*trained, {'global_step': step})
    assert checkpoints.steps() == [20, 100]
    assert (tmp_path / 'ckpt_info').read_text() == 'model_20\nmodel_100\n'
    assert checkpoints.newest() == checkpoints.path(100)


def test_lean_checkpoints_keep_the_optimizer_state_in_the_newest_alone(trained, tmp_path):
    session, program = trained
    checkpoints = Checkpoints(tmp_path, keep=2, lean=True)
    for step in (3, 20, 100):
        checkpoints.save(session, program, {'global_step': step, 'value': float('-inf')})
    assert checkpoints.steps() == [20, 100]
    old, new = checkpoints.path(20), checkpoints.path(100)
    assert sorted(os.listdir(old)) == ['model.safetensors', 'training_state.json']
    assert read_state(old) == {'global_step': 20, 'value': float('-inf'), 'weights_only': True}
    assert lost_optimizer(old) and not lost_optimizer(new) and can_continue(new)
    restore_parameters(old, session, program)
    with pytest.raises(UserError, match='no optimizer.safetensors.*--init_pretraining_params'):
        restore_training(old, session, program)
    assert restore_training(new, session, program)['global_step'] == 100


def test_the_optimizer_state_of_an_older_checkpoint_goes_only_when_a_newer_one_is_whole(trained, tmp_path, monkeypatch):
    session, program = trained
    checkpoints = Checkpoints(tmp_path, keep=2, lean=True)
    first = checkpoints.save(session, program, {'global_step': 3})

    def fail(*_):
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr('propeller.train.checkpoint.write_safetensors', fail)
        with pytest.raises(UserError, match='No space'):
            checkpoints.save(session, program, {'global_step': 4})
    assert can_continue(first)
    # Killed before the file is gone: it still continues, and the next save takes it out.
    with monkeypatch.context() as patch:
        patch.setattr('propeller.train.checkpoint.os.unlink', fail)
        checkpoints.save(session, program, {'global_step': 5})
    assert restore_training(first, session, program)['global_step'] == 3
    checkpoints.save(session, program, {'global_step': 5})
    assert lost_optimizer(first)


def test_a_new_run_in_an_old_folder_keeps_its_own(trained, tmp_path):
    Checkpoints(tmp_path).save(*trained, {'global_step': 1000})
    fresh = Checkpoints(tmp_path, keep=1)
    for step in (10, 20):
        fresh.save(*trained, {'global_step': step})
    assert fresh.steps() == [20, 1000]


def test_what_does_not_fit_is_named(trained, tmp_path):
    session, program = trained
    folder = Checkpoints(tmp_path).save(session, program, {'global_step': 2})
    wrong = {'w': np.zeros((3, 5), np.float32), 'extra': np.zeros(1, np.float32)}
    write_safetensors(os.path.join(folder, 'model.safetensors'), wrong)
    with pytest.raises(UserError) as error:
        restore_parameters(folder, session, program)
    for part in ('b is missing', 'extra is not part', r'w has shape [3, 5], expected [3, 2]'):
        assert part in str(error.value)


def test_weights_only_cannot_continue(trained, tmp_path):
    session, program = trained
    save_checkpoint(tmp_path / 'best', session, program, {'global_step': 2}, weights_only=True)
    with pytest.raises(UserError, match='init_pretraining_params'):
        restore_training(tmp_path / 'best', session, program)


@pytest.mark.parametrize('text', ['', '{', '[]', '{"global_step": "7"}'])
def test_damaged_state_is_one_error(tmp_path, text):
    (tmp_path / 'training_state.json').write_text(text)
    with pytest.raises(UserError, match='training_state.json'):
        read_state(tmp_path)
    with pytest.raises(UserError, match='no training_state.json'):
        read_state(tmp_path / 'nothing')


def test_failed_save_leaves_the_old_one(trained, tmp_path, monkeypatch):
    session, program = trained
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(session, program, {'global_step': 2, 'mark': 1})

    def full(*args, **settings):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('propeller.train.checkpoint.json.dump', full)
    with pytest.raises(UserError, match='No space left'):
        checkpoints.save(session, program, {'global_step': 2, 'mark': 2})
    assert read_state(checkpoints.newest())['mark'] == 1
    assert os.listdir(tmp_path) == ['step_2']


def test_checkpoint_files_are_readable_as_they_are(trained, tmp_path):
    session, program = trained
    folder = Checkpoints(tmp_path).save(session, program, {'global_step': 2})
    assert set(open_tensors(folder)) == {'w', 'b'}
    assert json.loads(Path(folder, 'training_state.json').read_text())['global_step'] == 2


# ------------------------------------------------------------------------------------------ types and finite values


def test_what_is_not_finite_is_not_saved(trained, tmp_path):
    session, program = trained
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(session, program, {'global_step': 2, 'mark': 1})
    good = values(session, program)
    for name, bad in (('w', np.nan), ('b_moment2_0', np.inf)):
        session.write(name, np.full_like(good[name], bad))
        for step in (2, 3):
            with pytest.raises(UserError, match=f'step_{step}: not saved, because {name} has {bad} at'):
                checkpoints.save(session, program, {'global_step': step, 'mark': 2})
        session.write(name, good[name])
    assert os.listdir(tmp_path) == ['step_2'] and read_state(checkpoints.newest())['mark'] == 1
    restore_training(checkpoints.newest(), session, program)
    for name, value in values(session, program).items():
        np.testing.assert_array_equal(value, good[name])


def changed(folder, file, name, array):
    path = os.path.join(folder, file)
    tensors = open_tensors(path)
    write_safetensors(path, {n: tensors[n] for n in tensors} | {name: array})
    return path


@pytest.mark.parametrize(
    ('file', 'name', 'array', 'text'),
    [
        (
            'optimizer.safetensors',
            'w_moment1_0',
            np.full((3, 2), np.nan, np.float32),
            r'w_moment1_0 with nan at \[0, 0\]',
        ),
        ('model.safetensors', 'b', np.float32([0, -np.inf]), r'b with -inf at \[1\], the first of 1'),
        ('model.safetensors', 'b', np.int32([0, 1]), 'b is int32, expected float32'),
        ('optimizer.safetensors', 'b_moment2_0', np.int64([0, 1]), 'b_moment2_0 is int64, expected float32'),
    ],
)
def test_a_broken_checkpoint_does_not_continue(trained, tmp_path, file, name, array, text):
    session, program = trained
    folder = Checkpoints(tmp_path).save(session, program, {'global_step': 2})
    changed(folder, file, name, array)
    with pytest.raises(UserError, match=text):
        restore_training(folder, session, program)


def test_half_precision_is_restored_exactly(trained, tmp_path):
    session, program = trained
    folder = Checkpoints(tmp_path).save(session, program, {'global_step': 2})
    changed(folder, 'model.safetensors', 'b', np.float16([0.1, -3]))
    restore_parameters(folder, session, program)
    assert session.read('b').dtype == np.float32
    np.testing.assert_array_equal(session.read('b'), np.float16([0.1, -3]).astype(np.float32))


# ------------------------------------------------------------------------------------------ memory


def test_what_is_saved_is_not_copied(trained, tmp_path, monkeypatch):
    session, program = trained
    expected, view = values(session, program), session.view('w')
    session.write('w', expected['w'] + 1)
    np.testing.assert_array_equal(view, expected['w'] + 1)  # the variable itself
    session.write('w', expected['w'])
    monkeypatch.setattr(session, 'read', None)
    save_checkpoint(tmp_path / 'c', session, program, {'global_step': 2})
    saved = {name: array for file in ('model', 'optimizer') for name, array in tensors_of(tmp_path / 'c', file).items()}
    assert saved.keys() == expected.keys()
    for name, array in saved.items():
        np.testing.assert_array_equal(array, expected[name])


def test_one_tensor_at_a_time_is_loaded(trained):
    session, program = trained
    alive = weakref.WeakSet()

    class Array(np.ndarray):
        __hash__ = object.__hash__  # as a member of a set

    class File(dict):
        def __getitem__(self, name):
            assert not alive
            array = super().__getitem__(name).copy().view(Array)
            alive.add(array)
            return array

    expected = {name: value + 1 for name, value in values(session, program).items()}
    load_values(session, expected, File(expected), 'a file')
    for name, value in values(session, program).items():
        np.testing.assert_array_equal(value, expected[name])


def tensors_of(folder, file):
    return dict(open_tensors(folder / f'{file}.safetensors'))
