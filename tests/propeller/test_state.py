"""`training_state.json`: a value of another type is said by its name, before anything relies on it."""

import json

import pytest

from ernie.finetune.log import TrainingLogHook
from ernie.pretrain.updates import Updates
from propeller.errors import UserError
from propeller.train.checkpoint import read_state
from propeller.train.hooks import EvaluationHook
from propeller.train.precision import LossScale
from propeller.train.state import COUNT, checked

STATE = {
    'updates': 4,
    'loss_scale': {'scale': 1024.0, 'good': 3, 'bad': 0},
    'random_state': {'cpu': [-1, 3, 0, [49, 50]]},
    'random_states': [{'cpu': [-1, 3, 0, [49, 50]]}],
    'seed': 3,
    'global_step': 4,
    'epoch': 0,
    'data_position': {'epoch': 0, 'batch': 4},
    'parts': 1,
    'hooks': {'training_log': {'epoch': 0, 'rows_done': 8}, 'evaluation': {'best': -1e999, 'best_step': 4, 'worse': 0}},
}
OTHERS = [None, True, -1, 1.5, 1e999, '4', [], [1], {}, {'a': 1}, 2**63]


def written(folder, state):
    (folder / 'training_state.json').write_text(json.dumps(state))
    return folder


def test_a_state_comes_back_with_what_programs_add(tmp_path):
    assert read_state(written(tmp_path, STATE | {'run': 'x'})) == STATE | {'run': 'x'}
    assert read_state(written(tmp_path, {'global_step': 0})) == {'global_step': 0}


@pytest.mark.parametrize('name', list(STATE))
def test_a_field_of_another_type_is_named(tmp_path, name):
    refused = 0
    for other in OTHERS:
        try:
            read_state(written(tmp_path, STATE | {name: other}))
        except UserError as e:
            refused += 1
            assert str(e).startswith(f'{tmp_path / "training_state.json"}: found {name} ')
    assert refused >= 5


def test_a_state_that_is_none(tmp_path):
    with pytest.raises(UserError, match='found no training_state.json'):
        read_state(tmp_path)
    for text, found in {
        '{"epoch": 1}': 'found no global_step, expected a whole number from 0 on',
        '[1]': 'found a JSON list',
        '{"global_step": ' + '9' * 5000 + '}': 'found the number',
        '{"global_step": 1, "x": ' + '[' * 100_000: 'nested too deeply',
    }.items():
        (tmp_path / 'training_state.json').write_text(text)
        with pytest.raises(UserError, match=found):
            read_state(tmp_path)


@pytest.mark.parametrize('other', [*OTHERS, {'epoch': 0, 'rows_done': -1}, {'best': 'x', 'best_step': 1, 'worse': 0}])
def test_hooks_and_the_loss_scale_refuse_what_they_did_not_write(other):
    evaluation, scale = EvaluationHook(lambda *_: None, 5), LossScale()
    hook = TrainingLogHook.__new__(TrainingLogHook)
    for target, place in ((evaluation, 'hooks.evaluation'), (scale, 'loss_scale'), (hook, 'hooks.training_log')):
        with pytest.raises(UserError, match=f'found (no )?{place}'):
            target.load_state_dict(other)
    for wrong in ({'scale': float('inf')}, {'scale': 0}, {'good': 1.0}, {'bad': '1'}):
        with pytest.raises(UserError, match='found loss_scale'):
            scale.load_state_dict({'scale': 1024.0, 'good': 0, 'bad': 0} | wrong)
    scale.load_state_dict({'scale': 2.0, 'good': 1, 'bad': 0})
    assert scale.state_dict() == {'scale': 2.0, 'good': 1, 'bad': 0}


@pytest.mark.parametrize(
    'position', [{}, {'updates': 1}, {'updates': '1', 'streams': {}}, {'updates': 1, 'streams': [1]}]
)
def test_a_position_of_updates_of_another_form_is_refused(position):
    with pytest.raises(UserError, match='found (a|the) data position'):
        Updates(None, {'all': None}).seek(position)


def test_a_long_value_is_cut():
    with pytest.raises(UserError, match='found a ') as raised:
        checked({'a': 'x' * 10**6}, {'a': COUNT})
    assert len(str(raised.value)) < 300


def test_the_random_state_of_another_generator_never_reaches_paddle():
    from propeller.session import _like

    own = [-1, 3, 0, list(b'18446744073709551615 345 ' * 300)]
    assert _like([-1, 3, 0, list(b'12 345 ' * 300)], own) and _like([-1, 9, 0, list(b'9 9 ' * 300)], own)
    for other in ([-1, 3, 0], [-1, 3, 0, [1]], [-1, 3, 0, list(b'x 345 ' * 300)], [-1, 3, 0, [300] * 900], None, {}, 7):
        assert not _like(other, own)
    assert not _like([-1, 3, '0', own[3]], own) and not _like([-1, 1 << 64, 0, own[3]], own)
