"""The bag-of-words model of 2019's guide in processes: killed and resumed, and started by two in three ways."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from propeller.errors import UserError
from propeller.storage import open_tensors
from propeller.train.sharding import until_all_end
from tests import processes
from tests.propeller.bow_worker import write_texts

WORKER = 'tests.propeller.bow_worker'


@pytest.fixture
def folder(tmp_path):
    write_texts(tmp_path / 'texts')
    return tmp_path


def train(folder, name, rows, steps, *more, count=1, environment=processes.environment):
    """Returns the exit codes."""
    (folder / name).mkdir(exist_ok=True)
    ended = processes.run(count, ['-m', WORKER, folder / name, rows, steps, *more], environment=environment)
    assert all(code <= 0 for code, _, _ in ended), ended
    return [code for code, _, _ in ended]


def tensors(folder, name, step, file='model'):
    return dict(open_tensors(str(folder / name / 'run' / f'model_{step}' / f'{file}.safetensors')).items())


def test_a_learner_that_was_killed_resumes_to_the_last_bit(folder):
    """Files, shuffled, interleaved and repeated; feature columns; dropout."""
    assert train(folder, 'whole', 6, 23, '--kill_at', 1000) == [0]
    assert train(folder, 'killed', 6, 23, '--kill_at', 13) == [-9]
    assert (folder / 'killed/run/ckpt_info').read_text().split()[-1] == 'model_10'
    assert train(folder, 'killed', 6, 23, '--kill_at', 1000) == [0]
    for file in ('model', 'optimizer'):
        one, other = (tensors(folder, name, 23, file) for name in ('whole', 'killed'))
        assert list(one) == list(other) and len(one) >= 3
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name], err_msg=name)


def by_disconfig(rank, ports):
    """The environment of a process that is started by hand, as programs of 2019 were."""
    addresses = [f'127.0.0.1:{port}' for port in ports[:-1]]
    task = {'type': 'worker' if rank else 'chief', 'index': max(rank - 1, 0)}
    config = {'cluster': {'chief': addresses[:1], 'worker': addresses[1:]}, 'task': task}
    others = {name: value for name, value in os.environ.items() if not name.startswith('PADDLE_')}
    return {**others, 'PROPELLER_DISCONFIG': json.dumps(config), 'OMP_NUM_THREADS': '1'}


def test_processes_that_read_their_own_shares_share_out_nothing_more(folder):
    """51 rows, 25 for each process, in batches of 4: 7 updates; of batches shared out once more there would be 4."""
    train(folder, 'own', 4, 100, '--share', count=2)
    assert (folder / 'own/run/ckpt_info').read_text().split() == ['model_5', 'model_7']


class Together:
    """World of processes of which this one and others with `left` updates more train."""

    def __init__(self, left):
        self.left, self.rank = left, 1

    def any_process(self, value):
        self.left -= 1
        return value or self.left >= 0


@pytest.mark.parametrize(('own', 'others'), [(3, 5), (3, 3), (3, 0)])
def test_a_process_goes_on_until_all_have_ended(own, others):
    updates = list(until_all_end(([(i, True), (i, False)] for i in range(own)), Together(others), lambda: None))
    assert updates[:own] == [[(i, True), (i, False)] for i in range(own)]
    assert updates[own:] == [[(own - 1, False)] * 2] * (max(own, others) - own)


def test_a_share_without_a_batch_is_an_error():
    with pytest.raises(UserError, match='process 1: found no batch in its share'):
        list(until_all_end(iter([]), Together(2), lambda: None))


def test_a_process_that_goes_on_behind_the_end_of_its_share_makes_its_first_update():
    assert list(until_all_end(iter([]), Together(2), lambda: [(7, True)])) == [[(7, False)]] * 2
    assert list(until_all_end(iter([]), Together(0), lambda: [(7, True)])) == []


def launched(folder, name, rows, steps):
    (folder / name).mkdir()
    command = [sys.executable, 'finetune_launch.py', '--nproc_per_node', '2', '--split_log_path', str(folder / 'log')]
    done = subprocess.run(
        [*command, 'tests/propeller/bow_worker.py', str(folder / name), str(rows), str(steps)],
        cwd=processes.ROOT,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(processes.ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_two_processes_are_one_with_twice_the_batch(folder):
    """Started by hand with PROPELLER_DISCONFIG, and by finetune_launch.py."""
    train(folder, 'one', 8, 12)
    train(folder, 'by hand', 4, 12, count=2, environment=by_disconfig)
    launched(folder, 'launched', 4, 12)
    one = tensors(folder, 'one', 12)
    for name in ('by hand', 'launched'):
        for key, array in tensors(folder, name, 12).items():
            np.testing.assert_allclose(array, one[key], atol=2e-5, err_msg=f'{name}: {key}')
    state = json.loads((folder / 'by hand/run/model_12/training_state.json').read_text())
    assert len(state['random_states']) == 2
