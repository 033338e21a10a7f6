"""What the task scripts do with their surroundings: paths, missing files, environment variables, devices, failures."""

import os
import shutil
import signal
import subprocess

import pytest

from tests.script_bench import ROOT, SCRIPT, Bench, chinese, clean_environment, glue, glue_sets


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def reviews(bench):
    bench.sets(*(f'chnsenticorp/{part}.tsv' for part in ('train', 'dev', 'test')))
    return bench


def fails(result, *texts):
    """Exit code 2 and one line on stderr that holds all `texts`."""
    assert (result.returncode, result.stdout) == (2, '')
    assert result.stderr.count('\n') == 1
    for text in texts:
        assert text in result.stderr


@pytest.mark.parametrize('path', [chinese('base', 'lcqmc'), glue('large', 'RTE')], ids=['chinese', 'glue'])
@pytest.mark.parametrize('name', ['MODEL_PATH', 'TASK_DATA_PATH'])
def test_required_variables(bench, path, name):
    fails(bench.run(path, env={name: None}, check=False), f'error: {name} is not set')
    fails(bench.run(path, env={name: ''}, check=False), f'error: {name} is not set')
    fails(bench.run(path, env={name: '/no/such'}, check=False), f'error: {name}: no folder /no/such')
    assert bench.recorded() == []


def test_a_comma_in_the_data_path_is_refused(bench):
    data = bench.data.with_name('a,b')
    data.mkdir()
    fails(bench.run(chinese('base', 'bq'), env={'TASK_DATA_PATH': str(data)}, check=False), 'comma', 'a,b')


def test_relative_paths_count_from_the_working_directory(reviews):
    bench = reviews
    shutil.move(bench.model, bench.cwd / 'model')
    shutil.move(bench.data, bench.cwd / 'data')
    bench.run(chinese('base', 'ChnSentiCorp'), env={'MODEL_PATH': 'model', 'TASK_DATA_PATH': './data'})
    (flags,) = bench.flags()
    assert flags['--init_pretraining_params'] == 'model/params'
    assert flags['--dev_set'] == './data/chnsenticorp/dev.tsv,./data/chnsenticorp/test.tsv'


def test_the_script_is_found_by_a_relative_path_and_despite_cdpath(reviews):
    bench = reviews
    script = os.path.relpath(chinese('base', 'ChnSentiCorp'), bench.cwd)
    bench.run(script, env={'CDPATH': f'.:{ROOT}'})
    assert len(bench.flags()) == 1


def test_a_copy_elsewhere_finds_the_repository_by_a_variable(reviews):
    bench = reviews
    copy = shutil.copy(chinese('base', 'ChnSentiCorp'), bench.cwd / 'mine.sh')
    bench.run(copy, env={'ERNIE_ROOT': str(ROOT)})
    assert len(bench.flags()) == 1


def test_a_recipe_is_changed_in_one_place(bench):
    """A user's copy with another batch: the program gets it, and the line on devices counts with it."""
    bench.sets('thuc/train.tsv', 'thuc/dev.tsv', 'thuc/test.tsv')
    text = chinese('base', 'thuc').read_text()
    assert text.count('--batch_size 8 ') == 1
    (bench.cwd / 'mine.sh').write_text(text.replace('--batch_size 8 ', '--batch_size 3 '))
    said = bench.run(bench.cwd / 'mine.sh', '--batch_size=5', env={'ERNIE_ROOT': str(ROOT)}).stderr
    assert said.startswith(
        'published for 8 GPUs (global batch 24 samples); '
        'this machine: 1 CPU process x batch 5 x 8 accumulated = 40 samples\n'
    )


def test_flags_of_the_user_win(reviews):
    bench = reviews
    bench.run(chinese('base', 'ChnSentiCorp'), '--epoch', '1', '--max_seq_len', '64', '--checkpoints', 'a b')
    (flags,) = bench.flags()
    assert (flags['--epoch'], flags['--max_seq_len'], flags['--checkpoints']) == ('1', '64', 'a b')


