"""What every training has from `propeller.train.run`, whichever trainer it is: Learner, fine-tuning, pre-training."""

import json
import shutil
from typing import NamedTuple

import numpy as np
import pytest

import propeller.paddle as propeller
from ernie.finetune import trainer as finetuning
from ernie.pretrain import trainer as pretraining
from propeller.storage import open_tensors
from propeller.update import minimize
from tests.counting_hook import Counts, with_hooks
from tests.ernie.tiny_model import run, sentences, table, write_model
from tests.ernie.tiny_pretraining import first_form, run_train, write_config, write_files
from tests.propeller.test_learner import Line, dataset

STEPS, BREAK = 8, 5


class Trainer(NamedTuple):
    """train: function (folder, steps, patience, rate) that trains in a folder, going on from what is there, with two
    hooks `Counts`, an evaluation at every second step, the best kept. prefix: of its checkpoints. seen: what the hooks
    noted.
    """

    train: object
    prefix: str
    seen: list


class Paced(Line):
    """`Line` with a learning rate of its settings."""

    def backward(self, loss):
        minimize(loss, lambda step: self.config.rate)


def learner(data, seen):
    def train(folder, steps, patience, rate):
        stop = {'early_stop': patience} if patience > 0 else {}
        propeller.train_and_eval(
            model_class_or_model_fn=Paced,
            params=propeller.HParams(dropout=0.3, rate=rate),
            run_config=propeller.RunConfig(
                model_dir=str(folder), max_steps=steps, save_steps=BREAK, eval_steps=2, best_metric='min loss', **stop
            ),
            train_dataset=dataset(repeat=3),
            eval_dataset=dataset(),
            train_hooks=[Counts(steps) for steps in seen],
            seed=1,
        )

    return train


def fine_tuning(data, seen):
    write_model(data / 'm')
    files = {f'{name}_set': table(data / f'{name}.tsv', sentences(70, i)) for i, name in enumerate(('train', 'dev'))}
    fixed = {'init_pretraining_params': data / 'm', 'do_test': False, 'lr_scheduler': 'constant', 'epoch': 1}

    def train(folder, steps, patience, rate):
        flags = {**fixed, **files, 'checkpoints': folder, 'max_steps': steps, 'resume': True}
        run(**flags, early_stop=patience, learning_rate=rate, save_steps=BREAK, validation_steps=2)

    return train


def pre_training(data, seen):
    lists = {
        'train_filelist': write_files(data / 'd', 'train', first_form(70, 1)),
        'valid_filelist': write_files(data / 'd', 'valid', first_form(9, 3)),
    }
    fixed = {**lists, **write_config(data / 'c'), 'lr_scheduler': 'constant', 'keep_best': True, 'resume': True}

    def train(folder, steps, patience, rate):
        flags = {**fixed, 'checkpoints': folder, 'num_train_steps': steps, 'learning_rate': rate}
        run_train(**flags, early_stop=patience, save_steps=BREAK, validation_steps=2)

    return train


@pytest.fixture(params=[learner, fine_tuning, pre_training], ids=lambda trainer: trainer.__name__)
def trainer(request, tmp_path, monkeypatch):
    seen = [[], []]
    for module in (finetuning, pretraining):
        monkeypatch.setattr(module, 'build_model_spec', with_hooks(module.build_model_spec, seen))
    (tmp_path / 'data').mkdir()
    train = request.param(tmp_path / 'data', seen)
    return Trainer(train, 'model_' if request.param is learner else 'step_', seen)


def state(folder):
    return json.loads((folder / 'training_state.json').read_text())


def same(left, right, tolerance=0.0):
    left, right = open_tensors(str(left)), open_tensors(str(right))
    assert list(left) == list(right)
    for name in left:
        np.testing.assert_allclose(right[name], left[name], rtol=0, atol=tolerance, err_msg=name)


def test_hooks_and_the_best_are_the_same_after_a_break(tmp_path, trainer):
    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    trainer.train(whole, STEPS, 100, 1e-2)
    expected = state(whole / f'{trainer.prefix}{STEPS}')['hooks']
    assert expected['Counts'] == expected['Counts#2'] == {'steps': list(range(1, STEPS + 1))}
    assert expected['evaluation']['best_step'] == state(whole / 'best')['global_step']
    assert expected['evaluation']['best'] == state(whole / 'best')['value']
    shutil.copytree(whole / f'{trainer.prefix}{BREAK}', cut / f'{trainer.prefix}{BREAK}')
    for steps in trainer.seen:
        steps.clear()
    trainer.train(cut, STEPS, 100, 1e-2)
    found = state(cut / f'{trainer.prefix}{STEPS}')
    assert found['hooks'] == expected
    assert found['data_position'] == state(whole / f'{trainer.prefix}{STEPS}')['data_position']
    for name in ('model.safetensors', 'optimizer.safetensors'):
        same(*(folder / f'{trainer.prefix}{STEPS}' / name for folder in (whole, cut)))
    if expected['evaluation']['best_step'] > BREAK:
        same(whole / 'best', cut / 'best')


def test_training_stops_where_no_better_result_comes_and_the_best_is_kept(tmp_path, trainer):
    """So small a learning rate changes nothing: each evaluation gives what the first one gave."""
    trainer.train(tmp_path / 'c', STEPS, 2, 1e-30)
    assert [len(steps) for steps in trainer.seen] == [6, 6]
    last, best = state(tmp_path / 'c' / f'{trainer.prefix}6'), state(tmp_path / 'c/best')
    assert (best['global_step'], last['hooks']['evaluation']['worse'], best['run']) == (2, 2, last['run'])
    same(tmp_path / 'c/best', tmp_path / 'c' / f'{trainer.prefix}6/model.safetensors', 1e-20)
    assert not (tmp_path / 'c/best/optimizer.safetensors').exists()
