"""finetune_launch.py and pretrain_launch.py on one machine."""

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys

import pytest

from finetune_launch import build_parser, main, read_settings
from propeller.environment import usable_cores
from propeller.errors import UsageError
from tests.launching import ROOT, Bench, alive, finish, messages, port_block, wait_for


@pytest.fixture
def bench(tmp_path):
    result = Bench(tmp_path)
    yield result
    result.clean_up()


DUMP = """
print(json.dumps({'arguments': sys.argv[1:], 'environ': dict(os.environ)}))
"""


def dumps(bench, nproc, **kwargs):
    return [json.loads(bench.log(rank, **kwargs).splitlines()[-1]) for rank in range(nproc)]


def test_environment_of_the_processes(bench):
    port = port_block(3)
    code, output = bench.run(
        *('--nproc_per_node', 3, '--start_port', port, '--peer_timeout', 7.5, bench.program(DUMP), '--x', '1'),
        env={'MASTER_ADDR': 'other', 'MASTER_PORT': '1', 'FLAGS_selected_gpus': '5', 'PADDLE_TRAINER_ID': '9'},
    )
    assert code == 0, output
    endpoints = [f'127.0.0.1:{port + i}' for i in range(3)]
    for rank, dump in enumerate(dumps(bench, 3)):
        environ = dump['environ']
        expected = {
            'PADDLE_TRAINER_ID': str(rank),
            'PADDLE_TRAINERS_NUM': '3',
            'PADDLE_CURRENT_ENDPOINT': endpoints[rank],
            'PADDLE_TRAINER_ENDPOINTS': ','.join(endpoints),
            'PADDLE_NODES_NUM': '1',
            'PADDLE_LOCAL_SIZE': '3',
            'PADDLE_LOCAL_RANK': str(rank),
            'PADDLE_MASTER': endpoints[0],
            'PADDLE_DISTRI_BACKEND': 'gloo',
            'PADDLE_LAUNCH_TIMEOUT': '8',
            'OMP_NUM_THREADS': str(max(1, usable_cores() // 3)),
            'GLOO_SOCKET_IFNAME': 'lo',
        }
        assert {name: environ.get(name) for name in expected} == expected
        assert not {'MASTER_ADDR', 'MASTER_PORT', 'FLAGS_selected_gpus'} & environ.keys()
        assert dump['arguments'] == ['--x', '1', '--is_distributed', 'true', '--use_cuda', 'false']


def test_the_environment_has_all_that_paddles_own_launcher_sets(bench):
    package = importlib.util.find_spec('paddle').submodule_search_locations[0]
    with open(os.path.join(package, 'distributed/launch/controllers/collective.py')) as f:
        source = f.read().partition('def _build_pod_with_args')[2].partition('def ')[0]
    names = set(re.findall(r'["\'](PADDLE_[A-Z_]+)["\']:', source)) - {
        'PADDLE_AUTO_CLUSTER',  # for its tuner
        'PADDLE_AUTO_PARALLEL_CONFIG',
        'PADDLE_AUTO_PARALLEL_STAGE',
    }
    assert len(names) >= 10
    code, output = bench.run('--nproc_per_node', 1, '--start_port', port_block(1), bench.program(DUMP))
    assert code == 0, output
    assert names <= dumps(bench, 1)[0]['environ'].keys()


def test_a_module_in_place_of_a_script(bench):
    bench.program(DUMP, 'my_module.py')
    own = ('--nproc_per_node', 1, '--start_port', port_block(1))
    code, output = bench.run(*own, '-m', 'my_module', 'train', '--use_cuda', 'false')
    assert code == 0, output
    (dump,) = dumps(bench, 1)
    assert dump['arguments'] == ['train', '--use_cuda', 'false', '--is_distributed', 'true']


def test_a_command_of_a_module_in_place_of_a_script():
    commands = {'teach': 'ernie'}
    environ = {'CUDA_VISIBLE_DEVICES': ''}
    settings = read_settings(['--node_id', '0', 'teach', 'classify', '--x'], environ, commands=commands)
    assert (settings.script, settings.arguments) == ('-m', ('ernie', 'teach', 'classify', '--x'))
    assert settings.facts()['the script'] == '-m ernie'
    with pytest.raises(UsageError, match='teech: no such script. It \\(or -m MODULE, teach\\) '):
        read_settings(['teech', 'classify'], environ, commands=commands)


def test_what_the_user_has_set_stays(bench):
    given = ['--use_cuda=false', '--is_distributed', 'false']
    code, output = bench.run(
        *('--nproc_per_node', 1, '--start_port', port_block(1), bench.program(DUMP), *given),
        env={'OMP_NUM_THREADS': '7', 'GLOO_SOCKET_IFNAME': 'eth9'},
    )
    assert code == 0, output
    (dump,) = dumps(bench, 1)
    assert dump['arguments'] == given
    assert (dump['environ']['OMP_NUM_THREADS'], dump['environ']['GLOO_SOCKET_IFNAME']) == ('7', 'eth9')
    assert 'use_cuda' not in '\n'.join(messages(output))


def test_one_process_per_core_unless_told_otherwise(bench):
    code, output = bench.run('--start_port', port_block(usable_cores()), bench.program(DUMP), '--use_cuda', 'false')
    assert code == 0, output
    assert f'--nproc_per_node {usable_cores()}: one process per usable core' in messages(output)
    assert len(list((bench.folder / 'log').iterdir())) == usable_cores()


def test_logs_and_messages(bench):
    port = port_block(2)
    body = "print('out', rank)\nprint('err', rank, file=sys.stderr)\nprint('last', rank)\n"
    command = ['--nproc_per_node', 2, '--start_port', port, '--split_log_path', 'a/b', '--log_prefix', 'p_']
    for _ in range(2):
        code, output = bench.run(*command, bench.program(body), '--use_cuda', 'false')
        assert code == 0
        lines = [line for line in output.splitlines() if not line.startswith('[')]
        assert lines == ['out 0', 'err 0', 'last 0']  # rank 0 only, and not what stood in the log before
        told = messages(output)
        assert told[:4] == [
            f"all_trainer_endpoints: ['127.0.0.1:{port}', '127.0.0.1:{port + 1}'], node_id: 0, current_ip: 127.0.0.1, "
            "num_nodes: 1, node_ips: ['127.0.0.1'], gpus_per_proc: 0, selected_gpus_per_proc: [], nranks: 2",
            'subprocess launched, check log at a/b/p_job.log.0',
            'subprocess launched, check log at a/b/p_job.log.1',
            '2 processes, what they say: a/b/p_job.log.0, a/b/p_job.log.1',
        ]
        assert sorted(told[4:]) == ['proc 0 finsh', 'proc 1 finsh']
    for rank in range(2):
        assert bench.log(rank, 'a/b', 'p_') == f'out {rank}\nerr {rank}\nlast {rank}\n' * 2


def test_without_a_folder_everything_is_on_the_console(bench):
    code, output = bench.run(
        *('--nproc_per_node', 2, '--start_port', port_block(2), '--split_log_path', '', '--print_config', 'false'),
        bench.program("os.write(1, f'line of {rank}\\n'.encode())"),
    )
    assert code == 0
    assert {'line of 0', 'line of 1'} <= set(output.splitlines())
    assert messages(output).count('subprocess launched') == 2
    assert 'all_trainer_endpoints' not in output
    assert not (bench.folder / 'log').exists()


def test_lines_of_rank_0_come_while_it_runs(bench):
    script = bench.program("print('early')\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('late')")
    process = bench.start('--nproc_per_node', 1, '--start_port', port_block(1), script)
    for line in process.stdout:
        assert line != 'late\n'
        if line == 'early\n':
            break
    (bench.folder / 'go').touch()
    code, rest = finish(process)
    assert code == 0
    assert 'late\n' in rest


def test_a_console_that_is_gone_ends_nothing(bench):
    script = bench.program("print('early')\nready()\nwhile not os.path.exists('go'): time.sleep(0.01)\n"
                           "for i in range(2000): print('late', i)\nopen('end', 'w').close()")  # fmt: skip
    process = bench.start('--nproc_per_node', 1, '--start_port', port_block(1), script)
    bench.ready(1)
    process.stdout.close()
    (bench.folder / 'go').touch()
    process.wait(20)
    assert (bench.folder / 'end').exists()
    assert bench.log(0).endswith('late 1999\n')


def test_a_rank_that_ends_early_is_waited_for(bench):
    script = bench.program("if rank: time.sleep(1)\nopen(f'end.{rank}', 'w').close()")
    code, output = bench.run('--nproc_per_node', 2, '--start_port', port_block(2), script)
    assert code == 0
    assert (bench.folder / 'end.1').exists()
    assert messages(output)[-2:] == ['proc 0 finsh', 'proc 1 finsh']


def test_a_taken_port_is_replaced(bench):
    port = port_block(3)
    with socket.create_server(('127.0.0.1', port + 1)):
        code, output = bench.run('--nproc_per_node', 3, '--start_port', port, bench.program(DUMP))
    assert code == 0, output
    endpoints = [dump['environ']['PADDLE_CURRENT_ENDPOINT'] for dump in dumps(bench, 3)]
    assert endpoints[0] == f'127.0.0.1:{port}'
    assert endpoints[2] == f'127.0.0.1:{port + 2}'
    other = int(endpoints[1].rpartition(':')[2])
    assert other not in range(port, port + 3)
    assert f'ports taken by other programs: [{port + 1}]; used instead: [{other}]' in messages(output)


def test_a_master_that_is_taken_is_an_error(bench):
    port = port_block(3)
    with socket.create_server(('0.0.0.0', port + 2)):
        code, output = bench.run('--start_port', port, '--master', f'127.0.0.1:{port + 2}', bench.program(DUMP))
    assert code == 1
    assert f'127.0.0.1:{port + 2}: the port is taken' in output.splitlines()[-1]


def test_the_folder_of_the_model_is_not_touched(bench):
    model = bench.folder / 'model'
    model.mkdir()
    for name in ('a.w', 'a.w.master'):
        (model / name).write_bytes(b'1')
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in model.iterdir()}
    command = ['--nproc_per_node', 1, '--start_port', port_block(1), bench.program(DUMP)]
    code, output = bench.run(*command, '--init_pretraining_params', 'model', '--use_fp16', 'false')
    assert code == 0
    assert 'init model: model' in messages(output)
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in model.iterdir()} == before


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['--nproc', '2', 'program.py'], ['--nproc:', 'unknown flag', '--nproc_per_node']),
        (['--batch_size=3', 'program.py'], ['--batch_size:', 'unknown flag', 'behind']),
        (['--nproc_per_node'], ['--nproc_per_node', 'value']),
        (['--nproc_per_node', '2'], ['no script']),
        (['nowhere.py', '--x'], ['nowhere.py', 'no such script']),
        (['-m'], ['-m', 'no module']),
        (['-m', 'nowhere.main', '--x'], ['-m nowhere.main', 'no module nowhere']),
        (['--nproc_per_node', '0', 'program.py'], ['--nproc_per_node 0', '1 to 4096']),
        (['--nproc_per_node', 'two', 'program.py'], ['--nproc_per_node', 'two']),
        (['--peer_timeout', '0', 'program.py'], ['--peer_timeout 0']),
        (['--elastic_restarts', '-1', 'program.py'], ['--elastic_restarts -1']),
        (['--start_port', '65535', '--nproc_per_node', '2', 'program.py'], ['--start_port 65535']),
        (['--print_config', 'maybe', 'program.py'], ['--print_config', 'maybe']),
        (['--node_ips', '127.0.0.1,127.0.0.1', 'program.py'], ['--node_ips', 'twice']),
        (['--node_ips', '127.0.0.1:80', 'program.py'], ['--node_ips', 'without ports']),
        (['--node_ips', '127.0.0.1,127.0.0.2', 'program.py'], ['--node_id']),
        (['--node_id', '1', 'program.py'], ['--node_id 1', '1 nodes']),
        (['--master', '127.0.0.1', 'program.py'], ['--master', 'ADDRESS:PORT']),
        (['--node_ips', '127.0.0.1,127.0.0.2', '--node_id', '0', '--master', '127.0.0.1:6171', 'program.py'],
         ['--master 127.0.0.1:6171', '--start_port']),
    ],
)  # fmt: skip
def test_usage_errors(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'program.py').touch()
    with pytest.raises(UsageError) as error:
        main(arguments, {})
    for word in words:
        assert word in str(error.value)
    assert os.listdir() == ['program.py']


