"""A run that was killed and resumed gives the numbers of a run that was not, to the last bit."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ernie.finetune import trainer
from propeller.errors import UsageError, UserError
from propeller.storage import open_tensors
from tests.counting_hook import with_hooks
from tests.ernie.tiny_model import SETTINGS, flags, messages, run, sentences, write_model, write_table
from tests.processes import free_ports

ROOT = Path(__file__).parents[1]
ROWS, EPOCHS, STEPS = 203, 6, 6 * 26


def command(folder, checkpoints, **values):
    settings = {
        'init_pretraining_params': folder / 'm',
        'train_set': folder / 'train.tsv',
        'dev_set': folder / 'dev.tsv',
        'do_test': False,
        'checkpoints': checkpoints,
        'epoch': EPOCHS,
        'skip_steps': 1,
        'save_steps': 50,
        'validation_steps': 35,
        'cpu_threads': 1,  # several threads may add in another order
    }
    return [sys.executable, str(ROOT / 'run_classifier.py'), *flags(**(SETTINGS | settings | values))]


def finish(argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return messages(done.stderr)


def kill_after(argv, folder):
    """Start a run and kill it as soon as `folder` is there."""
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 200
        while not folder.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        assert folder.exists()
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL, 'it ended before it could be killed'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('resume')
    write_model(folder / 'm')
    write_table(folder / 'train.tsv', ['text_a', 'label'], sentences(ROWS, 1))
    write_table(folder / 'dev.tsv', ['text_a', 'label'], sentences(23, 2))
    finish(command(folder, folder / 'whole'))
    return folder


def records(folder, phase='train'):
    lines = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    timed = ('time', 'steps_per_second', 'tokens_per_second')
    return [{k: v for k, v in r.items() if k not in timed} for r in lines if r['phase'] == phase]


def assert_same_tensors(a, b):
    a, b = open_tensors(str(a)), open_tensors(str(b))
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def assert_same_state(a, b):
    a, b = (json.loads((folder / 'training_state.json').read_text()) for folder in (a, b))
    assert isinstance(a.pop('run'), str) and isinstance(b.pop('run'), str)
    assert a == b


@pytest.mark.slow
def test_killed_and_resumed(data):
    whole, parts = data / 'whole', data / 'parts'
    kill_after(command(data, parts), parts / 'step_50')
    done = max(int(p.name.removeprefix('step_')) for p in parts.glob('step_*'))
    assert 50 <= done < STEPS
    lines = finish(command(data, parts, resume=True))
    assert f'resume: {parts}/step_{done}' in lines and f'continuing from {parts}/step_{done}' in lines
    found = records(parts)
    assert [r['step'] for r in found] == list(range(1, STEPS + 1))
    assert found == records(whole)  # losses, accuracies, rates and shares of padding: the batches are the same
    assert records(parts, 'dev') == records(whole, 'dev')
    for name in ('model', 'optimizer'):
        file = f'step_{STEPS}/{name}.safetensors'
        assert_same_tensors(whole / file, parts / file)
    assert_same_state(whole / f'step_{STEPS}', parts / f'step_{STEPS}')
    assert_same_tensors(whole / 'best/model.safetensors', parts / 'best/model.safetensors')
    assert sorted(p.name for p in parts.iterdir()) == sorted(p.name for p in whole.iterdir())


def test_init_checkpoint_continues_the_same_way(data):
    """In the middle of an epoch, with the seed and the rate of the earlier run, in another folder."""
    whole, other = data / 'whole', data / 'other'
    lines = finish(
        command(
            data,
            other,
            init_checkpoint=whole / 'step_100',
            init_pretraining_params=None,
            random_seed=None,
        )
    )
    assert 'random seed: 1' in lines
    # The epoch that the checkpoint is in the middle of is that of the whole run.
    epochs = [line for line in messages((whole / 'run.log').read_text()) if line.startswith('Epoch: ')]
    assert len(epochs) == EPOCHS and [line for line in lines if line.startswith('Epoch: ')] == epochs[3:]
    assert records(other) == [r for r in records(whole) if r['step'] > 100]
    file = f'step_{STEPS}/model.safetensors'
    assert_same_tensors(whole / file, other / file)
    assert_same_state(whole / f'step_{STEPS}', other / f'step_{STEPS}')


def test_a_finished_run_stays_as_it_is(data):
    whole = data / 'whole'
    before = {p: os.stat(p).st_mtime_ns for p in whole.rglob('*.safetensors')}
    content = (whole / 'metrics.jsonl').read_bytes()
    finish(command(data, whole, resume=True))
    assert {p: os.stat(p).st_mtime_ns for p in whole.rglob('*.safetensors')} == before
    assert (whole / 'metrics.jsonl').read_bytes() == content


# ------------------------------------------------------------------------------------------ in this process


def runs_in(folder):
    """Function (flags) -> `Ran`: 40 rows, five steps an epoch, a checkpoint at every third step."""
    settings = {
        'init_pretraining_params': folder / 'm',
        'train_set': folder / 'train.tsv',
        'do_val': False,
        'do_test': False,
        'checkpoints': folder / 'c',
        'epoch': 1,
        'save_steps': 3,
        'skip_steps': 1,
    }
    return lambda **values: run(**(settings | values))


def write_inputs(folder):
    write_model(folder / 'm')
    write_table(folder / 'train.tsv', ['text_a', 'label'], sentences(40, 1))


@pytest.fixture
def short(tmp_path):
    """`runs_in` a folder without checkpoints."""
    write_inputs(tmp_path)
    return runs_in(tmp_path)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Function (steps) -> folder of a run that ended there. Trained once for all tests."""

    @functools.cache
    def folder(steps):
        made = tmp_path_factory.mktemp('trained')
        write_inputs(made)
        runs_in(made)(max_steps=steps)
        return made

    return folder


