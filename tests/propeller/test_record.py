import glob
import json
import os
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from propeller import summary
from propeller.errors import UserError
from propeller.train.record import EventWriter, MetricsFile, read_metrics

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path):
    """A file with records of the steps 5, 10, 15, 20 and an evaluation at 10."""
    path = tmp_path / 'deep' / 'er' / 'metrics.jsonl'
    with MetricsFile(path) as f:
        for step in (5, 10):
            f.append('train', step, 0, {'loss': 1 / step})
        f.append('dev', 10, 0, {'acc': 0.5, 'file': '验证.tsv'})
        for step in (15, 20):
            f.append('train', step, 1, {'loss': 1 / step})
    return path


def steps(path):
    return [(record['phase'], record['step']) for record in read_metrics(path)]


def test_records_are_lines_of_strict_json(tmp_path):
    path = tmp_path / 'metrics.jsonl'
    before = time.time()
    with MetricsFile(path) as f:
        values = {
            'loss': np.float32(0.25),
            'n': np.int64(3),
            'bad': float('nan'),
            'x': np.array([np.inf]),
            'file': '中',
        }
        f.append('train', np.int64(7), 2, values)
        # On the disk already, before the file is closed.
        (line,) = path.read_text(encoding='utf-8').splitlines()
    record = json.loads(line, parse_constant=pytest.fail)
    assert before - 1 <= record.pop('time') <= time.time() + 1
    assert record == {
        'step': 7,
        'epoch': 2,
        'phase': 'train',
        'loss': 0.25,
        'n': 3,
        'bad': None,
        'x': None,
        'file': '中',
    }
    assert list(json.loads(line))[:4] == ['step', 'epoch', 'phase', 'time']


def test_resume_removes_the_steps_that_will_come_again(path):
    kept = path.read_bytes().splitlines()[:3]
    with MetricsFile(path, resume_step=10) as f:
        assert path.read_bytes().splitlines() == kept
        f.append('train', 11, 0, {'loss': 9.0})
    assert steps(path) == [('train', 5), ('train', 10), ('dev', 10), ('train', 11)]
    MetricsFile(path, resume_step=10**9).close()
    assert len(steps(path)) == 4
    MetricsFile(path, resume_step=0).close()
    assert steps(path) == []


def test_without_resume_all_is_kept(path):
    with MetricsFile(path) as f:
        f.append('test', 3, 0, {'acc': 1.0})
    assert steps(path)[-2:] == [('train', 20), ('test', 3)] and len(steps(path)) == 6


def test_a_line_cut_at_any_byte_is_tolerated(path):
    content = path.read_bytes()
    start = content.rindex(b'\n', 0, -1) + 1
    for cut in range(start, len(content)):
        path.write_bytes(content[:cut])
        whole = 5 if cut == len(content) - 1 else 4
        assert len(read_metrics(path)) == whole
        with MetricsFile(path) as f:
            f.append('train', 25, 1, {'loss': 0.0})
        assert len(steps(path)) == whole + 1 and steps(path)[-1] == ('train', 25)


@pytest.mark.parametrize(
    'line', [b'', b'{"step": 1', b'[1]', b'{"step": 1, "epoch": 0}', b'\x00\x00', b'{"phase": "x"}']
)
def test_a_broken_line_in_the_middle_is_named(path, line):
    lines = path.read_bytes().split(b'\n')
    lines[2] = line
    path.write_bytes(b'\n'.join(lines))
    for use in (read_metrics, MetricsFile):
        with pytest.raises(UserError, match=r'metrics\.jsonl:3: found .* Move the file away'):
            use(path)
    MetricsFile(path, resume_step=0).close()
    assert path.read_bytes() == b''


