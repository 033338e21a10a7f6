"""The rules for the numbers of a training, at odd sizes."""

import math

import pytest

from ernie.checkpoint import backbone_shapes
from ernie.config import ErnieConfig
from ernie.finetune.recipe import NUMBERS, Facts, choose, chosen_pairs, fits, patience_of, rate_of
from ernie.run.memory import training_memory

GIB = 2**30
PERCENTILES = (50, 90, 95, 99, 100)
TITLES, LONG = (19, 24, 25, 27, 33), (300, 400, 500, 512, 512)
SIZES = {
    'hidden_size': 384,
    'num_hidden_layers': 12,
    'num_attention_heads': 12,
    'vocab_size': 18000,
    'max_position_embeddings': 512,
    'type_vocab_size': 2,
    'hidden_act': 'gelu',
    'hidden_dropout_prob': 0.1,
    'attention_probs_dropout_prob': 0.1,
    'initializer_range': 0.02,
}
CONFIG = ErnieConfig(SIZES)
COUNT = sum(map(math.prod, backbone_shapes(CONFIG).values()))


def need(rows, length):
    return training_memory(CONFIG, rows, length, COUNT, COUNT).total


def facts(rows=8000, lengths=TITLES, task='classification', memory=None, **others):
    lengths = dict(zip(PERCENTILES, lengths, strict=True))
    given = {'kind': None, 'classes': 3, 'positions': 512, 'need': need, 'memory': memory, 'hidden': 384}
    return Facts(task=task, rows=rows, lengths=lengths, **given | others)


def values(found):
    return {name: choice.value for name, choice in found.items()}


@pytest.mark.parametrize('task', ['classification', 'sequence_labeling', 'mrc', 'a_task_of_others'])
@pytest.mark.parametrize('rows', [1, 7, 199, 1350, 20_000, 1_000_000])
def test_numbers_are_possible_whatever_the_data(task, rows):
    for lengths in [(2, 2, 3, 3, 3), TITLES, (700, 900, 1500, 2000, 20_000)]:
        for memory in (None, 400 * 2**20, 3 * GIB, 64 * GIB):
            found = choose(facts(rows, lengths, task, memory), {})
            assert list(found) == list(NUMBERS) and all(choice.reason for choice in found.values())
            v = values(found)
            assert all(type(v[name]) is int for name in NUMBERS if name != 'learning_rate')
            assert 1e-5 <= v['learning_rate'] <= 3e-4 and 3 <= v['early_stop'] <= 15
            assert 16 <= v['max_seq_len'] <= 512 and 1 <= v['batch_size'] <= 64 and 2 <= v['epoch'] <= 30


