"""Workers and threads that a server chooses, and the environment of each worker: without a GPU, by functions."""

import asyncio
import os
import signal

import pytest

from propeller.errors import UsageError
from propeller.launch import machine
from propeller.service import flags, server, sizing
from propeller.service.core import ServiceCore
from propeller.service.limits import Limits
from propeller.service.sizing import Sizing, gpus_of_paddle, sized
from propeller.tools.start_server import main, parser
from tests.propeller.service_models import Sums

GB = 1 << 30


@pytest.fixture
def folder(tmp_path):
    """A model of 1.2 GB, by the size of its file: a worker takes 4 GB with it."""
    with open(tmp_path / 'model.pdiparams', 'wb') as f:
        f.truncate(int(1.2 * GB))
    (tmp_path / 'further').mkdir()
    return str(tmp_path)


def _sized(monkeypatch, cores, *given, free=1000 * GB, **more):
    monkeypatch.setattr(sizing, 'usable_cores', lambda: cores)
    monkeypatch.setattr(sizing, 'available_memory', lambda: free)
    return sized(*given, **more)


@pytest.mark.parametrize(
    ('cores', 'workers', 'threads', 'reason'),
    [
        (1, 1, 1, 'one core'),
        (2, 2, 1, 'one for each core'),
        (4, 4, 1, 'one for each core'),
        (5, 4, 1, '5 cores'),
        (6, 3, 2, '6 cores'),
        (7, 3, 2, '7 cores'),
        (8, 4, 2, '8 cores'),
        (11, 3, 3, '11 cores'),
        (64, 4, 16, '64 cores'),
    ],
)
def test_workers_by_cores(monkeypatch, folder, cores, workers, threads, reason):
    assert _sized(monkeypatch, cores, [folder]) == Sizing(workers, threads, reason)


def test_cores_beside_the_threads_of_a_worker_are_spare(monkeypatch):
    monkeypatch.setattr(sizing, 'usable_cores', lambda: 6)
    assert [Sizing(2, threads, '').settings().spare_cores for threads in (1, 2, 6, 9)] == [5, 4, 0, 0]


def test_what_is_given_holds(monkeypatch, folder):
    assert _sized(monkeypatch, 8, [folder], 5) == Sizing(5, 1, 'as --workers says')
    assert _sized(monkeypatch, 8, [folder], 2, 9) == Sizing(2, 9, 'as --workers says')
    assert _sized(monkeypatch, 8, [folder], None, 4) == Sizing(2, 4, '8 cores')
    assert _sized(monkeypatch, 2, [folder], None, 2) == Sizing(1, 2, '2 cores')
    assert _sized(monkeypatch, 2, [folder], None, 3) == Sizing(1, 3, '2 cores')
    assert _sized(monkeypatch, 8, [folder], 5, free=0).workers == 5


def test_models_that_fit_into_memory_once_have_one_worker(monkeypatch, folder):
    found = _sized(monkeypatch, 8, [folder], free=7 * GB)
    assert found == Sizing(1, 8, '7.0 GB of memory are free, and a worker takes about 4.0')
    assert str(found) == f'1 process, 8 threads each ({found.reason})'
    assert _sized(monkeypatch, 8, [folder], free=11 * GB)[:2] == (2, 4)
    assert _sized(monkeypatch, 8, [folder, folder], free=11 * GB).reason.endswith('takes about 7.6')
    assert _sized(monkeypatch, 8, [folder], free=0)[:2] == (1, 8)
    assert _sized(monkeypatch, 8, [folder], free=None)[:2] == (4, 2)


