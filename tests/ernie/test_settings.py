"""Typed settings: what they may be, run.yaml there and back, what it says to mistakes, and a run done again from it."""

import copy
import dataclasses
import json
import math
import pickle
import signal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import ernie
import run_classifier
from ernie.pretrain.building.cli import BuildSettings
from ernie.settings import run_yaml
from ernie.settings.fields import described
from ernie.settings.finetune import FinetuneSettings
from ernie.settings.flags import SettingsParser
from ernie.settings.predict import EncodeSettings, ExportSettings, PredictSettings
from ernie.settings.pretrain import PretrainSettings
from ernie.settings.serve import ServeSettings
from propeller.errors import UsageError, UserError
from propeller.session import Session
from tests.ernie.tiny_model import flags, run, sentences, table, write_model

CLASSES = (FinetuneSettings, PretrainSettings, PredictSettings, EncodeSettings, ExportSettings, ServeSettings)


@pytest.mark.parametrize('kind', CLASSES)
def test_every_default_is_a_value_that_the_setting_may_have(kind):
    for one in described(kind).values():
        assert one.fitting(one.default) == one.default
        assert one.description.help.endswith('.')


@pytest.mark.parametrize(
    ('name', 'value', 'expected'),
    [
        ('epoch', 0, 'expected at least 1'),
        ('epoch', True, 'expected a whole number'),
        ('epoch', 2.0, 'expected a whole number'),
        ('epoch', '2', 'expected a whole number'),
        ('epoch', None, 'expected a whole number'),
        ('do_val', 1, 'expected true or false'),
        ('train_set', 3, 'expected a text'),
        ('learning_rate', 0, 'expected a number above 0'),
        ('learning_rate', math.nan, 'expected a number above 0'),
        ('warmup_proportion', 1, 'expected a share from 0 to below 1'),
        ('lr_scheduler', 'cosine', 'expected one of linear_warmup_decay, noam_decay, constant'),
        ('tokenizer', 'Tokenizer', 'expected one of FullTokenizer, CharTokenizer, WordTokenizer'),
        ('dev_set', ['a', 'b,c'], 'expected a list whose parts have no comma'),
        ('dev_set', ['a', None], 'expected a list of texts or numbers'),
    ],
)
def test_values_that_cannot_be(tmp_path, name, value, expected):
    (tmp_path / 't').write_text('x')
    with pytest.raises(UsageError, match=f'^--{name} .*: {expected}'):
        FinetuneSettings(**({'train_set': str(tmp_path / 't')} | {name: value})).checked()


def test_settings_never_change_and_know_what_was_given():
    before = FinetuneSettings(epoch=3, train_set='x')
    assert before.given == {'epoch', 'train_set'} and before.gave('epoch') and not before.gave('do_val', 'shuffle')
    with pytest.raises(dataclasses.FrozenInstanceError):
        before.epoch = 4
    after = before.replace(do_val=False)
    assert (after.do_val, before.do_val, after.given) == (False, True, before.given)
    assert FinetuneSettings(given=frozenset({'epoch'})).given == {'epoch'}
    assert vars(copy.copy(before)) == vars(before) and pickle.loads(pickle.dumps(before)) == before
    assert FinetuneSettings().given == frozenset()


