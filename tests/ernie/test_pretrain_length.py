"""The length of a pre-training: what the streams give, where the schedule ends, what is said of it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from ernie.pretrain import reader, run_length
from ernie.pretrain.schedule import Schedule, Stage
from ernie.pretrain.updates import Updates
from tests.ernie import pretrain_files
from tests.ernie.pretrain_files import SMALL
from tests.ernie.tiny_model import messages, records
from tests.ernie.tiny_pretraining import first_form, run_train, write_config, write_files

ALONE = SimpleNamespace(is_main_process=True, broadcast_object=lambda value: value)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    return pretrain_files.write_files(tmp_path_factory.mktemp('length'), (70, 9))[0]


@pytest.fixture(scope='module')
def positives(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp('positives'), np.random.default_rng(5)
    labels = {'knowledge_masking': None, 'next_sentence': 1}
    samples = [pretrain_files.random_sample(rng, **labels) for _ in range(50)]
    return [pretrain_files.ListedFile(pretrain_files.write_samples(folder / 'p.gz', samples), 1.1)]


def stream_of(files, settings, **others):
    tasks = ['knowledge_masking', 'next_sentence'] if settings.generate_neg_sample else pretrain_files.TASKS
    return pretrain_files.stream(files, tasks, settings, **others)


@pytest.mark.parametrize('negatives', [False, True])
@pytest.mark.parametrize('shuffle', [False, True])
@pytest.mark.parametrize(('replicas', 'accumulation'), [(1, 1), (3, 1), (2, 2)])
def test_counted_updates_are_those_of_the_stream(files, positives, negatives, shuffle, replicas, accumulation):
    files = positives if negatives else files
    settings = SMALL._replace(generate_neg_sample=negatives, shuffle=shuffle)
    options = {'epochs': 3, 'num_replicas': replicas, 'accumulation': accumulation}
    streams = [stream_of(files, settings, replica_id=i, **options) for i in range(replicas)]
    made = [sum(1 for _ in stream) for stream in streams]
    assert {stream.steps_of_run(10**9) for stream in streams} == {*made} and len({*made}) == 1
    for most in (0, 1, made[0] - 1, made[0], made[0] + 1):
        assert streams[0].steps_of_run(most) == min(made[0], most)
    assert stream_of(files, settings, **{**options, 'epochs': None}).steps_of_run(500) == 500


def test_stages_end_with_the_first_stream_that_does(files):
    def streams():
        return {name: stream_of([path], SMALL, epochs=2) for name, path in zip('ab', files, strict=True)}

    given = {name: stream.steps_of_run(10**9) for name, stream in streams().items()}
    for stages in (
        [{'a': 2}, {'a': 3, 'b': 3}],
        [{'a': given['a']}, {'b': given['b']}],
        [{'a': 5, 'b': given['b'] + 1}, {'a': 4}],
        [{'b': 1}, {'a': given['a'] + 7, 'b': 2}],
        [{'a': 1}, {'a': 500, 'b': 500}, {'a': 9}],
    ):
        schedule = Schedule({}, [Stage(steps) for steps in stages], {})
        updates = Updates(schedule, streams())
        made = len(list(updates))
        assert updates.count() == made
        args = SimpleNamespace(lr_scheduler='linear_warmup_decay', learning_rate=1.0, warmup_steps=1, epoch=2)
        found = run_length.settle_schedule(args, updates, ALONE)
        assert found.total == made == len(list(updates)) and (found.end is None) == (made == schedule.total)
        rate = found.rate(*run_length.rate_settings(args))
        ends = np.cumsum([steps for *_, steps in found.settings(*run_length.rate_settings(args))])
        assert ends[-1] == made and rate(made) == 0
        for begin, end in zip([0, *ends], ends, strict=False):
            assert rate(int(end) - 1) == pytest.approx(1 / (end - begin) if end - begin > 1 else 0)


def test_data_too_large_to_be_counted(files, monkeypatch, logged):
    monkeypatch.setattr(reader, 'MOST_COUNTED', 2000)
    updates = Updates(Schedule({}, [Stage({'all': 99})], {}), {'all': stream_of(files, SMALL, epochs=2)})
    assert updates.count() is None and updates.streams['all'].steps_of_run(3) == 3
    args = SimpleNamespace(lr_scheduler='linear_warmup_decay', learning_rate=1.0, warmup_steps=1, epoch=2)
    schedule = run_length.settle_schedule(args, updates, ALONE)
    assert schedule.total == 99 and any(
        'whether they last for 99 updates (--epoch 2) is not known' in x for x in logged
    )
    run_length.warn_of_early_end(args, schedule, 99)
    assert 'ended' not in logged[-1]
    run_length.warn_of_early_end(args, schedule, 40)
    assert logged[-1] == 'the data of --epoch 2 ended after 40 of 99 updates, and the rate did not come to its end'


def test_the_lines_of_stages():
    stages = [Stage({'b': 20, 'a': 0}), Stage({'a': 10, 'b': 30}, 5e-5, 0), Stage({'all': 5})]
    schedule = Schedule({}, stages, {}, end=62)
    assert schedule.lines('linear_warmup_decay', 1e-4, 4) == [
        'stage 1: 20 updates (b 20), learning rate: up to 0.0001 over 4 steps, then from 8e-05 linearly to 0 at step '
        '20',
        'stage 2: 40 updates (a 10, b 30), learning rate: constant 5e-05: linear_warmup_decay without warm-up does not '
        'decay (a warm-up of 1 step makes it)',
        'stage 3: 2 of 5 updates, learning rate: up to 2.5e-05 at step 2, the last one: the warm-up to 0.0001 has 4 '
        'steps',
    ]
    assert len(schedule._replace(end=30).lines('constant', 1.0, 0)) == 2


def test_a_run_says_its_schedule_and_ends_with_it(tmp_path):
    """20 samples, batches of 110 tokens, two epochs: the data end long before --num_train_steps."""
    values = {
        **write_config(tmp_path / 'config'),
        'train_filelist': write_files(tmp_path, 'train', first_form(20, 1)),
        'checkpoints': tmp_path / 'c',
        'epoch': 2,
        'num_train_steps': 1000,
        'skip_steps': 1,
    }
    lines = messages(run_train(**values, warmup_steps=2).log)
    found = records(tmp_path / 'c', 'train')
    steps = found[-1]['step']
    assert f'the data of --epoch 2 end before the schedule, after {steps} updates' in lines
    assert f'schedule: {steps} updates, stages: 1' in lines
    expected = [1e-3 * s / 2 if s < 2 else 1e-3 * (1 - s / steps) for s in range(steps)]
    assert [r['learning_rate'] for r in found] == pytest.approx(expected)
    state = json.loads((tmp_path / f'c/step_{steps}/training_state.json').read_text())
    (line,) = state['schedule']['stages']
    assert line.startswith(f'stage 1: {steps} of 1000 updates') and line in lines

    lines = messages(run_train(**{**values, 'num_train_steps': 3}, warmup_steps=5000, resume=True).log)
    assert (
        'stage 1: 3 updates, learning rate: up to 4e-07 at step 3, the last one: the warm-up to 0.001 has 5000 steps'
        in lines
    )
    assert (
        'stage 1: the warm-up of 5000 updates is not over when the stage ends after 3; give fewer warm-up steps'
        in lines
    )
    assert any(text.startswith(f'{tmp_path}/c/step_{steps} was saved under another schedule: ') for text in lines)