def test_an_error_is_one_line(bench):
    code, output = bench.run('--nproc', '2', bench.program(DUMP))
    assert code == 2
    assert output == (
        'error: --nproc: unknown flag of the launcher. Did you mean --nproc_per_node? --help lists all flags.\n'
    )


def test_an_address_of_another_machine_is_an_error(bench):
    code, output = bench.run('--node_ips', '192.0.2.1', '--nproc_per_node', 1, bench.program(DUMP))
    assert code == 1
    assert output.splitlines()[-1].startswith('error: 192.0.2.1: no address of this machine')


def test_a_log_that_cannot_be_written_is_an_error(bench):
    (bench.folder / 'log').write_text('a file')
    code, output = bench.run('--nproc_per_node', 2, '--start_port', port_block(2), bench.program(DUMP))
    assert code == 1
    assert output.splitlines()[-1].startswith('error: log/job.log.0: the log cannot be written')


def test_help_names_the_flags(bench):
    code, output = bench.run('--help')
    assert code == 0
    for flag in ('--node_ips', '--selected_gpus', '--peer_timeout', '--elastic_restarts'):
        assert flag in output


def test_flags_and_defaults():
    assert vars(build_parser().parse_args([])) == {
        'node_ips': '127.0.0.1',
        'node_id': None,
        'print_config': True,
        'current_node_ip': None,
        'split_log_path': 'log',
        'log_prefix': '',
        'nproc_per_node': None,
        'selected_gpus': None,
        'master': None,
        'start_port': 6170,
        'peer_timeout': 60,
        'elastic_restarts': 0,
    }


def test_pretrain_launch_is_the_same_with_another_folder(bench):
    code, output = bench.run(
        '--nproc_per_node', 1, '--start_port', port_block(1), bench.program(DUMP), launcher='pretrain_launch.py'
    )
    assert code == 0
    assert 'subprocess launched, check log at ./log/job.log.0' in messages(output)


def test_the_launcher_imports_neither_paddle_nor_numpy():
    program = (
        "import sys, os; sys.argv = ['finetune_launch.py', os.devnull]\n"
        'import finetune_launch, propeller.launch.job, propeller.launch.devices, ernie.utils.args\n'
        "print([name for name in ('paddle', 'numpy') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == '[]\n'


def test_alive_tells_the_dead_from_the_living():
    process = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'])
    assert alive(process.pid)
    process.kill()
    wait_for(lambda: not alive(process.pid))
    process.wait()
    assert not alive(process.pid)
