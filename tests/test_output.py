"""What a training prints, and what its log file keeps."""

import json
import re
import shlex
import shutil

import numpy as np
import pytest

import run_classifier
from ernie.reader.class_counts import counts_text
from ernie.run import resume
from ernie.run.blocks import clock, show
from ernie.run.machine import processor, size_text
from propeller.errors import UsageError
from propeller.width import width_of
from tests.ernie.tiny_model import flags, messages, records, sentences, table

STEP = re.compile(
    r'epoch: (\d+), progress: (\d+)/\d+, step: (\d+), ave loss: ([\d.]+), .* steps/s(, time left: [\d:]+)?'
)


# Lines with paths, which are not cut, and those of 2019.
PATHS = ('epoch', '[dev', 'next', 'model', 'checkpoints', 'report', 'wrong rows', 'files')


@pytest.fixture
def at_info(monkeypatch):
    monkeypatch.setenv('ERNIE_LOG_LEVEL', 'info')


def test_a_run_of_40_steps_prints_25_lines_at_most(tmp_path, train, at_info, monkeypatch):
    monkeypatch.setattr('sys.argv', ['run_classifier.py'])
    data = {
        'train_set': table(tmp_path / 't.tsv', sentences(155, 1)),
        'dev_set': table(tmp_path / 'd.tsv', sentences(21, 2)),
    }
    ran = train(**data, epoch=2, max_steps=40, validation_steps=100)
    lines = ran.log.splitlines()
    assert len(lines) <= 25 and not ran.out, ran.log
    assert not any(re.match(r'\[(INFO|DEBUG)', line) or 'warning' in line for line in lines)
    wide = [line for line in lines if width_of(line) > 100 and not line.startswith(PATHS)]
    assert not wide
    keys = [line.split('  ')[0] for line in lines if line[0] not in ' e[']
    assert keys[:8] == ['data', 'classes', 'lengths', 'first rows', 'model', 'settings', 'device', 'steps']
    assert 't.tsv: 155 rows; ' in lines[0] and 'dev set d.tsv: 21 rows' in lines[0]
    assert [m[3] for m in map(STEP.fullmatch, lines) if m] == ['10', '20', '30', '40']
    (dev,) = [line for line in lines if line.startswith('[dev evaluation] ave loss: ') and line.endswith('steps: 40')][
        -1:
    ]
    assert (
        f'best         accuracy {float(re.search(r"acc:([0-9.]+)", dev)[1]):.4f}' in ran.log or 'at step 20' in ran.log
    )
    command = shlex.split(lines[-1].removeprefix('next '))
    best = str(tmp_path / 'c/best')
    assert command[:6] == [
        *('python', 'infer_classifyer.py', '--init_checkpoint', best, '--predict_set', data['dev_set'])
    ]
    # The answers are those of the checkpoint that is kept.
    answers = [line for line in lines if ' -> ' in line]
    assert len(answers) == 2 and all(re.search(r' -> [01] [01]\.\d\d$', line) for line in answers)
    # All lines of 2019 are in the log file, in their form.
    log = (tmp_path / 'c/run.log').read_text(encoding='utf-8')
    assert all(re.match(r'\[[A-Z]+\] \d{4}-\d\d-\d\d \d\d:', line) for line in log.splitlines())
    kept = messages(log)
    assert kept[0] == '-----------  Configuration Arguments -----------'
    assert {'Num train examples: 155', 'Max train steps: 40', 'random seed: 1', *lines} <= set(kept)


def test_a_missing_flag_is_one_line_and_nothing_before_it(tmp_path, capsys):
    with pytest.raises(UsageError, match='--do_train true needs --train_set'):
        run_classifier.main(flags(checkpoints=tmp_path / 'c', use_cuda=False))
    captured = capsys.readouterr()
    assert not captured.err and not captured.out and not (tmp_path / 'c').exists()


def test_an_interrupted_or_second_run_goes_on_with_its_log(tmp_path, train):
    data = {'train_set': table(tmp_path / 't.tsv', sentences(40, 1)), 'do_val': False, 'epoch': 1}
    train(**data, max_steps=2)
    first = (tmp_path / 'c/run.log').read_text(encoding='utf-8')
    train(**data, max_steps=4, resume=True)
    both = (tmp_path / 'c/run.log').read_text(encoding='utf-8')
    assert both.startswith(first) and len(both) > len(first)
    train(**data, max_steps=2, overwrite_checkpoints=True)
    assert (tmp_path / 'c/run.log').read_text(encoding='utf-8').count('Configuration Arguments') == 1