@pytest.fixture
def stopped(tmp_path, trained):
    """`runs_in` a folder with `c/step_3`, of a run that was told to stop there."""
    shutil.copytree(trained(3), tmp_path, dirs_exist_ok=True)
    return runs_in(tmp_path)


@pytest.fixture
def ended(tmp_path, trained):
    """`runs_in` a folder with `c/step_3` and `c/step_5`, of a run to the end of its epoch."""
    shutil.copytree(trained(0), tmp_path, dirs_exist_ok=True)
    return runs_in(tmp_path)


def test_resume_without_a_checkpoint_starts_anew(tmp_path, short):
    lines = messages(short(resume=True).log)
    assert f'resume: no checkpoint in {tmp_path}/c yet, starting anew' in lines
    assert [r['step'] for r in records(tmp_path / 'c')] == [1, 2, 3, 4, 5]


def test_resume_with_more_epochs(tmp_path, short):
    short(warmup_proportion=0)
    lines = messages(short(warmup_proportion=0, epoch=2, resume=True).log)
    assert f'continuing from {tmp_path}/c/step_5' in lines
    assert [(r['step'], r['epoch']) for r in records(tmp_path / 'c')] == [(s, (s - 1) // 5) for s in range(1, 11)]
    assert (tmp_path / 'c/step_10').is_dir()


def test_later_records_of_the_lost_steps_are_dropped(tmp_path, ended):
    first = records(tmp_path / 'c')
    for name in ('model.safetensors', 'training_state.json'):
        (tmp_path / 'c/step_5' / name).unlink()
    ended(resume=True)
    assert [r['step'] for r in records(tmp_path / 'c')] == [1, 2, 3, 4, 5]
    assert records(tmp_path / 'c')[:3] == first[:3]


@pytest.mark.parametrize(
    ('values', 'parts'),
    [
        ({'batch_size': 7}, ['batch_size 8', 'batch_size 7']),
        ({'random_seed': 2}, ['seed 1', 'seed 2']),
        ({'shuffle': False}, ['shuffle True', 'shuffle False']),
        ({'length_window': 3}, ['window 50', 'window 3']),
        ({'freeze_encoder': True}, ['word_embedding_moment1_0 is not part of this program']),
    ],
)
def test_other_settings_are_refused(stopped, values, parts):
    with pytest.raises(UserError) as caught:
        stopped(resume=True, **values)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_other_settings_that_change_what_is_learnt_are_told(tmp_path, stopped):
    settings = {'resume': True, 'max_seq_len': 12, 'class_weights': 'balanced', 'cpu_threads': 1, 'max_steps': 4}
    changed = "class_weights left out, now 'balanced'; max_seq_len 15, now 12"
    lines = messages(stopped(**settings).log)
    assert f'{tmp_path}/c/step_3 was trained with other settings: {changed}. The new ones hold' in lines
    assert 'was trained with other settings' not in stopped(**settings | {'max_steps': 5}).log


def test_other_data_are_refused(tmp_path, stopped):
    with pytest.raises(UserError, match='rows 40.* rows 41'):
        stopped(resume=True, train_set=write_table(tmp_path / 't.tsv', ['text_a', 'label'], sentences(41, 1)))


def test_another_vocabulary_is_refused(tmp_path, stopped):
    first, *others = (tmp_path / 'm' / 'vocab.txt').read_text(encoding='utf-8').splitlines()
    same, other = tmp_path / 'same.txt', tmp_path / 'other.txt'
    same.write_text('\n'.join([first, *others]) + '\n', encoding='utf-8')
    other.write_text('\n'.join([first, *others[:-2], others[-1], others[-2]]) + '\n', encoding='utf-8')
    with pytest.raises(UserError, match='other.txt: found another vocabulary, expected that of the checkpoint'):
        stopped(resume=True, vocab_path=other)
    stopped(resume=True, vocab_path=same)
    assert [r['step'] for r in records(tmp_path / 'c')] == [1, 2, 3, 4, 5]


def test_state_of_another_program_is_refused(tmp_path, stopped):
    (tmp_path / 'c/step_3/training_state.json').write_text('{"global_step": 3, "data_position": {}}')
    with pytest.raises(UserError, match='training_state.json: found no random_state, hooks'):
        stopped(resume=True)


# ------------------------------------------------------------------------------------------ whose folder it is


def state(folder):
    return json.loads((folder / 'training_state.json').read_text())


def test_a_new_run_in_a_used_folder_is_refused_and_costs_nothing(tmp_path, ended):
    before = {p: p.read_bytes() for p in (tmp_path / 'c').rglob('*') if p.is_file() and 'propeller' not in p.name}
    with pytest.raises(UsageError) as caught:
        ended(max_steps=4)
    for part in (f'{tmp_path}/c: ', '(step_3, step_5)', '--resume true', '--overwrite_checkpoints true'):
        assert part in str(caught.value)
    assert {p: p.read_bytes() for p in before} == before


def test_overwriting_deletes_the_older_run_and_nothing_else(tmp_path, short):
    dev = write_table(tmp_path / 'dev.tsv', ['text_a', 'label'], sentences(9, 2))
    other = write_table(tmp_path / 'other.tsv', ['text_a', 'label'], sentences(9, 3))
    short(do_val=True, dev_set=other)
    folder = tmp_path / 'c'
    old = state(folder / 'step_5')['run']
    assert state(folder / 'best')['run'] == old and (folder / 'reports/other.json').exists()
    assert json.loads((folder / 'best/metrics.json').read_text())['run'] == old
    theirs = [folder / name for name in ('notes.txt', '.tmp-precious', 'reports/mine.json', 'step_4.txt')]
    for path in theirs:
        path.write_text('mine')
    lines = messages(short(max_steps=4, do_val=True, dev_set=dev, overwrite_checkpoints=True).log)
    assert f'{folder}: deleted of an earlier training: step_3, step_5, best' in lines
    assert f'last checkpoint: {folder}/step_4' in lines
    assert sorted(p.name for p in folder.glob('step_[0-9]')) == ['step_3', 'step_4']
    assert {state(p)['run'] for p in (folder / 'step_3', folder / 'step_4', folder / 'best')} - {old}
    assert len(records(folder)) == 4 and not (folder / 'reports/other.json').exists()
    assert [path.read_text() for path in theirs] == ['mine'] * 4


def test_a_run_never_deletes_what_it_starts_from(tmp_path, ended):
    with pytest.raises(UsageError, match='would delete .*step_5, which this training starts from'):
        ended(init_pretraining_params=tmp_path / 'c/step_5', overwrite_checkpoints=True)
    assert (tmp_path / 'c/step_5/model.safetensors').exists()


def test_a_folder_of_another_program_in_the_place_of_a_checkpoint_is_refused(tmp_path, short):
    (tmp_path / 'c/step_3').mkdir(parents=True)
    (tmp_path / 'c/step_3/thesis.txt').write_text('years of work')
    with pytest.raises(UserError, match=r'step_3: found a folder without training_state.json.*move it away'):
        short(overwrite_checkpoints=True)
    assert os.listdir(tmp_path / 'c/step_3') == ['thesis.txt']


def test_resume_without_the_optimizer_is_an_error(tmp_path, ended):
    (tmp_path / 'c/step_5/optimizer.safetensors').unlink()
    before = os.stat(tmp_path / 'c/step_3/model.safetensors').st_mtime_ns
    with pytest.raises(UserError, match='step_5: found no optimizer.safetensors, expected all that a training needs'):
        ended(resume=True)
    assert os.stat(tmp_path / 'c/step_3/model.safetensors').st_mtime_ns == before


def test_another_training_file_with_as_many_rows_is_refused(tmp_path, stopped):
    other = write_table(tmp_path / 't.tsv', ['text_a', 'label'], sentences(40, 5))
    with pytest.raises(UserError, match=r't.tsv: found another content, expected the training file of .*step_3'):
        stopped(resume=True, train_set=other)
    path = tmp_path / 'c/step_3/training_state.json'
    found = json.loads(path.read_text())
    del found['train_file']  # as older versions wrote it
    path.write_text(json.dumps(found))
    stopped(resume=True, train_set=other)


def test_the_best_by_another_metric_or_on_other_rows_is_forgotten(tmp_path, short):
    """With its steps of patience. The same rows under another name are the same."""
    dev = write_table(tmp_path / 'dev.tsv', ['text_a', 'label'], sentences(9, 2))
    short(do_val=True, dev_set=dev, validation_steps=1, early_stop=9, max_steps=3)
    path = tmp_path / 'c/step_3/training_state.json'
    found = json.loads(path.read_text())
    found['hooks']['evaluation'] |= {'best': 7.0, 'worse': 8}  # no score is better, and the patience is nearly over
    path.write_text(json.dumps(found))
    go_on = functools.partial(short, do_val=True, validation_steps=1, early_stop=9, resume=True)
    for values in (
        {'dev_set': dev, 'metric': 'macro_f1'},
        {'dev_set': write_table(tmp_path / 'other.tsv', ['text_a', 'label'], sentences(9, 3))},
    ):
        shutil.copytree(tmp_path / 'c', tmp_path / 'd', dirs_exist_ok=True)
        ran = go_on(**values, checkpoints=tmp_path / 'd')
        assert "the best result by 'accuracy on the dev set " in ran.log and 'early stop' not in ran.log
        best = json.loads((tmp_path / 'd/best/training_state.json').read_text())
        assert best['global_step'] > 3 and best['value'] <= 1
        shutil.rmtree(tmp_path / 'd')
    ran = go_on(dev_set=shutil.copy(dev, tmp_path / 'renamed.tsv'))
    assert 'forgotten' not in ran.log and 'early stop: 9 evaluations' in ran.log


def test_another_number_of_processes_is_told_with_what_to_do(tmp_path, stopped):
    path = tmp_path / 'c/step_3/training_state.json'
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, 'random_states': found['random_states'] * 2}))
    with pytest.raises(UserError, match='a training of 2 processes, expected one of 1 process. Start it as before, '
                                        'with --nproc_per_node 2, or start a new training'):  # fmt: skip
        stopped(resume=True)


