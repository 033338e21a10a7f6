"""Addresses, devices, threads and arguments of a job's processes, and what is found out about a machine."""

import importlib.metadata
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.environment import usable_cores
from propeller.errors import UsageError
from propeller.launch import machine
from propeller.launch.devices import choose_devices
from propeller.launch.plan import (
    Plan,
    environment,
    flag_value,
    job_environment,
    model_path,
    node_of,
    parse_address,
    parse_nodes,
    script_arguments,
    setting_of,
    split_gpus,
)


@given(st.integers(1, 5), st.integers(1, 9), st.integers(2, 60000))
def test_every_rank_has_its_own_endpoint(nodes, nproc, port):
    ips = tuple(f'10.0.0.{i}' for i in range(nodes))
    plans = [Plan(ips, i, nproc, tuple(range(port, port + nproc)), f'{ips[0]}:{port}') for i in range(nodes)]
    seen = []
    for plan in plans:
        for local_rank in range(nproc):
            environ = environment(plan, local_rank, {}, 4, 60)
            rank = int(environ['PADDLE_TRAINER_ID'])
            assert rank == plan.node_id * nproc + local_rank
            assert environ['PADDLE_CURRENT_ENDPOINT'] == f'{ips[plan.node_id]}:{port + local_rank}'
            assert environ['PADDLE_TRAINER_ENDPOINTS'].split(',')[rank] == environ['PADDLE_CURRENT_ENDPOINT']
            seen.append(rank)
    assert seen == list(range(nodes * nproc))


@pytest.mark.parametrize('cores, nproc, threads', [(8, 2, '4'), (8, 3, '2'), (2, 2, '1'), (2, 5, '1'), (1, 1, '1')])
def test_threads_are_divided(cores, nproc, threads):
    plan = Plan(('127.0.0.1',), 0, nproc, tuple(range(6170, 6170 + nproc)), '127.0.0.1:6170')
    assert environment(plan, 0, {}, cores, 60)['OMP_NUM_THREADS'] == threads
    assert environment(plan, 0, {'OMP_NUM_THREADS': '9'}, cores, 60)['OMP_NUM_THREADS'] == '9'


def test_environment_on_gpus():
    """Paddle counts in the list of visible GPUs, where the user names them as CUDA_VISIBLE_DEVICES does."""
    plan = Plan(('a', 'b'), 1, 2, (7, 8), 'a:7', (('5', '7'), ('4', '2')), ('2', '4', '5', '7'))
    environ = environment(plan, 1, {'CUDA_VISIBLE_DEVICES': '2,4,5,7'}, 8, 60, 'eth0')
    assert environ['FLAGS_selected_gpus'] == '1,0'
    assert environ['PADDLE_DISTRI_BACKEND'] == 'nccl'
    assert environ['CUDA_VISIBLE_DEVICES'] == '2,4,5,7'
    assert 'GLOO_SOCKET_IFNAME' not in environ
    assert plan.describe() == (
        "all_trainer_endpoints: ['a:7', 'a:8', 'b:7', 'b:8'], node_id: 1, current_ip: b, num_nodes: 2, "
        "node_ips: ['a', 'b'], gpus_per_proc: 2, selected_gpus_per_proc: [['5', '7'], ['4', '2']], nranks: 4"
    )


