"""Every task script runs to its last line on small files, against a stand-in for Python that records its arguments."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from ernie.programs import CLASSIFY
from tests.ernie.tiny_model import write_model
from tests.ernie.tiny_reading import write_puzzles
from tests.ernie.tiny_tagging import label_map, sentences, write_rows
from tests.script_bench import (
    SCRIPT,
    SHARES,
    Bench,
    chinese,
    clean_environment,
    glue,
    glue_sets,
    share_line,
    shares,
)

# GPUs, batch, learning rate, epochs, length, classes, task id, metric, validation interval: one line of the recipes
# that were published with the 2019 suite.
ACC = 'simple_accuracy'
MRR = 'acc_and_f1_and_mrr'
CHINESE = {
    ('base', 'ChnSentiCorp'): (1, 24, '5e-5', 10, 256, 2, 0, ACC, 100),
    ('base', 'bq'): (1, 64, '3e-5', 3, 128, 2, 2, ACC, 100),
    ('base', 'dbqa'): (8, 8, '2e-5', 3, 512, 2, 0, MRR, 1000),
    ('base', 'lcqmc'): (1, 32, '2e-5', 3, 128, 2, 0, ACC, 100),
    ('base', 'thuc'): (8, 8, '3e-5', 3, 512, 10, 2, ACC, 100),
    ('base', 'xnli'): (8, 8192, '1e-4', 3, 512, 3, 0, ACC, 100),
    ('large', 'ChnSentiCorp'): (1, 24, '1e-5', 10, 256, 2, 0, ACC, 100),
    ('large', 'bq'): (1, 64, '1.5e-5', 3, 128, 2, 0, ACC, 100),
    ('large', 'dbqa'): (8, 8, '1e-5', 3, 512, 2, 0, MRR, 1000),
    ('large', 'lcqmc'): (1, 32, '5e-6', 3, 128, 2, 0, ACC, 100),
    ('large', 'thuc'): (8, 8, '1.5e-5', 3, 512, 10, 0, ACC, 100),
    ('large', 'xnli'): (8, 8192, '4e-5', 3, 512, 3, 0, ACC, 25),
}
FOLDERS = {'ChnSentiCorp': 'chnsenticorp', 'dbqa': 'nlpcc-dbqa'}

# Reading comprehension: batch and learning rate, all on 8 GPUs.
READING = {
    ('base', 'cmrc2018'): (16, '3e-5'),
    ('base', 'drcd'): (16, '5e-5'),
    ('large', 'cmrc2018'): (8, '3e-5'),
    ('large', 'drcd'): (8, '3e-5'),
}

# Sequence labelling: learning rate, the only difference between the sizes.
TAGGING = {('base', 'msra_ner'): '5e-5', ('large', 'msra_ner'): '1e-5'}

# GPUs, batch, learning rate, epochs, length, classes, metric, save, validation and log intervals, runs.
E9, E12 = 10**9, 10**12
ACC_F1 = 'acc_and_f1'
PEARSON = 'pearson_and_spearman'
GLUE = {
    ('base', 'CoLA'): (1, 64, '3e-5', 3, 128, 2, 'matthews_corrcoef', 1000, E9, 10, 5),
    ('base', 'MNLI'): (8, 64, '3e-5', 3, 128, 3, ACC, 25000, E12, 10, 5),
    ('base', 'MRPC'): (2, 16, '3e-5', 4, 128, 2, ACC_F1, 1000, 10**6, 10, 5),
    ('base', 'QNLI'): (8, 32, '2e-5', 4, 128, 2, ACC, 30000, E9, 10, 5),
    ('base', 'QQP'): (8, 32, '3e-5', 3, 128, 2, ACC_F1, 30000, E12, 10, 1),
    ('base', 'RTE'): (1, 4, '2e-5', 4, 128, 2, ACC, 1000, E9, 10, 5),
    ('base', 'SST-2'): (8, 32, '2e-5', 4, 128, 2, ACC, 10000, 8 * 10**11, 10, 5),
    ('base', 'STS-B'): (8, 16, '5e-5', 3, 128, 1, PEARSON, 1000, 10**11, 10, 5),
    ('base', 'WNLI'): (1, 8, '2e-5', 4, 512, 2, ACC, 1000, 10**6, 10, 5),
    ('large', 'CoLA'): (1, 32, '3e-5', 5, 128, 2, 'matthews_corrcoef', 1000, E9, 10, 5),
    ('large', 'MNLI'): (8, 32, '3e-5', 3, 128, 3, ACC, 25000, E12, 500, 5),
    ('large', 'MRPC'): (2, 8, '3e-5', 4, 128, 2, ACC_F1, 1000, 10**6, 10, 5),
    ('large', 'QNLI'): (8, 32, '2e-5', 4, 128, 2, ACC, 30000, E9, 500, 5),
    ('large', 'QQP'): (8, 32, '5e-5', 3, 128, 2, ACC_F1, 30000, E12, 500, 5),
    ('large', 'RTE'): (1, 16, '3e-5', 5, 128, 2, ACC, 1000, 2 * E12, 10, 5),
    ('large', 'SST-2'): (8, 8, '2e-5', 4, 128, 2, ACC, 10000, 10**11, 500, 5),
    ('large', 'STS-B'): (8, 16, '5e-5', 3, 128, 1, PEARSON, 1000, 10**11, 10, 5),
    ('large', 'WNLI'): (1, 8, '2e-5', 4, 512, 2, ACC, 1000, 10**6, 10, 5),
}
# Names after `test_out.` and `job.`; {i} run, {l} learning rate, batch and epochs, {t} the time.
SHORT, LONG, TIMED, FULL = '{i}', '{i}.{l}', '{i}.{t}', '{i}.{l}.{t}'
NAMES = {
    ('base', 'CoLA'): (FULL, FULL),
    ('large', 'CoLA'): (LONG, LONG),
    ('base', 'MRPC'): (LONG, LONG),
    ('large', 'MRPC'): (LONG, LONG),
    ('base', 'QNLI'): (LONG, LONG),
    ('large', 'QNLI'): (LONG, LONG),
    ('base', 'WNLI'): (LONG, LONG),
    ('large', 'WNLI'): (LONG, LONG),
    ('base', 'QQP'): (LONG, LONG),
    ('large', 'QQP'): (TIMED, TIMED),
    ('base', 'SST-2'): (LONG, FULL),
    ('large', 'SST-2'): (LONG, LONG),
    ('base', 'RTE'): (SHORT, TIMED),
    ('large', 'RTE'): (TIMED, TIMED),
    ('base', 'STS-B'): (SHORT, FULL),
    ('large', 'STS-B'): (SHORT, TIMED),
    ('base', 'MNLI'): (SHORT, FULL),
    ('large', 'MNLI'): (SHORT, TIMED),
}
TIME = r'\d{4}(-\d\d){5}'


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


SHARED = {
    '--use_cuda': 'false',
    '--use_fp16': 'false',
    '--do_train': 'true',
    '--do_val': 'true',
    '--lr_scheduler': 'linear_warmup_decay',
    '--num_iteration_per_drop_scope': '1',
    '--overwrite_checkpoints': 'true',
}


def expected_chinese(bench, size, task):
    _, batch, rate, epochs, length, classes, task_id, metric, validation = CHINESE[size, task]
    data = f'{bench.data}/{FOLDERS.get(task, task)}'
    flags = SHARED | {
        '--do_test': 'false',
        '--init_pretraining_params': f'{bench.model}/params',
        '--vocab_path': f'{bench.model}/vocab.txt',
        '--ernie_config_path': f'{bench.model}/ernie_config.json',
        '--train_set': f'{data}/train.tsv',
        '--dev_set': f'{data}/dev.tsv,{data}/test.tsv',
        '--num_labels': str(classes),
        '--task_id': str(task_id),
        '--metric': metric,
        '--batch_size': str(batch),
        '--in_tokens': 'true' if task == 'xnli' else 'false',
        '--max_seq_len': str(length),
        '--epoch': str(epochs),
        '--learning_rate': rate,
        '--warmup_proportion': '0.0',
        '--weight_decay': '0.0' if task == 'lcqmc' else '0.01',
        '--save_steps': '1000',
        '--validation_steps': str(validation),
        '--skip_steps': '10',
        '--random_seed': '1',
        '--checkpoints': './checkpoints',
    }
    if task == 'xnli':
        flags['--label_map_config'] = f'{data}/label_map.json'
    if task == 'dbqa':
        flags['--use_multi_gpu_test'] = 'true'
    return flags


def expected_reading(bench, size, task, simplified):
    batch, rate = READING[size, task]
    data, flags = f'{bench.data}/{task}', SHARED | {'--use_fast_executor': 'true', '--do_lower_case': 'true'}
    if task == 'drcd':
        flags |= {'--test_set': f'{data}/test.json', '--to_simplified': simplified}
    return flags | {
        '--do_test': 'true' if task == 'drcd' else 'false',
        '--init_pretraining_params': f'{bench.model}/params',
        '--vocab_path': f'{bench.model}/vocab.txt',
        '--ernie_config_path': f'{bench.model}/ernie_config.json',
        '--train_set': f'{data}/train.json',
        '--dev_set': f'{data}/dev.json',
        '--task_id': '0',
        '--metric': 'cmrc',
        '--batch_size': str(batch),
        '--in_tokens': 'false',
        '--max_seq_len': '512',
        '--doc_stride': '128',
        '--epoch': '2',
        '--learning_rate': rate,
        '--warmup_proportion': '0.0',
        '--weight_decay': '0.01',
        '--save_steps': '1000',
        '--validation_steps': '100',
        '--skip_steps': '10',
        '--checkpoints': './checkpoints',
    }


def expected_tagging(bench, size, task, test):
    data = f'{bench.data}/{task}'
    return SHARED | {
        '--do_test': 'true',
        '--init_pretraining_params': f'{bench.model}/params',
        '--vocab_path': f'{bench.model}/vocab.txt',
        '--ernie_config_path': f'{bench.model}/ernie_config.json',
        '--train_set': f'{data}/train.tsv',
        '--dev_set': f'{data}/dev.tsv,{data}/test.tsv' if test else f'{data}/dev.tsv',
        '--test_set': f'{data}/test.tsv' if test else '',
        '--label_map_config': f'{data}/label_map.json',
        '--num_labels': '7',
        '--chunk_scheme': 'IOB',
        '--task_id': '0',
        '--batch_size': '16',
        '--in_tokens': 'false',
        '--max_seq_len': '256',
        '--epoch': '6',
        '--learning_rate': TAGGING[size, task],
        '--warmup_proportion': '0.0',
        '--weight_decay': '0.01',
        '--save_steps': '100000',
        '--validation_steps': '100',
        '--skip_steps': '10',
        '--random_seed': '1',
        '--checkpoints': './checkpoints',
    }


def expected_glue(bench, size, task):
    """The flags of the first run but for the names of predictions."""
    _, batch, rate, epochs, length, classes, metric, save, validation, skip, runs = GLUE[size, task]
    data = f'{bench.data}/{task}'
    parts = (f'{data}/m', f'{data}/mm') if task == 'MNLI' else (data,)
    flags = SHARED | {
        '--do_test': 'true',
        '--use_fast_executor': 'true',
        '--tokenizer': 'FullTokenizer',
        '--for_cn': 'False',
        '--init_pretraining_params': f'{bench.model}/params',
        '--vocab_path': f'{bench.model}/vocab.txt',
        '--ernie_config_path': f'{bench.model}/ernie_config.json',
        '--train_set': f'{data}/train.tsv',
        '--dev_set': ','.join(f'{part}/dev.tsv' for part in parts),
        '--test_set': ','.join(f'{part}/test.tsv' for part in parts),
        '--num_labels': str(classes),
        '--task_id': '0',
        '--metric': metric,
        '--batch_size': str(batch),
        '--in_tokens': 'false',
        '--max_seq_len': str(length),
        '--epoch': str(epochs),
        '--learning_rate': rate,
        '--warmup_proportion': '0.1',
        '--weight_decay': '0.0',
        '--save_steps': str(save),
        '--validation_steps': str(validation),
        '--skip_steps': str(skip),
        '--random_seed': '1',
        '--checkpoints': './checkpoints/run_1' if runs > 1 else './checkpoints',
    }
    if task == 'STS-B':
        flags |= {'--is_classify': 'false', '--is_regression': 'true'}
    if task == 'MNLI':
        flags['--diagnostic'] = f'{data}/diagnostic.tsv'
    return flags


def all_scripts():
    return sorted(SCRIPT.rglob('*.sh'))


def test_every_published_recipe_has_its_script():
    expected = {chinese(*key) for key in CHINESE} | {glue(*key) for key in GLUE}
    expected |= {chinese(*key) for key in (*READING, *TAGGING)}
    assert all(path.is_file() and os.access(path, os.X_OK) for path in expected)
    assert len(expected) == 36


@pytest.mark.parametrize('path', all_scripts(), ids=lambda p: str(p.relative_to(SCRIPT)))
def test_syntax_is_that_of_the_posix_shell(path):
    for shell in filter(shutil.which, ('sh', 'dash', 'bash')):
        assert subprocess.run([shell, '-n', str(path)], capture_output=True).returncode == 0
    text = path.read_text(encoding='utf-8')
    assert not re.search(r'\[\[|\bfunction \w|\blocal \w|<\(|\$\'|&>|\bpipefail\b', text)
    assert path.name == 'common.sh' or '\nset -eu' in text


@pytest.mark.parametrize('cores', SHARES)
@pytest.mark.parametrize('key', CHINESE, ids='-'.join)
def test_chinese_recipe(bench, key, cores):
    size, task = key
    folder = FOLDERS.get(task, task)
    bench.sets(*(f'{folder}/{part}.tsv' for part in ('train', 'dev', 'test')))
    said = bench.run(chinese(size, task), env={'FAKE_CORES': str(cores)}).stderr
    gpus, batch, unit = CHINESE[key][0], CHINESE[key][1], 'tokens' if task == 'xnli' else 'samples'
    launcher, share = shares(gpus, cores)
    assert bench.flags(launcher=launcher) == [expected_chinese(bench, size, task) | share]
    logged = key == ('large', 'bq')
    assert said == (share_line(gpus, batch, unit, cores) if gpus > 1 else '') + ('' if logged else 'err of run 1\n')
    assert (bench.cwd / 'job.log').exists() == logged


@pytest.mark.parametrize('opencc', [False, True])
@pytest.mark.parametrize('key', READING, ids='-'.join)
def test_reading_recipe(bench, key, opencc):
    task = key[1]
    bench.sets(*(f'{task}/{part}.json' for part in ('train', 'dev', 'test')))
    cores = 5 if opencc else 1
    env = {'FAKE_CUDA': '0' if opencc else '1', 'FAKE_CORES': str(cores)}
    said = bench.run(chinese(*key), env=env).stderr
    launcher, share = shares(8, cores)
    expected = expected_reading(bench, *key, 'true' if opencc else 'false')
    assert bench.flags('run_mrc.py', launcher) == [expected | share]
    assert share_line(8, READING[key][0], 'samples', cores) in said
    assert ('the package opencc is not installed' in said) == (task == 'drcd' and not opencc)


@pytest.mark.parametrize('key', READING, ids='-'.join)
def test_reading_recipe_runs_to_its_end(tmp_path, key):
    """With the real program in one process, a small model and a few questions."""
    size, task = key
    model = write_model(tmp_path / 'model')
    (tmp_path / task).mkdir()
    for part in ('train', 'dev') + (('test',) if size == 'base' else ()):
        write_puzzles(tmp_path / task / f'{part}.json', 5, 1)
    env = clean_environment() | {'MODEL_PATH': str(model), 'TASK_DATA_PATH': str(tmp_path), 'PYTHON': sys.executable}
    env |= {'CUDA_VISIBLE_DEVICES': '', 'NPROC_PER_NODE': '1'}
    small = ['--max_seq_len', '16', '--max_query_length', '4', '--doc_stride', '5']
    command = ['sh', str(chinese(*key)), *small]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert '[dev evaluation] em: ' in done.stderr and 'questions: 5' in done.stderr
    assert ('[test evaluation] em: ' in done.stderr) == (task == 'drcd' and size == 'base')
    assert 'curves: ./checkpoints/curves.png' in done.stderr


@pytest.mark.parametrize('test', [True, False])
@pytest.mark.parametrize('key', TAGGING, ids='-'.join)
def test_tagging_recipe(bench, key, test):
    bench.sets(*(f'msra_ner/{part}.tsv' for part in ('train', 'dev') + (('test',) if test else ())))
    bench.run(chinese(*key))
    assert bench.flags('run_sequence_labeling.py') == [expected_tagging(bench, *key, test)]


@pytest.mark.parametrize('key', TAGGING, ids='-'.join)
def test_tagging_recipe_runs_to_its_end(tmp_path, key):
    """With the real program, a small model and a few sentences."""
    model, data = write_model(tmp_path / 'model'), tmp_path / 'msra_ner'
    data.mkdir()
    for part in ('train', 'dev', 'test'):
        write_rows(data / f'{part}.tsv', sentences(7, 1))
    names = [*label_map(), 'B-ORG', 'I-ORG']
    (data / 'label_map.json').write_text(json.dumps({name: i for i, name in enumerate(names)}))
    env = clean_environment() | {'MODEL_PATH': str(model), 'TASK_DATA_PATH': str(tmp_path), 'PYTHON': sys.executable}
    env |= {'CUDA_VISIBLE_DEVICES': '', 'ERNIE_CACHE': str(tmp_path / 'cache')}
    command = ['sh', str(chinese(*key)), '--max_seq_len', '16', '--epoch', '2']
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count('[dev evaluation] f1: ') == 4 and 'steps: final' in done.stderr
    assert len((tmp_path / 'checkpoints/test_result.1.final').read_text(encoding='utf-8').splitlines()) == 7
    assert 'curves: ./checkpoints/curves.png' in done.stderr


@pytest.mark.parametrize('cores', SHARES)
@pytest.mark.parametrize('key', GLUE, ids='-'.join)
def test_glue_recipe(bench, key, cores):
    size, task = key
    gpus, batch, rate, epochs, *_, runs = GLUE[key]
    bench.sets(*glue_sets(task))
    said = bench.run(glue(size, task), env={'FAKE_CORES': str(cores)}).stderr
    launcher, share = shares(gpus, cores)
    recorded = bench.flags(launcher=launcher)
    assert len(recorded) == runs
    saves = [flags.pop('--test_save') for flags in recorded]
    diagnostics = [flags.pop('--diagnostic_save', None) for flags in recorded]
    first = expected_glue(bench, size, task)
    for i, flags in enumerate(recorded, 1):
        folder = {'--checkpoints': f'./checkpoints/run_{i}'} if runs > 1 else {}
        assert flags == first | share | {'--random_seed': str(i)} | folder

    long = f'{rate}.{batch}.{epochs}'
    out, log = NAMES[key]
    logs = sorted(p.name for p in (bench.cwd / 'log').iterdir())
    assert len(logs) == runs
    for i, (save, name) in enumerate(zip(saves, logs, strict=True), 1):

        def matches(pattern, text, prefix, end, i=i):
            body = re.escape(pattern.format(i=i, l=long, t='@')).replace('@', TIME)
            return re.fullmatch(re.escape(prefix) + body + re.escape(end), text)

        assert matches(log, name, 'job.', '.log')
        if task != 'MNLI':
            assert matches(out, save, 'output/test_out.', '.tsv')
            continue
        assert save == f'output/test_out.{i}.m.tsv,output/test_out.{i}.mm.tsv'
        pattern = FULL if size == 'base' else SHORT
        assert matches(pattern, diagnostics[i - 1], 'output/test_out.', '.m.diagnostic.tsv')
    assert said == (share_line(gpus, batch, 'samples', cores) if gpus > 1 else '')
    assert (bench.cwd / 'output').is_dir()


def test_the_parser_of_the_program_takes_every_flag(bench):
    words = {'true': True, 'True': True, 'false': False, 'False': False}
    bench.sets(*(f'{FOLDERS.get(t, t)}/{p}.tsv' for _, t in CHINESE for p in ('train', 'dev', 'test')))
    bench.sets(*(name for _, task in GLUE for name in glue_sets(task)))
    for path in [chinese(*key) for key in CHINESE] + [glue(*key) for key in GLUE]:
        bench.run(path, env={'RUNS': '1'})
    for arguments, given in zip(bench.recorded(), bench.flags(), strict=True):
        parsed = vars(CLASSIFY.build_parser().parse_args(arguments[1:]))
        for flag, text in given.items():
            value = parsed[flag[2:]]
            assert value == (words[text] if isinstance(value, bool) else type(value)(text)), flag
