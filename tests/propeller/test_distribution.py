import json

import numpy as np
import pytest

from propeller.distribution import (
    LostPeerError,
    ProcessInfo,
    World,
    is_lost_peer,
    is_running,
    lost_peer,
    process_info,
    require_single_process,
)
from propeller.errors import UsageError, UserError
from tests import processes

ENDPOINTS = '10.0.0.1:6170,10.0.0.1:6171,10.0.0.2:6170'


def environment(**changes):
    found = {
        'PADDLE_TRAINERS_NUM': '3',
        'PADDLE_TRAINER_ID': '2',
        'PADDLE_TRAINER_ENDPOINTS': ENDPOINTS,
        'PADDLE_CURRENT_ENDPOINT': '10.0.0.2:6170',
    }
    return {k: v for k, v in (found | changes).items() if v is not None}


def test_the_process_info_a_process():
    assert (
        process_info({})
        == process_info({'PADDLE_TRAINERS_NUM': '1', 'PADDLE_TRAINER_ID': '0'})
        == ProcessInfo(0, 1, 0, 1)
    )
    assert process_info(environment()) == ProcessInfo(2, 3, 0, 1)
    second = environment(PADDLE_TRAINER_ID='1', PADDLE_CURRENT_ENDPOINT=None)
    assert process_info(second) == ProcessInfo(1, 3, 1, 2)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'PADDLE_TRAINERS_NUM': 'two'}, "PADDLE_TRAINERS_NUM 'two': expected a whole number"),
        ({'PADDLE_TRAINERS_NUM': '0'}, "PADDLE_TRAINERS_NUM '0'"),
        ({'PADDLE_TRAINER_ID': None}, "PADDLE_TRAINER_ID ''"),
        ({'PADDLE_TRAINER_ID': '3'}, 'PADDLE_TRAINER_ID 3: expected a number below PADDLE_TRAINERS_NUM 3'),
        ({'PADDLE_TRAINER_ENDPOINTS': '10.0.0.1:1,10.0.0.1:1,10.0.0.2:1'}, 'found 2 addresses, expected 3'),
        ({'PADDLE_CURRENT_ENDPOINT': '10.0.0.1:6170'}, 'expected 10.0.0.2:6170, number 2 of all endpoints'),
    ],
)
def test_an_environment_that_cannot_be(changes, words):
    with pytest.raises(UserError, match=words):
        process_info(environment(**changes))


def test_programs_that_work_in_one_process(monkeypatch):
    require_single_process('p.py')
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match='p.py works in one process; found PADDLE_TRAINERS_NUM 3'):
        require_single_process('p.py')


def test_one_process_is_all_of_its_world():
    world = World(ProcessInfo())
    own = [np.arange(3)]
    assert world.is_main_process and world.all_gather(own) == [own] and world.broadcast_object('x') == 'x'
    assert world.any_process(True) and not world.any_process(False)
    with world.local_main_process_first():
        world.barrier()


def test_processes_that_run_and_those_that_do_not(tmp_path):
    ended = processes.start(1, ['-c', 'pass'])[0]
    assert is_running(1)
    ended.stderr.read()  # until it ends; it is a zombie as long as nobody asks for its exit code
    for _ in range(1000):
        if not is_running(ended.pid):
            break
    assert not is_running(ended.pid)
    ended.communicate()
    assert not is_running(ended.pid)


def test_errors_of_a_broken_connection():
    assert is_lost_peer(RuntimeError('[gloo/transport/tcp/pair.cc] Connection closed by peer [10.0.0.1]:49'))
    assert is_lost_peer(RuntimeError('std::exception'))
    assert not is_lost_peer(RuntimeError('(ResourceExhausted) Fail to alloc memory of 800 size.'))
    error = lost_peer(World(ProcessInfo(1, 2, 1, 2)), RuntimeError('a\n b'))
    assert isinstance(error, LostPeerError) and error.exit_code == 75
    assert 'process 1 of 2: another process of the job ended, or the connection to it broke (a b)' in str(error)


@pytest.mark.slow
def test_two_processes(tmp_path):
    """Exchange, and 50 updates of masked-LM training with SGD and AdamW, and of one whose table of words is trained by
    rows, as one process makes them.
    """
    (tmp_path / 'one').mkdir()
    (tmp_path / 'two').mkdir()
    for count, name in ((1, 'one'), (2, 'two')):
        for code, _, err in processes.run(count, ['-m', 'tests.propeller.distribution_worker', tmp_path / name]):
            assert code == 0, err
    one = np.load(tmp_path / 'one' / '0.npz')
    first, second = (np.load(tmp_path / 'two' / f'{rank}.npz') for rank in (0, 1))
    assert set(one) == set(first) == set(second) and len(one) > 60
    by_rows = {name: first[name].tolist() for name in one if name.endswith('by_rows')}
    assert by_rows == {'sgd/by_rows': [], 'adamw/by_rows': [], 'rows/by_rows': ['word_embedding']}
    for name in one.keys() - by_rows.keys():
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
        unfelt = not name.startswith('sgd') and name.endswith('key_fc.b_0')  # see tests/test_several_processes.py
        atol = 0.1 if unfelt else 5e-6 if name.endswith('losses') else 1e-6
        np.testing.assert_allclose(first[name], one[name], rtol=0, atol=atol, err_msg=name)
    assert one['adamw/losses'][-5:].mean() < one['adamw/losses'][:5].mean() - 0.1


def test_learner_in_two_processes(tmp_path):
    """Batches of 2 rows, twice in two processes, are batches of 8 in one; in the last update some have no rows."""
    found = {}
    for count, rows, parts in ((1, 8, 1), (2, 2, 2)):
        folder = tmp_path / str(count)
        folder.mkdir()
        for code, _, err in processes.run(count, ['-m', 'tests.propeller.learner_worker', folder, rows, parts]):
            assert code == 0, err
        found[count] = [json.loads((folder / f'{rank}.json').read_text()) for rank in range(count)]
        steps = sorted(int(path.name[6:]) for path in (folder / 'model').glob('model_*'))
        assert steps == [7, 14, 21, 28, 35, 38]
    (one,), (first, second) = found[1], found[2]
    assert first.pop('first') and not second.pop('first') and one.pop('first')
    assert first == second
    assert first['predicted'] == pytest.approx(one['predicted'], abs=1e-5) and len(one['predicted']) == 50
    assert one['scores']['mse'] < 1
    for key in ('scores', 'evaluated'):
        assert first[key] == pytest.approx(one[key], rel=1e-5)