@pytest.mark.parametrize('parts', [1, 2])
def test_loss_and_accuracy_are_means_over_the_rows_since_the_line_before(tmp_path, train, parts):
    """Against the numbers of each step, which the same run gives with a line for each; also after it was resumed."""
    data = {'train_set': table(tmp_path / 't.tsv', sentences(43, 1)), 'do_val': False, 'epoch': 3}
    data |= {'batch_size': 8 // parts, 'gradient_accumulation_steps': parts, 'fused_ops': 'false'}
    ran = train(**data, skip_steps=1, checkpoints=tmp_path / 'each')
    done = [(int(m[1]), int(m[2])) for m in map(STEP.fullmatch, messages(ran.log)) if m]
    pairs = zip([(0, 0), *done[:-1]], done, strict=True)
    rows = np.array([now - (before if epoch == of else 0) for (of, before), (epoch, now) in pairs])
    each = records(tmp_path / 'each', 'train')
    assert len(each) == 18 and rows.sum() == 3 * 43 and set(rows) == {8, 3}
    train(**data, skip_steps=5, save_steps=8)
    found = records(tmp_path / 'c', 'train')
    assert [r['step'] for r in found] == [5, 10, 15]
    for record in found:
        interval = slice(record['step'] - 5, record['step'])
        for name in ('loss', 'acc'):
            values = np.array([r[name] for r in each[interval]])
            assert record[name] == pytest.approx((values * rows[interval]).sum() / rows[interval].sum(), abs=1e-5)
    state = json.loads((tmp_path / 'c/step_18/training_state.json').read_text())['hooks']['training_log']
    assert state['rows'] == rows[15:].sum() and state['sums'][1] == state['rows']
    for step in (16, 18):
        shutil.rmtree(tmp_path / f'c/step_{step}')
    train(**data, skip_steps=5, resume=True)
    again = records(tmp_path / 'c', 'train')
    assert [(r['step'], r['loss'], r['acc']) for r in again] == [(r['step'], r['loss'], r['acc']) for r in found]


@pytest.fixture
def blocks(capsys, monkeypatch):
    monkeypatch.setenv('ERNIE_LOG_LEVEL', 'info')
    return lambda pairs: show(pairs) or capsys.readouterr().err.splitlines()


def test_the_blocks_are_aligned_and_fit(blocks):
    first, second, third = blocks([('数据', '好' * 60), ('', 'two\nlines'), ('left out', ''), ('next', ('x' * 150,))])
    assert first == '数据  ' + '好' * 45 + '...' and width_of(first) <= 100
    assert second == '      two lines' and third == 'next  ' + 'x' * 150


def test_classes_on_a_line():
    assert counts_text(['差', '好'], [1803, 3]) == '2: 差 1,803, 好 3'
    many = counts_text([f'class {i}' for i in range(30)], range(30))
    assert many == '30: class 29 29, class 28 28, class 27 27, class 26 26, class 25 25, class 24 24, class 23 23, ' \
                   'class 22 22, 22 more of 0 to 21'  # fmt: skip
    assert counts_text(['x' * 99], [1]) == '1: ' + 'x' * 19 + '… 1'


def test_time_size_and_processor(tmp_path):
    assert clock(3723.4) == '1:02:03'
    (tmp_path / 'a').write_bytes(bytes(2_500_000))
    assert size_text(tmp_path) == '2.5 MB'
    cpuinfo = tmp_path / 'cpuinfo'
    cpuinfo.write_text('processor\t: 0\nmodel name\t: Intel(R) Xeon(R) CPU @ 2.20GHz\nflags\t\t: fpu avx avx2\n')
    assert processor(cpuinfo) == ('Intel Xeon CPU', 'avx2')
    assert processor(tmp_path / 'none') == ('the processor', '')


def test_the_command_that_resumes(monkeypatch, tmp_path):
    class One:
        size = 1

    class Arguments:
        checkpoints = 'runs/my data'

    argv = ['run_mrc.py', '--train_set', "it's.json", '--overwrite_checkpoints', 'true', '--resume=false']
    monkeypatch.setattr('sys.argv', argv)
    command = resume.resume_command(Arguments, One)
    assert command == "python run_mrc.py --train_set 'it'\"'\"'s.json' --checkpoints 'runs/my data' --resume true"
    monkeypatch.setattr('sys.argv', ['/x/notebook.py'])
    assert resume.resume_command(Arguments, One) == 'the same again with resume=True'