def test_a_worker_for_each_gpu(monkeypatch, folder):
    found = _sized(monkeypatch, 8, [folder], gpus=['2', 'GPU-8f'], free=0)
    assert str(found) == '2 processes, 4 threads each (one for each GPU: 2, GPU-8f)'
    assert found.environments() == tuple({'OMP_NUM_THREADS': '4', 'CUDA_VISIBLE_DEVICES': name} for name in found.gpus)
    three = _sized(monkeypatch, 8, [folder], 3, 1, ['2', 'GPU-8f'])
    assert [one['CUDA_VISIBLE_DEVICES'] for one in three.environments()] == ['2', 'GPU-8f', '2']
    assert _sized(monkeypatch, 8, [folder], gpus=['0']).reason == 'one for GPU 0'
    assert _sized(monkeypatch, 8, [folder]).environments() == ({'OMP_NUM_THREADS': '2'},)
    assert found.settings(silence=2.0).silence == 2.0


def test_gpus_are_those_that_paddle_can_use(monkeypatch, tmp_path):
    for number in range(4):
        (tmp_path / f'nvidia{number}').touch()
    monkeypatch.setattr(machine.visible_gpus, '__defaults__', (str(tmp_path),))
    for cpu, environ, expected in (
        (False, {}, ['0', '1', '2', '3']),
        (False, {'CUDA_VISIBLE_DEVICES': '3, 1'}, ['3', '1']),
        (False, {'CUDA_VISIBLE_DEVICES': '-1'}, []),
        (True, {'CUDA_VISIBLE_DEVICES': '3,1'}, []),
    ):
        monkeypatch.setattr(machine, 'paddle_is_for_cpu', lambda cpu=cpu: cpu)
        assert gpus_of_paddle(environ) == expected


def test_the_server_of_2019_has_a_worker_for_each_gpu(monkeypatch, folder):
    monkeypatch.setattr(server, 'gpus_of_paddle', lambda: ['5', '6'])
    monkeypatch.setattr(server, 'ExportedServed', lambda *_, **__: Sums(folder=folder))
    one = server.InferenceServer(folder, threads=3)
    assert one.settings.workers == 2 and one.model.arguments['threads'] == 3
    assert [own['CUDA_VISIBLE_DEVICES'] for own in one.settings.environments] == ['5', '6']
    assert server.InferenceServer(folder, 3).settings.workers == 3
    with pytest.raises(UsageError, match='number of workers: found 0'):
        server.InferenceServer(folder, 0)


def _environment(worker):
    with open(f'/proc/{worker.pid}/environ', 'rb') as f:
        return dict(entry.split(b'=', 1) for entry in f.read().split(b'\0') if entry)


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='/proc tells the environment of a process')
def test_worker_processes_see_their_gpu_and_those_that_take_their_place_the_same():
    async def scene():
        core = ServiceCore([Sums()], Limits(), Sizing(2, 3, '', ('4', '7')).settings())
        await core.start()
        try:
            workers = list(core._pool._workers)
            seen = [_environment(worker)[b'CUDA_VISIBLE_DEVICES'] for worker in workers]
            os.kill(workers[1].pid, signal.SIGKILL)
            async with asyncio.timeout(60):
                while core._pool._workers[1] in (workers[1], None) or core.workers_up < 2:
                    await asyncio.sleep(0.05)
            last = _environment(core._pool._workers[1])
            return [*seen, last[b'CUDA_VISIBLE_DEVICES'], last[b'OMP_NUM_THREADS']]
        finally:
            await core.drain(timeout=0)

    assert asyncio.run(scene()) == [b'4', b'7', b'7', b'3']


def test_flags_of_workers_are_one_for_all_servers():
    values = parser().parse_args(['-m', 'x', '-p', '0'])
    assert (values.workers, values.threads, values.drain_timeout) == (None, None, flags.DRAIN_TIMEOUT)
    helps = {action.dest: action.help for action in parser()._actions}
    assert helps['workers'] == flags.WORKERS and helps['threads'] == flags.THREADS
    assert helps['drain_timeout'].startswith(flags.DRAIN)
    for wrong in (['--workers', '0'], ['--threads', '0'], ['--drain_timeout', '-1'], ['--drain_timeout', 'nan']):
        with pytest.raises(UsageError, match=f'{wrong[0]}: found {wrong[1]}, expected [01] or more'):
            main(['-m', 'x', '-p', '0', *wrong])
