"""example/finetune_classifier.py: the command line of the README of 2019, from data folders to predicted lines."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from ernie.checkpoint import open_model
from example import finetune_classifier
from propeller.errors import UserError
from propeller.exported import ExportedModel
from tests.ernie.tiny_model import VOCABULARY, sentences
from tests.example.common import ROOT, classes, flags, run, write, write_tiny_model

COMMAND = """
python3 ./example/finetune_classifier.py \\
    --data_dir ${TASK_DATA_PATH}/chnsenticorp/  \\
    --warm_start_from ${MODEL_PATH}/params \\
    --vocab_file ${MODEL_PATH}/vocab.txt \\
    --max_seqlen 32 \\
    --run_config '{
        "model_dir": "'$OUTPUT'",
        "max_steps": '$((2 * 80 / 8))',
        "save_steps": 100,
        "log_steps": 10,
        "max_ckpt": 1,
        "skip_steps": 0,
        "eval_steps": 20
    }' \\
    --hparam ${MODEL_PATH}/ernie_config.json \\
    --hparam '{ # model definition
        "sent_type_vocab_size": None,    # default term in official config
        "use_task_id": False,
        "task_id": 0,
        }' \\
    --hparam '{ # learn
      "warmup_proportion":  0.1,
      "weight_decay": 0.01,
      "use_fp16": 0,
      "learning_rate": 0.01,
      "num_label": 2,
      "batch_size": 8
    }'
