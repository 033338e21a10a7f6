"""How many processes the task scripts start, and how they share the published batch."""

import math
import os
import re
import shutil
import subprocess
import sys

import pytest

import finetune_launch
from propeller.environment import usable_cores
from tests.ernie.tiny_model import records, sentences, table, write_model
from tests.ernie.tiny_reading import write_puzzles
from tests.script_bench import ROOT, SCRIPT, Bench, chinese, clean_environment, glue, glue_sets, pairs

GPU = '#!/bin/sh\necho "GPU 0: Tesla V100"\n'
XNLI, MRPC = chinese('base', 'xnli'), glue('base', 'MRPC')


@pytest.fixture
def bench(tmp_path):
    result = Bench(tmp_path)
    result.sets(*(f'xnli/{part}.tsv' for part in ('train', 'dev', 'test')), *glue_sets('MRPC'))
    return result


def start(bench, script, *flags, **env):
    """(launcher's flags, None without launcher; flags of the program; what was said) of the first run of a script."""
    said = bench.run(script, *flags, env={'RUNS': '1', **env}).stderr
    (recorded,) = bench.recorded()
    at = recorded.index(f'{ROOT}/run_classifier.py')
    launcher = recorded[:at]
    assert not launcher or launcher[0] == f'{ROOT}/finetune_launch.py'
    return pairs(launcher[1:]) if launcher else None, pairs(recorded[at + 1 :]), said


