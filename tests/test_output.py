"""What a training prints, and what its log file keeps."""

import json
import re
import shlex
import shutil

import numpy as np
import pytest

import run_classifier
from ernie.command import main
from ernie.finetune import next_step
from ernie.finetune.setting_facts import changed_settings
from ernie.reader.class_counts import counts_text
from ernie.run import resume
from ernie.run.blocks import clock, show
from ernie.run.machine import processor, size_text
from ernie.settings.finetune import FinetuneSettings
from propeller.errors import UsageError
from propeller.width import width_of
from tests.ernie import tiny_reading, tiny_tagging
from tests.ernie.tiny_model import flags, messages, records, sentences, table

STEP = re.compile(
    r'epoch: (\d+), progress: (\d+)/\d+, step: (\d+), ave loss: ([\d.]+), .* steps/s(, time left: [\d:]+)?'
)


# Lines with paths, which are not cut, and those of 2019.
PATHS = ('epoch', 'Epoch', '[dev', 'next', 'model', 'checkpoints', 'report', 'wrong rows', 'files')


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
    keys = [line.split('  ')[0] for line in lines if line[0] not in ' eE[']
    assert keys[:8] == ['data', 'classes', 'lengths', 'first rows', 'model', 'settings', 'device', 'steps']
    assert keys[8:] == ['best', 'checkpoints', 'report', 'wrong rows', 'answers', 'next']
    assert re.search(
        r'report .*/c/report.html \(beside it curves.png, metrics.jsonl, run.log; [\d.]+ [kM]B in all\)', ran.log
    )
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


def own_file(folder, task):
    """A small file of one's own for a task, with names of columns that are recognised."""
    path = folder / {'classify': '点评.csv', 'tag': 'names.conll', 'read': 'questions.json'}[task]
    if task == 'classify':
        rows = [f'{i};{text};{"差好"[label]}评' for i, (text, label) in enumerate(sentences(40, 1))]
        path.write_text('\n'.join(['编号;评论;情感', *rows]), encoding='utf-8-sig')
    elif task == 'tag':
        tiny_tagging.write_conll(path, tiny_tagging.sentences(40, 4))
    else:
        tiny_reading.write_json(path, tiny_reading.squad(*tiny_reading.puzzles(20, 5)))
    return path


@pytest.mark.parametrize('task', ['classify', 'tag', 'read'])
def test_40_steps_with_a_file_of_ones_own_are_22_lines_at_most(tmp_path, model, at_info, capsys, monkeypatch, task):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('ernie.report.fonts._told', [True])  # whether the machine has a font
    monkeypatch.setattr('sys.argv', ['ernie'])
    path, flags = own_file(tmp_path, task), ['--max_steps', '40' if task == 'classify' else '8']
    flags += ['--max_query_length', '4', '--doc_stride', '3'] if task == 'read' else []
    assert main(['finetune', task, str(path), '--model', str(model), *flags]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(('warning: ', 'time left: '))]
    keys = [line.split('  ')[0] for line in lines if line[0] not in ' e[']
    assert len(lines) <= 22 and keys[-6:] == ['best', 'checkpoints', 'report', 'wrong rows', 'answers', 'next'], lines
    if task == 'classify':
        assert '; columns 评论 -> text, 情感 -> label; dev set 点评_dev' in lines[0] and ': columns: ' not in str(lines)
    answers = [line for line in lines if ' -> ' in line][-2:]
    sure = {'classify': r'[差好]评 0\.\d\d', 'tag': r'(\(none\)|.+/(PER|LOC).*)', 'read': r'.+ [01]\.\d\d'}[task]
    assert all(re.search(rf'\S -> {sure}$', line) for line in answers)
    # Each evaluation is in the log file.
    log = (tmp_path / 'runs' / path.stem / 'run.log').read_text(encoding='utf-8')
    shown = sum('evaluation] ' in line for line in lines)
    assert shown <= 2 and (task != 'classify' or shown < log.count('evaluation] '))
    name = {'classify': '评论', 'tag': 'sentence', 'read': 'question'}[task]
    errors = tmp_path / 'runs' / path.stem / f'reports/{path.stem}_dev.errors.jsonl'
    wrong = [json.loads(line) for line in errors.read_text(encoding='utf-8').splitlines()]
    assert wrong and all(row[name] and 'text_a' not in row for row in wrong)
    # The command that is proposed is one that works.
    words = shlex.split(lines[-1].removeprefix('next '))
    assert main(words[words.index('predict') :]) == 0
    answered = capsys.readouterr().out.splitlines()
    assert len(answered) == 1 if task != 'read' else len(answered) == 20


def test_the_start_names_the_settings_that_the_user_gave():
    given = FinetuneSettings(train_set='t', weight_decay=0.01, use_crf=True, dev_share=0.2, learning_rate=3e-5, epoch=9)
    # What a folder says of its model, and what the program makes of what was not given.
    args = given.replace(do_lower_case=False, chunk_scheme='IO', max_seq_len=96)
    assert changed_settings(args) == 'max_seq_len 96, learning_rate 3e-05, use_crf true, dev_share 0.2'
    chosen = ('learning_rate', 'max_seq_len')
    assert changed_settings(args, chosen, own_data=True) == 'use_crf true, dev_share 0.2'
    own = FinetuneSettings(train_set='t', dev_set='d', max_steps=40).replace(dev_share=0.0)
    assert changed_settings(own, chosen, True, 40) == '' and changed_settings(own, chosen, True, 30) == 'max_steps 40'


class Rows:
    """Stands for an evaluator whose dev set has these texts; all answers are right, and as sure as `good` says."""

    def __init__(self, path, texts, good):
        self.path, self.found = str(path), texts
        path.touch()
        self.kept = type('Kept', (), {'good': good})
        self.task = type('Task', (), {'texts': lambda rows, wanted: ((i, texts[i]) for i in wanted)})
        self.task.spec = type('Spec', (), {'name': 'classification'})

    def __len__(self):
        return len(self.found)

    def scored_sets(self):
        return [(self.path, self)]


def test_the_text_that_is_proposed_is_like_most_and_answered_well(tmp_path):
    texts = ['dsad', '送来的时候已经凉了', '很好吃，下次还来', '味道一般，价格偏贵了一点', '好' * 90, '-v 是什么意思呢']
    proposed = lambda texts, good: next_step.typical_texts(Rows(tmp_path / 'd', texts, good))  # noqa: E731
    single = [{'text_a': text} for text in texts]
    assert proposed(single, np.full(6, 0.9)) == ('送来的时候已经凉了',)
    assert proposed(single, np.array([1, 0, 0.5, 0.9, 1, 1])) == ('很好吃，下次还来',)
    assert proposed(single[:1], np.ones(1)) == ('dsad',) and proposed(single[4:], np.ones(2)) == ()
    pairs = [{'text_a': 'is it open?', 'text_b': 'open\n now'}, {'text_a': 'a b', 'text_b': ''}]
    assert proposed(pairs, np.ones(2)) == ('is it open?', 'open now')
    assert proposed([{'tokens': ['EU', 'rejects', 'call']}], np.ones(1)) == ('EU rejects call',)


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