def test_runs_from_before_identities_count_as_one(tmp_path, stopped):
    (tmp_path / 'c/.propeller-run.json').unlink()
    path = tmp_path / 'c/step_3/training_state.json'
    found = json.loads(path.read_text())
    del found['run']
    path.write_text(json.dumps(found))
    with pytest.raises(UsageError, match='found checkpoints of an earlier training'):
        stopped()
    stopped(resume=True)
    assert state(tmp_path / 'c/step_5')['run'] == 'unnamed' and len(records(tmp_path / 'c')) == 5


def test_init_checkpoint_from_the_middle_of_its_own_folder(tmp_path, ended):
    start = tmp_path / 'c/step_3'
    with pytest.raises(UsageError, match=r'earlier training \(step_5\)'):
        ended(init_checkpoint=start, init_pretraining_params=None)
    ended(init_checkpoint=start, init_pretraining_params=None, overwrite_checkpoints=True, max_steps=4)
    assert sorted(p.name for p in (tmp_path / 'c').glob('step_*')) == ['step_3', 'step_4']
    assert state(start)['run'] == state(tmp_path / 'c/step_4')['run']


def test_best_may_be_a_link_to_another_disk(tmp_path, short):
    (tmp_path / 'c').mkdir()
    (tmp_path / 'disk/best').mkdir(parents=True)
    (tmp_path / 'c/best').symlink_to(tmp_path / 'disk/best')
    dev = write_table(tmp_path / 'dev.tsv', ['text_a', 'label'], sentences(9, 2))
    for again in (False, True):
        short(do_val=True, dev_set=dev, validation_steps=1, overwrite_checkpoints=again)
        assert (tmp_path / 'c/best').is_symlink() and os.listdir(tmp_path / 'disk') == ['best']
        assert (tmp_path / 'disk/best/model.safetensors').exists()


