"""Where initial values may come from, and that nothing is ever silently missing, left out or random."""

import json
import pickle

import numpy as np
import pytest

from ernie.optimization import learning_rate_schedule
from ernie.run.evaluation import short_names
from propeller.errors import UserError
from propeller.storage import open_tensors
from propeller.storage.fluid import write_variable
from tests.ernie import checkpoint_models
from tests.ernie.tiny_model import CONFIG, messages, random_parameters, run, sentences, write_model, write_table

HEAD = {'_cls_out_w': (12, 2), '_cls_out_b': (2,)}


def head(width=2):
    rng = np.random.default_rng(6)
    return {name: rng.normal(size=(*shape[:-1], width)).astype(np.float32) for name, shape in HEAD.items()}


@pytest.fixture
def train(tmp_path):
    """Function (flags) -> (`Ran`, parameters after the run): one step that trains the head only."""

    def start(**values):
        settings = {
            'train_set': write_table(tmp_path / 'train.tsv', ['text_a', 'label'], sentences(8, 1, most=3)),
            'do_val': False,
            'do_test': False,
            'checkpoints': tmp_path / 'c',
            'epoch': 1,
            'freeze_encoder': True,
            'max_seq_len': 8,
        }
        ran = run(**(settings | values))
        tensors = open_tensors(str(tmp_path / 'c/step_1'))
        return ran, {name: tensors[name] for name in tensors}

    return start


def assert_loaded(after, values):
    assert set(after) == {*values, *HEAD}
    for name, value in values.items():
        if name not in HEAD:
            np.testing.assert_array_equal(after[name], value, err_msg=name)


# ------------------------------------------------------------------------------------------ strict


def test_missing_tensors_are_named(tmp_path, train):
    values = random_parameters()
    del values['pooled_fc.w_0'], values['encoder_layer_1_ffn_fc_1.b_0']
    with pytest.raises(UserError) as caught:
        train(init_pretraining_params=write_model(tmp_path / 'm', values))
    text = str(caught.value)
    assert '2 missing: encoder_layer_1_ffn_fc_1.b_0 [12], pooled_fc.w_0 [12, 12]' in text
    assert f'{tmp_path}/m' in text and '_cls_out_w' not in text


def test_missing_tensors_that_are_allowed_are_named_as_new(tmp_path, train):
    values = random_parameters()
    del values['pooled_fc.w_0'], values['pooled_fc.b_0'], values['sent_embedding']
    model = write_model(tmp_path / 'm', values)
    with pytest.raises(UserError, match='1 missing: sent_embedding'):
        train(init_pretraining_params=model, allow_missing='pooled_fc.*')
    ran, after = train(init_pretraining_params=model, allow_missing='pooled_fc.*, sent_embedding')
    new = 'new, with random values: sent_embedding, pooled_fc.w_0, pooled_fc.b_0, _cls_out_w, _cls_out_b'
    assert new in messages(ran.log)
    assert after['pooled_fc.w_0'].std() > 0.1 and np.all(after['pooled_fc.b_0'] == 0)


def test_tensors_too_many_are_named(tmp_path, train):
    values = random_parameters()
    extra = {'mask_lm_out_fc.b_0': np.zeros(61, np.float32), 'next_sent_fc.w_0': np.zeros((12, 2), np.float32)}
    ran, after = train(init_pretraining_params=write_model(tmp_path / 'm', values | extra))
    assert 'not used: mask_lm_out_fc.b_0, next_sent_fc.w_0' in messages(ran.log)
    assert_loaded(after, values)


def test_wrong_shapes_are_named_with_both(tmp_path, train):
    values = random_parameters() | {'pos_embedding': np.zeros((5, 12), np.float32)}
    values['encoder_layer_0_ffn_fc_0.w_0'] = np.zeros((48, 12), np.float32)
    with pytest.raises(UserError) as caught:
        train(init_pretraining_params=write_model(tmp_path / 'm', values))
    text = str(caught.value)
    assert 'pos_embedding is [5, 12], expected [17, 12]' in text
    assert 'encoder_layer_0_ffn_fc_0.w_0 is [48, 12], expected [12, 48]' in text


