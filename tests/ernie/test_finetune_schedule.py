"""The length of a fine-tuning: what the stream gives, what the schedule and the log say, and where the rate ends."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from ernie.finetune.schedule import RunLength, log_length, run_length
from ernie.optimization import describe_schedule, learning_rate_schedule, warmup_steps_of
from ernie.settings.finetune import FinetuneSettings
from ernie.tasks.training import Task
from propeller.data.batching import BatchStream
from propeller.train import run
from tests.ernie.tiny_model import messages, records, sentences, table


def drawn(seed):
    """One combination of everything that decides the number of updates."""
    rng = np.random.default_rng(seed)
    tokens, rows = bool(rng.integers(2)), int(rng.integers(1, rng.choice([3, 20, 70])))
    return SimpleNamespace(
        lengths=rng.integers(1, 16, rows),
        batch_size=int(rng.integers(15, 90) if tokens else rng.integers(1, 20)),
        processes=int(rng.integers(1, 6)),
        epoch=int(rng.integers(1, 6)),
        max_steps=int(rng.choice([0, 0, 1, rng.integers(1, 40), 10_000])),
        warmup_proportion=float(rng.choice([0, 0.1, 0.1, 0.29, 0.5])),
        lr_scheduler=str(rng.choice(['linear_warmup_decay', 'linear_warmup_decay', 'noam_decay', 'constant'])),
        options={
            'in_tokens': tokens,
            'shuffle': bool(rng.integers(4)),
            'window': int(rng.choice([0, 2, 50])),
            'accumulation': int(rng.integers(1, 5)),
            'seed': seed,
        },
        rng=rng,
    )


def streams(case):
    return [
        BatchStream(
            SimpleNamespace(lengths=case.lengths),
            lambda rows: [rows],
            case.batch_size,
            epochs=case.epoch,
            replica_id=replica,
            num_replicas=case.processes,
            **case.options,
        )
        for replica in range(case.processes)
    ]


@pytest.mark.parametrize('hundred', [0, 1])
def test_updates_schedule_log_and_end_are_one_number(hundred, logged):
    seen = set()
    for seed in range(100 * hundred, 100 * hundred + 100):
        case = drawn(seed)
        replicas = streams(case)
        steps, warmup = run_length(case, replicas[0])
        runs = [list(stream) for stream in replicas]
        updates = {min(len(batches), case.max_steps or len(batches)) for batches in runs}
        assert updates == {steps} and steps >= 1, case
        assert {run_length(case, stream) for stream in replicas} == {(steps, warmup)}
        logged.clear()
        log_length(case, RunLength(steps, warmup), len(case.lengths))
        assert logged[1:3] == [
            f'Max train steps: {len(runs[0][: case.max_steps or None])}',
            f'Num warmup steps: {warmup}',
        ]
        if not case.max_steps or steps < case.max_steps:
            position = runs[0][steps - 1].position
            assert (position['epoch'], position['batch']) == (case.epoch, 0)  # the end of the data

        settings = case.lr_scheduler, 0.5, warmup, steps, case.warmup_proportion > 0
        rate = learning_rate_schedule(*settings)
        rates = [rate(done) for done in range(steps + 1)]
        assert 0 <= warmup < steps or (steps, case.lr_scheduler) == (1, 'noam_decay')
        assert min(rates[1:steps], default=1) > 0
        if case.lr_scheduler == 'linear_warmup_decay' and case.warmup_proportion:
            assert rates[-1] == 0 and rates[-2] == pytest.approx(0.5 / steps)
            assert f'linearly to 0 at step {steps}' in describe_schedule(*settings)

        # Any checkpoint continues to the same end, and its run has the same length.
        begun = int(case.rng.integers(0, steps))
        again = streams(case)[0]
        again.seek(json.loads(json.dumps(runs[0][begun - 1].position)) if begun else again.position)
        assert run_length(case, again) == (steps, warmup)
        assert begun + sum(1 for _ in again) == len(runs[0])
        seen |= {(name, value > (name == 'accumulation')) for name, value in case.options.items() if name != 'seed'}
        seen |= {('cut', 0 < case.max_steps < len(runs[0])), ('beyond', case.max_steps > len(runs[0]))}
        seen |= {('fewer rows than processes', len(case.lengths) < case.processes), ('no warm-up', warmup == 0)}
    assert len(seen) == 2 * 8, sorted(seen)  # each of them came and was missing


@pytest.mark.parametrize(
    ('rows', 'processes', 'accumulation', 'epochs', 'expected'),
    [(1, 1, 1, 1, 1), (1, 4, 4, 1, 1), (3, 5, 1, 2, 2), (9, 1, 1, 10, 20), (33, 2, 2, 3, 6)],
)
def test_small_data_make_at_least_an_update_an_epoch(rows, processes, accumulation, epochs, expected):
    data = SimpleNamespace(lengths=np.full(rows, 7))
    for options in ({'batch_size': 8}, {'batch_size': 56, 'in_tokens': True}):
        for replica in range(processes):
            stream = BatchStream(
                data,
                lambda indices: [indices],
                epochs=epochs,
                replica_id=replica,
                num_replicas=processes,
                accumulation=accumulation,
                **options,
            )
            assert len(list(stream)) == stream.total_steps == expected


def test_counting_stops_where_the_run_does():
    lengths = np.random.default_rng(1).integers(1, 16, 50)
    stream = BatchStream(SimpleNamespace(lengths=lengths), None, 40, in_tokens=True, epochs=10**9)
    assert stream.steps_of_run(30) == 30
    assert BatchStream(SimpleNamespace(lengths=lengths), None, 8, epochs=10**9).total_steps == 7 * 10**9
    for endless in ({}, {'in_tokens': True}):
        stream = BatchStream(SimpleNamespace(lengths=lengths), None, 40, epochs=None, **endless)
        assert stream.steps_of_run() is None and stream.steps_of_run(77) == 77


@pytest.mark.parametrize(
    ('scheduler', 'proportion', 'steps', 'expected'),
    [
        ('linear_warmup_decay', 0.1, 5, 0),
        ('linear_warmup_decay', 0.1, 19, 1),
        ('linear_warmup_decay', 0.29, 100, 29),  # the product is 28.999999999999996
        ('linear_warmup_decay', 0.7, 10, 7),
        ('constant', 0.1, 5, 0),
        ('noam_decay', 0.1, 5, 1),
        ('noam_decay', 0, 5, 0),
    ],
)
def test_warmup_steps(scheduler, proportion, steps, expected):
    assert warmup_steps_of(scheduler, proportion, steps) == expected


# ------------------------------------------------------------------------------------------ the real program


@pytest.fixture
def bars(monkeypatch):
    """The sizes of the progress bars of a run on a terminal."""
    found = []

    class Bar(run.StopAtStepHook):
        def __init__(self, size, text, status):
            super().__init__()
            found.append(size)

    monkeypatch.setattr(run, 'TqdmProgressBarHook', Bar)
    monkeypatch.setattr(run, 'sys', SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: True)))
    return found


def rates_of(folder):
    return [r['learning_rate'] for r in records(folder, 'train')]


def expected_rates(steps, warmup, base=0.01):
    return [base * s / warmup if s < warmup else base * (1 - s / steps) for s in range(steps)]


def test_a_small_set_learns_until_the_last_update(tmp_path, train, bars):
    """9 rows, batch 8: two updates an epoch, where 10 * 9 // 8 = 11 were scheduled and the others had the rate 0."""
    ran = train(train_set=table(tmp_path / 't.tsv', sentences(9, 1)), do_val=False, epoch=10, skip_steps=1)
    lines = messages(ran.log)
    assert 'Max train steps: 20' in lines and 'Num warmup steps: 2' in lines
    assert 'learning rate: up to 0.01 over 2 steps, then from 0.009 linearly to 0 at step 20' in lines
    assert [r['step'] for r in records(tmp_path / 'c', 'train')] == list(range(1, 21)) and bars == [20]
    np.testing.assert_allclose(rates_of(tmp_path / 'c'), expected_rates(20, 2))
    state = json.loads((tmp_path / 'c/step_20/training_state.json').read_text())
    assert state['schedule'] == {'steps': 20, 'warmup_steps': 2}


