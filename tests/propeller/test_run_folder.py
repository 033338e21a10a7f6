"""Whose folder it is, who works in it, and from where a training goes on; checkpoints are made by hand."""

import errno
import fcntl
import json
import os

import pytest

from propeller.distribution import ProcessInfo, World
from propeller.errors import UsageError, UserError
from propeller.train.checkpoint import Checkpoints
from propeller.train.run_folder import FILE, RunFolder, run_in


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in ('PROPELLER_JOB', 'PROPELLER_RESUME_ADDED'):
        monkeypatch.delenv(name, raising=False)


def folder_of(root):
    return RunFolder(Checkpoints(root), World(ProcessInfo()), beside=('best',))


def checkpoint(root, name, run, step=None, optimizer=True):
    folder = root / name
    folder.mkdir(parents=True)
    state = {'global_step': int(name.removeprefix('step_')) if step is None else step, 'random_state': {}}
    (folder / 'training_state.json').write_text(json.dumps({**state, 'run': run} if run else state))
    (folder / 'model.safetensors').write_text('parameters')
    if optimizer:
        (folder / 'optimizer.safetensors').write_text('moments')
    return folder


def start(root, resume=False, step=0, files=(), **settings):
    """(folder to start from, identity of the run) of a training that begins."""
    folder = folder_of(root)
    with folder.held():
        found = folder.choose(resume, **settings)
        folder.begin(step, files)
    return found, folder.checkpoints.run


def names(root):
    return sorted(path.name for path in root.iterdir() if path.name != FILE)


def test_a_new_run_in_an_empty_folder(tmp_path):
    found, run = start(tmp_path / 'c', resume=True)
    assert found is None and len(run) == 16
    assert json.loads((tmp_path / 'c' / FILE).read_text())['run'] == run
    assert start(tmp_path / 'c')[1] != run  # nothing was saved: nothing is in the way


def test_the_newest_of_the_run_that_worked_last(tmp_path):
    own = start(tmp_path)[1]
    checkpoint(tmp_path, 'step_4', own)
    checkpoint(tmp_path, 'step_16', 'older')
    assert start(tmp_path, resume=True) == (str(tmp_path / 'step_4'), own)
    assert run_in(Checkpoints(tmp_path)) == own
    (tmp_path / FILE).unlink()
    with pytest.raises(UserError, match=rf'checkpoints of several runs \(step_4 of {own}; step_16 of older\)'):
        start(tmp_path, resume=True)


def test_resume_wins_over_overwriting(tmp_path):
    checkpoint(tmp_path, 'step_4', 'a')
    assert start(tmp_path, resume=True, overwrite=True) == (str(tmp_path / 'step_4'), 'a')
    assert names(tmp_path) == ['step_4']


def test_overwriting_deletes_what_is_of_the_older_run(tmp_path):
    start(tmp_path, files=['metrics.jsonl', 'reports/dev.json'])
    (tmp_path / 'reports').mkdir()
    for name in ('metrics.jsonl', 'reports/dev.json', 'reports/mine.json', 'notes', 'step_9.txt'):
        (tmp_path / name).write_text('text')
    checkpoint(tmp_path, 'step_4', 'a')
    checkpoint(tmp_path, 'step_8', None)
    checkpoint(tmp_path, 'best', 'a', 4, optimizer=False)
    with pytest.raises(UsageError, match=r'earlier training \(step_4, step_8, best\)'):
        start(tmp_path)
    assert 'step_4' in names(tmp_path)
    start(tmp_path, overwrite=True)
    assert names(tmp_path) == ['notes', 'reports', 'step_9.txt'] and names(tmp_path / 'reports') == ['mine.json']


def test_the_list_of_files_leads_nowhere_else(tmp_path):
    root, outside = tmp_path / 'c', tmp_path / 'outside'
    outside.write_text('mine')
    checkpoint(root, 'step_4', 'a')
    listed = ['../outside', str(outside), 'reports/../../outside', 5, '', 'link', 'step_4']
    (root / 'link').symlink_to(outside)
    (root / FILE).write_text(json.dumps({'run': 'a', 'files': listed}))
    start(root, overwrite=True)
    assert outside.read_text() == 'mine' and names(root) == ['link']