@given(st.integers(1, 16), st.integers(1, 16))
def test_gpus_are_shared_equally_or_not_at_all(gpus, nproc):
    names = [str(i) for i in range(gpus)]
    if gpus % nproc:
        with pytest.raises(UsageError, match='--nproc_per_node'):
            split_gpus(names, nproc)
        return
    groups = split_gpus(names, nproc)
    assert [name for group in groups for name in group] == names
    assert {len(group) for group in groups} == {gpus // nproc}


IPS = ('10.0.0.1', '10.0.0.2', '10.0.0.3')


@pytest.mark.parametrize(
    'ips, node_id, current, expected',
    [(IPS, 2, None, 2), (IPS, None, '10.0.0.2', 1), (IPS, 1, '10.0.0.2', 1), (IPS[:1], None, None, 0)],
)
def test_which_node_this_is(ips, node_id, current, expected):
    assert node_of(ips, node_id, current) == expected


@pytest.mark.parametrize(
    'node_id, current, words',
    [
        (None, None, ['--node_id', '--current_node_ip']),
        (3, None, ['--node_id 3', '0 to 2']),
        (-1, None, ['--node_id -1']),
        (0, '10.0.0.2', ['--node_id 0', '10.0.0.1', '10.0.0.2']),
        (None, '10.0.0.9', ['10.0.0.9', '--node_ips']),
    ],
)
def test_contradictions_about_nodes(node_id, current, words):
    with pytest.raises(UsageError) as error:
        node_of(IPS, node_id, current)
    for word in words:
        assert word in str(error.value)


def test_addresses():
    assert parse_nodes('a, b.example,10.0.0.1') == ('a', 'b.example', '10.0.0.1')
    assert parse_address('--master', 'host.example:6170') == ('host.example', 6170)
    for text in ('', 'a,,b', 'a,a', 'a:1', 'a b'):
        with pytest.raises(UsageError, match='--node_ips'):
            parse_nodes(text)
    for text in ('host', 'host:', ':6170', 'host:x', 'host:0', 'host:70000', '::1:6170'):
        with pytest.raises(UsageError, match='--master'):
            parse_address('--master', text)


def test_arguments_of_the_script():
    arguments = ['--use_cuda', 'true', '--a', '--use_cuda=false', '--b']
    assert flag_value(arguments, 'use') is None
    assert flag_value(arguments, 'use_cuda') == 'false'
    assert flag_value(arguments, 'c') is None
    assert flag_value([], 'b') is None
    assert flag_value(['--b'], 'b') == ''
    assert script_arguments(['x'], True, False) == ['x', '--is_distributed', 'true']
    assert script_arguments(['x'], False, False) == ['x', '--is_distributed', 'true', '--use_cuda', 'false']
    given_all = ['--is_distributed=true', '--use_cuda', 'false']
    assert script_arguments(given_all, False, False) == given_all
    assert script_arguments(given_all, False, True) == [*given_all, '--resume', 'true']


def test_model_path():
    assert model_path(['--init_pretraining_params', 'p']) == 'p'
    assert model_path(['--init_pretraining_params', 'p', '--init_checkpoint=c']) == 'c'
    assert model_path([]) is None


def test_settings_in_a_file_that_the_script_reads(tmp_path):
    path = tmp_path / 'run.yaml'
    path.write_text('use_cuda: false\ninit_checkpoint: null\ninit_pretraining_params: p\n')
    arguments = ['--epoch', '3', f'--config={path}']
    assert setting_of(arguments, 'use_cuda') == 'False' and model_path(arguments) == 'p'
    assert setting_of([*arguments, '--use_cuda', 'true'], 'use_cuda') == 'true'
    assert script_arguments(arguments, False, False) == [*arguments, '--is_distributed', 'true']
    path.write_text('[section]\nuse_cuda: what another script has\n')
    assert setting_of(arguments, 'use_cuda') is None
    assert setting_of(['--config', str(tmp_path / 'none')], 'use_cuda') is None


@pytest.fixture
def gpus(tmp_path, monkeypatch):
    """Function (count) -> folder of device files, with a paddle for GPUs installed."""
    monkeypatch.setattr(machine, 'paddle_is_for_cpu', lambda: False)

    def make(count):
        for i in range(count):
            (tmp_path / f'nvidia{i}').touch()
        for name in ('nvidiactl', 'nvidia-uvm', 'tty1'):
            (tmp_path / name).touch()
        return tmp_path

    return make


def test_gpus_by_default_one_process_each(gpus):
    nproc, groups, visible = choose_devices(None, None, [], {}, gpus(12))
    assert nproc == 12
    assert visible == tuple(str(i) for i in range(12))  # by number, not by name
    assert groups == tuple((name,) for name in visible)


def test_selected_gpus(gpus):
    assert choose_devices(2, '3,1', [], {}, gpus(4)) == (2, (('3',), ('1',)), ('0', '1', '2', '3'))
    assert choose_devices(2, None, [], {}, gpus(4))[1] == (('0', '1'), ('2', '3'))
    for selected, words in (('1,4', 'no GPU 4'), ('1,1', 'twice')):
        with pytest.raises(UsageError, match=words):
            choose_devices(2, selected, [], {}, gpus(4))


@pytest.mark.parametrize(
    'visible, expected', [('2,3', ['2', '3']), ('', []), ('-1', []), ('1,-1,0', ['1']), ('all', ['0', '1', '2', '3'])]
)
def test_visible_gpus(gpus, visible, expected):
    assert machine.visible_gpus({'CUDA_VISIBLE_DEVICES': visible}, gpus(4)) == expected


def test_without_gpus(gpus, tmp_path):
    folder, environ = gpus(0), {'PATH': str(tmp_path)}
    assert choose_devices(None, '0,1', [], environ, folder) == (usable_cores(), (), ())
    assert choose_devices(5, None, [], environ, folder) == (5, (), ())
    assert machine.visible_gpus(environ | {'CUDA_VISIBLE_DEVICES': '0'}, folder) == []


def test_nvidia_smi_is_asked_where_there_are_no_device_files(gpus, tmp_path):
    program = tmp_path / 'nvidia-smi'
    program.write_text('#!/bin/sh\necho "GPU 0: A (UUID: x)"; echo "  MIG 1g Device 0: (UUID: y)"; echo "GPU 1: B"\n')
    program.chmod(0o755)
    environ = {'PATH': f'{tmp_path}:{os.environ["PATH"]}'}
    assert machine.visible_gpus(environ, gpus(0)) == ['0', '1']


@pytest.mark.parametrize('arguments', [['--use_cuda', 'false'], ['--use_cuda=0'], ['--use_cuda', 'False']])
def test_use_cuda_false_means_the_cpu(gpus, arguments):
    assert choose_devices(2, None, arguments, {}, gpus(2)) == (2, (), ())
    assert choose_devices(2, None, ['--use_cuda', 'true'], {}, gpus(2))[1] == (('0',), ('1',))


def test_a_paddle_without_gpu_support_means_the_cpu(gpus, monkeypatch):
    monkeypatch.setattr(machine, 'paddle_is_for_cpu', lambda: True)
    assert choose_devices(2, None, [], {}, gpus(2)) == (2, (), ())


@pytest.mark.parametrize(
    'installed, for_cpu',
    [
        (['paddlepaddle'], True),
        (['paddlepaddle-gpu'], False),
        (['paddlepaddle', 'paddlepaddle-gpu'], False),
        ([], False),
    ],
)
def test_which_paddle_is_installed(monkeypatch, installed, for_cpu):
    def version(name):
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return '3.3.1'

    monkeypatch.setattr(importlib.metadata, 'version', version)
    assert machine.paddle_is_for_cpu() is for_cpu


def test_interface():
    assert machine.interface_of('127.0.0.1') == 'lo'
    assert machine.interface_of('127.0.0.2') == 'lo'
    assert machine.interface_of('192.0.2.1') is None
    assert machine.interface_of('no.such.host.invalid') is None


def test_a_process_learns_whether_resuming_is_the_launchers_wish():
    def added(arguments, restarted=True):
        found = job_environment('job7', arguments, restarted)
        assert found['PROPELLER_JOB'] == 'job7'
        return bool(found['PROPELLER_RESUME_ADDED'])

    assert added([]) and added(['--resume', 'false']) and added(['--resume=true', '--resume', '0'])
    assert not added(['--resume', 'True']) and not added(['--resume=yes']) and not added([], restarted=False)