def test_the_line_on_devices_tells_the_batch_that_is_used(bench):
    bench.sets('thuc/train.tsv', 'thuc/dev.tsv', 'thuc/test.tsv')
    said = bench.run(chinese('base', 'thuc'), '--batch_size', '5', '--use_cuda', 'True').stderr
    assert (
        'published for 8 GPUs (global batch 64 samples); '
        'this machine: 1 GPU process x batch 5 x 8 accumulated = 40 samples\n'
    ) in said


def test_dev_sets_that_are_absent_are_said_and_left_out(bench):
    bench.sets('chnsenticorp/train.tsv', 'chnsenticorp/test.tsv')
    said = bench.run(chinese('large', 'ChnSentiCorp')).stderr
    data = f'{bench.data}/chnsenticorp'
    assert bench.flags()[0]['--dev_set'] == f'{data}/test.tsv'
    assert f'not there, left out: {data}/dev.tsv\n' in said


def test_without_any_dev_set_the_program_gets_the_first_name_to_complain_about(bench):
    bench.run(chinese('base', 'ChnSentiCorp'))
    assert bench.flags()[0]['--dev_set'] == f'{bench.data}/chnsenticorp/dev.tsv'


def test_glue_without_test_sets_does_not_test(bench):
    bench.sets('RTE/train.tsv', 'RTE/dev.tsv')
    said = bench.run(glue('base', 'RTE'), env={'RUNS': '1'}).stderr
    (flags,) = bench.flags()
    assert flags['--do_test'] == 'false'
    assert not {'--test_set', '--test_save'} & set(flags)
    assert f'not there, left out: {bench.data}/RTE/test.tsv\n' in said


def test_mnli_predicts_the_sets_that_are_there(bench):
    bench.sets('MNLI/train.tsv', 'MNLI/m/dev.tsv', 'MNLI/mm/test.tsv')
    bench.run(glue('base', 'MNLI'), env={'RUNS': '1'})
    (flags,) = bench.flags()
    assert flags['--dev_set'] == f'{bench.data}/MNLI/m/dev.tsv'
    assert flags['--test_set'] == f'{bench.data}/MNLI/mm/test.tsv'
    assert flags['--test_save'] == 'output/test_out.1.mm.tsv'
    assert not {'--diagnostic', '--diagnostic_save'} & set(flags)


def test_a_folder_of_this_suite_is_a_model_too(reviews):
    bench = reviews
    (bench.model / 'params').rmdir()
    (bench.model / 'model.safetensors').touch()
    bench.run(chinese('base', 'ChnSentiCorp'))
    assert bench.flags()[0]['--init_pretraining_params'] == str(bench.model)


@pytest.fixture
def checkout(tmp_path):
    """A copy of the scripts, so that files may be laid beside them."""
    shutil.copytree(SCRIPT, tmp_path / 'checkout' / 'script', symlinks=True)
    return tmp_path / 'checkout'


def paths(bench, program):
    (recorded,) = bench.recorded()
    assert recorded[0] == str(program)
    return {recorded[recorded.index(name) + 1] for name in ('--vocab_path', '--ernie_config_path')}


def test_vocabulary_and_config_of_the_repository_for_the_large_scripts(bench, checkout):
    """The vocabulary beside the scripts goes first, but the config of the model: it tells the weights' shapes."""
    (checkout / 'config').mkdir()
    (checkout / 'config' / 'vocab.txt').touch()
    (checkout / 'config' / 'ernie_config.json').touch()
    script = checkout / 'script' / 'zh_task' / 'ernie_large' / 'run_lcqmc.sh'
    bench.run(script)
    program = checkout / 'run_classifier.py'
    assert paths(bench, program) == {f'{checkout}/config/vocab.txt', f'{bench.model}/ernie_config.json'}
    (bench.model / 'ernie_config.json').unlink()
    (bench.records / '1').unlink()
    bench.run(script)
    assert paths(bench, program) == {f'{checkout}/config/vocab.txt', f'{checkout}/config/ernie_config.json'}


def test_vocabulary_and_config_beside_the_glue_scripts(bench, checkout):
    folder = checkout / 'script' / 'en_glue' / 'ernie_base'
    (folder / 'vocab.txt').touch()
    (folder / 'ernie_config.json').touch()
    (bench.model / 'ernie_config.json').unlink()
    bench.run(folder / 'CoLA' / 'task.sh', env={'RUNS': '1'})
    assert paths(bench, checkout / 'run_classifier.py') == {f'{folder}/vocab.txt', f'{folder}/ernie_config.json'}


