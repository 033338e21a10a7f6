"""script/zh_task/pretrain.sh against a stand-in for Python that records its arguments."""

import shutil

import pytest

from ernie.programs import PRETRAIN as PROGRAM
from tests.script_bench import ROOT, SCRIPT, Bench, pairs

PRETRAIN = SCRIPT / 'zh_task' / 'pretrain.sh'
# The flags that were published in 2019.
PUBLISHED = {
    '--use_cuda': 'false',
    '--use_fast_executor': 'true',
    '--weight_sharing': 'true',
    '--in_tokens': 'true',
    '--batch_size': '8192',
    '--gradient_accumulation_steps': '8',
    '--vocab_path': './config/vocab.txt',
    '--ernie_config_path': f'{ROOT}/config/ernie_config.json',
    '--train_filelist': './data/train_filelist',
    '--valid_filelist': './data/valid_filelist',
    '--validation_steps': '100',
    '--save_steps': '10000',
    '--skip_steps': '10',
    '--num_train_steps': '1000000',
    '--warmup_steps': '5000',
    '--learning_rate': '1e-4',
    '--weight_decay': '0.01',
    '--max_seq_len': '512',
    '--use_fp16': 'false',
    '--checkpoints': './checkpoints',
    '--overwrite_checkpoints': 'false',
}
DEMO = ['-P', '-m', 'ernie.pretrain.demo_data', '--folder', './data', '--vocab_path']


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def files(bench, *names):
    for name in names:
        (bench.cwd / name).parent.mkdir(exist_ok=True)
        (bench.cwd / name).touch()


LISTS = ('data/train_filelist', 'data/valid_filelist')
VOCABULARY = 'config/vocab.txt'


def start(bench, *flags, **env):
    """(calls before, launcher's flags or None, flags of train.py) of a run of the script without a model."""
    bench.run(PRETRAIN, *flags, env={'MODEL_PATH': None, 'TASK_DATA_PATH': None, **env})
    *before, recorded = bench.recorded()
    at = recorded.index(f'{ROOT}/train.py')
    launcher = recorded[:at]
    assert not launcher or launcher[0] == f'{ROOT}/pretrain_launch.py'
    return before, pairs(launcher[1:]) if launcher else None, pairs(recorded[at + 1 :])


def test_the_published_flags(bench):
    files(bench, *LISTS, VOCABULARY)
    assert start(bench) == ([], None, PUBLISHED)


def test_the_flags_of_the_user_win(bench):
    files(bench, *LISTS, VOCABULARY)
    own = {'--num_train_steps': '7', '--ernie_config_path': 'small.json', '--use_cuda': 'true', '--epoch': '3'}
    _, _, flags = start(bench, *(part for pair in own.items() for part in pair))
    assert flags == PUBLISHED | own


@pytest.mark.parametrize(('cores', 'processes', 'parts'), [(2, 2, 4), (3, 2, 4), (8, 8, 1), (64, 8, 1)])
def test_processes_of_the_machine_share_the_published_batch(bench, cores, processes, parts):
    files(bench, *LISTS, VOCABULARY)
    _, launcher, flags = start(bench, FAKE_CORES=str(cores))
    assert launcher == {'--nproc_per_node': str(processes)}
    assert flags == PUBLISHED | {'--gradient_accumulation_steps': str(parts)}


def test_what_is_said(bench):
    files(bench, *LISTS, VOCABULARY)
    said = bench.run(PRETRAIN, env={'FAKE_CORES': '4', 'NODE_IPS': 'a,b', 'NODE_ID': '1'}).stderr
    assert said.startswith(
        'published for 8 GPUs (global batch 65536 tokens); 2 machines x 4 CPU processes x batch 8192 = 65536 tokens\n'
    )
    ((launcher, *rest),) = bench.recorded()
    assert launcher == f'{ROOT}/pretrain_launch.py'
    assert pairs(rest[:6]) == {'--node_ips': 'a,b', '--node_id': '1', '--nproc_per_node': '4'}


@pytest.mark.parametrize('there', [(), LISTS[:1], LISTS[1:], (*LISTS, 'data/demo_data.json')])
def test_demo_data_is_made_where_lists_are_missing(bench, there):
    files(bench, *there, VOCABULARY)
    before, _, flags = start(bench)
    assert before == [[*DEMO, './config/vocab.txt']]
    assert flags == PUBLISHED


def test_demo_data_with_its_own_vocabulary(bench):
    files(bench, 'data/demo_vocab.txt')
    before, _, flags = start(bench)
    assert before == [[*DEMO, './config/vocab.txt']]
    assert flags == PUBLISHED | {'--vocab_path': './data/demo_vocab.txt'}


def test_demo_data_with_the_vocabulary_of_the_user(bench):
    files(bench, 'data/demo_vocab.txt', 'mine.txt')
    before, _, flags = start(bench, '--vocab_path', 'mine.txt')
    assert before == [[*DEMO, 'mine.txt']]
    assert flags == PUBLISHED | {'--vocab_path': 'mine.txt'}


@pytest.mark.parametrize('form', [['--train_filelist', 'a', '--valid_filelist', 'b'],
                                  ['--train_filelist=a', '--valid_filelist=b']])  # fmt: skip
def test_no_demo_data_for_lists_of_the_user(bench, form):
    bench.run(PRETRAIN, *form)
    (recorded,) = bench.recorded()
    assert recorded[-len(form) :] == form


def test_one_list_of_the_user_still_needs_the_other(bench):
    before, _, flags = start(bench, '--train_filelist', 'a')
    assert len(before) == 1
    assert flags == PUBLISHED | {'--train_filelist': 'a'}


def test_a_failure_of_the_demo_data_ends_the_script(bench):
    done = bench.run(PRETRAIN, env={'FAIL_AT': '1'}, check=False)
    assert done.returncode == 7
    assert len(bench.recorded()) == 1


def test_a_config_in_the_working_directory(bench):
    files(bench, *LISTS, VOCABULARY, 'config/ernie_config.json')
    _, _, flags = start(bench)
    assert flags['--ernie_config_path'] == './config/ernie_config.json'


def test_a_copy_of_the_script_elsewhere(bench, tmp_path):
    files(bench, *LISTS, VOCABULARY)
    copy = shutil.copy(PRETRAIN, tmp_path / 'mine.sh')
    bench.run(copy, env={'ERNIE_ROOT': str(ROOT)})
    (recorded,) = bench.recorded()
    assert recorded[0] == f'{ROOT}/train.py'


def test_a_schedule_has_lists_of_its_own(bench):
    before, _, flags = start(bench, '--schedule', 'stages.yaml')
    assert before == []
    lists = {'--train_filelist', '--valid_filelist'}
    assert flags == {k: v for k, v in PUBLISHED.items() if k not in lists} | {'--schedule': 'stages.yaml'}


def test_train_py_knows_the_flags():
    args = PROGRAM.build_parser().parse_args([part for pair in PUBLISHED.items() for part in pair])
    assert args.num_train_steps == 1_000_000
    assert args.given == {name.removeprefix('--') for name in PUBLISHED}
