"""The search over settings: points, files, resumption, limits, with a fake in the place of the training."""

import json
import math
import os
from pathlib import Path

import pytest

import ernie
from ernie.finetune.tries import Search, _is_labelled, search
from ernie.finetune.try_files import TryFiles, table_lines
from ernie.finetune.try_process import run_try
from ernie.finetune.try_space import SEARCHED, next_settings, point, settings_of
from ernie.settings import run_yaml
from ernie.settings.finetune import FinetuneSettings
from ernie.tasks import table
from propeller.distribution import ProcessInfo, World
from propeller.errors import Interrupted, UsageError, UserError
from propeller.inputs import read_json_object
from tests.ernie.tiny_model import sentences, write_model, write_table
from tests.ernie.tiny_reading import puzzles, squad, write_json

CENTRE = {'learning_rate': 2e-4, 'batch_size': 32, 'epoch': 5, 'max_seq_len': 40}
SPEC, ALONE = table.find('classification'), World(ProcessInfo())


# ------------------------------------------------------------------------------------------ points


def test_points_are_spread_over_every_setting_whatever_their_number():
    for count in (8, 13, 40):
        points = [point(3, number) for number in range(1, count + 1)]
        for column in zip(*points, strict=True):
            places = sorted(column)
            assert max(b - a for a, b in zip(places, places[1:], strict=False)) < 4 / count
            assert all(0 <= place < 1 for place in places)
    assert point(3, 5) == point(3, 5) != point(4, 5)


def test_settings_stay_near_the_centre_and_are_possible():
    for number in range(1, 60):
        found = settings_of(point(1, number), CENTRE)
        assert 2e-4 / 3.1 < found['learning_rate'] < 2e-4 * 3.1 and found['batch_size'] in (16, 32)
        assert 2 <= found['epoch'] <= 10 and found['max_seq_len'] in (16, 24, 32, 40)
    least = {'learning_rate': 5e-5, 'batch_size': 1, 'epoch': 1, 'max_seq_len': 7}
    for number in range(1, 20):
        found = settings_of(point(1, number), least)
        assert found['batch_size'] == 1 and found['epoch'] in (1, 2) and found['max_seq_len'] == 7


def test_what_is_fixed_stays_and_no_settings_come_twice():
    before = []
    while (found := next_settings(1, len(before) + 2, CENTRE, ('learning_rate', 'epoch'), before)) is not None:
        assert found['learning_rate'] == 2e-4 and found['epoch'] == 5
        before.append(found)
    assert len(before) == 6 == len({tuple(found.values()) for found in before})  # 2 batches, 3 lengths


# ------------------------------------------------------------------------------------------ searches


class Fake:
    """In the place of a training: a score that is highest at a rate of 3e-4. ends: `_N` -> how else try N ends."""

    def __init__(self, **ends):
        self.ends, self.seen, self.flags = {int(name[1:]): end for name, end in ends.items()}, [], []

    def __call__(self, number, flags, seconds):
        self.seen.append(number)
        self.flags.append(flags)
        settings = run_yaml.read_settings(flags[1], FinetuneSettings)
        if number == 0:
            assert not settings['do_train'] and settings['init_checkpoint'].endswith('best')
            Path(settings['test_save'] + '.0.9').write_text('predicted')
            return 0, ''
        folder = Path(settings['checkpoints'])
        end = self.ends.get(number, (0, ''))
        if isinstance(end, BaseException):
            raise end
        if end[0] != 2:
            write(folder, number, 0.9 - abs(math.log(settings['learning_rate'] / 3e-4)) / 10, scored=end[0] != 1)
        return end


def write(folder, number, score, scored=True):
    """What a training leaves."""
    state = {'global_step': 7, 'run': f'run{number}'}
    for name in ('best', 'step_9') if scored else ('step_9',):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / 'model.safetensors').write_bytes(b'weights of %d' % number)
        (folder / name / 'training_state.json').write_text(json.dumps(state))
        (folder / name / 'metrics.json').write_text(json.dumps({'main_value': score, 'step': 7, 'acc': score}))
    (folder / 'reports').mkdir(exist_ok=True)
    (folder / 'reports' / 'dev.txt').write_text(f'report of {number}')
    (folder / 'metrics.jsonl').write_text(json.dumps({'step': 9, 'epoch': 0, 'phase': 'dev', 'time': 0.5}) + '\n')


