"""Real trainings under finetune_launch.py: a killed process, a restart that changes nothing, two machines."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from propeller.distribution import is_running
from propeller.storage import open_tensors
from tests.ernie.tiny_model import SETTINGS, flags, sentences, table
from tests.processes import ROOT, free_ports


@pytest.fixture(scope='module')
def values(tmp_path_factory, model):
    """Flags of a training of 25 updates in two processes that saves every 5."""
    folder = tmp_path_factory.mktemp('data')
    return {
        **SETTINGS,
        'batch_size': 4,
        'init_pretraining_params': model / 'params',
        'train_set': table(folder / 't.tsv', sentences(200, 1)),
        'dev_set': table(folder / 'd.tsv', sentences(30, 2)),
        'do_test': False,
        'epoch': 1,
        'save_steps': 5,
        'skip_steps': 1,
    }


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory, values):
    """What two processes under one launcher make of it: dict name -> array."""
    folder = tmp_path_factory.mktemp('undisturbed')
    job = launch(folder, values, '--nproc_per_node', 2)
    assert job.wait(120) == 0, (folder / 'console').read_text()[-3000:]
    return parameters(folder)


def launch(folder, values, *options):
    """Start the training; its log goes to `folder / 'console'`, those of the processes to `folder / 'log'`."""
    launcher = [sys.executable, 'finetune_launch.py', *map(str, options), '--split_log_path', str(folder / 'log')]
    command = [*launcher, 'run_classifier.py', *flags(**values, checkpoints=folder / 'c')]
    folder.mkdir(exist_ok=True)
    with open(folder / 'console', 'a') as console:
        return subprocess.Popen(
            command, cwd=ROOT, stdout=console, stderr=console, env={**os.environ, 'OMP_NUM_THREADS': '1'}
        )


def wait_for(path, words, timeout=60):
    """Until the file holds the words."""
    end = time.monotonic() + timeout
    while not (path.exists() and words in path.read_text(errors='replace')):
        assert time.monotonic() < end, f'{words!r} not in {path}: {path.exists() and path.read_text()[-2000:]}'
        time.sleep(0.05)


def programs_of(launcher):
    """Process numbers of the training processes under a launcher, by rank."""
    found = {}
    for entry in Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError):
            environment = (entry / 'environ').read_bytes().split(b'\0')
            command = (entry / 'cmdline').read_bytes()
            if b'run_classifier.py' in command and is_below(int(entry.name), launcher):
                rank = [item for item in environment if item.startswith(b'PADDLE_TRAINER_ID=')]
                if rank:
                    found[int(rank[0].partition(b'=')[2])] = int(entry.name)
    return found


def is_below(pid, ancestor):
    while pid > 1:
        parent = re.search(r'^PPid:\s+(\d+)', Path(f'/proc/{pid}/status').read_text(), re.M)
        pid = int(parent.group(1))
        if pid == ancestor:
            return True
    return False


def parameters(folder):
    tensors = open_tensors(folder / 'c' / 'step_25')
    return {name: tensors[name] for name in tensors}


@pytest.mark.slow
def test_a_killed_process_ends_the_job_and_a_restart_changes_nothing(tmp_path, values, undisturbed):
    killed = launch(tmp_path / 'killed', values, '--nproc_per_node', 2)
    wait_for(tmp_path / 'killed' / 'console', 'step: 12,')
    pids = programs_of(killed.pid)
    assert set(pids) == {0, 1}
    os.kill(pids[1], signal.SIGKILL)
    started = time.monotonic()
    assert killed.wait(30) == 128 + signal.SIGKILL
    assert time.monotonic() - started < 5
    assert not any(is_running(pid) for pid in pids.values())
    console = (tmp_path / 'killed' / 'console').read_text()
    assert 'rank 1' in console and 'Traceback' not in console

    elastic = launch(tmp_path / 'elastic', values, '--nproc_per_node', 2, '--elastic_restarts', 1)
    wait_for(tmp_path / 'elastic' / 'console', 'step: 12,')
    os.kill(programs_of(elastic.pid)[1], signal.SIGKILL)
    assert elastic.wait(120) == 0, (tmp_path / 'elastic' / 'console').read_text()[-3000:]
    found = parameters(tmp_path / 'elastic')
    assert undisturbed.keys() == found.keys()
    for name, value in undisturbed.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.slow
def test_two_machines_train_together(tmp_path, values, undisturbed):
    """Two launchers with addresses of their own make what one launcher with two processes makes, but for the order in
    which the norm of the gradients is added up: on one machine each process adds up its share. (The gradient of the
    keys' biases is 0 but for rounding, of which Adam makes steps as large as any other.)
    """
    port, start = free_ports(2)
    nodes = ['--nproc_per_node', 1, '--node_ips', '127.0.0.1,127.0.0.2', '--master', f'127.0.0.1:{port}']
    nodes += ['--start_port', start]
    values = {**values, 'cache': True}
    both = [
        launch(
            tmp_path / 'two',
            values,
            *nodes,
            '--node_id',
            i,
            '--current_node_ip',
            f'127.0.0.{i + 1}',
            '--log_prefix',
            f'n{i}_',
        )
        for i in range(2)
    ]
    assert [process.wait(120) for process in both] == [0, 0], (tmp_path / 'two' / 'console').read_text()
    found = parameters(tmp_path / 'two')
    for name, value in undisturbed.items():
        atol = 1e-2 if name.endswith('key_fc.b_0') else 1e-6
        np.testing.assert_allclose(found[name], value, rtol=0, atol=atol, err_msg=name)
    assert 'process 0 of 2, 1 of them on this machine' in (tmp_path / 'two' / 'console').read_text()
