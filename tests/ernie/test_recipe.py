"""The rules for the numbers of a training, at odd sizes."""

import numpy as np
import pytest

from ernie.config import ErnieConfig
from ernie.finetune.recipe import QUANTILES, Facts, fits, learning_rate, quantiles, recipe

GIB = 2**30
NAMES = ['learning_rate', 'batch_size', 'epoch', 'max_seq_len', 'early_stop', 'warmup_proportion']


def config(hidden=384, layers=12, positions=512):
    sizes = {'hidden_size': hidden, 'num_hidden_layers': layers, 'num_attention_heads': hidden // 32}
    rest = {'vocab_size': 18000, 'max_position_embeddings': positions, 'type_vocab_size': 2, 'hidden_act': 'gelu'}
    dropout = {'hidden_dropout_prob': 0.1, 'attention_probs_dropout_prob': 0.1, 'initializer_range': 0.02}
    return ErnieConfig({**sizes, **rest, **dropout})


def facts(rows=8000, lengths=(19, 25, 27, 33), task='classification', classes=3, **others):
    others.setdefault('config', config())
    return Facts(task, rows, dict(zip(QUANTILES, lengths, strict=True)), classes=classes, **others)


def values(found):
    return {name: choice.value for name, choice in found.items()}


@pytest.mark.parametrize('task', ['classification', 'sequence_labeling', 'mrc', 'a_task_of_others'])
@pytest.mark.parametrize('rows', [1, 7, 199, 1350, 20_000, 1_000_000])
@pytest.mark.parametrize('lengths', [(2, 2, 3, 3), (19, 25, 27, 33), (700, 1500, 2000, 20_000)])
@pytest.mark.parametrize('memory', [None, 400 * 2**20, 3 * GIB, 64 * GIB])
def test_numbers_are_possible_whatever_the_data(task, rows, lengths, memory):
    found = recipe(facts(rows, lengths, task, memory=memory))
    assert list(found) == NAMES and all(choice.reason for choice in found.values())
    v = values(found)
    assert 1e-5 <= v['learning_rate'] <= 3e-4 and 0 < v['warmup_proportion'] < 1
    assert all(type(v[name]) is int for name in NAMES[1:5])
    assert 1 <= v['batch_size'] <= 64 and 2 <= v['epoch'] <= 30
    assert 16 <= v['max_seq_len'] <= 512 and 2 <= v['early_stop'] <= v['epoch']


def test_the_reasons_say_what_was_looked_at():
    found = recipe(facts(8000, (17, 67, 125, 437)))
    assert found['max_seq_len'] == (128, '99 % of the rows have at most 125 tokens')
    assert found['batch_size'] == (32, '8,000 rows')
    assert found['epoch'].reason == f'{found["epoch"].value * 250:,} updates of 32 rows'


def test_length_takes_all_rows_where_that_is_little_more():
    assert recipe(facts(lengths=(19, 25, 27, 33)))['max_seq_len'] == (40, 'all rows have at most 33 tokens')
    assert recipe(facts(lengths=(19, 25, 27, 34)))['max_seq_len'] == (32, '99 % of the rows have at most 27 tokens')


def test_tags_are_not_cut_off_and_long_documents_are_cut_in_windows():
    tags = recipe(facts(lengths=(44, 134, 151, 203), task='sequence_labeling'))
    assert tags['max_seq_len'] == (208, 'all rows have at most 203 tokens')
    reading = recipe(facts(lengths=(400, 900, 950, 2000), task='mrc'))
    assert reading['max_seq_len'] == (384, 'the most that this task takes; 95 % of the rows have up to 900 tokens')
    small = recipe(facts(lengths=(400, 900, 950, 2000), config=config(positions=64)))
    assert small['max_seq_len'].value == 64 and small['max_seq_len'].reason.startswith('the most that the model has')


@pytest.mark.parametrize('memory', [0.7 * GIB, 1.2 * GIB, 2 * GIB, 6 * GIB])
def test_what_is_chosen_fits_into_the_memory_or_is_the_least(memory):
    known = facts(5000, (300, 500, 512, 512), memory=int(memory))
    v = values(recipe(known))
    assert fits(known, v['batch_size'], v['max_seq_len']) or (v['batch_size'], v['max_seq_len']) == (1, 16)
    assert v['batch_size'] == 32 or not fits(known, 2 * v['batch_size'], v['max_seq_len'])


def test_little_memory_is_said():
    found = recipe(facts(5000, (300, 500, 512, 512), memory=2 * GIB))
    assert (
        found['batch_size'].value < 32 and found['batch_size'].reason == 'what 2,048 MB of memory allow at 512 tokens'
    )
    least = recipe(facts(5000, (300, 500, 512, 512), memory=500 * 2**20))
    assert least['batch_size'].value == 1 and least['max_seq_len'].reason == 'more does not fit into the memory'


def test_smaller_models_take_higher_rates():
    rates = [learning_rate(facts(config=config(hidden))).value for hidden in (128, 384, 768, 1024, 4096)]
    assert rates == [3e-4, 2e-4, 5e-5, 3e-5, 1e-5]


def test_fewer_rows_take_more_epochs_and_smaller_batches():
    found = [values(recipe(facts(rows))) for rows in (7, 300, 1350, 8000, 1_000_000)]
    epochs, batches = [v['epoch'] for v in found], [v['batch_size'] for v in found]
    assert epochs == sorted(epochs, reverse=True) and epochs[0] == 30 and epochs[-1] == 2
    assert batches == sorted(batches) and batches[0] == 8 and batches[-1] == 64


def test_what_the_user_settled_is_kept_and_the_rest_follows():
    found = recipe(facts(8000), {'batch_size': 128, 'max_seq_len': 64})
    assert list(found) == ['learning_rate', 'epoch', 'early_stop', 'warmup_proportion']
    assert found['epoch'].value > recipe(facts(8000))['epoch'].value
    assert recipe(facts(8000), {'epoch': 9})['early_stop'].value == 3
    assert recipe(facts(8000), dict.fromkeys(NAMES, 16)) == {}


def test_quantiles_are_lengths_that_rows_have():
    lengths = np.array([3, 9, 4, 200, 5, 5, 12])
    assert quantiles(lengths) == {50: 5, 95: 200, 99: 200, 100: 200}
    assert quantiles(np.arange(1, 1001)) == {50: 500, 95: 950, 99: 990, 100: 1000}
    assert quantiles([7]) == dict.fromkeys(QUANTILES, 7)