def test_wrong_number_of_labels(tmp_path, train):
    model = write_model(tmp_path / 'm', random_parameters() | head(3))
    with pytest.raises(UserError, match=r'_cls_out_w is \[12, 3\], expected \[12, 2\]'):
        train(init_checkpoint=model)
    rows = [(text, y + 1) for text, y in sentences(8, 1, most=3)]
    ran, _ = train(
        init_checkpoint=model, num_labels=3, train_set=write_table(tmp_path / 't.tsv', ['text_a', 'label'], rows)
    )
    assert f'{tmp_path}/m: 41 parameters loaded' in messages(ran.log)


@pytest.mark.parametrize('flags', [{}, {'allow_missing': '_cls_out_w,_cls_out_b'}])
def test_a_head_of_another_width_is_new(tmp_path, train, flags):
    model = write_model(tmp_path / 'm', random_parameters() | head(3))
    ran, after = train(init_pretraining_params=model, **flags)
    assert f'{model}: the head of other classes is left out: a new one' in messages(ran.log)
    assert 'new, with random values: _cls_out_w, _cls_out_b' in messages(ran.log)
    assert after['_cls_out_w'].shape == (12, 2)


@pytest.mark.parametrize(
    ('saved', 'left'),
    [
        (None, None),  # a model of 2019
        ({'kind': 'classify', 'labels': ['0', '1']}, None),
        ({'kind': 'classify', 'labels': ['bad', 'good']}, None),
        ({'kind': 'classify', 'labels': ['good', 'bad']}, 'other classes'),
        ({'kind': 'classify', 'labels': ['alpha', 'beta']}, 'other classes'),
        ({'kind': 'multilabel', 'labels': ['bad', 'good']}, 'the kind multilabel'),
    ],
)
def test_a_head_of_the_same_width_is_taken_where_it_has_learnt_the_same(tmp_path, train, saved, left):
    values = random_parameters() | head()
    model = write_model(tmp_path / 'm', values)
    if saved:
        saved = {'task': 'classification', 'num_labels': 2, 'label_map': None, **saved}
        (model / 'labels.json').write_text(json.dumps(saved))
    rows = [(text, ('bad', 'good')[y]) for text, y in sentences(8, 1, most=3)]
    named = write_table(tmp_path / 'named.tsv', ['text_a', 'label'], rows)
    ran, after = train(init_pretraining_params=model, train_set=named, learning_rate=1e-12, weight_decay=0)
    is_taken = bool(np.allclose(after['_cls_out_w'], values['_cls_out_w'], atol=1e-9))
    assert is_taken == (left is None)
    assert (f'{model}: the head of {left} is left out: a new one' in messages(ran.log)) == (left is not None)
    assert_loaded(after, values)


def test_a_regression_takes_the_head_of_a_regression(tmp_path, train):
    values = random_parameters() | head(1)
    model = write_model(tmp_path / 'm', values)
    saved = {'task': 'classification', 'kind': 'regression', 'num_labels': 1, 'labels': ['0'], 'label_map': None}
    (model / 'labels.json').write_text(json.dumps(saved))
    numbers = write_table(tmp_path / 'n.tsv', ['text_a', 'label'], [(t, y / 3) for t, y in sentences(8, 1, most=3)])
    settings = {'init_pretraining_params': model, 'train_set': numbers, 'learning_rate': 1e-12, 'weight_decay': 0}
    _, after = train(**settings, is_classify=False, is_regression=True)
    np.testing.assert_allclose(after['_cls_out_w'], values['_cls_out_w'], atol=1e-9)


def test_a_checkpoint_without_head_cannot_be_evaluated(tmp_path):
    with pytest.raises(UserError, match=r'2 missing: _cls_out_w \[12, 2\], _cls_out_b \[2\]'):
        run(
            init_checkpoint=write_model(tmp_path / 'm'),
            do_train=False,
            dev_set=write_table(tmp_path / 'd.tsv', ['text_a', 'label'], sentences(8, 1)),
            checkpoints=tmp_path / 'c',
        )


# ------------------------------------------------------------------------------------------ places


def test_random_values_are_pointed_at(tmp_path, train):
    model = write_model(tmp_path / 'm')
    ran, after = train(ernie_config_path=model / 'ernie_config.json', vocab_path=model / 'vocab.txt')
    assert 'no --init_checkpoint and no --init_pretraining_params: all parameters are random' in messages(ran.log)
    assert after['word_embedding'].std() == pytest.approx(0.8796 * CONFIG['initializer_range'], rel=0.1)


