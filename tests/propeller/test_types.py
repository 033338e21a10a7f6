import copy
import pickle
import re

import numpy as np
import pytest

from propeller.errors import UsageError, UserError
from propeller.types import (
    HParams,
    InferenceSpec,
    ModelSpec,
    ProgramPair,
    RunConfig,
    RunMode,
    SummaryRecord,
    WarmStartSetting,
)


def test_run_modes_have_the_numbers_of_2019():
    assert {mode.name: mode.value for mode in RunMode} == {'TRAIN': 1, 'PREDICT': 2, 'EVAL': 3}


def test_hparams_by_attribute_and_by_item():
    h = HParams(batch_size=3, name='评论')
    assert h.batch_size == h['batch_size'] == 3
    h.rate = 0.5
    h['batch_size'] = 7
    assert h.to_dict() == {'batch_size': 7, 'name': '评论', 'rate': 0.5}
    assert 'rate' in h and 'speed' not in h
    assert h.get('speed') is None and h.get('speed', 9) == 9 and h.get('rate', 9) == 0.5
    assert list(h) == ['batch_size', 'name', 'rate'] and len(h) == 3


def test_hparams_missing_name():
    h = HParams(batch_size=3)
    with pytest.raises(AttributeError, match='batch_size'):
        _ = h.speed
    assert not hasattr(h, 'speed')
    with pytest.raises(ValueError, match=re.escape('key(speed) not in HParams.')):
        h['speed']


def test_hparams_name_of_a_method_is_reachable_as_item():
    h = HParams.from_dict({'join': 1, 'self': 2, 'cls': 3, 'get': None})
    assert (h['join'], h['self'], h['cls'], h['get']) == (1, 2, 3, None)
    assert h.join(HParams(get=4))['get'] == 4


def test_hparams_join_changes_in_place_and_the_later_wins():
    first = HParams(a=1, b=2)
    assert first.join(HParams(b=3, c=4)) is first
    assert first == HParams(a=1, b=3, c=4) and first != HParams(a=1)


def test_hparams_json_round_trip():
    h = HParams(a=1, b=None, c=[1.5, '中'], d={'x': True})
    assert HParams.from_json(h.to_json()) == h
    assert '中' in h.to_json()
    with pytest.raises(UserError, match='found bad JSON'):
        HParams.from_json("{'a': 1}")
    with pytest.raises(UserError, match='found list, expected a dictionary'):
        HParams.from_json('[1]')
    with pytest.raises(UserError, match='found the key 3'):
        HParams.from_dict({3: 1})


def test_hparams_copies_are_equal_and_apart():
    h = HParams(a=[1])
    for other in (copy.deepcopy(h), pickle.loads(pickle.dumps(h))):
        assert other == h
        other.a.append(2)
        assert h.a == [1]


def test_run_config_fields_are_none_and_immutable():
    config = RunConfig()
    assert set(config._asdict().values()) == {None}
    assert config._fields == (
        'model_dir',
        'run_steps',
        'max_steps',
        'save_steps',
        'eval_steps',
        'eval_max_steps',
        'skip_steps',
        'log_steps',
        'max_ckpt',
        'gradient_accumulation_steps',
        'precision',
        'best_metric',
        'early_stop',
    )
    with pytest.raises(AttributeError):
        config.max_steps = 3
    with pytest.raises(AttributeError):
        config.new = 3


def test_run_config_takes_whole_numbers_in_any_form():
    config = RunConfig('out', max_steps=1e5, save_steps=np.int64(7), skip_steps=0)
    assert config[:4] == ('out', None, 100000, 7) and config.skip_steps == 0
    assert all(type(value) is int for value in (config.max_steps, config.save_steps))


@pytest.mark.parametrize('value', [-1, 0, 2.5, True, '100', float('nan'), float('inf'), [3]])
@pytest.mark.parametrize(
    'name',
    [
        *('run_steps', 'max_steps', 'save_steps', 'eval_steps', 'eval_max_steps', 'log_steps', 'max_ckpt'),
        *('gradient_accumulation_steps', 'early_stop'),
    ],
)
def test_run_config_refuses_impossible_numbers(name, value):
    with pytest.raises(UserError, match=f'{name}: found {re.escape(repr(value))}, expected a whole number'):
        RunConfig(**{name: value})


def test_run_config_refuses_negative_skip_and_strange_folders():
    with pytest.raises(UserError, match='skip_steps'):
        RunConfig(skip_steps=-1)
    for model_dir in (3, '', ['out'], b'out'):
        with pytest.raises(UserError, match='model_dir'):
            RunConfig(model_dir=model_dir)


def test_run_config_knows_three_precisions():
    assert RunConfig(precision='bf16').precision == 'bf16'
    with pytest.raises(UserError, match="precision: found 'half', expected one of fp32, bf16, fp16"):
        RunConfig(precision='half')


def test_run_config_says_which_results_are_better():
    assert RunConfig(best_metric='max acc', early_stop=2).best_metric == 'max acc'
    for wrong in ('acc', 'max', 'max ', 'best acc', 3):
        with pytest.raises(UserError, match='best_metric: found .*, expected `max NAME` or `min NAME`'):
            RunConfig(best_metric=wrong)
    with pytest.raises(UserError, match='early_stop: found no best_metric'):
        RunConfig(early_stop=2)


def test_run_config_replace_checks_too():
    config = RunConfig(model_dir='out', max_steps=9)
    assert config._replace(max_steps=11) == RunConfig(model_dir='out', max_steps=11)
    with pytest.raises(UserError, match='max_steps'):
        config._replace(max_steps=-1)


def test_run_config_names_unknown_settings():
    with pytest.raises(TypeError, match=r"unknown setting 'max_step'; known are .*max_steps") as caught:
        RunConfig(max_step=3)
    assert isinstance(caught.value, UsageError) and caught.value.exit_code == 2


def test_warm_start_setting(tmp_path):
    setting = WarmStartSetting(predicate_fn=callable, from_dir=tmp_path)
    assert setting.predicate_fn is callable and setting.from_dir == str(tmp_path)
    with pytest.raises(UserError, match='predicate_fn'):
        WarmStartSetting('params', 'folder')
    with pytest.raises(UserError, match='from_dir'):
        WarmStartSetting(callable, None)


def test_records_name_their_fields():
    assert ProgramPair(train_program=1, startup_program=2) == (1, 2)
    assert InferenceSpec(inputs=[1], outputs=[2]) == ([1], [2])
    assert SummaryRecord(scalar=[1], histogram=[2]) == ([1], [2])
    assert ModelSpec()._asdict() == {
        'loss': None,
        'predictions': None,
        'metrics': None,
        'mode': None,
        'inference_spec': None,
        'train_hooks': (),
        'eval_hooks': (),
    }
