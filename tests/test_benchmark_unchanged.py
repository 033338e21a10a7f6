"""benchmark.acceptance.unchanged: what is new each time is not a difference, everything else is."""

import gzip
import json
import struct

import pytest

from benchmark.acceptance.unchanged.__main__ import main
from benchmark.acceptance.unchanged.compare import Allowed, compare, differences, events, masked
from benchmark.acceptance.unchanged.runs import chains
from propeller.errors import UserError
from propeller.train.record import EventWriter, MetricsFile

LOG = '[INFO] 2026-11-28 19:0{}:1{},393 [  trainer.py:  {}]:\tepoch: 1, step: 4, ave loss: {}, speed: {} steps/s'


@pytest.fixture
def sides(tmp_path):
    """Function (dict name -> text or bytes of before, the same of after) -> two folders with these files."""

    def write(*contents):
        folders = []
        for name, files in zip(('before', 'after'), contents, strict=True):
            for path, content in files.items():
                target = tmp_path / name / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content if isinstance(content, bytes) else content.encode())
            folders.append(str(tmp_path / name))
        return folders

    return write


def found(folders, allowed='', **more):
    return list(differences(*folders, Allowed(allowed), **more))


def test_clocks_places_and_identities_are_masked(sides):
    before = {'stderr': LOG.format(1, 2, 123, '0.693147', '12.5') + '\nrun: 0123456789abcdef\nsaved to /home/a/c'}
    after = {'stderr': LOG.format(3, 4, 77, '0.693147', '9.25') + '\nrun: fedcba9876543210\nsaved to /srv/b/c'}
    places = ([('/home/a', '<folder>')], [('/srv/b', '<folder>')])
    assert found(sides(before, after), places=places) == []
    assert found(sides(before, after)) == ['stderr:\n    -saved to /home/a/c\n    +saved to /srv/b/c']


def test_the_last_digit_of_a_loss_is_a_difference(sides):
    folders = sides(*({'stderr': LOG.format(1, 2, 3, loss, 4)} for loss in ('0.693147', '0.693148')))
    (text,) = found(folders)
    assert '-[INFO] <time> <place>:\tepoch: 1, step: 4, ave loss: 0.693147, speed: <time>' in text
    assert 'ave loss: 0.693148' in text


@pytest.mark.parametrize('loss', [0.1, 0.2])
def test_records_of_a_run(tmp_path, loss):
    for name, value, speed in (('before', 0.1, 3.0), ('after', loss, 4.0)):
        with MetricsFile(tmp_path / name / 'metrics.jsonl') as records:
            records.append('train', 1, 0, {'loss': value, 'steps_per_second': speed})
        with EventWriter(str(tmp_path / name / 'events')) as writer:
            writer.add_scalars({'train/loss': value, 'train/steps_per_second': speed}, 1)
    names = [text.partition(':')[0] for text in found([tmp_path / 'before', tmp_path / 'after'])]
    changed = ['events/events.out.tfevents', 'events/vdlrecords', 'metrics.jsonl']
    assert names == ([] if loss == 0.1 else changed)


def test_events_are_compared_without_their_time():
    def record(time, rest):
        data = b'\x09' + struct.pack('<d', time) + rest
        return struct.pack('<Q', len(data)) + b'crc.' + data + b'.crc'

    content = record(1.5, b'brain.Event:2') + record(2.5, b'loss 0.5') + record(3.5, b'speed 7')
    assert events(content) == b'loss 0.5'


def test_files_are_equal_byte_for_byte(sides):
    shards = [gzip.compress(b'1 2;3', mtime=time) for time in (1, 2)]
    before = {
        'model.safetensors': b'\x00\x01',
        'log.0': 'speed: 1',
        'shard.gz': shards[0],
        'old.json': '{}',
        'exit_code': '0',
    }
    after = {
        'model.safetensors': b'\x00\x02',
        'log.0': 'speed: 2',
        'shard.gz': shards[1],
        'new.json': '{}',
        'exit_code': '1',
    }
    assert found(sides(before, after)) == [
        'exit_code:\n    -0\n    +1',
        'model.safetensors: 2 and 2 bytes, not equal',
        'new.json: only after',
        'old.json: only before',
    ]


def test_what_changes_on_purpose_is_allowed(sides, tmp_path):
    before = {'mrc/log': 'task mrc of 3\nconfig: None\nloss 0.5'}
    after = {'reading/log': 'task reading of 3\nloss 0.5', 'reading/run.yaml': 'x'}
    folders = sides(before, after)
    rules = '# renamed\n\\bmrc\\b => reading\nline ^config:\nfile run\\.yaml$\n'
    assert found(folders, rules) == []
    (tmp_path / 'rules').write_text(rules + 'lines ^x\n')
    with pytest.raises(UserError, match=r"rules:5: found 'lines \^x', expected `OLD => NEW`"):
        Allowed.read(str(tmp_path / 'rules'))


def test_a_line_for_each_run(sides, capsys):
    folders = sides({'a/stdout': '1', 'b/stdout': '1', 'c/stdout': ''}, {'a/stdout': '1', 'b/stdout': '2'})
    assert compare(*folders, Allowed()) == ['b', 'c']
    lines = capsys.readouterr().out.splitlines()
    assert lines == ['a: equal', 'b: DIFFERENT, 1 files', '  stdout:', '    -1', '    +2'] + [
        'c: DIFFERENT, 1 files',
        '  only before',
    ]


def test_results_of_earlier_calls_are_compared_without_running(sides, tmp_path, capsys):
    notes = [json.dumps([[str(tmp_path / name), '<folder>']]) for name in ('before', 'after')]
    texts = [f'in {tmp_path / name}' for name in ('before', 'after')]
    folders = sides(*({'.unchanged.json': n, 'a/stdout': t} for n, t in zip(notes, texts, strict=True)))
    assert main(folders) == 0
    assert capsys.readouterr().out == 'a: equal\nall equal\n'
    with pytest.raises(UserError, match='neither a checkout nor results of an earlier call'):
        main([str(tmp_path / 'before' / 'a')])


def test_masks_leave_numbers_of_results_alone():
    text = 'processor 7: em: 30.769231, questions: 13\n{"step": 12, "loss": 1e-05, "f1": 0.5}\n0.25 0.75'
    assert masked(text) == text


def test_each_run_has_a_name_of_its_own():
    names = [run.name for chain in chains(slow=True) for run in chain]
    assert len(names) == len(set(names)) and not {'data', '.cache'} & set(names)