@pytest.mark.parametrize('parts', [2, 3, 64])
def test_the_parts_of_an_update_share_its_batch(parts):
    one, several = (choose(facts(1350, parts=count), {}) for count in (1, parts))
    batch = max(one['batch_size'].value // parts, 1)
    assert several['batch_size'] == (batch, f'1,350 rows, {parts} batches an update')
    # As many epochs as one process takes with batches of all parts, and as many updates are said.
    alike = choose(facts(1350), {'batch_size': batch * parts})
    assert several['epoch'] == alike['epoch'] and several['learning_rate'] == one['learning_rate']
    given = choose(facts(1350, parts=parts), {'batch_size': 16})
    assert given['epoch'] == choose(facts(1350), {'batch_size': 16 * parts})['epoch']


def test_a_question_has_its_room_whatever_the_rows():
    length = lambda rows, least: choose(facts(1600, rows, 'mrc', least=least), {})['max_seq_len']  # noqa: E731
    assert length(TITLES, 99) == (104, 'all rows have at most 33 tokens, a long question needs more')
    assert length(TITLES, 33) == (40, 'all rows have at most 33 tokens')
    assert length((50, 90, 99, 200, 300), 99) == (104, '95 % of the rows have at most 99 tokens')


def test_the_reasons_say_what_was_looked_at():
    found = choose(facts(8000, (17, 50, 67, 125, 437)), {})
    assert found['max_seq_len'] == (128, '99 % of the rows have at most 125 tokens')
    assert found['batch_size'] == (32, '8,000 rows')
    assert found['epoch'].reason == f'{found["epoch"].value * 250:,} updates of 32 rows'


def test_length_takes_all_rows_where_that_is_little_more():
    assert choose(facts(), {})['max_seq_len'] == (40, 'all rows have at most 33 tokens')
    found = choose(facts(lengths=(19, 24, 25, 27, 34)), {})
    assert found['max_seq_len'] == (32, '99 % of the rows have at most 27 tokens')


def test_tags_are_not_cut_off_and_long_documents_are_read_in_windows():
    tags = choose(facts(lengths=(44, 116, 134, 151, 203), task='sequence_labeling'), {})
    assert tags['max_seq_len'] == (208, 'all rows have at most 203 tokens')
    reading = choose(facts(lengths=(400, 800, 900, 950, 2000), task='mrc'), {})
    assert reading['max_seq_len'] == (384, 'the most that this task takes; 95 % of the rows have up to 900 tokens')
    small = choose(facts(lengths=(400, 800, 900, 950, 2000), positions=64), {})['max_seq_len']
    assert small == (64, 'the most that the model has; 99 % of the rows have up to 950 tokens')


@pytest.mark.parametrize('memory', [0.7 * GIB, 1.2 * GIB, 2 * GIB, 6 * GIB])
def test_what_is_chosen_fits_into_the_memory_or_is_the_least(memory):
    known = facts(5000, LONG, memory=int(memory))
    v = values(choose(known, {}))
    assert fits(known, v['batch_size'], v['max_seq_len']) or (v['batch_size'], v['max_seq_len']) == (1, 16)
    assert v['batch_size'] == 32 or not fits(known, 2 * v['batch_size'], v['max_seq_len'])


def test_little_memory_is_said():
    found = choose(facts(5000, LONG, memory=2 * GIB), {})
    assert found['batch_size'].value < 32
    assert found['batch_size'].reason == 'what 2,048 MB of memory allow at 512 tokens'
    least = choose(facts(5000, LONG, memory=500 * 2**20), {})
    assert least['batch_size'].value == 1 and least['max_seq_len'].reason == 'more does not fit into the memory'


def test_smaller_models_take_higher_rates():
    rates = [rate_of(facts(hidden=hidden)).value for hidden in (128, 384, 768, 1024, 4096)]
    assert rates == [3e-4, 1e-4, 5e-5, 4e-5, 1e-5]
    assert rate_of(facts(task='sequence_labeling')).value == 2e-4


def test_fewer_rows_take_more_epochs_and_smaller_batches():
    found = [values(choose(facts(rows), {})) for rows in (7, 300, 1350, 8000, 1_000_000)]
    epochs, batches = [v['epoch'] for v in found], [v['batch_size'] for v in found]
    assert epochs == sorted(epochs, reverse=True) and epochs[0] == 30 and epochs[-1] == 2
    assert batches == sorted(batches) and batches[0] == 8 and batches[-1] == 64


def test_what_the_user_settled_is_kept_and_the_rest_follows():
    found = choose(facts(8000), {'batch_size': 128, 'max_seq_len': 64})
    assert list(found) == ['epoch', 'learning_rate', 'early_stop', 'keep_layers']
    assert found['epoch'].value > choose(facts(8000), {})['epoch'].value
    long = choose(facts(5000, LONG, memory=4 * GIB), {'max_seq_len': 64})
    assert long['batch_size'].value == 32 > choose(facts(5000, LONG, memory=4 * GIB), {})['batch_size'].value
    assert choose(facts(8000), dict.fromkeys(NUMBERS, 16)) == {}


def test_patience_is_a_third_of_the_epochs():
    assert [patience_of(epochs).value for epochs in (1, 3, 9, 10, 30)] == [3, 3, 3, 4, 10]
    assert choose(facts(8000), {'epoch': 21})['early_stop'].value == 7
    tags = choose(facts(1350, task='sequence_labeling'), {})
    assert (tags['batch_size'].value, tags['epoch'].value, tags['early_stop'].value) == (8, 7, 4)


def test_what_was_chosen_is_shown_in_two_lines():
    assert chosen_pairs(choose(facts(), {})) == [
        ('chosen', 'length 40 (all rows have at most 33 tokens), batch 32 (8,000 rows)'),
        ('', 'epochs 3 (750 updates of 32 rows), rate 0.0001 (the model has a hidden size of 384)'),
    ]
    assert chosen_pairs(choose(facts(), dict.fromkeys(NUMBERS[:3], 16))) == [
        ('chosen', 'rate 0.0001 (the model has a hidden size of 384)')
    ]
    assert chosen_pairs({}) == []


def test_tags_leave_the_upper_layers_of_an_encoder_of_whole_texts_out():
    tags = facts(1350, task='sequence_labeling', makes_vectors=True)
    assert choose(tags, {})['keep_layers'].value == 9
    assert choose(tags._replace(layers=2), {})['keep_layers'].value == 0
    assert choose(tags._replace(makes_vectors=False), {})['keep_layers'].value == 0
    assert choose(facts(makes_vectors=True), {})['keep_layers'].value == 0
    last = chosen_pairs(choose(tags, {}))[-1]
    assert last == ('', 'layers 9 (of 12: those above have lost the single tokens)')
