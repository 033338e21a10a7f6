"""The settings of a training, each on a short run that shows what it changes and what it leaves alone."""

import json
import re
import shutil

import numpy as np
import pytest

from ernie.checkpoint.tokenizer_settings import folder_tokenizer
from propeller.storage import open_tensors
from tests.ernie.tiny_model import TASK_CONFIG, messages, probabilities, records, run, sentences, table, write_model


def parameters(folder):
    tensors = open_tensors(str(folder))
    return {name: tensors[name] for name in tensors}


def test_frozen_encoder(tmp_path, train, model):
    train(train_set=table(tmp_path / 't.tsv', sentences(40, 1)), do_val=False, freeze_encoder=True, epoch=1)
    before, after = parameters(model / 'params'), parameters(tmp_path / 'c/step_5')
    assert set(after) - set(before) == {'_cls_out_w', '_cls_out_b'}
    for name in before:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    assert np.all(after['_cls_out_b'] != 0)
    state = open_tensors(str(tmp_path / 'c/step_5/optimizer.safetensors'))
    assert {name.split('_moment')[0].split('_beta')[0] for name in state} == {'_cls_out_w', '_cls_out_b'}


@pytest.mark.parametrize('head_rate', [None, 0.003])
def test_rate_of_the_head(tmp_path, train, model, head_rate):
    """Adam's first step moves every weight by the rate, wherever the gradient is not tiny."""
    train(
        train_set=table(tmp_path / 't.tsv', sentences(24, 1)),
        do_val=False,
        batch_size=24,
        epoch=1,
        learning_rate=1e-4,
        head_learning_rate=head_rate,
        warmup_proportion=0,
        weight_decay=0,
    )
    before, after = parameters(model / 'params'), parameters(tmp_path / 'c/step_1')
    moved = np.abs(after['encoder_layer_0_ffn_fc_1.w_0'] - before['encoder_layer_0_ffn_fc_1.w_0'])
    assert np.median(moved) == pytest.approx(1e-4, rel=0.01)
    np.testing.assert_allclose(np.abs(after['_cls_out_b']), head_rate or 1e-4, rtol=0.01)


def test_early_stop(tmp_path, train):
    data = table(tmp_path / 't.tsv', sentences(40, 1))
    ran = train(
        train_set=data,
        dev_set=table(tmp_path / 'd.tsv', sentences(20, 2)),
        learning_rate=1e-12,
        epoch=9,
        validation_steps=2,
        early_stop=3,
    )
    # Evaluations at 2, 4, 5 (end of the epoch) and 6: the first is the best, three without a better one follow.
    assert [r['step'] for r in records(tmp_path / 'c', 'dev')] == [2, 4, 5, 6]
    assert 'early stop: 3 evaluations without a better metric than at step 2' in messages(ran.log)
    assert (tmp_path / 'c/step_6').is_dir()
    ran = train(train_set=data, dev_set=tmp_path / 'd.tsv', learning_rate=1e-12, epoch=9, early_stop=3, resume=True)
    assert [r['step'] for r in records(tmp_path / 'c', 'dev')] == [2, 4, 5, 6]  # a stopped run stays stopped
    assert f'continuing from {tmp_path}/c/step_6' in messages(ran.log)


def test_max_steps(tmp_path, train):
    data = table(tmp_path / 't.tsv', sentences(40, 1))
    dev = table(tmp_path / 'd.tsv', sentences(20, 2))
    ran = train(train_set=data, dev_set=dev, max_steps=7, epoch=50, skip_steps=1, warmup_proportion=0.5)
    assert 'Max train steps: 7' in messages(ran.log) and 'Num warmup steps: 3' in messages(ran.log)
    assert [r['step'] for r in records(tmp_path / 'c', 'train')] == list(range(1, 8))
    assert [r['step'] for r in records(tmp_path / 'c', 'dev')] == [5, 7]
    assert (tmp_path / 'c/step_7').is_dir()


def test_no_schedule_without_warmup_unless_asked(tmp_path, train):
    data = table(tmp_path / 't.tsv', sentences(40, 1))
    settings = {'train_set': data, 'do_val': False, 'epoch': 1, 'skip_steps': 1, 'warmup_proportion': 0}
    ran = train(**settings)
    assert {r['learning_rate'] for r in records(tmp_path / 'c', 'train')} == {0.01}
    assert any('learning rate: constant 0.01' in line and 'does not decay' in line for line in messages(ran.log))
    train(**settings, decay_without_warmup=True, checkpoints=tmp_path / 'd')
    found = [r['learning_rate'] for r in records(tmp_path / 'd', 'train')]
    np.testing.assert_allclose(found, 0.01 * (1 - np.arange(5) / 5))


def test_the_seed_decides_everything(tmp_path, train):
    data = table(tmp_path / 't.tsv', sentences(40, 1))
    settings = {'train_set': data, 'do_val': False, 'epoch': 1, 'skip_steps': 1}
    found = []
    for name, seed in (('a', 3), ('b', 3), ('c', 2**64 - 1)):
        train(**settings, random_seed=seed, checkpoints=tmp_path / name)
        found.append([r['loss'] for r in records(tmp_path / name, 'train')])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)  # threads may add in another order
    assert found[0][1:] != found[2][1:]
    ran = train(**settings, random_seed=None, overwrite_checkpoints=True)
    (seed,) = re.findall(r'random seed: (\d+)', ran.log)
    train(**settings, random_seed=seed, checkpoints=tmp_path / 'd')
    again = [r['loss'] for r in records(tmp_path / 'd', 'train')]
    np.testing.assert_allclose(again, [r['loss'] for r in records(tmp_path / 'c', 'train')], rtol=1e-4)