@pytest.mark.parametrize('part', ['', 'params'])
def test_fluid_folder(tmp_path, train, part):
    ran, after = train(init_pretraining_params=write_model(tmp_path / 'm') / part)
    assert_loaded(after, random_parameters())
    assert 'new, with random values: _cls_out_w, _cls_out_b' in messages(ran.log)


def test_half_precision_parameters(tmp_path, train):
    halves = {name: value.astype(np.float16) for name, value in random_parameters().items()}
    _, after = train(init_pretraining_params=write_model(tmp_path / 'm', halves))
    assert_loaded(after, {name: value.astype(np.float32) for name, value in halves.items()})


def test_bfloat16_of_paddle(tmp_path, train):
    """Paddle writes bfloat16 as arrays of uint16, the upper halves of float32."""
    folder, values = write_model(tmp_path / 'm', {}), random_parameters()
    (folder / 'params').rmdir()
    bits = {name: (value.view(np.uint32) >> 16).astype(np.uint16) for name, value in values.items()}
    (folder / 'model.pdparams').write_bytes(pickle.dumps(bits, protocol=2))
    _, after = train(init_pretraining_params=folder)
    assert_loaded(
        after, {name: (value.view(np.uint32) & 0xFFFF0000).view(np.float32) for name, value in values.items()}
    )


def test_a_layer_that_the_configuration_leaves_out(tmp_path, train):
    model = write_model(tmp_path / 'm', random_parameters(), {**CONFIG, 'num_hidden_layers': 1})
    with pytest.raises(UserError, match='m: 16 tensors of the encoder would not be used: encoder_layer_1_'):
        train(init_pretraining_params=model)
    ran, after = train(init_pretraining_params=model, allow_unused='encoder_layer_1_*,encoder_leyer_*')
    assert len(after) == 41 - 16 and 'not used: encoder_layer_1_' in ran.log
    told = [line for line in messages(ran.log) if line.endswith('nothing is called so')]
    assert told == ['--allow_unused encoder_leyer_*: nothing is called so']


def test_labels_that_contradict_the_head(tmp_path, train):
    model = write_model(tmp_path / 'm', random_parameters() | head(2))
    (model / 'labels.json').write_text('{"task": "classification", "kind": "classify", "num_labels": 3}')
    for flag in ('init_checkpoint', 'init_pretraining_params'):
        with pytest.raises(UserError, match=r'labels.json: found num_labels 3, expected 2 classes'):
            train(**{flag: model})


def test_parameters_that_are_not_finite(tmp_path, train):
    values = random_parameters()
    values['encoder_layer_1_ffn_fc_1.b_0'][5] = np.nan
    with pytest.raises(UserError, match=r'm: found encoder_layer_1_ffn_fc_1.b_0 with nan at \[5\]'):
        train(init_pretraining_params=write_model(tmp_path / 'm', values))
    assert not (tmp_path / 'c/step_1').exists()


def test_pdparams(tmp_path, train):
    folder = write_model(tmp_path / 'm')
    for file in (folder / 'params').iterdir():
        file.unlink()
    (folder / 'params').rmdir()
    (folder / 'model.pdparams').write_bytes(pickle.dumps(random_parameters(), protocol=2))
    for path in (folder, folder / 'model.pdparams'):
        _, after = train(init_pretraining_params=path, overwrite_checkpoints=True)
        assert_loaded(after, random_parameters())


def test_huggingface_folder(tmp_path, train):
    values = checkpoint_models.parameters()
    tensors = checkpoint_models.as_huggingface(values) | {'lm_head.other': np.zeros(3, np.float32)}
    folder = checkpoint_models.huggingface_folder(tmp_path / 'hf', tensors)
    ran, after = train(init_pretraining_params=folder)
    assert_loaded(after, values)
    assert 'not used: lm_head.other' in messages(ran.log)
    saved = json.loads((tmp_path / 'c/step_1/ernie_config.json').read_text())
    assert saved['layer_norm_eps'] == 1e-12 and saved['hidden_size'] == 12


