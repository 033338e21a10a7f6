"""`--keep_layers`: the lower layers of a pre-trained encoder alone."""

import json

import numpy as np
import pytest

import ernie
from ernie.config import ErnieConfig
from ernie.finetune.numbers import facts_of
from ernie.finetune.recipe import choose
from ernie.run.source import Source
from ernie.settings.finetune import OwnDataSettings
from ernie.survey.coverage import Coverage
from ernie.survey.survey import Survey
from propeller.errors import UsageError
from propeller.storage import open_tensors
from tests.ernie.tiny_model import random_parameters, run, sentences, table, write_model


def test_a_training_of_the_lower_layers_its_resumption_and_what_it_leaves(tmp_path):
    settings = {
        'init_pretraining_params': write_model(tmp_path / 'm'),
        'train_set': table(tmp_path / 't.tsv', sentences(24, 1)),
        'checkpoints': tmp_path / 'c',
        'do_val': False,
        'do_test': False,
        'keep_layers': 1,
        'epoch': 2,
        'learning_rate': 1e-9,
    }
    run(**settings, max_steps=2)
    run(**settings, max_steps=4, resume=True)
    folder = tmp_path / 'c' / 'step_4'
    assert json.loads((folder / 'ernie_config.json').read_text())['num_hidden_layers'] == 1
    tensors, before = open_tensors(str(folder)), random_parameters()
    kept = [name for name in before if not name.startswith('encoder_layer_1_')]
    assert sorted(tensors) == sorted([*kept, '_cls_out_w', '_cls_out_b']) and len(kept) < len(before)
    with pytest.raises(UsageError, match=r'--keep_layers 2: .*step_4 was trained with 1 layers. Leave it out'):
        run(**{**settings, 'checkpoints': tmp_path / 'd', 'keep_layers': 2}, init_checkpoint=folder)
    name = 'encoder_layer_0_ffn_fc_0.w_0'
    assert abs(tensors[name] - before[name]).max() < 1e-6
    assert ernie.load(folder, engine='executor')('好美')['label'] in ('0', '1')


def test_more_layers_than_there_are(tmp_path):
    source = Source(str(write_model(tmp_path / 'm')))
    with pytest.raises(UsageError, match='--keep_layers 3: the model has 2 layers'):
        source.keep_layers(3)
    source.keep_layers(2)
    assert source.config.num_hidden_layers == 2 and source.left_out == ()


def test_what_was_fine_tuned_is_not_cut_again(tmp_path):
    source = Source(str(write_model(tmp_path / 'm')))
    source.origin = {'name': 'multilingual-e5-small'}
    source.config = ErnieConfig({**source.config.to_dict(), 'num_hidden_layers': 12})
    survey, coverage = Survey('t', 'sequence_labeling', rows=9), Coverage(np.array([7]), 7, 0, ())
    args = OwnDataSettings(train_set='t')
    for saved, kept in (({}, 9), ({'task': 'sequence_labeling'}, 0)):
        source.saved = saved
        assert choose(facts_of(args, survey, coverage, source), {})['keep_layers'].value == kept