TEXTS = st.text(st.characters(codec=None, min_codepoint=0, max_codepoint=0x1FFFF), max_size=9)
TEXTS |= st.sampled_from(
    ['', 'true', 'No', 'null', '~', '1', '1e5', '.5', '- a', 'a: b', '#', "'", '"', '\\', '\u2028', '\udc80']
)
VALUES = {
    int: st.integers(-(2**62), 2**62),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    str: TEXTS,
}


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_run_yaml_there_and_back(tmp_path_factory, data):
    names = [
        'test_save',
        'train_set',
        'seed',
        'null_score_diff_threshold',
        'do_val',
        'random_seed',
        'incr_every_n_steps',
    ]
    known = described(FinetuneSettings)
    values = {name: data.draw(VALUES[known[name].kind]) for name in names if name in known}
    values['random_seed'] = abs(values['random_seed'])
    before = FinetuneSettings(**values)
    folder = tmp_path_factory.mktemp('yaml')
    run_yaml.write_settings(str(folder), before, 'finetune mrc')
    back = run_yaml.read_settings(str(folder / 'run.yaml'), FinetuneSettings, 'finetune mrc')
    assert back == before.recorded()
    others = yaml.safe_load((folder / 'run.yaml').read_text(encoding='utf-8'))
    infinite = {n: v for n, v in before.recorded().items() if isinstance(v, float) and math.isinf(v)}
    assert others == {
        'version': 1,
        'program': 'finetune mrc',
        **before.recorded(),
        **{n: str(v) for n, v in infinite.items()},
    }
    assert known.keys() - back.keys() == {'resume', 'overwrite_checkpoints', 'tries', 'try_minutes'}


def parse(path, *argv, kind=FinetuneSettings, program='finetune classification'):
    return SettingsParser(kind, program).parse_args(['--config', str(path), *argv])


def test_flags_win_over_the_file_and_both_are_given(tmp_path):
    path = tmp_path / 'run.yaml'
    path.write_text(
        'epoch: 7\nlearning_rate: 5e-5\ndev_set: [a.tsv, b.tsv]\nclass_weights: [1, 2.5]\nnum_labels: null\n'
    )
    found = parse(path, '--epoch', '2', '--do_val', 'false')
    assert (found.epoch, found.learning_rate, found.dev_set) == (2, 5e-5, 'a.tsv,b.tsv')
    assert (found.class_weights, found.num_labels, found.do_val) == ('1,2.5', None, False)
    assert found.given == {'epoch', 'learning_rate', 'dev_set', 'class_weights', 'num_labels', 'do_val'}


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        (
            'epoch: 3\nlearnign_rate: 1\n',
            ":2: found the unknown setting 'learnign_rate', .* Did you mean learning_rate",
        ),
        ('epochs: 3\n', ':1: found the unknown setting .* Did you mean epoch'),
        ('2: 3\n', ':1: found the unknown setting 2, expected the name of a flag'),
        ('\n\nepoch: three\n', ":3: found epoch 'three', expected a whole number"),
        ('epoch: 0\n', ':1: found epoch 0, expected at least 1'),
        ('epoch: null\n', ':1: found epoch None, expected a whole number'),
        ('metric: [a]\n', r":1: found metric \['a'\], expected a text"),
        ('checkpoints: 2020-01-01\n', ':1: found checkpoints .*2020.*, expected a text'),
        ('warmup_proportion: 1.5\n', ':1: found warmup_proportion 1.5, expected a share from 0 to below 1'),
        ('lr_scheduler: cosine\n', ":1: found lr_scheduler 'cosine', expected one of linear_warmup_decay"),
        ('# new\nversion: 2\n', ':2: found version 2, expected at most 1. It was written by a newer release'),
        ('version: one\n', ":1: found version 'one', expected at most 1"),
        ('program: pretrain\n', ":1: found settings of the program 'pretrain', expected those of 'finetune class"),
        ('- epoch\n', ': found a YAML list, expected settings, a line each'),
        ('epoch: 1\nepoch: 2\n', ":2: found 'epoch' twice"),
        ('', ': found an empty file'),
    ],
)
def test_mistakes_in_a_file(tmp_path, text, words):
    path = tmp_path / 'run.yaml'
    path.write_text(text)
    with pytest.raises(UserError, match=f'^{path}{words}') as caught:
        parse(path)
    assert '\n' not in str(caught.value)


def test_the_file_of_another_program(tmp_path):
    run_yaml.write_settings(str(tmp_path), FinetuneSettings(), 'finetune mrc')
    assert parse(tmp_path / 'run.yaml', program=None).epoch == 3
    with pytest.raises(UserError, match=":4: found .* program 'finetune mrc', expected those of 'pretrain'"):
        parse(tmp_path / 'run.yaml', kind=PretrainSettings, program='pretrain')