def test_runs_seeds_and_folders(bench):
    bench.sets(*glue_sets('WNLI'))
    bench.run(glue('base', 'WNLI'), env={'RUNS': '3', 'SEED': '41'})
    assert [f['--random_seed'] for f in bench.flags()] == ['41', '42', '43']
    assert [f['--checkpoints'] for f in bench.flags()] == [f'./checkpoints/run_{i}' for i in (1, 2, 3)]


def test_runs_seeds_and_folders_given_as_flags(bench):
    bench.sets(*glue_sets('WNLI'))
    bench.run(glue('base', 'WNLI'), '--random_seed', '7', '--checkpoints', 'out', env={'RUNS': '2'})
    assert [(f['--random_seed'], f['--checkpoints']) for f in bench.flags()] == [('7', 'out/run_1'), ('8', 'out/run_2')]


def test_names_of_logs_follow_the_flags_of_the_user(bench):
    bench.sets(*glue_sets('WNLI'))
    bench.run(glue('base', 'WNLI'), '--learning_rate', '1e-3', '--batch_size=2', '--epoch', '5', '--epoch=9')
    assert sorted(p.name for p in (bench.cwd / 'log').iterdir()) == [f'job.{i}.1e-3.2.9.log' for i in range(1, 6)]
    (recorded, *_) = bench.recorded()
    assert recorded[recorded.index('--test_save') + 1] == 'output/test_out.1.1e-3.2.9.tsv'


@pytest.mark.parametrize(('name', 'value'), [('RUNS', '0'), ('RUNS', 'x'), ('SEED', '-1'), ('SEED', '1.5')])
def test_runs_and_seed_are_checked(bench, name, value):
    fails(bench.run(glue('base', 'WNLI'), env={name: value}, check=False), f'{name}: {value} is not a whole number')


def test_the_environment_of_the_glue_scripts(bench):
    bench.sets(*glue_sets('QQP'))
    env = {'TOKENIZER': 'CharTokenizer', 'USE_FP16': 'true', 'e_executor': 'false', 'PARTS': 'm', 'DIAGNOSTIC': 'run'}
    bench.run(glue('base', 'QQP'), env=env)
    (flags,) = bench.flags()
    assert flags['--dev_set'] == f'{bench.data}/QQP/dev.tsv' and '--diagnostic' not in flags  # MNLI's own settings
    assert flags['--tokenizer'] == 'CharTokenizer'
    assert flags['--use_fp16'] == 'true'
    assert flags['--use_fast_executor'] == 'false'


def test_model_conf_in_the_working_directory_is_sourced(bench):
    bench.sets(*glue_sets('QQP'))
    conf = f'MODEL_PATH="{bench.model}"\nUSE_FP16=true\nTOKENIZER=CharTokenizer\n'
    (bench.cwd / 'model_conf').write_text(conf)
    bench.run(glue('base', 'QQP'), env={'MODEL_PATH': None})
    (flags,) = bench.flags()
    assert flags['--init_pretraining_params'] == f'{bench.model}/params'
    assert (flags['--use_fp16'], flags['--tokenizer']) == ('true', 'CharTokenizer')


def test_a_failing_run_ends_the_script_with_its_code_and_both_streams_in_the_log(bench):
    bench.sets(*glue_sets('MRPC'))
    result = bench.run(glue('base', 'MRPC'), env={'FAIL_AT': '2'}, check=False)
    assert result.returncode == 7
    assert len(bench.recorded()) == 2
    log = bench.cwd / 'log' / 'job.2.3e-5.16.4.log'
    assert sorted(log.read_text().splitlines()) == ['err of run 2', 'out of run 2']
    assert 'out of run 1\n' in result.stdout
    assert 'err of run 2\n' in result.stdout


