"""A disk that refuses: what was saved stays, one line names the user's file, the exit code is 1. Real processes."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ernie.checkpoint import open_model
from tests.ernie.tiny_model import SETTINGS, flags, messages, sentences, table

ROOT = Path(__file__).parents[1]


def training(tmp_path, model, **values):
    """The command of a short training into `tmp_path / 'c'`."""
    settings = SETTINGS | {
        'init_pretraining_params': model / 'params',
        'checkpoints': tmp_path / 'c',
        'train_set': table(tmp_path / 'train.tsv', sentences(64, 1)),
        'dev_set': table(tmp_path / 'dev.tsv', sentences(9, 2)),
        'do_test': False,
        'epoch': 2,
        'save_steps': 4,
        'validation_steps': 4,
    }
    return [sys.executable, str(ROOT / 'run_classifier.py'), *flags(**(settings | values))]


def visible(folder):
    assert not list(folder.glob('.propeller-work-*'))
    return sorted(name for name in os.listdir(folder) if not name.startswith('.'))


def run(command, file_size=None):
    """(exit code, lines of stderr). file_size: bytes beyond which the system refuses to let a file grow."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=file_size and limit)
    return done.returncode, done.stderr.splitlines()


def test_a_checkpoint_that_cannot_be_written(tmp_path, model):
    # Large enough for the parameters, too small for the state of the optimizer.
    code, lines = run(training(tmp_path, model), 30_000)
    step = tmp_path / 'c' / 'step_4'
    assert code == 1 and lines[-1] == f'error: {step}/optimizer.safetensors: cannot be written (File too large).'
    assert not any('Traceback' in line for line in lines)
    assert visible(tmp_path / 'c') == ['best', 'metrics.jsonl', 'reports', 'run.log', 'run.yaml']
    assert len(list(open_model(tmp_path / 'c' / 'best'))) > 10
    records = [json.loads(line) for line in (tmp_path / 'c' / 'metrics.jsonl').read_text().splitlines()]
    assert records[-1]['step'] == 4
    # Nothing is said to be saved that is not.
    code, lines = run(training(tmp_path, model, checkpoints=tmp_path / 'd'), 20_000)
    assert code == 1 and lines[-1].startswith(f'error: {tmp_path}/d/best/model.safetensors: cannot be written')
    assert not any(text.startswith('best so far') for text in messages('\n'.join(lines)))
    assert not (tmp_path / 'd' / 'best').exists()


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_first_step(tmp_path, model, number):
    process = subprocess.Popen(
        training(tmp_path, model, train_set=table(tmp_path / 'large.tsv', sentences(100, 1) * 3000)),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in process.stderr:
            if 'Model Configuration' in line or 'ernie_config' in line or 'random seed' in line:
                break
        time.sleep(0.1)  # reading has begun; nothing is lost if it has not
        process.send_signal(number)
        lines = process.communicate(timeout=60)[1].splitlines()
    finally:
        process.kill()
    assert process.returncode == 130 and lines[-1] == 'interrupted', lines[-5:]
    assert not any('Traceback' in line or 'FatalError' in line for line in lines)
    assert visible(tmp_path / 'c') == []