def test_tuples_and_what_must_be_given_may_stand_in_the_file(tmp_path):
    path = tmp_path / 'run.yaml'
    path.write_text('input: [a, b]\noutput: out\ntasks: capitalization\nir_input: q\n')
    found = parse(path, '--dialogue_input', 'c', 'd', kind=BuildSettings, program='build-data')
    assert (found.input, found.dialogue_input, found.ir_input) == (('a', 'b'), ('c', 'd'), ('q',))
    assert (found.output, found.tasks, found.shards) == ('out', ('capitalization',), 0)
    path.write_text('input: [1]\n')
    with pytest.raises(UserError, match='run.yaml:1: found input .*, expected a text'):
        parse(path, kind=BuildSettings, program=None)
    path.write_text('input: a\n')
    with pytest.raises(UsageError, match='arguments are required: --output'):
        parse(path, kind=BuildSettings, program=None)


def test_a_schedule_names_its_tasks_so_that_the_file_does_not():
    assert 'tasks' in PretrainSettings(train_filelist='x').recorded()
    assert 'tasks' not in PretrainSettings(schedule='x').recorded()


@pytest.mark.parametrize(('flag', 'near'), [('--epochs', '--epoch'), ('--learning-rate', '--learning_rate')])
def test_an_unknown_flag_is_told_the_nearest(flag, near):
    with pytest.raises(
        UsageError, match=f'unrecognized arguments: {flag} 3. Did you mean {near}? --help'.replace('?', r'\?')
    ):
        SettingsParser(FinetuneSettings).parse_args([flag, '3'])


# ---------------------------------------------------------------- again


def without_times(folder):
    records = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    return [{k: v for k, v in r.items() if k != 'time' and not k.endswith('_per_second')} for r in records]


def again(folder, other):
    """The run of a folder once more, from its run.yaml alone, into another folder: both leave the same."""
    run_classifier.main(['--config', str(folder / 'run.yaml'), '--checkpoints', str(other)])
    assert without_times(other) == without_times(folder)
    last = sorted(path.name for path in folder.glob('step_*'))[-1]
    for name in (f'{last}/model.safetensors', 'best/model.safetensors', 'best/labels.json'):
        assert (other / name).read_bytes() == (folder / name).read_bytes()
    left, right = ((f / 'run.yaml').read_text() for f in (folder, other))
    assert left.replace(str(folder), '') == right.replace(str(other), '')


def test_a_run_again_from_its_file_alone(tmp_path):
    train, dev = (table(tmp_path / f'{n}.tsv', sentences(n, n)) for n in (41, 13))
    values = {'train_set': train, 'dev_set': dev, 'do_test': False, 'epoch': 1, 'skip_steps': 2}
    first = tmp_path / 'first'
    run(**values, init_pretraining_params=write_model(tmp_path / 'model'), checkpoints=first, random_seed=None)
    written = run_yaml.read_settings(str(first / 'run.yaml'), FinetuneSettings, 'finetune classification')
    assert written['random_seed'] >= 0 and written['precision'] in ('fp32', 'bf16') and written['train_set'] == train
    again(first, tmp_path / 'second')
    # What a checkpoint says of the settings is in the file too.
    scores = table(tmp_path / 'scores.tsv', [(text, label + 0.5) for text, label in sentences(17, 3)])
    third = tmp_path / 'third'
    values |= {'train_set': scores, 'dev_set': scores}
    kind = {'is_classify': False, 'is_regression': True, 'do_lower_case': False}
    run(**values, **kind, init_pretraining_params=tmp_path / 'model', checkpoints=third)
    fourth = tmp_path / 'fourth'
    run(**values, init_checkpoint=third / 'best', checkpoints=fourth)
    written = run_yaml.read_settings(str(fourth / 'run.yaml'), FinetuneSettings)
    assert written['is_regression'] and not written['is_classify'] and not written['do_lower_case']
    again(fourth, tmp_path / 'fifth')