def test_a_failing_chinese_script_keeps_the_code(reviews):
    bench = reviews
    assert bench.run(chinese('base', 'ChnSentiCorp'), env={'FAIL_AT': '1'}, check=False).returncode == 7
    assert bench.run(chinese('large', 'bq'), env={'FAIL_AT': '2'}, check=False).returncode == 7
    assert sorted((bench.cwd / 'job.log').read_text().splitlines()) == ['err of run 2', 'out of run 2']


GPU = '#!/bin/sh\necho "GPU 0: Tesla V100"\n'


@pytest.mark.parametrize(
    ('nvidia_smi', 'environment', 'expected'),
    [
        (GPU, {'FAKE_CUDA': '0'}, 'true'),
        (GPU, {'FAKE_CUDA': '0', 'CUDA_VISIBLE_DEVICES': '2'}, 'true'),
        (GPU, {'FAKE_CUDA': '0', 'CUDA_VISIBLE_DEVICES': ''}, 'false'),
        (GPU, {'FAKE_CUDA': '0', 'CUDA_VISIBLE_DEVICES': '-1'}, 'false'),
        (GPU, {'FAKE_CUDA': '1'}, 'false'),
        ('#!/bin/sh\necho "No devices found."\n', {'FAKE_CUDA': '0'}, 'false'),
    ],
)
def test_the_gpu_is_used_when_it_is_visible_and_paddle_can(reviews, nvidia_smi, environment, expected):
    bench = reviews
    bench.executable(bench.bin / 'nvidia-smi', nvidia_smi)
    said = bench.run(chinese('base', 'ChnSentiCorp'), env=environment).stderr
    assert bench.flags()[0]['--use_cuda'] == expected
    assert ('cannot use it: running on the CPU' in said) == (environment['FAKE_CUDA'] == '1')


def test_which_python(bench, checkout):
    script = checkout / 'script' / 'zh_task' / 'ernie_base' / 'run_bq.sh'
    fails(bench.run(script, env={'PYTHON': 'no-such-python'}, check=False), 'no program no-such-python')
    bench.executable(bench.bin / 'python3', '#!/bin/sh\necho "python3 of PATH"\n')
    assert bench.run(script, env={'PYTHON': None}).stdout == 'python3 of PATH\n'
    (checkout / '.venv' / 'bin').mkdir(parents=True)
    bench.executable(checkout / '.venv' / 'bin' / 'python', '#!/bin/sh\necho "python of .venv"\n')
    assert bench.run(script, env={'PYTHON': ''}).stdout == 'python of .venv\n'


def start_with(bench, program, script):
    """A script whose Python is the shell program; it leads a process group of its own."""
    machine = 'case "$*" in *usable_cores*) echo "2 "; exit ;; esac\n'
    bench.executable(bench.python, f'#!/bin/sh\n{machine}{program}')
    environment = clean_environment() | {'MODEL_PATH': str(bench.model), 'TASK_DATA_PATH': str(bench.data), 'RUNS': '1'}
    environment |= {'PYTHON': str(bench.python), 'CUDA_VISIBLE_DEVICES': ''}
    return subprocess.Popen(
        ['sh', str(script)], cwd=bench.cwd, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.parametrize('task', ['QNLI', 'CoLA'])
def test_the_log_grows_while_the_program_runs(bench, task):
    """The console copy must not wait for the end of the run, with the launcher or without."""
    bench.sets(*glue_sets(task))
    os.mkfifo(bench.cwd / 'go')
    with start_with(bench, 'echo first\nread line < go\necho "$line"\n', glue('base', task)) as process:
        assert process.stdout.readline() == 'first\n'
        (bench.cwd / 'go').write_text('second\n')
        assert process.stdout.read() == 'second\n'
    assert process.returncode == 0


def test_the_log_takes_the_last_words_after_ctrl_c(bench):
    bench.sets(*glue_sets('QNLI'))
    program = 'trap "sleep 0.2; echo saved; exit 130" INT\necho started\nwhile :; do sleep 0.05; done\n'
    with start_with(bench, program, glue('base', 'QNLI')) as process:
        assert process.stdout.readline() == 'started\n'
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.read() == 'saved\n'
    assert process.returncode == -signal.SIGINT
    (log,) = (bench.cwd / 'log').iterdir()
    assert log.read_text() == 'started\nsaved\n'
