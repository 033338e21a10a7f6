"""`PROPELLER_DISCONFIG`: which processes make a job, as programs of 2019 said it."""

import json

import pytest

from propeller.disconfig import launcher_variables
from propeller.distribution import ProcessInfo, process_info
from propeller.errors import UserError
from propeller.train.distribution import DistributionMode, run_on_master, status

CHIEFS, WORKERS = ['10.0.0.1:6170'], ['10.0.0.1:6171', 'node-2:7000']


def config(kind='worker', index=1, **cluster):
    return {'cluster': {'chief': CHIEFS, 'worker': WORKERS, **cluster}, 'task': {'type': kind, 'index': index}}


@pytest.mark.parametrize(('kind', 'index', 'rank'), [('chief', 0, 0), ('worker', 0, 1), ('worker', '1', 2)])
def test_a_job(kind, index, rank, tmp_path):
    path = tmp_path / 'job.txt'
    path.write_text(f'# of three\n{config(kind, index)!r}')
    for text in (str(path), json.dumps(config(kind, index))):
        found = process_info({'PROPELLER_DISCONFIG': text})
        assert (found.rank, found.size) == (rank, 3)
        assert found.local_size == (1 if rank == 2 else 2)
        variables = launcher_variables({'PROPELLER_DISCONFIG': text})
        assert variables['PADDLE_TRAINER_ENDPOINTS'] == ','.join(CHIEFS + WORKERS)
        assert process_info({**variables, 'PROPELLER_DISCONFIG': text}) == found  # as after the processes have met


def test_one_process_or_none():
    alone = {'cluster': {'chief': CHIEFS}, 'task': {'type': 'chief', 'index': 0}}
    assert process_info({'PROPELLER_DISCONFIG': json.dumps(alone)}) == ProcessInfo() == process_info({})


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        ('{"cluster": ', r'PROPELLER_DISCONFIG:1:\d+: '),
        ('[1]', r'found .\[1\].*expected an existing file or a dictionary'),
        ({'cluster': {}}, 'found no task, expected {'),
        ({'cluster': {}, 'task': 3}, 'found 3 as task, expected {'),
        (config(worker=[*CHIEFS]), "found '10.0.0.1:6170' twice, expected another address for each process"),
        (config(chief=[]), r'found \[\] as chief, expected a list of HOST:PORT'),
        (config(worker='a:1'), "found 'a:1' as worker, expected a list"),
        (config(worker=['a:70000']), "found the address 'a:70000' of a worker, expected HOST:PORT"),
        (config(workers=[]), "found the role 'workers' in cluster, expected chief or worker. Did you mean worker?"),
        (config('worker', 2), "found task type 'worker', index 2, expected one of the cluster: chief 0, worker 0, w"),
        (config('ps', 0), "found task type 'ps', index 0"),
        (config('chief', True), 'index True, expected one of'),
    ],
)
def test_what_it_cannot_be(value, text):
    with pytest.raises(UserError, match='PROPELLER_DISCONFIG.*' + text if value != '{"cluster": ' else text):
        process_info({'PROPELLER_DISCONFIG': value if isinstance(value, str) else json.dumps(value)})


def test_a_launcher_that_says_something_else():
    environ = {**launcher_variables({'PROPELLER_DISCONFIG': json.dumps(config())}), 'PADDLE_TRAINER_ID': '0'}
    with pytest.raises(UserError, match="found PADDLE_TRAINER_ID '2', expected '0' as in the env.* A launcher has set"):
        process_info({**environ, 'PROPELLER_DISCONFIG': json.dumps(config())})


def test_the_status_of_this_process(monkeypatch):
    assert (status.mode, status.num_replica, status.replica_id, status.is_master) == (0, 1, 0, True)
    called = run_on_master(lambda x, y=1: (x, y))
    assert called(3, y=4) == (3, 4)
    monkeypatch.setenv('PROPELLER_DISCONFIG', json.dumps(config()))
    assert (status.mode, status.num_replica, status.replica_id) == (DistributionMode.NCCL, 3, 2)
    assert not status.is_master and called(3) is None