def test_task_embedding(tmp_path, train):
    """Only the row of the task is trained, and the task changes the prediction."""
    model = write_model(tmp_path / 'model', config=TASK_CONFIG)
    data = table(tmp_path / 't.tsv', sentences(40, 1))
    settings = {'init_pretraining_params': model, 'train_set': data, 'do_val': False, 'epoch': 1, 'weight_decay': 0}
    train(**settings, task_id=2, warmup_proportion=0)  # a rate that stays: five steps have to show
    before, after = parameters(model / 'params')['task_embedding'], parameters(tmp_path / 'c/step_5')['task_embedding']
    np.testing.assert_array_equal(after[:2], before[:2])
    assert np.all(after[2] != before[2])
    for task in (1, 2):
        run(
            init_checkpoint=tmp_path / 'c/step_5',
            do_train=False,
            test_set=data,
            test_save=tmp_path / f'out{task}',
            task_id=task,
            checkpoints=tmp_path / 'e',
        )
    found = [probabilities(tmp_path / f'out{task}.0.5') for task in (1, 2)]
    assert np.abs(found[0] - found[1]).max() > 1e-4  # a task id that were not read would change nothing


def test_task_id_without_task_embedding_is_said_to_do_nothing(tmp_path, train):
    ran = train(train_set=table(tmp_path / 't.tsv', sentences(9, 1)), do_val=False, epoch=1, task_id=2)
    assert '--task_id 2 has no effect: the model configuration has no use_task_id' in messages(ran.log)


def test_the_letter_case_is_that_of_the_model_folder(tmp_path, train, model):
    """From the folder's file into the ids, into the checkpoint, and on into a training that starts from it."""
    shutil.copytree(model, tmp_path / 'cased')
    (tmp_path / 'cased' / 'tokenizer_config.json').write_text('{"do_lower_case": false, "strip_accents": true}')
    data = table(tmp_path / 't.tsv', sentences(8, 1))
    short = {'train_set': data, 'do_val': False, 'epoch': 1, 'save_steps': 1}
    ran = train(**short, init_pretraining_params=tmp_path / 'cased', checkpoints=tmp_path / 'a')
    assert f'from {tmp_path}/cased/tokenizer_config.json: do_lower_case False' in messages(ran.log)
    expected = ('FullTokenizer', False, True, True)
    assert folder_tokenizer(tmp_path / 'a/step_1').settings == expected
    assert json.loads((tmp_path / 'a/step_1/labels.json').read_text())['do_lower_case'] is False
    train(**short, init_pretraining_params=tmp_path / 'a/step_1', checkpoints=tmp_path / 'b')
    assert folder_tokenizer(tmp_path / 'b/step_1').settings == expected
    ran = train(**short, init_pretraining_params=tmp_path / 'b/step_1', checkpoints=tmp_path / 'c', do_lower_case=True)
    assert f'--do_lower_case true contradicts {tmp_path}/b/step_1/labels.json, which says false' in ran.log
    assert folder_tokenizer(tmp_path / 'c/step_1').settings == ('FullTokenizer', True, True, True)


def test_a_cased_vocabulary_without_a_word_is_doubted(tmp_path, train, model):
    shutil.copytree(model, tmp_path / 'cased')
    with open(tmp_path / 'cased' / 'vocab.txt', 'a', encoding='utf-8') as f:
        f.write('Apple\nBank\n')
    short = {'train_set': table(tmp_path / 't.tsv', sentences(8, 1)), 'do_val': False, 'epoch': 1}
    ran = train(**short, init_pretraining_params=tmp_path / 'cased')
    assert '2 of 42 tokens have capital letters, which lower-cased text never becomes' in ran.log
    ran = train(**short, checkpoints=tmp_path / 'other')
    assert 'capital letters' not in ran.log


def test_predictions_lie_in_the_folder_of_the_run(tmp_path, train, monkeypatch):
    """Also when it is done again from its run.yaml into another one. Without --checkpoints the path is that of 2019."""
    monkeypatch.chdir(tmp_path)
    data = table(tmp_path / 't.tsv', sentences(24, 1))
    settings = {'train_set': data, 'do_val': False, 'do_test': True, 'test_set': data, 'max_steps': 1, 'epoch': 1}
    ran = train(**settings)
    assert f'save to {tmp_path}/c/test_result.0.1' in ran.log
    train(config=tmp_path / 'c/run.yaml', checkpoints=tmp_path / 'd', do_test=True)
    train(**settings, checkpoints=None)
    for folder in ('c', 'd', 'checkpoints'):
        assert len((tmp_path / folder / 'test_result.0.1').read_text().splitlines()) == 24
    train(**settings, checkpoints=tmp_path / 'e', test_save=tmp_path / 'mine')
    assert (tmp_path / 'mine.0.1').is_file() and not (tmp_path / 'e/test_result.0.1').exists()
