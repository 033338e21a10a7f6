"""The recipes: both to their last line on small files, and what is left of them when a step fails."""

import json
import os
import signal
import subprocess
import time

import pytest

from tests.distill.common import WORDS, spaced, write
from tests.ernie.tiny_model import sentences
from tests.example.common import ROOT, classes, write_tiny_model
from tests.processes import free_ports
from tests.script_bench import Bench, clean_environment

SCRIPTS = ROOT / 'distill' / 'script'
OFFLINE, ONLINE = (SCRIPTS / f'distill_chnsenticorp{end}.sh' for end in ('', '_with_propeller_server'))
SMALL = {
    'TEACHER_STEPS': '12',
    'TEACHER_BATCH': '8',
    'TEACHER_RATE': '0.01',
    'STUDENT_STEPS': '60',
    'STUDENT_BATCH': '8',
    'STUDENT_RATE': '0.02',
    'VOCAB_SIZE': '41',
    'EVAL_STEPS': '12',
    'MAX_SEQLEN': '32',
}


@pytest.fixture(scope='module')
def environment(tmp_path_factory):
    place = tmp_path_factory.mktemp('recipe')
    data = place / 'task data' / 'distill' / 'chnsenticorp'
    classes(data / 'teacher')
    for name, count in (('train', 24), ('dev', 20)):
        write(data / 'student' / name / 'part.0', spaced(count, count))
    unlabelled = [f'{" ".join(text)}\t{text}' for text, _ in sentences(30, 9)]
    write(data / 'student' / 'unsup_train_aug' / 'part.0', unlabelled)
    write(data / 'student' / 'vocab.txt', WORDS)
    model = write_tiny_model(place / 'model')
    return clean_environment() | SMALL | {'MODEL_PATH': str(model), 'TASK_DATA_PATH': str(place / 'task data')}


def run(script, environment, folder, *flags):
    return subprocess.run(['sh', str(script), *flags], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_offline(environment, tmp_path):
    ran = run(SCRIPTS / 'distill_chnsentocorp.sh', environment, tmp_path, '--skip_bad_rows')
    assert ran.returncode == 0, ran.stderr[-3000:]
    name, accuracy = ran.stdout.splitlines()[-1].split('\t')
    assert name == 'dev_acc3' and float(accuracy) > 0.6
    texts = environment['TASK_DATA_PATH'] + '/distill/chnsenticorp/student/unsup_train_aug/part.0'
    with open(texts, encoding='utf-8') as f:
        words = [line.split('\t')[0] for line in f]
    rows = [line.split('\t') for line in (tmp_path / 'prediction_output' / 'part.0').read_text('utf-8').splitlines()]
    # So small a teacher may know one answer only.
    assert [row[0] for row in rows] == words and {row[1] for row in rows} <= {'0', '1'}
    assert (tmp_path / 'output' / 'distill' / 'student' / 'best' / 'ernie_model' / 'model.safetensors').exists()


@pytest.mark.slow
def test_online(environment, tmp_path):
    ran = run(ONLINE, {**environment, 'PORT': str(free_ports(1)[0])}, tmp_path)
    assert ran.returncode == 0, ran.stderr[-3000:]
    name, accuracy = ran.stdout.splitlines()[-1].split('\t')
    assert name == 'dev_acc3' and float(accuracy) > 0.6
    assert not (tmp_path / 'pid.server').exists()


# Records the arguments of each program, those of the server beside those of who waits for it.
STAND_IN = """#!/bin/sh
case "$*" in
    *usable_cores*) echo '1 '; exit ;;
    *finetune_classifier*) name=teacher ;;
    *start_server*) name=server ;;
    *wait_for_teacher*) name=wait; while [ ! -e "$RECORDS/server" ]; do sleep 0.02; done ;;
    *) name=student ;;
esac
case "$*" in
    *--do_predict*) name=labels ;;
esac
printf '%s\\0' "$@" > "$RECORDS/$name"
[ "$name" != "${FAIL_AT:-}" ] || exit 7
"""


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    made.executable(made.python, STAND_IN)
    made.sets(*(f'distill/chnsenticorp/student/{name}' for name in ('unsup_train_aug/part.0', 'vocab.txt')))
    return made


@pytest.mark.parametrize(
    ('script', 'programs'), [(OFFLINE, ('teacher', 'labels', 'student')), (ONLINE, ('teacher', 'wait', 'student'))]
)
def test_a_step_that_fails_is_named(bench, script, programs):
    for step, name in enumerate(programs, 1):
        ran = bench.run(script, env={'FAIL_AT': name}, check=False)
        assert ran.returncode == 7 and ran.stderr.endswith(f'step {step} failed (exit code 7)\n'), ran.stderr
        assert not (bench.cwd / 'pid.server').exists()


def test_the_published_numbers(bench):
    bench.run(ONLINE)
    teacher, server, wait, student = (
        (bench.records / name).read_text(encoding='utf-8').split('\0')[:-1]
        for name in ('teacher', 'server', 'wait', 'student')
    )
    config, *hparams = (teacher[i + 1] for i, word in enumerate(teacher) if word in ('--run_config', '--hparam'))
    assert json.loads(config)['max_steps'] == 3000 and '"batch_size": 32' in hparams[-1]
    assert server[-4:] == ['-p', '8113', '-m', './output/distill/teacher/best/inference/']
    assert wait[1:3] == ['--teacher_host', 'tcp://localhost:8113'] and int(wait[4]) > 1
    config = json.loads(student[student.index('--run_config') + 1])
    assert config == {
        'model_dir': './output/distill/student',
        'max_steps': 9600,
        'save_steps': 1000,
        'log_steps': 10,
        'max_ckpt': 1,
        'skip_steps': 0,
        'eval_steps': 100,
    }
    at = student.index('--server_batch_size')
    assert student[at : at + 4] == ['--server_batch_size', '64', '--num_coroutine', '10']


SERVER = """#!/bin/sh
case "$*" in
    *usable_cores*) echo '1 '; exit ;;
    *start_server*) echo "$$" > served; exec sleep 60 ;;
    *distill_chnsentocorp*) echo "$$" > training; exec sleep 60 ;;
esac
"""


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_nothing_lives_on_after_a_signal(bench, number, code):
    python = bench.executable(bench.cwd / 'python', SERVER)
    environment = clean_environment() | {'MODEL_PATH': str(bench.model), 'TASK_DATA_PATH': str(bench.data)}
    process = subprocess.Popen(
        ['sh', str(ONLINE)], cwd=bench.cwd, env=environment | {'PYTHON': str(python)}, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 30
    while not all((bench.cwd / name).exists() for name in ('served', 'training')) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == code and said.endswith(f'step 3 failed (exit code {code})\n')
    for name in ('served', 'training'):
        with pytest.raises(ProcessLookupError):
            os.kill(int((bench.cwd / name).read_text()), 0)
    assert not (bench.cwd / 'pid.server').exists()