def test_hooks_of_the_model_remember_over_a_break(tmp_path, short, monkeypatch):
    seen = [[], []]
    monkeypatch.setattr(trainer, 'build_model_spec', with_hooks(trainer.build_model_spec, seen))
    short(max_steps=3)
    assert state(tmp_path / 'c/step_3')['hooks'].keys() == {'training_log', 'evaluation', 'Counts', 'Counts#2'}
    seen[0].clear()
    seen[1].clear()
    short(resume=True)
    assert seen == [[1, 2, 3, 4, 5]] * 2
    seen[1].append({1, 2})
    with pytest.raises(UserError, match=r'hook Counts#2: state_dict\(\): found what JSON cannot keep'):
        short(checkpoints=tmp_path / 'other')
    assert not list((tmp_path / 'other').glob('step_*'))


# ------------------------------------------------------------------------------------------ two at once


DIES_ONCE = """
import os, signal, sys
sys.path.insert(0, {root!r})
from propeller.train.checkpoint import Checkpoints
save = Checkpoints.save

def save_and_die(self, *args, **settings):
    folder = save(self, *args, **settings)
    if folder.endswith('step_4') and '--resume' not in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)
    return folder

Checkpoints.save = save_and_die
import run_classifier
run_classifier.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_restarted_job_goes_on_from_its_own_checkpoint(tmp_path, short):
    """With real processes: the folder holds an older run up to step 16; the job is killed at its step 4."""
    short(epoch=4, max_steps=16, save_steps=4)
    program = tmp_path / 'program.py'
    program.write_text(DIES_ONCE.format(root=str(ROOT)))
    values = {'train_set': tmp_path / 'train.tsv', 'init_pretraining_params': tmp_path / 'm', 'do_val': False}
    values |= {'do_test': False, 'checkpoints': tmp_path / 'c', 'skip_steps': 1, 'epoch': 4, 'max_steps': 6}
    values |= {'save_steps': 4, 'random_seed': 7, 'overwrite_checkpoints': True}
    command = [sys.executable, ROOT / 'finetune_launch.py', '--elastic_restarts', '1', '--nproc_per_node', '1']
    command += ['--split_log_path', '', '--start_port', free_ports(1)[0], program, *flags(**(SETTINGS | values))]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=200, cwd=tmp_path)
    lines = messages(done.stdout + done.stderr)
    assert done.returncode == 0, done.stderr[-2000:]
    assert f'resume: {tmp_path}/c/step_4' in lines and f'last checkpoint: {tmp_path}/c/step_6' in lines
    assert sorted(p.name for p in (tmp_path / 'c').glob('step_*')) == ['step_4', 'step_6']
    assert [r['step'] for r in records(tmp_path / 'c')] == [1, 2, 3, 4, 5, 6]


def test_two_trainings_in_one_folder(data):
    """With real processes: the second is refused in one line, even with --resume true; the first goes on unharmed."""
    folder = data / 'two'
    argv = command(data, folder, max_steps=60)
    first = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not (folder / 'step_50').exists():
            assert first.poll() is None
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)
        second = subprocess.run([*argv, '--resume', 'true'], capture_output=True, text=True, timeout=100)
        first.send_signal(signal.SIGCONT)
        (error,) = [line for line in second.stderr.splitlines() if line.startswith('error: ')]
        assert second.returncode == 1
        assert f'{folder}: found another training at work there (process {first.pid} on ' in error
        assert first.wait(200) == 0
    finally:
        first.kill()
        first.wait()
    assert [r['step'] for r in records(folder)] == list(range(1, 61))
    assert sorted(p.name for p in folder.glob('step_*')) == ['step_50', 'step_60']