def test_token_batches_accumulation_and_max_steps_beyond_the_data(tmp_path, train, bars):
    files = {
        'train_set': table(tmp_path / 't.tsv', sentences(40, 1)),
        'dev_set': table(tmp_path / 'd.tsv', sentences(9, 2)),
    }
    tokens = {'in_tokens': True, 'batch_size': 45, 'gradient_accumulation_steps': 2}
    ran = train(**files, **tokens, epoch=3, max_steps=500, skip_steps=1)
    lines, (steps,) = messages(ran.log), bars
    last = records(tmp_path / 'c', 'train')[-1]
    assert last['step'] == steps == records(tmp_path / 'c', 'dev')[-1]['step'] and last['epoch'] == 2
    assert f'Max train steps: {steps}' in lines
    assert f'--max_steps 500: the data of --epoch 3 end after step {steps}' in lines
    np.testing.assert_allclose(rates_of(tmp_path / 'c'), expected_rates(steps, steps // 10))


def test_a_run_shorter_than_its_warmup_decays_and_continues_from_old_checkpoints(tmp_path, train):
    files = {'train_set': table(tmp_path / 't.tsv', sentences(40, 1)), 'do_val': False, 'skip_steps': 1}
    lines = messages(train(**files, epoch=1, save_steps=3).log)
    assert 'Num warmup steps: 0' in lines and '--warmup_proportion 0.1 of 5 steps is less than one step' in lines
    assert 'learning rate: from 0.01 linearly to 0 at step 5' in lines
    np.testing.assert_allclose(rates_of(tmp_path / 'c'), expected_rates(5, 0))

    for name in ('3', '5'):
        path = tmp_path / f'c/step_{name}/training_state.json'
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != 'schedule'}))
    lines = messages(train(**files, init_checkpoint=tmp_path / 'c/step_3', epoch=2, checkpoints=tmp_path / 'd').log)
    text = 'does not record the length of its schedule; the learning rate continues by one of 10 steps'
    assert f'{tmp_path}/c/step_3 {text}' in lines
    np.testing.assert_allclose(rates_of(tmp_path / 'd'), expected_rates(10, 1)[3:])
    lines = messages(train(**files, epoch=3, resume=True, checkpoints=tmp_path / 'd').log)
    text = 'was saved under a schedule of 10 steps (warm-up 1); the learning rate continues by one of 15 (1)'
    assert f'{tmp_path}/d/step_10 {text}' in lines
    np.testing.assert_allclose(rates_of(tmp_path / 'd')[7:], expected_rates(15, 1)[10:])


@pytest.mark.parametrize(('proportion', 'flag', 'decays'), [(0.1, False, True), (0, True, True), (0, False, False)])
def test_who_asks_for_a_warmup_gets_the_decay(proportion, flag, decays):
    settings = FinetuneSettings(warmup_proportion=proportion, decay_without_warmup=flag, learning_rate=0.5)
    task = SimpleNamespace(args=settings, config=None, head_hparams=dict, encoder_dropout=True, boost=None)
    assert Task.hparams(task, 5, 0).decay_without_warmup is decays