def test_unwritable_and_missing_files_are_user_errors(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot be written'):
        MetricsFile(tmp_path / 'file' / 'metrics.jsonl')
    with pytest.raises(UserError, match='no such file'):
        read_metrics(tmp_path / 'none')


def masked_crc32c(data):
    """CRC-32C (Castagnoli), bit by bit, masked as TensorFlow's record format asks."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def events(folder):
    """The events of all files of the folder, read by the record format itself, checksums included."""
    event_pb2 = pytest.importorskip('tensorboardX.proto.event_pb2')
    result = []
    for name in sorted(glob.glob(os.path.join(folder, 'events.out.tfevents.*'))):
        with open(name, 'rb') as f:
            while head := f.read(12):
                length, check = struct.unpack('<QI', head)
                data = f.read(length)
                assert check == masked_crc32c(head[:8])
                assert struct.unpack('<I', f.read(4))[0] == masked_crc32c(data)
                result.append(event_pb2.Event.FromString(data))
    return result


def test_event_files_hold_scalars_and_histograms(tmp_path, logged):
    with EventWriter(tmp_path / 'log') as writer:
        writer.add_scalar('loss', np.float32(0.5), 3)
        writer.add_scalars({'acc': 0.75, 'file': 'dev.tsv'}, np.int64(4), prefix='dev/')
        writer.add_scalar('rate', float('nan'), 5)
        writer.add_histogram('weights', np.arange(6.0).reshape(2, 3), 5)
        writer.add_histogram('broken', np.array([1.0, np.inf]), 5)
    found = {(value.tag, e.step): value for e in events(tmp_path / 'log') for value in e.summary.value}
    assert set(found) == {('loss', 3), ('dev/acc', 4), ('weights', 5)}
    assert found['loss', 3].simple_value == 0.5 and found['dev/acc', 4].simple_value == 0.75
    histogram = found['weights', 5].histo
    assert (histogram.num, histogram.min, histogram.max, histogram.sum) == (6, 0, 5, 15)
    assert [message.split()[1] for message in logged] == ['rate', 'broken']


def test_writers_of_the_same_second_do_not_share_a_file(tmp_path):
    """As those of two evaluations of a small model."""
    for step in range(3):
        with EventWriter(tmp_path) as writer:
            writer.add_scalar('loss', 0.5, step)
    assert len(list(tmp_path.glob('events.out.tfevents.*'))) == 3


def test_event_files_of_a_resumed_run_hide_later_steps(tmp_path):
    with EventWriter(tmp_path, resume_step=10) as writer:
        writer.add_scalar('loss', 1.0, 11)
    start = [e for e in events(tmp_path) if e.HasField('session_log')]
    assert [e.step for e in start] == [11]


def test_event_writer_says_what_to_install_or_mend(tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot be written'):
        EventWriter(tmp_path / 'file' / 'log')
    monkeypatch.setitem(sys.modules, 'tensorboardX', None)
    with pytest.raises(UserError, match='pip install tensorboardX'):
        EventWriter(tmp_path / 'log')
    assert not (tmp_path / 'log').exists()


class Variable:
    """What a graph variable looks like from outside."""

    shape, dtype = (3, 7), 'float32'


def test_summaries_are_collected_for_the_graph_being_built(logged):
    a, b, c = Variable(), Variable(), Variable()
    with summary.recording() as outer:
        summary.scalar('norm', a)
        with summary.recording() as inner:
            summary.scalar('norm', b)
        summary.histogram('norm', c)
    assert outer == ([('norm', a)], [('norm', c)]) and inner == ([('norm', b)], [])
    assert not logged
    with summary.recording() as outer_2, summary.ignoring():
        summary.scalar('norm', a)
        with pytest.raises(ValueError, match='expected a graph variable'):
            summary.histogram('norm', 3)
    assert outer_2 == ([], []) and not logged
    summary.scalar('late', a)
    assert outer == ([('norm', a)], [('norm', c)])
    assert len(logged) == 1 and 'late' in logged[0]


@pytest.mark.parametrize('value', [1.5, 3, np.float32(2), np.zeros(3), None, 'loss', [1], {}])
def test_only_graph_variables_are_summarised(value):
    with summary.recording() as record:
        for add in (summary.scalar, summary.histogram):
            with pytest.raises(ValueError, match='expected a graph variable'):
                add('x', value)
    assert record == ([], [])


def test_names_of_summaries_are_strings_and_those_that_repeat_get_a_number():
    """A model may call them in a loop over its layers; nothing is lost, nor do two curves share a name."""
    with summary.recording() as record:
        for _ in range(3):
            summary.scalar('层/x', Variable())
        summary.scalar('层/x_1', Variable())
        summary.scalar('loss', Variable())  # the training has one
        summary.histogram('层/x', Variable())
        summary.histogram('loss', Variable())
        for name in ('', None, 3):
            with pytest.raises(UserError, match='non-empty string'):
                summary.scalar(name, Variable())
    assert [name for name, _ in record.scalar] == ['层/x', '层/x_1', '层/x_2', '层/x_1_1', 'loss_1']
    assert [name for name, _ in record.histogram] == ['层/x', 'loss']


def test_a_paddle_value_is_a_graph_variable():
    paddle = pytest.importorskip('paddle')
    paddle.enable_static()
    with paddle.static.program_guard(paddle.static.Program()), summary.recording() as record:
        value = paddle.mean(paddle.static.data('x', [-1, 3], 'float32'))
        summary.scalar('mean', value)
    assert record.scalar[0][1] is value


def test_a_full_disk_ends_the_event_files_not_the_training(tmp_path, logged):
    code = (
        'import resource, sys; from propeller.train.record import EventWriter\n'
        'with EventWriter(sys.argv[1]) as writer:\n'
        '    resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n'
        '    for step in range(99): writer.add_scalar("loss", 1.0, step)\n'
        'print("done")'
    )
    done = subprocess.run(
        [sys.executable, '-c', code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, 'done\n')
    (line,) = done.stderr.splitlines()
    assert f'{tmp_path}: event files cannot be written (File too large): none from step' in line


def test_a_file_of_somebody_else_is_not_emptied(tmp_path):
    path = tmp_path / 'metrics.jsonl'
    path.write_text('my own notes\n')
    with pytest.raises(UserError, match='metrics.jsonl: found a file without a record of a run.* Move it away'):
        MetricsFile(path, resume_step=0)
    assert path.read_text() == 'my own notes\n'
    path.write_text('{"step": 1, "ep')  # the first line of a run that was killed
    MetricsFile(path, resume_step=0).close()
    assert path.read_bytes() == b''


def test_a_device_takes_records_and_keeps_none(tmp_path):
    try:
        os.mknod(tmp_path / 'null', stat.S_IFCHR | 0o666, os.makedev(1, 3))
        open(tmp_path / 'null', 'ab').close()
    except OSError as e:
        pytest.skip(f'no device can be made here ({e.strerror})')
    (tmp_path / 'metrics.jsonl').symlink_to('null')
    with MetricsFile(tmp_path / 'metrics.jsonl', resume_step=0) as file:
        file.append('train', 1, 0, {'loss': 0.5})
    assert read_metrics(tmp_path / 'metrics.jsonl') == []
    assert stat.S_ISCHR((tmp_path / 'null').stat().st_mode) and (tmp_path / 'metrics.jsonl').is_symlink()