def test_own_checkpoint_as_start_of_a_new_training(tmp_path, train):
    """Head included, but neither moments nor position nor schedule."""
    _, first = train(init_pretraining_params=write_model(tmp_path / 'm'))
    ran, after = train(
        init_pretraining_params=tmp_path / 'c/step_1', learning_rate=1e-12, checkpoints=tmp_path / 'd', weight_decay=0
    )
    tensors = open_tensors(str(tmp_path / 'd/step_1'))
    for name in first:
        np.testing.assert_allclose(tensors[name], first[name], atol=1e-9, err_msg=name)
    assert 'new, with random' not in ran.log and 'continuing' not in ran.log


def test_init_checkpoint_takes_precedence(tmp_path, train):
    model = write_model(tmp_path / 'a', random_parameters(seed=1) | head())
    ran, after = train(init_checkpoint=model, init_pretraining_params=write_model(tmp_path / 'b'))
    assert_loaded(after, random_parameters(seed=1))
    assert '--init_pretraining_params is ignored: --init_checkpoint is set' in messages(ran.log)


# ------------------------------------------------------------------------------------------ checkpoints of 2019

UPDATES, ROWS, TOTAL = 4, 40, 10


def old_checkpoint(folder, counter):
    """What the 2019 runner saved: all persistable variables, one file each. Second moments are about 5."""
    rng = np.random.default_rng(2)
    values = random_parameters() | head()
    state = {}
    for name, value in values.items():
        state[f'{name}_moment1_0'] = np.zeros_like(value)
        state[f'{name}_moment2_0'] = rng.uniform(5, 6, value.shape).astype(np.float32)
        state[f'{name}_beta1_pow_acc_0'] = np.array([0.9 ** (UPDATES + 1)], np.float32)
        state[f'{name}_beta2_pow_acc_0'] = np.array([0.999 ** (UPDATES + 1)], np.float32)
    state['loss_scaling_0'] = np.ones(1, np.float32)
    if counter is None:
        state['learning_rate_0'] = np.full(1, 0.01, np.float32)
    else:
        state['@LR_DECAY_COUNTER@'] = np.array([counter], np.int64)
        state['scheduled_learning_rate'] = np.full(1, 0.005, np.float32)
    write_model(folder, {})
    folder = (folder / 'params').rename(folder / 'step_5')
    for name, value in (values | state).items():
        write_variable(folder / name, value)
    return folder, values, state


def continue_old(tmp_path, folder, **values):
    ran = run(
        init_checkpoint=folder,
        train_set=write_table(tmp_path / 'train.tsv', ['text_a', 'label'], sentences(ROWS, 1)),
        do_val=False,
        do_test=False,
        checkpoints=tmp_path / 'c',
        epoch=2,
        skip_steps=1,
        warmup_proportion=values.pop('warmup_proportion', 0.2),
        max_steps=values.pop('max_steps', 0),
        **values,
    )
    lines = (tmp_path / 'c/metrics.jsonl').read_text().splitlines()
    return ran, [json.loads(line) for line in lines]


@pytest.mark.parametrize(('scheduler', 'counter'), [('linear_warmup_decay', UPDATES - 1), ('noam_decay', UPDATES)])
def test_the_schedule_of_2019_goes_on(tmp_path, scheduler, counter):
    """fluid keeps the number of the last update, counted from 0 for linear decay and from 1 for noam.

    The run ends where the schedule does: the rate would be 0 for the rest of the data, which start anew.
    """
    folder, _, _ = old_checkpoint(tmp_path / 'old', counter)
    ran, found = continue_old(tmp_path, folder, lr_scheduler=scheduler)
    rate = learning_rate_schedule(scheduler, 0.01, 2, TOTAL)
    assert [r['step'] for r in found] == list(range(UPDATES + 1, TOTAL + 1))
    np.testing.assert_allclose([r['learning_rate'] for r in found], [rate(r['step'] - 1) for r in found])
    text = f'optimizer state loaded; the schedule continues after {UPDATES} updates, the data start anew'
    assert text in messages(ran.log) and 'not used' not in ran.log