@pytest.fixture
def asked(tmp_path):
    """Settings of a search of five tries."""
    for name in ('train.tsv', 'dev.tsv'):
        (tmp_path / name).write_text('label\ttext_a\n0\t差\n1\t好\n', encoding='utf-8')
    files = {'train_set': str(tmp_path / 'train.tsv'), 'dev_set': str(tmp_path / 'dev.tsv')}
    given = {'init_pretraining_params': 'm', 'checkpoints': str(tmp_path / 'runs'), 'random_seed': 5, 'tries': 5}
    return FinetuneSettings(**files, **given, max_seq_len=40, batch_size=32, given=frozenset())


def do(asked, fake):
    return search(asked, SPEC, ALONE, fake)


def outcomes(asked):
    return TryFiles(asked.checkpoints).outcomes()


def test_the_best_try_ends_up_as_best_with_its_report_and_settings(asked):
    fake = Fake()
    best, scores, metrics = do(asked, fake)
    root, found = Path(asked.checkpoints), outcomes(asked)
    assert fake.seen == [1, 2, 3, 4, 5] and all(o.status == 'done' and o.steps == 9 for o in found)
    chosen = max(found, key=lambda o: o.score)
    assert chosen.number > 1 and scores['main_value'] == chosen.score and best == str(root / 'best')
    assert Path(best, 'model.safetensors').read_bytes() == b'weights of %d' % chosen.number
    assert (root / 'reports' / 'dev.txt').read_text() == f'report of {chosen.number}'
    assert Path(metrics).is_file()
    again = run_yaml.read_settings(str(root / 'run.yaml'), FinetuneSettings)
    assert {name: again[name] for name in SEARCHED} == chosen.settings and again['checkpoints'] == str(root)
    # The first has the settings as they are; no weights lie about.
    assert found[0].settings == {**CENTRE, 'learning_rate': 5e-5, 'epoch': 3}
    assert [path.name for path in root.rglob('model.safetensors')] == ['model.safetensors']
    lines = (root / 'tries.tsv').read_text().splitlines()
    assert len(lines) == 6 and [line.endswith('\tyes') for line in lines[1:]].count(True) == 1
    assert lines[chosen.number].endswith('\tdone\tyes')
    assert len({len(line) for line in table_lines(found) if 'chosen' not in line}) == 1


def test_a_search_that_was_killed_goes_on_and_repeats_nothing(asked):
    with pytest.raises(Interrupted):
        do(asked, Fake(_3=Interrupted()))
    assert (Path(asked.checkpoints) / 'best').is_dir() and len(outcomes(asked)) == 2
    fake = Fake()
    do(asked, fake)
    assert fake.seen == [3, 4, 5] and '--resume' in fake.flags[0]
    straight = asked.replace(checkpoints=asked.checkpoints + '-2')
    do(straight, Fake())
    assert [o.settings for o in outcomes(straight)] == [o.settings for o in outcomes(asked)]
    more = Fake()
    do(asked.replace(tries=7), more)
    assert more.seen == [6, 7]
    assert do(asked, Fake())[1]['main_value'] >= outcomes(straight)[0].score


def test_a_kill_between_the_end_of_a_try_and_the_next_loses_nothing(asked):
    root = Path(asked.checkpoints)

    class Killed(Search):
        def _settle(self):
            if len(self.files.outcomes()) == 2:
                raise KeyboardInterrupt
            super()._settle()

    with pytest.raises(KeyboardInterrupt):
        Killed(asked, SPEC, ALONE, Fake()).run()
    assert (root / 'tries' / '02' / 'best').is_dir()
    do(asked, Fake())
    assert not list(root.glob('tries/*/best')) and not list(root.glob('tries/*/step_9'))


def test_tries_that_fail_are_recorded_and_the_search_goes_on(asked):
    fake = Fake(_1=(1, 'the loss is NaN'), _3=(-9, 'killed by the system'), _4=(1, 'not enough memory'))
    do(asked, fake)
    found = outcomes(asked)
    assert [o.status for o in found] == ['failed', 'done', 'failed', 'failed', 'done']
    assert [o.score is None for o in found] == [True, False, False, True, False]  # 3 was evaluated before
    assert 'failed: not enough memory' in (Path(asked.checkpoints) / 'tries.tsv').read_text()


def test_when_all_fail_the_first_reason_is_said(asked):
    with pytest.raises(UserError, match='none of 5 tries came to a score on the dev set; the first: NaN at step 3'):
        do(asked, Fake(**{f'_{n}': (1, 'NaN at step 3') for n in range(1, 6)}))


def test_a_fault_of_the_user_is_not_tried_again(asked):
    fake = Fake(_1=(2, '--metric nonsense: expected one of ...'))
    with pytest.raises(UsageError, match='--metric nonsense'):
        do(asked, fake)

    assert fake.seen == [1]
    assert not outcomes(asked)