@pytest.mark.parametrize('set_by', ['FAKE_CORES', 'NPROC_PER_NODE'])
@pytest.mark.parametrize('count', range(1, 11))
def test_processes_share_the_published_batch(bench, count, set_by):
    launcher, flags, said = start(bench, XNLI, **{set_by: str(count)})
    processes = max(n for n in range(1, 9) if 8 % n == 0 and n <= count)
    assert launcher == (None if processes == 1 else {'--nproc_per_node': str(processes)})
    assert flags['--gradient_accumulation_steps'] == str(8 // processes)
    assert flags['--batch_size'] == '8192'
    assert ' = 65536 tokens\n' in said
    lowered = f'NPROC_PER_NODE {count}: only {processes} started, to share the batch of 8 GPUs equally'
    assert (lowered in said) == (set_by == 'NPROC_PER_NODE' and processes != count)


def test_what_the_user_says_goes_before_the_machine(bench):
    launcher, _, said = start(bench, XNLI, FAKE_CORES='8', NPROC_PER_NODE='2')
    assert launcher == {'--nproc_per_node': '2'}
    assert said.startswith(
        'published for 8 GPUs (global batch 65536 tokens); '
        'this machine: 2 CPU processes x batch 8192 x 4 accumulated = 65536 tokens\n'
    )


def test_a_batch_of_the_users_own(bench):
    own = ('--gradient_accumulation_steps', '5', '--batch_size', '7', '--in_tokens', 'false')
    launcher, flags, said = start(bench, XNLI, *own, NPROC_PER_NODE='3')
    assert launcher == {'--nproc_per_node': '3'}
    assert flags['--gradient_accumulation_steps'] == '5'
    assert 'this machine: 3 CPU processes x batch 7 x 5 accumulated = 105 samples\n' in said


def test_accumulation_of_the_users_own_on_what_the_machine_has(bench):
    launcher, flags, said = start(bench, MRPC, '--gradient_accumulation_steps', '3', FAKE_CORES='6')
    assert launcher == {'--nproc_per_node': '2'}
    assert flags['--gradient_accumulation_steps'] == '3'
    assert 'this machine: 2 CPU processes x batch 16 x 3 accumulated = 96 samples\n' in said


@pytest.mark.parametrize('size', ['', '0', '08', 'x', '-3'])
def test_a_batch_size_that_is_none_is_left_to_the_program(bench, size):
    _, flags, said = start(bench, MRPC, '--batch_size', size, FAKE_CORES='2')
    assert flags['--batch_size'] == size
    assert f'this machine: 2 CPU processes x batch {size}\n' in said


@pytest.mark.parametrize('value', ['0', 'two', '-1', '1.5'])
def test_the_number_of_processes_is_checked(bench, value):
    done = bench.run(XNLI, env={'NPROC_PER_NODE': value}, check=False)
    assert done.returncode == 2
    assert done.stderr == f'error: NPROC_PER_NODE: {value} is not a whole number from 1 on\n'
    assert bench.recorded() == []


def test_recipes_for_one_gpu_are_started_once(bench):
    bench.run(chinese('base', 'lcqmc'), env={'FAKE_CORES': '8', 'NPROC_PER_NODE': '8', 'NODE_IPS': 'a,b'})
    (flags,) = bench.flags()
    assert '--gradient_accumulation_steps' not in flags


@pytest.mark.parametrize(
    ('gpus', 'script', 'launcher', 'said'),
    [
        ('0,1,2,3,4,5,6,7', XNLI, ('8', '0,1,2,3,4,5,6,7'), '8 GPU processes x batch 8192 = 65536 tokens'),
        ('0,1,2,3,4,5', XNLI, ('4', '0,1,2,3'), '4 GPU processes x batch 8192 x 2 accumulated = 65536 tokens'),
        ('3,5,6', MRPC, ('2', '3,5'), '2 GPU processes x batch 16 = 32 samples'),
        ('2', MRPC, None, '1 GPU process x batch 16 x 2 accumulated = 32 samples'),
    ],
)
def test_one_process_per_gpu(bench, gpus, script, launcher, said):
    """The launcher shares all visible GPUs, so those that are left over must not be among the selected ones."""
    bench.executable(bench.bin / 'nvidia-smi', GPU)
    found, flags, text = start(bench, script, FAKE_CUDA='0', FAKE_GPUS=gpus, FAKE_CORES='64')
    assert flags['--use_cuda'] == 'true'
    assert found == (launcher and {'--nproc_per_node': launcher[0], '--selected_gpus': launcher[1]})
    assert f'this machine: {said}\n' in text


def test_cores_count_where_the_user_wants_the_cpu(bench):
    bench.executable(bench.bin / 'nvidia-smi', GPU)
    env = {'FAKE_CUDA': '0', 'FAKE_GPUS': '0,1,2,3,4,5,6,7', 'FAKE_CORES': '2'}
    launcher, _, said = start(bench, XNLI, '--use_cuda', 'false', **env)
    assert launcher == {'--nproc_per_node': '2'}
    assert 'this machine: 2 CPU processes' in said


@pytest.mark.parametrize(
    ('script', 'ips', 'cores', 'processes', 'parts'),
    [(XNLI, 'a,b', 3, 2, 2), (XNLI, 'a,b', 64, 4, 1), (XNLI, 'a,b,c,d', 1, 1, 2), (MRPC, 'a,b', 8, 1, 1)],
)
def test_processes_count_over_all_machines(bench, script, ips, cores, processes, parts):
    launcher, flags, said = start(bench, script, FAKE_CORES=str(cores), NODE_IPS=ips, NODE_ID='1')
    assert launcher == {'--nproc_per_node': str(processes), '--node_ips': ips, '--node_id': '1'}
    assert flags['--gradient_accumulation_steps'] == str(parts)
    machines = ips.count(',') + 1
    assert f'; {machines} machines x {processes} CPU process' in said
    assert said.partition('\n')[0].endswith(' = 65536 tokens' if script == XNLI else ' = 32 samples')


def test_the_only_machine_of_a_list(bench):
    launcher, _, _ = start(bench, XNLI, FAKE_CORES='2', NODE_IPS='10.0.0.1')
    assert launcher == {'--nproc_per_node': '2', '--node_ips': '10.0.0.1', '--node_id': '0'}


def test_machines_that_cannot_share_the_batch_unless_it_is_the_users_own(bench):
    three = {'NODE_IPS': 'a,b,c', 'NODE_ID': '0'}
    done = bench.run(XNLI, env=three, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith('error: NODE_IPS: 3 machines cannot share the batch of 8 GPUs equally; ')
    own = {**three, 'NPROC_PER_NODE': '2'}
    assert bench.run(XNLI, env=own, check=False).returncode == 2
    assert bench.recorded() == []
    launcher, _, said = start(bench, XNLI, '--gradient_accumulation_steps', '1', **own)
    assert launcher['--nproc_per_node'] == '2'
    assert '; 3 machines x 2 CPU processes x batch 8192 = 49152 tokens\n' in said


@pytest.mark.parametrize(('ips', 'text'), [('a,b', 'NODE_ID is not set'), (',', 'NODE_IPS: no address in ,')])
def test_machines_are_named_in_full(bench, ips, text):
    done = bench.run(XNLI, env={'NODE_IPS': ips}, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f'error: {text}') and done.stderr.count('\n') == 1


@pytest.mark.parametrize('cores', [1, 2])
def test_further_flags_of_the_launcher(bench, cores):
    (bench.cwd / 'log_a').touch()
    own = '--log_prefix log_*  --elastic_restarts 2'
    launcher, _, _ = start(bench, XNLI, LAUNCH_FLAGS=own, FAKE_CORES=str(cores))
    assert launcher == {'--nproc_per_node': str(cores), '--log_prefix': 'log_*', '--elastic_restarts': '2'}


def test_the_launcher_takes_its_flags(bench):
    env = {'FAKE_CORES': '2', 'NODE_IPS': '10.0.0.1,10.0.0.2', 'NODE_ID': '1', 'LAUNCH_FLAGS': '--start_port 7000'}
    bench.run(XNLI, env=env)
    ((_, *arguments),) = bench.recorded()
    settings = finetune_launch.read_settings(arguments, clean_environment() | {'CUDA_VISIBLE_DEVICES': ''})
    assert (settings.nproc, settings.node_ips, settings.node_id) == (2, ('10.0.0.1', '10.0.0.2'), 1)
    assert (settings.log_folder, settings.start_port) == ('log', 7000)
    assert settings.script == f'{ROOT}/run_classifier.py'


def test_the_machine_is_asked_with_a_real_python(bench):
    """In a folder whose own `propeller` must not be taken for ours."""
    (bench.cwd / 'propeller').mkdir()
    (bench.cwd / 'propeller' / '__init__.py').write_text('raise SystemExit(9)\n')
    stand_in = bench.python.read_text()
    question = stand_in.index('case'), stand_in.index('\n    -c*')
    asks = f'case "$*" in\n    *usable_cores*) exec "{sys.executable}" "$@" ;;'
    bench.executable(bench.python, stand_in[: question[0]] + asks + stand_in[question[1] :])
    _, _, said = start(bench, XNLI)
    count = max(n for n in (1, 2, 4, 8) if n <= usable_cores())
    assert f'this machine: {count} CPU process' in said


# ---------------------------------------------------------------------------------------------------- real processes


def run_in_two(folder, script, *flags):
    """(working folder, steps of training, finished process) of a script with a small model."""
    write_model(folder / 'model')
    env = clean_environment() | {'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': '', 'RUNS': '1'}
    env |= {'MODEL_PATH': str(folder / 'model'), 'TASK_DATA_PATH': str(folder), 'ERNIE_CACHE': str(folder / 'cache')}
    cwd = folder / 'work'
    cwd.mkdir()
    command = ['sh', str(script), '--max_seq_len', '16', '--skip_steps', '1', '--batch_size', '2', *flags]
    done = subprocess.run(
        command, cwd=cwd, env=env | {'NPROC_PER_NODE': '2'}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'this machine: 2 CPU processes x batch 2 x 4 accumulated = 16 samples\n' in done.stderr
    return cwd, [record['step'] for record in records(cwd / 'checkpoints', 'train')], done


@pytest.mark.slow
def test_reading_in_two_processes(tmp_path):
    (tmp_path / 'cmrc2018').mkdir()
    for part in ('train', 'dev'):
        write_puzzles(tmp_path / 'cmrc2018' / f'{part}.json', 13, 1)
    cwd, steps, done = run_in_two(tmp_path, chinese('base', 'cmrc2018'), '--max_query_length', '4', '--doc_stride', '5')
    windows = int(re.search(r'Num train examples: (\d+)', done.stdout)[1])
    assert steps == list(range(1, 2 * math.ceil(windows / 16) + 1))
    assert '[dev evaluation] em: ' in done.stdout and 'questions: 13' in done.stdout
    assert 'curves: ./checkpoints/curves.png' in done.stdout
    assert sorted(path.name for path in (cwd / 'log').iterdir()) == ['job.log.0', 'job.log.1']


def test_glue_in_two_processes(tmp_path):
    (tmp_path / 'SST-2').mkdir()
    for i, part in enumerate(('train', 'dev', 'test')):
        table(tmp_path / 'SST-2' / f'{part}.tsv', sentences(41 - i, i))
    cwd, steps, _ = run_in_two(tmp_path, glue('base', 'SST-2'), '--epoch', '1', '--for_cn', 'true')
    assert steps == [1, 2, 3]
    (predictions,) = (cwd / 'output').iterdir()
    assert predictions.name == 'test_out.1.2e-5.2.1.tsv.0.3'
    assert len(predictions.read_text(encoding='utf-8').splitlines()) == 39
    logs = {path.name.partition('.20')[0]: path.read_text() for path in (cwd / 'log').iterdir()}
    console = logs.pop('job.1.2e-5.2.1')
    assert sorted(logs) == ['job.log.0', 'job.log.1']
    assert '[dev evaluation] ave loss: ' in logs['job.log.0']
    assert all(line in console for line in logs['job.log.0'].splitlines())
    assert console.rstrip().endswith('finsh')


def test_shellcheck():
    program = shutil.which('shellcheck', path=os.pathsep.join([os.path.dirname(sys.executable), os.environ['PATH']]))
    if not program:
        pytest.skip('shellcheck is not installed')
    paths = sorted(map(str, SCRIPT.rglob('*.sh')))
    # 1091: it does not follow a file that is sourced by a variable.
    done = subprocess.run([program, '-s', 'sh', '-e', 'SC1091', *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