def test_a_call_of_python_is_a_run(tmp_path):
    train, dev = (table(tmp_path / f'{n}.tsv', sentences(n, n)) for n in (41, 13))
    quick = {'use_cuda': False, 'cache': False, 'do_test': False, 'max_seq_len': 15, 'batch_size': 8, 'epoch': 1}
    settings = ernie.FinetuneSettings(train_set=train, dev_set=[dev], random_seed=5, learning_rate=0.01, **quick)
    model = write_model(tmp_path / 'model')
    one, two = (
        ernie.finetune('classification', settings, init_pretraining_params=model, checkpoints=tmp_path / name)
        for name in ('one', 'two')
    )
    assert (one.best, one.last) == (str(tmp_path / 'one/best'), str(tmp_path / 'one/step_6'))
    assert (
        0 <= one.scores['acc'] <= 1 and one.scores['file'] == dev and one.metrics == str(tmp_path / 'one/metrics.jsonl')
    )
    assert without_times(tmp_path / 'one') == without_times(tmp_path / 'two')
    scored = ernie.finetune('classification', settings, do_train=False, init_checkpoint=two.best, checkpoints=tmp_path)
    assert scored.scores['acc'] == two.scores['acc'] and (scored.best, scored.last) == (None, None)


@pytest.mark.parametrize(
    ('arguments', 'values', 'words'),
    [
        (
            ['classify'],
            {},
            "task 'classify': expected a file that is there, or one of classification, seq",
        ),
        (['mrc'], {'epochs': 3}, r'epochs: unknown setting. Did you mean epoch\?'),
        (['mrc'], {'epoch': '3'}, '--epoch 3: expected a whole number'),
        (['mrc'], {'epoch': 3}, '--do_train true needs --train_set'),
        (['mrc'], {'checkpoints': 3}, '--checkpoints 3: expected a text'),
        (['mrc'], {'cpu_threads': 'all'}, '--cpu_threads all: expected a whole number'),
        (['mrc', {'epoch': 3}], {}, 'settings .*: expected ernie.FinetuneSettings'),
        (['mrc'], {'dev_set': ['a', 'b']}, '--dev_set a,b: expected one file'),
    ],
)
def test_calls_that_cannot_be(arguments, values, words):
    with pytest.raises(UsageError, match=words):
        ernie.finetune(*arguments, **values)


def test_ctrl_c_reaches_the_caller(tmp_path, monkeypatch):
    train = table(tmp_path / 't.tsv', sentences(41, 1))
    update = Session.update

    def interrupted(self, *arguments):
        signal.raise_signal(signal.SIGINT)
        return update(self, *arguments)

    monkeypatch.setattr(Session, 'update', interrupted)
    values = {
        'use_cuda': False,
        'cache': False,
        'do_test': False,
        'do_val': False,
        'max_seq_len': 15,
        'train_set': train,
    }
    model = write_model(tmp_path / 'model')
    with pytest.raises(KeyboardInterrupt):
        ernie.finetune('classification', **values, init_pretraining_params=model, checkpoints=tmp_path / 'c')
    assert (tmp_path / 'c/step_1/training_state.json').is_file()


def test_a_file_that_no_training_wrote_stays(tmp_path):
    (tmp_path / 'c').mkdir()
    (tmp_path / 'c/run.yaml').write_text('epoch: 1  # my own\n')
    train = table(tmp_path / 't.tsv', sentences(9, 1))
    argv = flags(train_set=train, init_pretraining_params=write_model(tmp_path / 'm'), checkpoints=tmp_path / 'c')
    with pytest.raises(UserError, match='run.yaml: found a file that no training wrote'):
        run_classifier.main([*argv, '--use_cuda', 'false', '--do_val', 'false', '--do_test', 'false'])
    assert (tmp_path / 'c/run.yaml').read_text() == 'epoch: 1  # my own\n'