def test_a_training_never_deletes_where_it_starts_from(tmp_path):
    best = checkpoint(tmp_path, 'best', 'a', 4, optimizer=False)
    for source in (best, best / 'vocab.txt'):
        with pytest.raises(UsageError, match='would delete .*best, which this training starts from'):
            start(tmp_path, overwrite=True, sources=[None, source])
    assert best.exists()


def test_a_link_to_best_stays_and_its_content_goes(tmp_path):
    disk = checkpoint(tmp_path / 'disk', 'best', 'a', 4)
    root = tmp_path / 'c'
    step = checkpoint(tmp_path / 'disk', 'step_4', 'a')
    root.mkdir()
    for path in (disk, step):
        (root / path.name).symlink_to(path)
    start(root, overwrite=True)
    assert names(root) == ['best'] and (root / 'best').is_symlink() and not disk.exists()
    assert step.exists()  # somebody brought it to safety


def test_continuing_from_the_middle(tmp_path):
    for i in (4, 8):
        checkpoint(tmp_path, f'step_{i}', 'a')
    given = str(tmp_path / 'step_4')
    with pytest.raises(UsageError, match=r'\(step_8\)'):
        start(tmp_path, given=given)
    assert start(tmp_path, given=given, overwrite=True) == (given, 'a') and names(tmp_path) == ['step_4']
    assert start(tmp_path, given=given) == (given, 'a')


def test_what_no_training_wrote_is_not_in_the_way_of_later_steps(tmp_path):
    (tmp_path / 'step_1000').mkdir()
    (tmp_path / 'step_1000' / 'fc_0.w_0').write_text('of 2019')
    given = str(tmp_path / 'step_1000')
    assert start(tmp_path, given=given, step=1000)[0] == given
    with pytest.raises(UserError, match='step_1000: found a folder without training_state.json'):
        start(tmp_path, overwrite=True, step=500)
    assert (tmp_path / 'step_1000' / 'fc_0.w_0').exists()


def test_a_job_that_begins_again(tmp_path, monkeypatch):
    monkeypatch.setenv('PROPELLER_JOB', 'job')
    monkeypatch.setenv('PROPELLER_RESUME_ADDED', 'true')
    checkpoint(tmp_path, 'step_16', 'older')
    with pytest.raises(UsageError):  # the job had not come so far as to delete them
        start(tmp_path, resume=True)
    found, own = start(tmp_path, resume=True, overwrite=True)
    assert found is None and names(tmp_path) == []
    checkpoint(tmp_path, 'step_16', 'older')  # whoever put it there
    assert start(tmp_path, resume=True)[0] is None
    own = start(tmp_path, resume=True)[1]
    checkpoint(tmp_path, 'step_4', own)
    assert start(tmp_path, resume=True) == (str(tmp_path / 'step_4'), own)
    monkeypatch.setenv('PROPELLER_JOB', 'another')
    monkeypatch.setenv('PROPELLER_RESUME_ADDED', '')  # the user's own --resume true
    assert start(tmp_path, resume=True) == (str(tmp_path / 'step_4'), own)


def test_damaged_and_incomplete_checkpoints_are_named(tmp_path):
    checkpoint(tmp_path, 'step_4', 'a')
    checkpoint(tmp_path, 'step_8', 'a', optimizer=False)
    with pytest.raises(UserError, match='step_8: found no optimizer.safetensors'):
        start(tmp_path, resume=True)
    (tmp_path / 'step_8' / 'training_state.json').write_text('{')
    with pytest.raises(UserError, match='step_8/training_state.json'):
        start(tmp_path, resume=True)


def test_one_training_at_a_time(tmp_path):
    with (
        folder_of(tmp_path).held(),
        pytest.raises(UserError, match=rf'at work there \(process {os.getpid()} on .*choose another --checkpoints'),
    ):
        start(tmp_path, resume=True)
    start(tmp_path, resume=True)


def test_without_locks_the_training_goes_on_and_says_so(tmp_path, monkeypatch, caplog):
    def unknown(handle, how):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'flock', unknown)
    start(tmp_path)
    assert any('knows no locks' in record.getMessage() for record in caplog.records)