def test_minutes_bound_the_tries(asked, monkeypatch):
    clock = iter(range(0, 100_000, 50))  # each look at it is 50 seconds later: a try takes that long
    monkeypatch.setattr('ernie.finetune.tries.time.monotonic', lambda: next(clock))
    left = []

    def train(number, flags, seconds):
        left.append(seconds)
        return Fake()(number, flags, seconds) if seconds > 50 else (write_and_stop(flags), '')

    def write_and_stop(flags):
        write(Path(os.path.dirname(flags[1])), 3, 0.99)

    do(asked.replace(try_minutes=2.1), train)
    assert left == [126, 76, 26] and [o.status for o in outcomes(asked)] == ['done', 'done', 'stopped']
    assert do(asked, Fake())[1]['main_value'] == 0.99  # what was stopped counts; without a limit the rest is done


def test_what_the_user_gave_stays(asked):
    do(asked.replace(given=frozenset({'learning_rate', 'batch_size'}), learning_rate=1e-4), Fake())
    found = [o.settings for o in outcomes(asked)]
    assert {s['learning_rate'] for s in found} == {1e-4} and {s['batch_size'] for s in found} == {32}
    assert len({s['epoch'] for s in found}) > 1


@pytest.mark.parametrize('given', [(), ('tokenizer',)])
def test_the_model_says_how_texts_are_cut_where_no_flag_does(asked, given):
    train = Fake()
    do(asked.replace(given=frozenset(given), tries=1), train)
    found = run_yaml.read_settings(train.flags[0][1], FinetuneSettings)
    assert {'tokenizer', 'do_lower_case'} & found.keys() == set(given)


def test_another_search_or_training_in_the_folder_is_refused(asked, tmp_path):
    do(asked, Fake())
    with pytest.raises(UsageError, match='--metric'):
        do(asked.replace(metric='macro_f1'), Fake())
    Path(asked.dev_set).write_text('label\ttext_a\n0\t坏\n1\t好\n', encoding='utf-8')
    with pytest.raises(UsageError, match='other content of --dev_set'):
        do(asked, Fake())
    fake = Fake()
    do(asked.replace(overwrite_checkpoints=True), fake)
    assert fake.seen == [1, 2, 3, 4, 5]
    other = asked.replace(checkpoints=str(tmp_path / 'other'))
    write(tmp_path / 'other', 1, 0.5)
    with pytest.raises(UsageError, match='earlier training'):
        do(other, Fake())
    assert not (tmp_path / 'other' / 'tries').exists()


def test_test_sets_are_predicted_with_the_best_alone(asked, tmp_path):
    (tmp_path / 'test.tsv').write_text('text_a\n好\n', encoding='utf-8')
    fake = Fake()
    wanted = {'test_set': str(tmp_path / 'test.tsv'), 'test_save': str(tmp_path / 'predicted')}
    do(asked.replace(**wanted), fake)
    assert fake.seen == [1, 2, 3, 4, 5, 0] and (tmp_path / 'predicted.0.9').is_file()
    first = run_yaml.read_settings(str(Path(asked.checkpoints) / 'tries' / '01' / 'run.yaml'), FinetuneSettings)
    assert first['test_set'] is None


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'dev_set': None}, 'dev set'),
        ({'do_val': False}, 'dev set'),
        ({'do_train': False, 'init_checkpoint': 'c'}, 'pre-trained parameters'),
    ],
)
def test_what_cannot_be_searched(asked, change, message):
    with pytest.raises(UsageError, match=message):
        do(asked.replace(**change), Fake())