def test_the_moments_of_2019_go_on(tmp_path):
    """The norm of the gradients is at most 1, so a step leaves second moments at 0.999 of their value, within 0.001."""
    folder, values, state = old_checkpoint(tmp_path / 'old', UPDATES - 1)
    continue_old(tmp_path, folder, max_steps=UPDATES + 1, warmup_proportion=0)
    step = tmp_path / f'c/step_{UPDATES + 1}'
    after = open_tensors(str(step / 'optimizer.safetensors'))
    assert set(after) == {name for name in state if '_moment' in name or '_pow_acc_' in name}
    for name in values:
        moment = state[f'{name}_moment2_0'].astype(np.float64) * 0.999
        grown = after[f'{name}_moment2_0'] - moment
        assert grown.min() > -1e-5 and grown.max() < 0.00101, name
        assert after[f'{name}_beta1_pow_acc_0'][0] == pytest.approx(0.9 ** (UPDATES + 2), rel=1e-5)
    # The checkpoint is one of ours now, and continues as one.
    ran, found = continue_old(tmp_path, step, warmup_proportion=0)
    assert found[-1]['step'] == TOTAL and f'continuing from {step}' in messages(ran.log)


def test_a_constant_rate_of_2019_has_no_counter(tmp_path):
    folder, _, _ = old_checkpoint(tmp_path / 'old', None)
    ran, found = continue_old(tmp_path, folder, warmup_proportion=0)
    assert [r['step'] for r in found] == list(range(1, 11)) and {r['learning_rate'] for r in found} == {0.01}
    assert 'optimizer state loaded' in ran.log


@pytest.mark.parametrize('counter', [np.int64([3, 4]), np.float32([np.nan]), np.int64([-1]), np.zeros(0, np.int64)])
def test_a_counter_of_2019_that_is_none(tmp_path, counter):
    folder, _, _ = old_checkpoint(tmp_path / 'old', 1)
    write_variable(folder / '@LR_DECAY_COUNTER@', counter)
    with pytest.raises(UserError, match='found @LR_DECAY_COUNTER@ of .*, expected the number of an update'):
        continue_old(tmp_path, folder)


def test_moments_of_2019_that_are_not_finite(tmp_path):
    folder, _, _ = old_checkpoint(tmp_path / 'old', 1)
    write_variable(folder / 'pos_embedding_moment1_0', np.full((17, 12), np.inf, np.float32))
    with pytest.raises(UserError, match=r'found pos_embedding_moment1_0 with inf at \[0, 0\], the first of 204'):
        continue_old(tmp_path, folder)


def test_without_all_moments_they_start_anew(tmp_path):
    folder, _, _ = old_checkpoint(tmp_path / 'old', UPDATES - 1)
    (folder / 'pos_embedding_moment1_0').unlink()
    ran, found = continue_old(tmp_path, folder)
    assert f'{folder} holds no optimizer state: moments and schedule start anew' in messages(ran.log)
    assert [r['step'] for r in found] == list(range(1, 11))


def test_evaluation_of_a_checkpoint_of_2019(tmp_path):
    """The optimizer's part is no parameter of the model and nothing to complain about."""
    folder, _, _ = old_checkpoint(tmp_path / 'old', UPDATES - 1)
    dev = write_table(tmp_path / 'd.tsv', ['text_a', 'label'], sentences(9, 1))
    settings = {'do_train': False, 'dev_set': dev, 'test_set': dev, 'test_save': tmp_path / 'out'}
    ran = run(init_checkpoint=folder, checkpoints=tmp_path / 'c', **settings)
    assert 'not used' not in ran.log and 'acc:' in ran.log and f'{folder}: 41 parameters loaded' in messages(ran.log)
    assert len((tmp_path / 'out.0.0').read_text().splitlines()) == 9
    assert not (tmp_path / 'c/metrics.jsonl').exists()  # that of a training in the same folder is left alone
    assert len((tmp_path / 'c/evaluation.jsonl').read_text().splitlines()) == 1


# ------------------------------------------------------------------------------------------ names of reports


@pytest.mark.parametrize(
    ('paths', 'names'),
    [
        (['x/dev.tsv'], ['dev']),
        (['x/dev.tsv', 'x/test.tsv'], ['dev', 'test']),
        (['MNLI/m/dev.tsv', 'MNLI/mm/dev.tsv', 'a.b.csv'], ['m_dev', 'mm_dev', 'a.b']),
        (['x/m/dev.tsv', 'y/m/dev.tsv'], ['m_dev_1', 'm_dev_2']),
        (['x/dev.tsv', 'x/dev.csv', 'x/dev.tsv'], ['x_dev_1', 'x_dev_2']),
    ],
)
def test_reports_never_share_a_name(paths, names):
    assert list(short_names(paths).items()) == list(zip(dict.fromkeys(paths), names, strict=True))