"""


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp('model') / 'ernie')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    classes(folder / 'chnsenticorp')
    return folder


@pytest.fixture(scope='module')
def trained(model, data, tmp_path_factory):
    """(model_dir, the finished process) of the command of 2019."""
    out = tmp_path_factory.mktemp('out') / 'output'
    environment = {**os.environ, 'MODEL_PATH': str(model), 'TASK_DATA_PATH': str(data), 'OUTPUT': str(out)}
    environment['PATH'] = f'{os.path.dirname(sys.executable)}:{environment["PATH"]}'
    command = COMMAND.replace('python3', sys.executable)
    done = subprocess.run(['sh', '-c', command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out, done


def predict_flags(model, out):
    return flags(model, 'none', out, '--do_predict', max_steps=None, eval_steps=None)


def test_the_command_of_2019(trained):
    out, done = trained
    name, value = done.stdout.rstrip('\n').split('\t')
    best = json.loads((out / 'best/best.json').read_text())['eval']['acc']
    assert (name, value) == ('dev_acc', f'{best:.5f}')
    assert 'warm start: 39 of the 39 parameters of the encoder' in done.stderr
    assert 'warm start: pooled_fc.b_0' in done.stderr and 'step: 10\t' in done.stderr
    assert [path.name for path in out.glob('model_*')] == ['model_20']
    parameters = open_model(out / 'model_20')
    assert parameters.shape('cls_out_w') == (12, 2) and parameters.shape('cls_out_b') == (2,)


def test_each_line_of_standard_input_gets_a_line(trained, model, monkeypatch):
    """The last step was the one that was evaluated, so that the export has the values of the last checkpoint."""
    texts = [text for text, _ in sentences(21, seed=5)]
    texts[3:3] = ['', '好' * 200]  # an empty one, and one that is cut
    found = run(finetune_classifier, predict_flags(model, trained[0]), monkeypatch, '\n'.join(texts).encode())
    exported = ExportedModel(trained[0] / 'best/inference')
    for text, line in zip(texts, found, strict=True):
        ids = np.array([1, *map(VOCABULARY.index, text[:30]), 2])
        (logits,) = exported.run([ids[None, :, None], np.zeros((1, len(ids), 1), np.int64)])
        assert line == str(logits.argmax()) or abs(logits[0, 0] - logits[0, 1]) < 1e-4


def test_the_export_gives_logits_that_padding_does_not_change(trained):
    exported = ExportedModel(trained[0] / 'best/inference')
    row = np.array([1, 7, 20, 3, 2])
    padded = np.stack([np.pad(row, (0, 4)), np.arange(1, 10)])
    (alone,) = exported.run([row[None, :, None], np.zeros((1, 5, 1), np.int64)])
    (beside,) = exported.run([padded[..., None], np.zeros((2, 9, 1), np.int64)])
    np.testing.assert_allclose(alone[0], beside[0], atol=1e-5)
    assert abs(alone[0].sum() - 1) > 1e-3 and np.abs(beside[0] - beside[1]).max() > 1e-4


def test_lines_that_cannot_be_predicted(trained, model, monkeypatch):
    words = predict_flags(model, trained[0])
    with pytest.raises(UserError, match=r'^standard input:2: found 2 columns, expected 1 .*: text\. Correct it\.$'):
        run(finetune_classifier, words, monkeypatch, '好\n好\t1\n'.encode())
    with pytest.raises(UserError, match=r'^standard input:1: .*byte 0xff that is not UTF-8'):
        run(finetune_classifier, words, monkeypatch, b'\xff\n')


def test_what_the_model_was_trained_with_is_checked(trained, model, tmp_path, monkeypatch):
    other = write_tiny_model(tmp_path / 'other')
    with open(other / 'vocab.txt', 'a') as f:
        f.write('more\n')
    with pytest.raises(UserError, match=r'inputs.json: found vocabulary .*, as in its training'):
        run(finetune_classifier, predict_flags(other, trained[0]), monkeypatch)
    words = [*predict_flags(model, trained[0]), '--hparam', '{"num_attention_heads": 4}']
    with pytest.raises(UserError, match=r'inputs.json: found encoder num_attention_heads 4, expected 3, as in'):
        run(finetune_classifier, words, monkeypatch)
    with pytest.raises(UserError, match='found --do_predict'):
        run(finetune_classifier, [*predict_flags(model, trained[0]), '--skip_bad_rows'], monkeypatch)


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        ({'hparams': {'learning_rate': None}}, 'found no learning_rate, expected a number above 0'),
        ({'hparams': {'num_label': None, 'num_labels': 2}}, 'found no num_label, .* Is num_labels misspelt'),
        ({'hparams': {'batch_size': 2.5}}, 'batch_size: found 2.5, expected a whole number'),
        (
            {'hparams': {'vocab_size': 20}},
            r'vocab.txt: found id .*, expected ids below vocab_size 20',
        ),
        ({'hparams': {'weight_decay': 'much'}}, "weight_decay: found 'much', expected a number from 0 on"),
        ({'max_steps': None}, 'found no max_steps'),
        ({'model_dir': None}, 'found no model_dir'),
        ({'more': ['--max_seqlen', '65']}, '--max_seqlen 65: expected 3 to 64'),
        ({'more': ['--vocab_file', 'no.txt']}, 'no.txt'),
        ({'more': ['--word_dict', 'words.pickle']}, 'found no --sentence_piece_model'),
        ({'more': ['--data_dir', 'nowhere']}, 'nowhere/train: found no such folder'),
    ],
)
def test_a_command_line_that_cannot_be(model, data, tmp_path, monkeypatch, changes, text):
    monkeypatch.chdir(tmp_path)
    words = flags(model, data / 'chnsenticorp', 'out', *changes.pop('more', []), **changes)
    with pytest.raises(UserError, match=text):
        run(finetune_classifier, words)


@pytest.mark.parametrize(
    ('row', 'text'),
    [
        ('label\ttext_a', r"train/part-0:2: found the label 'text_a' in column label, expected one of 0, 1"),
        ('好\t2', "train/part-0:2: found the label '2'"),
        ('好\t坏\t1', 'train/part-0:2: found 3 columns, expected 2'),
    ],
)
def test_a_row_that_cannot_be(model, data, tmp_path, row, text):
    folder = classes(tmp_path / 'data')
    write(folder / 'train/part-0', ['好\t1', row])
    with pytest.raises(UserError, match=rf'{text}.* Correct it, or leave such rows out: --skip_bad_rows\.$'):
        run(finetune_classifier, flags(model, folder, tmp_path / 'out'))


def test_a_warm_start_that_takes_nothing(model, data, tmp_path):
    other = write_tiny_model(tmp_path / 'other')
    for path in (other / 'params').iterdir():
        path.rename(path.with_name(f'their_{path.name}'))
    words = flags(model, data / 'chnsenticorp', tmp_path / 'out', '--warm_start_from', str(other / 'params'))
    with pytest.raises(UserError, match=r'found none of the 39 parameters of the encoder \(their_'):
        run(finetune_classifier, words)