def test_a_pipe_cannot_be_read_by_every_try(asked, tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(UsageError, match='pipe can be read once only'):
        do(asked.replace(train_set=str(tmp_path / 'pipe')), Fake())


def test_a_seed_that_is_not_given_is_drawn_once(asked):
    asked = asked.replace(random_seed=None)
    do(asked, Fake())
    seeds = [
        run_yaml.read_settings(str(path), FinetuneSettings)['random_seed']
        for path in Path(asked.checkpoints).glob('tries/*/run.yaml')
    ]
    assert len(seeds) == 5 and len(set(seeds)) == 1
    more = Fake()
    do(asked.replace(tries=6), more)
    assert more.seen == [6]


def test_outcomes_that_somebody_changed_are_named(asked):
    do(asked, Fake())
    path = Path(asked.checkpoints) / 'tries' / '02' / 'try.json'
    path.write_text(json.dumps({**read_json_object(str(path)), 'more': 1}))
    with pytest.raises(UserError, match='02/try.json'):
        do(asked, Fake())


def test_which_test_sets_can_be_scored(asked, tmp_path):
    contents = {
        'a.tsv': 'label\ttext_a\n0\t差\n',
        'b.csv': 'review,sentiment\n差,0\n',
        'c.tsv': 'text_a\n差\n',
        'd.jsonl': '{"text": "差", "label": 1}\n',
        'e.bin': '\x00\x01',
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content, encoding='utf-8')
    found = [_is_labelled(str(tmp_path / name), asked, SPEC) for name in contents]
    assert found == [True, True, False, True, False]
    contents = {'f.conll': '王\tB-PER\n明\tI-PER\n', 'g.txt': '王\n明\n\n好\n'}
    for name, content in contents.items():
        (tmp_path / name).write_text(content, encoding='utf-8')
    tags = table.find('sequence_labeling')
    assert [_is_labelled(str(tmp_path / name), asked, tags) for name in contents] == [True, False]
    questions = squad(*puzzles(2, 1))
    assert _is_labelled(write_json(tmp_path / 'q.json', questions), asked, table.find('mrc'))
    asks = '{"question": "谁", "context": "我"%s}\n'
    for name, more, labelled in (('i', ', "is_impossible": true', True), ('u', '', False)):
        (tmp_path / f'{name}.jsonl').write_text(4 * (asks % more), encoding='utf-8')
        assert _is_labelled(str(tmp_path / f'{name}.jsonl'), asked, table.find('mrc')) is labelled


# ------------------------------------------------------------------------------------------ the process of a try


def test_the_process_of_a_try_says_why_it_failed(tmp_path, capfd):
    code, error = run_try(str(tmp_path), 'classify', ['--train_set', str(tmp_path / 'nothing.tsv')])
    assert code == 1 and error == f'--train_set: {tmp_path}/nothing.tsv: no such file.'
    assert capfd.readouterr().err.splitlines()[-1] == f'error: {error}'
    code, error = run_try(str(tmp_path), 'classify', ['--epochs', '3'])
    assert code == 2 and 'Did you mean --epoch?' in error


def test_a_try_that_is_killed_or_takes_too_long(tmp_path, monkeypatch):
    def command(script):
        monkeypatch.setattr('ernie.finetune.try_process.sys.executable', str(tmp_path / 'python'))
        (tmp_path / 'python').write_text(f'#!/bin/sh\n{script}\n')
        (tmp_path / 'python').chmod(0o755)

    command('kill -9 $$')
    assert run_try(str(tmp_path), 'tag', [])[1] == 'killed by the system, most likely for want of memory'
    command('trap "touch saved; exit 130" TERM; sleep 60 & wait')
    monkeypatch.chdir(tmp_path)
    assert run_try(str(tmp_path), 'tag', [], 0.5) == (None, '') and (tmp_path / 'saved').exists()
    command('exit 130')
    with pytest.raises(Interrupted):
        run_try(str(tmp_path), 'tag', [])


@pytest.mark.slow
def test_two_real_tries(tmp_path):
    model = write_model(tmp_path / 'm')
    files = [
        write_table(tmp_path / f'{name}.tsv', ['label', 'text_a'], [(label, text) for text, label in sentences(n, n)])
        for name, n in (('train', 90), ('dev', 31), ('test', 30))
    ]
    names = ('train_set', 'dev_set', 'test_set')
    values = dict(zip(names, files, strict=True)) | {'init_pretraining_params': str(model), 'use_cuda': False}
    values |= {'checkpoints': str(tmp_path / 'c'), 'test_save': str(tmp_path / 'c' / 'predicted'), 'cpu_threads': 1}
    numbers = {'epoch': 2, 'max_seq_len': 12, 'batch_size': 8, 'learning_rate': 1e-3, 'random_seed': 3}
    run = ernie.finetune('classification', FinetuneSettings(**numbers, given=frozenset()), tries=2, **values)
    found = TryFiles(str(tmp_path / 'c')).outcomes()
    assert [o.status for o in found] == ['done', 'done'] and found[0].steps == 24
    assert run.best == str(tmp_path / 'c' / 'best') and run.last is None
    assert run.scores['main_value'] == max(o.score for o in found)
    lines = [json.loads(line) for line in (tmp_path / 'c' / 'evaluation.jsonl').read_text().splitlines()]
    assert [os.path.basename(line['file']) for line in lines if line['phase'] == 'dev'] == ['test.tsv']
    (predicted,) = (tmp_path / 'c').glob('predicted.*')
    assert len(predicted.read_text().splitlines()) == 30
    assert ernie.load(run.best, engine='executor')('好美')['label'] in ('0', '1')
