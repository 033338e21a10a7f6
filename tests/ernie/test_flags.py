"""The command line of the fine-tuning programs, frozen: users' scripts depend on it, so a change is a decision."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ernie.programs import CLASSIFY
from propeller.errors import UsageError

# Every flag of 2019 with its type and default.
OF_2019 = {
    'ernie_config_path': (str, None),
    'init_checkpoint': (str, None),
    'init_pretraining_params': (str, None),
    'checkpoints': (str, 'checkpoints'),
    'is_classify': (bool, True),
    'is_regression': (bool, False),
    'task_id': (int, 0),
    'epoch': (int, 3),
    'learning_rate': (float, 5e-5),
    'lr_scheduler': (str, 'linear_warmup_decay'),
    'weight_decay': (float, 0.01),
    'warmup_proportion': (float, 0.1),
    'save_steps': (int, 10000),
    'validation_steps': (int, 1000),
    'use_fp16': (bool, False),
    'use_dynamic_loss_scaling': (bool, True),
    'init_loss_scaling': (float, 102400),
    'incr_every_n_steps': (int, 100),
    'decr_every_n_nan_or_inf': (int, 2),
    'incr_ratio': (float, 2.0),
    'decr_ratio': (float, 0.8),
    'test_save': (str, './checkpoints/test_result'),
    'metric': (str, 'simple_accuracy'),
    'skip_steps': (int, 10),
    'verbose': (bool, False),
    'tokenizer': (str, 'FullTokenizer'),
    'train_set': (str, None),
    'dev_set': (str, None),
    'test_set': (str, None),
    'vocab_path': (str, None),
    'max_seq_len': (int, 512),
    'batch_size': (int, 32),
    'predict_batch_size': (int, None),
    'in_tokens': (bool, False),
    'do_lower_case': (bool, True),
    'random_seed': (int, None),
    'label_map_config': (str, None),
    'num_labels': (int, None),  # 2 in 2019; None takes the label map's or the checkpoint's number, and 2 without them
    'diagnostic': (str, None),
    'diagnostic_save': (str, None),
    'max_query_length': (int, 64),
    'max_answer_length': (int, 100),
    'doc_stride': (int, 128),
    'n_best_size': (int, 20),
    'chunk_scheme': (str, 'IOB'),
    'use_cuda': (bool, None),  # true in 2019; None takes a GPU where Paddle has one
    'is_distributed': (bool, False),
    'use_fast_executor': (bool, False),
    'num_iteration_per_drop_scope': (int, 10),
    'do_train': (bool, True),
    'do_val': (bool, True),
    'do_test': (bool, True),
    'use_multi_gpu_test': (bool, False),
    'metrics': (bool, True),
    'shuffle': (bool, True),
    'for_cn': (bool, True),
}
SINCE_2019 = {
    'resume': (bool, False),
    'overwrite_checkpoints': (bool, False),
    'gradient_accumulation_steps': (int, 1),
    'precision': (str, 'auto'),
    'fused_ops': (str, 'auto'),
    'max_steps': (int, 0),
    'tries': (int, 0),
    'try_minutes': (float, 0.0),
    'head_learning_rate': (float, None),
    'freeze_encoder': (bool, False),
    'boost': (bool, False),
    'head_dropout': (float, 0.1),
    'truncation': (str, 'head'),
    'drop_html_breaks': (bool, False),
    'keep_layers': (int, 0),
    'recompute': (bool, False),
    'clip_norm': (float, 1.0),
    'optimizer': (str, 'adamw'),
    'decay_without_warmup': (bool, False),
    'early_stop': (int, -1),
    'max_checkpoints': (int, 1),
    'allow_missing': (str, ''),
    'allow_unused': (str, ''),
    'is_multilabel': (bool, False),
    'class_weights': (str, None),
    'use_crf': (bool, False),
    'null_score_diff_threshold': (float, 0.0),
    'to_simplified': (bool, False),
    'length_window': (int, 50),
    'skip_bad_rows': (bool, False),
    'cache': (bool, True),
    'log_dir': (str, None),
    'cpu_threads': (int, None),
    'dev_share': (float, 0.0),
    'text_column': (str, None),
    'text_b_column': (str, None),
    'label_column': (str, None),
    'sentence_piece_model': (str, None),
    'word_dict': (str, None),
    'log_level': (str, None),
}
VALUED = OF_2019 | SINCE_2019
ROOT = Path(__file__).parents[2]


def parse(*argv):
    values = vars(CLASSIFY.build_parser('run_classifier.py').parse_args(list(argv)))
    values.pop('given')
    return values


def test_given_are_the_flags_of_the_command_line_whatever_their_values():
    args = CLASSIFY.build_parser().parse_args(['--epoch', '3', '--label_map', 'm.json', '--do_val=true', '--enable_ce'])
    assert args.given == {'epoch', 'label_map_config', 'do_val', 'enable_ce'}


def test_the_flags_and_their_defaults_are_these():
    expected = {name: default for name, (_, default) in VALUED.items()} | {'enable_ce': False}
    found = parse()
    assert found == expected
    assert {name: type(value) for name, value in found.items()} == {n: type(v) for n, v in expected.items()} | {
        'init_loss_scaling': type(found['init_loss_scaling'])
    }


@pytest.mark.parametrize('name', sorted(VALUED))
def test_each_flag_converts_its_value(name):
    kind = VALUED[name][0]
    text, value = {bool: ('T', True), int: ('7', 7), float: ('1e-3', 0.001), str: ('a,b', 'a,b')}[kind]
    found = parse(f'--{name}', text)[name]
    assert found == value and type(found) is kind
    if kind is not str:
        with pytest.raises(UsageError, match=f'--{name}'):
            parse(f'--{name}', '3.5x')


@pytest.mark.parametrize(
    ('word', 'value'),
    [('true', True), ('t', True), ('1', True), ('TRUE', True), ('True', True), ('yes', True), ('on', True)]
    + [('false', False), ('False', False), ('f', False), ('0', False), ('no', False), ('off', False)],
)
def test_boolean_words(word, value):
    assert parse('--do_train', word)['do_train'] is value
    assert parse(f'--in_tokens={word}')['in_tokens'] is value


@pytest.mark.parametrize('word', ['ture', '2', '', 'truefalse', 'wahr'])
def test_any_other_word_is_refused(word):
    with pytest.raises(UsageError, match='expected true or false') as caught:
        parse('--do_train', word)
    assert repr(word) in str(caught.value) and caught.value.exit_code == 2


def test_the_switch_takes_no_value():
    assert parse('--enable_ce')['enable_ce'] is True
    with pytest.raises(UsageError):
        parse('--enable_ce', 'true')


def test_abbreviations_that_published_scripts_use():
    assert parse('--label_map', 'a.json')['label_map_config'] == 'a.json'
    assert parse('--metric', 'acc_and_f1')['metric'] == 'acc_and_f1'  # exact, though --metrics begins with it


def test_an_ambiguous_abbreviation_is_refused():
    with pytest.raises(UsageError, match='ambiguous.*--init_checkpoint.*--init_pretraining_params'):
        parse('--init', 'x')


@pytest.mark.parametrize('argv', [['--epochs', '3'], ['stray'], ['--epoch'], ['--learning-rate', '1']])
def test_unknown_or_incomplete_flags_are_refused(argv):
    with pytest.raises(UsageError) as caught:
        parse(*argv)
    assert argv[0] in str(caught.value) and '--help' in str(caught.value) and '\n' not in str(caught.value)


def test_help_lists_every_flag_with_its_default(capsys):
    with pytest.raises(SystemExit) as caught:
        parse('--help')
    assert caught.value.code == 0
    words = ' '.join(capsys.readouterr().out.split())
    entries = dict(re.findall(r' --(\w+) (?:STR|INT|FLOAT|BOOL) (.*?)(?= --\w+ (?:STR|INT|FLOAT|BOOL) |$)', words))
    assert set(entries) == set(VALUED)
    for name, (_, default) in VALUED.items():
        assert (f'Default: {default}.' in entries[name]) == (default not in (None, '')), name
    assert '--enable_ce' in words


def test_the_program_ends_with_one_line_and_code_2():
    done = subprocess.run(
        [sys.executable, str(ROOT / 'run_classifier.py'), '--epochs', '3'], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert done.stdout == ''
    assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1 and '--epochs' in done.stderr
