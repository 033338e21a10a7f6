"""example/elmo: its flags, and both scripts on small data with a small ELMo."""

import argparse
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from example.elmo import elmo_finetune, predict
from propeller.errors import UsageError, UserError
from tests.ernie.test_hub_page import ELMO, WORDS
from tests.ernie.tiny_model import random_parameters, sentences, write_model, write_table
from tests.example.common import ROOT

COMMON = {
    'use_gpu': True,
    'checkpoint_dir': None,
    'learning_rate': 5e-5,
    'weight_decay': 0.01,
    'warmup_proportion': 0.0,
    'module': 'elmo',
    'net': 'gru',
    'data_dir': None,
}


@pytest.mark.parametrize(
    'program, more', [(elmo_finetune, {'batch_size': 32, 'num_epoch': 3}), (predict, {'batch_size': 1})]
)
def test_flags_are_those_of_2019_and_three_more(program, more):
    actions = program.build_parser()._actions
    assert {a.dest: a.default for a in actions if a.default != argparse.SUPPRESS} == {**COMMON, **more}


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """Folder with a module and data, texts with spaces between the words."""
    place = tmp_path_factory.mktemp('elmo')
    values = random_parameters(ELMO)
    gammas = {name: np.ones_like(value) for name, value in values.items() if name.startswith('gamma')}
    module = write_model(place / 'module', {**values, **gammas}, ELMO, WORDS)
    settings = {'tokenizer_class': 'WordTokenizer', 'do_lower_case': True, 'lexer': 'spaces'}
    (module / 'tokenizer_config.json').write_text(json.dumps(settings))
    (place / 'data').mkdir()
    for name, count in (('train', 60), ('dev', 9), ('test', 5)):
        rows = [(label, ' '.join(text)) for text, label in sentences(count, seed=count)]
        write_table(place / 'data' / f'{name}.tsv', ['label', 'text_a'], rows)
    return place


def script(name, place, *flags):
    """Run a script; what it printed."""
    environment = {**os.environ, 'PYTHON': sys.executable, 'CKPT_DIR': str(place / 'ckpt')}
    command = ['sh', str(ROOT / 'example' / 'elmo' / name), '--module', str(place / 'module')]
    command += ['--data_dir', str(place / 'data'), *flags]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_the_scripts_train_and_predict(place):
    said = script('run_elmo_finetune.sh', place, '--num_epoch', '2', '--batch_size', '16').stderr
    assert '[test dataset evaluation result] loss=' in said and 'PaddleHub finetune finished.' in said
    assert {'best_model', 'ckpt.meta', 'vdllog'} <= set(os.listdir(place / 'ckpt'))
    lines = script('run_predict.sh', place).stdout.splitlines()
    assert len(lines) == len(predict.REVIEWS) + 1
    right = 0
    for (text, label), line in zip(predict.REVIEWS, lines, strict=False):
        before, found = line.split('\tpredict=')
        assert before == text and found in ('0', '1')
        right += int(found) == label
    assert lines[-1] == f'accuracy={right / len(predict.REVIEWS):.4f}'


def test_what_cannot_be_is_said(place):
    with pytest.raises(UsageError, match='--checkpoint_dir is missing'):
        predict.main([])
    with pytest.raises(UserError, match='found no train.tsv, expected one'):
        elmo_finetune.main(['--data_dir', str(place / 'module'), '--module', str(place / 'module')])
    with pytest.raises(UsageError, match='--net'):
        elmo_finetune.main(['--net', 'crnn'])
