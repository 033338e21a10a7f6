"""Every mistake of a user ends in one line that says where, what was found and what was expected."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from propeller.errors import UsageError, UserError
from propeller.graph import cuda_devices
from tests.ernie.tiny_model import (
    CONFIG,
    SETTINGS,
    TASK_CONFIG,
    VOCABULARY,
    flags,
    messages,
    run,
    sentences,
    write_model,
    write_table,
)

ROOT = Path(__file__).parents[1]


class Case:
    """A whole and right setting in `root`, to be spoilt."""

    def __init__(self, root):
        self.root = root
        self.model = write_model(root / 'm')
        rows = [(text, y) for text, y in sentences(9, 1)]
        self.train, self.dev = (write_table(root / f'{n}.tsv', ['text_a', 'label'], rows) for n in ('train', 'dev'))
        self.test = write_table(root / 'test.tsv', ['text_a'], [(text,) for text, _ in rows])
        self.flags = {
            'init_pretraining_params': self.model,
            'train_set': self.train,
            'dev_set': self.dev,
            'do_test': False,
            'checkpoints': root / 'c',
            'epoch': 1,
        }

    def file(self, name, content):
        path = self.root / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def config(self, **values):
        config = {**CONFIG, **values}
        return self.file('config.json', json.dumps({k: v for k, v in config.items() if v is not ...}))

    def vocabulary(self, *lines):
        return self.file('words.txt', '\n'.join(lines) + '\n')


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


def spoilt(case, **values):
    """The text and exit code of the error that these flags end in."""
    with pytest.raises(UserError) as caught:
        run(**(case.flags | values))
    text = str(caught.value)
    assert '\n' not in text and 'Traceback' not in text
    assert not list(case.root.glob('c/step_*'))
    return text, caught.value.exit_code


DATA = [
    ('train_set', None, ['train.tsv', 'no such file']),
    ('train_set', b'', ['bad.tsv', 'empty file']),
    ('train_set', 'text_a\tlabel\n', ['bad.tsv', 'no row']),
    ('train_set', 'tex\tlabel\n的\t1\n', ["'tex'", "'text_a'", 'bad.tsv:1']),
    ('train_set', 'text_a\tlable\n的\t1\n', ["'lable'", "'label'", 'bad.tsv:1']),
    ('train_set', 'text_a\tlabel\n的\t1\n一\n', ['bad.tsv:3', '1 cells', '2 as in the header (text_a, label)']),
    ('train_set', 'text_a\tlabel\n的\t1\n一\t1\t2\n', ['bad.tsv:3', '3 cells', '2']),
    ('train_set', 'text_a\tlabel\n的\t1\n一\t2\n', ['bad.tsv:3', 'label 2', '0 .. 1']),
    ('train_set', 'text_a\tlabel\n的\t-1\n', ['bad.tsv:2', 'label -1', '0 .. 1']),
    ('dev_set', 'text_a\tlabel\n的\t好评\n', ['bad.tsv:2', "'好评'", '0 .. 1', '--label_map_config']),
    ('train_set', 'text_a\tlabel\n的\t1\n'.encode() + '好\t1\n'.encode('gbk'), ['bad.tsv:3', '0xba', 'UTF-8']),
    ('dev_set', 'text_a\tlabel\n的\t7\n', ['bad.tsv:2', 'label 7', '0 .. 1']),
    ('dev_set', None, ['dev.tsv', 'no such file']),
]


@pytest.mark.parametrize(('flag', 'content', 'parts'), DATA)
def test_data_files(case, flag, content, parts):
    path = case.root / 'nowhere' / f'{flag[:-4]}.tsv' if content is None else case.file('bad.tsv', content)
    text, code = spoilt(case, **{flag: path}, num_labels=2)
    assert code == 1
    assert all(part in text for part in [*parts, str(path)]), text


def test_test_file_without_text(case):
    path = case.file('bad.tsv', 'label\n1\n')
    text, code = spoilt(case, do_test=True, test_set=path, test_save=case.root / 'out')
    assert code == 1 and 'text_a' in text and f'{path}:1' in text


@pytest.mark.parametrize(
    ('content', 'parts'),
    [
        ('{"好": 0, "坏": 1}', ['train.tsv:', 'the label', "'好', '坏'"]),
        ('{"0": 0, "1": 2}', ['map.json', 'ids from 0 to 2', '0 .. 1']),
        ('{"0": 0, "1": "1"}', ['map.json', "'1'", 'whole number']),
        ('{"0": 0, "0": 1}', ['map.json', "'0' twice"]),
        ('[0, 1]', ['map.json', 'JSON object']),
        ('{"0": 0,\n', ['map.json:', 'JSON']),
    ],
)
def test_label_maps(case, content, parts):
    text, code = spoilt(case, label_map_config=case.file('map.json', content))
    assert code == 1 and all(part in text for part in parts), text


def test_regression_labels_are_numbers(case):
    path = case.file('bad.tsv', 'text_a\tlabel\n的\t1.5\n一\tnan\n')
    text, code = spoilt(case, train_set=path, is_classify=False, is_regression=True)
    assert code == 1 and f'{path}:3' in text and "'nan'" in text and 'finite number' in text


@pytest.mark.parametrize(
    ('lines', 'parts'),
    [
        ([w for w in VOCABULARY if w != '[CLS]'], ['words.txt', '[CLS]']),
        ([w for w in VOCABULARY if w != '[UNK]'], ['words.txt', '[UNK]']),
        ([*(f'{w}\t{i}' for i, w in enumerate(VOCABULARY)), 'x\t3'], [f'words.txt:{len(VOCABULARY) + 1}', 'id 3']),
        ([*VOCABULARY, 'a\tb\tc'], [f'words.txt:{len(VOCABULARY) + 1}']),
        (
            [*VOCABULARY, *(f'w{i}' for i in range(61))],
            ['words.txt', f'id {len(VOCABULARY) + 60} (w60)', 'vocab_size 61'],
        ),
    ],
)
def test_vocabularies(case, lines, parts):
    text, code = spoilt(case, vocab_path=case.vocabulary(*lines))
    assert code == 1 and all(part in text for part in parts), text


@pytest.mark.parametrize(
    ('values', 'parts'),
    [
        ({'hidden_size': ...}, ["'hidden_size' is missing"]),
        ({'hidden_size': 13}, ['hidden_size = 13', 'multiple of num_attention_heads (3)']),
        ({'hidden_act': 'swish'}, ["'swish'", 'relu, gelu, gelu_new']),
        ({'hidden_dropout_prob': 1.5}, ['hidden_dropout_prob = 1.5']),
        ({'num_hidden_layers': 0}, ['num_hidden_layers = 0']),
        ({'type_vocab_size': ...}, ['type_vocab_size']),
    ],
)
def test_model_configurations(case, values, parts):
    text, code = spoilt(case, ernie_config_path=case.config(**values))
    assert code == 1 and 'config.json' in text and all(part in text for part in parts), text


def test_configuration_file_that_is_none(case):
    text, _ = spoilt(case, ernie_config_path=case.root / 'nowhere.json')
    assert 'nowhere.json' in text
    text, _ = spoilt(case, ernie_config_path=case.file('config.json', '{"hidden_size": \n'))
    assert 'config.json:' in text and 'JSON' in text


def test_folders_without_parameters(case):
    (case.root / 'empty').mkdir()
    text, code = spoilt(case, init_pretraining_params=case.root / 'empty')
    assert code == 1 and f'{case.root}/empty' in text
    text, code = spoilt(case, init_pretraining_params=case.root / 'nowhere')
    assert code == 1 and f'{case.root}/nowhere' in text


def test_configuration_and_vocabulary_are_needed(case):
    params = case.root / 'alone/params'
    params.parent.mkdir()
    (case.model / 'params').rename(params)
    text, code = spoilt(case, init_pretraining_params=params)
    assert code == 2 and '--ernie_config_path' in text and 'ernie_config.json' in text
    text, code = spoilt(case, init_pretraining_params=params, ernie_config_path=case.model / 'ernie_config.json')
    assert code == 2 and '--vocab_path' in text and 'vocab.txt' in text


CONTRADICTIONS = [
    ({'is_classify': False}, ['is_classify', 'is_regression', 'exactly one']),
    ({'is_classify': True, 'is_regression': True}, ['is_classify', 'is_regression', 'exactly one']),
    ({'is_classify': False, 'is_regression': True, 'is_multilabel': True}, ['is_regression', 'is_multilabel']),
    ({'is_classify': False, 'is_regression': True, 'num_labels': 2}, ['num_labels 2', 'regression']),
    ({'is_classify': False, 'is_regression': True, 'class_weights': 'balanced'}, ['class_weights', 'regression']),
    ({'is_classify': False, 'is_regression': True, 'metric': 'acc_and_f1'}, ['acc_and_f1', 'pearson_and_spearman']),
    ({'is_multilabel': True, 'metric': 'acc_and_f1'}, ['acc_and_f1', 'multilabel_f1']),
    ({'metric': 'accuracy'}, ['accuracy', 'simple_accuracy']),
    ({'in_tokens': True, 'batch_size': 14}, ['batch_size 14', 'max_seq_len 15']),
    ({'do_train': False, 'do_val': False, 'do_test': False}, ['do_train', 'do_val', 'do_test']),
    ({'do_train': False}, ['do_train false', 'init_checkpoint']),
    ({'do_train': False, 'do_val': True, 'dev_set': None}, ['do_train false', 'dev_set', 'test_set']),
    ({'train_set': None}, ['do_train', 'train_set']),
    ({'resume': True, 'init_checkpoint': 'x'}, ['resume', 'init_checkpoint']),
    ({'do_test': True, 'test_set': 'a,b', 'test_save': 'c'}, ['test_save names 1', '2 files of --test_set']),
    ({'do_test': True, 'test_set': 'a,b', 'test_save': 'c,./c'}, ['c,./c', 'twice']),
    ({'diagnostic': 'x'}, ['diagnostic', 'diagnostic_save']),
    ({'diagnostic_save': 'x'}, ['diagnostic', 'diagnostic_save']),
    ({'early_stop': 2, 'dev_set': None}, ['early_stop', 'dev_set']),
    ({'early_stop': 0}, ['early_stop 0']),
    ({'class_weights': '1,2,3'}, ['1,2,3', '2 numbers']),
    ({'class_weights': '1,-2'}, ['1,-2', 'above 0']),
    ({'class_weights': 'equal'}, ['equal', 'balanced']),
    ({'max_seq_len': 18}, ['max_seq_len 18', '17 positions']),
    ({'max_seq_len': 2}, ['max_seq_len 2', '3']),
    ({'epoch': 0}, ['epoch 0', '1']),
    ({'batch_size': 0}, ['batch_size 0', '1']),
    ({'skip_steps': 0}, ['skip_steps 0', '1']),
    ({'learning_rate': -0.5}, ['learning_rate -0.5', 'above 0']),
    ({'learning_rate': 'nan'}, ['learning_rate nan', 'above 0']),
    ({'head_learning_rate': 0}, ['head_learning_rate 0', 'above 0']),
    ({'warmup_proportion': 1.1}, ['warmup_proportion 1.1']),
    ({'random_seed': -1}, ['random_seed -1']),
    ({'random_seed': 2**64}, ['--random_seed 18446744073709551616: expected from 0 to 18446744073709551615.']),
    ({'weight_decay': -0.1}, ['weight_decay -0.1']),
    ({'clip_norm': -1}, ['clip_norm -1']),
    ({'lr_scheduler': 'cosine'}, ['cosine', 'linear_warmup_decay, noam_decay, constant']),
    ({'tokenizer': 'BertTokenizer'}, ['BertTokenizer', 'FullTokenizer, CharTokenizer']),
    ({'use_fp16': True}, ['use_fp16']),
    ({'epochs': 3}, ['--epochs', 'unrecognized']),
    ({'do_train': 'yess'}, ["'yess'", 'true or false']),
    ({'epoch': 'three'}, ['--epoch', "'three'"]),
]


@pytest.mark.parametrize(('values', 'parts'), CONTRADICTIONS)
def test_flags_that_cannot_be(case, values, parts):
    text, code = spoilt(case, **values)
    assert code == 2
    assert all(part in text for part in parts), text


def test_number_of_labels_against_the_map(case):
    mapped = case.file('map.json', '{"0": 0, "1": 1}')
    text, code = spoilt(case, label_map_config=mapped, num_labels=3)
    assert code == 2 and 'num_labels 3' in text and 'map.json' in text and '2 classes' in text


def test_ranking_needs_questions(case):
    text, code = spoilt(case, metric='acc_and_f1_and_mrr')
    assert code in (1, 2) and 'qid' in text


def test_task_beyond_the_table(case):
    model = write_model(case.root / 'task', config=TASK_CONFIG)
    text, code = spoilt(case, init_pretraining_params=model, task_id=3)
    assert code == 2 and 'task_id 3' in text and '3 task types' in text


@pytest.mark.skipif(cuda_devices() > 0, reason='there is a GPU')
def test_gpu_that_is_not_there(case):
    text, code = spoilt(case, use_cuda=True)
    assert code == 1 and '--use_cuda true' in text and '--use_cuda false' in text


@pytest.mark.parametrize('flag', ['checkpoints', 'test_save', 'diagnostic_save', 'log_dir'])
def test_folders_that_cannot_be_written(case, flag):
    """A file stands where a folder is needed; that is found before anything is trained."""
    blocked = case.file('file', 'x')
    others = {
        'test_save': {'do_test': True, 'test_set': case.test},
        'diagnostic_save': {'diagnostic': case.test},
    }.get(flag, {})
    text, code = spoilt(case, **others, **{flag: blocked / 'x'})
    assert code == 1 and str(blocked) in text, text
    assert blocked.read_text() == 'x'


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_folder_without_permission(case):
    (case.root / 'c').mkdir(mode=0o500)
    text, code = spoilt(case)
    assert code == 1 and f'{case.root}/c' in text and '--checkpoints' in text


def test_damaged_metrics_of_an_earlier_run(case):
    (case.root / 'c').mkdir()
    run(**case.flags)
    path = case.root / 'c/metrics.jsonl'
    path.write_text('nonsense\n{"step": 1, "epoch": 0, "phase": "train"}\n')
    with pytest.raises(UserError, match=r'metrics.jsonl:1: found'):
        run(**case.flags, resume=True)


def test_bad_rows_are_skipped_only_when_asked(case):
    rows = '的\t1\n一\n好\t5\n坏\t0\n'
    path = case.file('bad.tsv', 'text_a\tlabel\n' + rows)
    text, _ = spoilt(case, train_set=path)
    assert f'{path}:3' in text
    ran = run(**(case.flags | {'train_set': path, 'skip_bad_rows': True, 'num_labels': 2}))
    lines = messages(ran.log)
    assert [line for line in lines if line.startswith('skipped')] == [
        f'skipped {path}:3: found 1 cells, expected 2 as in the header (text_a, label)',
        f'skipped {path}:4: found the label 5, expected an id in 0 .. 1',
    ]
    assert 'Num train examples: 2' in lines


def test_all_rows_bad_is_an_error_even_then(case):
    path = case.file('bad.tsv', 'text_a\tlabel\n的\t9\n一\t9\n')
    text, code = spoilt(case, train_set=path, skip_bad_rows=True, num_labels=2)
    assert code == 1 and f'{path}:2' in text and '2 rows that cannot be used' in text


@pytest.mark.parametrize(
    ('values', 'code', 'parts'),
    [
        ({'train_set': 'nowhere.tsv'}, 1, ['nowhere.tsv', 'no such file']),
        ({'do_val': 'maybe'}, 2, ["'maybe'", 'true or false']),
        ({'is_classify': False}, 2, ['exactly one']),
    ],
)
def test_the_program_says_it_in_one_line(case, values, code, parts):
    argv = [sys.executable, str(ROOT / 'run_classifier.py'), *flags(**(SETTINGS | case.flags | values))]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, cwd=case.root)
    assert done.returncode == code
    assert done.stdout == ''
    others = [line for line in done.stderr.splitlines() if not re.match(r'\[(DEBUG|INFO|WARNING)\] ', line)]
    assert len(others) == 1 and others[0].startswith('error: '), done.stderr
    assert all(part in others[0] for part in parts)
    assert done.stderr.splitlines()[-1] == others[0]
    assert 'Traceback' not in done.stderr


def test_usage_errors_are_user_errors():
    assert issubclass(UsageError, UserError) and (UserError.exit_code, UsageError.exit_code) == (1, 2)


def test_what_a_user_mixes_up_is_named(case):
    text, code = spoilt(case, init_pretraining_params=None)
    assert code == 2 and 'give --init_pretraining_params' in text
    workbook = case.file('workbook.csv', 'PK\x03\x04 and so on')
    text, code = spoilt(case, train_set=workbook)
    assert code == 1 and f'{workbook}: found an Excel workbook' in text and 'CSV UTF-8' in text
    (case.root / 'run/best').mkdir(parents=True)
    (case.root / 'run/best/model.safetensors').write_bytes(b'')
    text, code = spoilt(case, init_pretraining_params=case.root / 'run')
    assert code == 1 and 'folders with one (best)' in text
