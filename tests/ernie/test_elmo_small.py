"""`elmo_small`: its texts, its training that can be killed, and the module that it becomes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ernie.hub as hub
from ernie.hub.elmo_small import __main__ as program
from ernie.hub.elmo_small import making, texts
from ernie.hub.log import log as hub_log
from propeller.errors import UsageError, UserError
from tests.ernie.tiny_model import sentences

ROOT = Path(__file__).resolve().parents[2]
SIZES = {'cell_size': 6, 'emb_size': 5, 'hidden_size': 8, 'vocab_size': 60}
TRAINING = {'batch_size': 8, 'save_steps': 5, 'skip_steps': 5, 'cpu_threads': 1}
# What a training on few words at spaces is, in this process and in others.
SMALL = f"""
from ernie.hub.elmo_small import making, texts
from tests.ernie.tiny_model import sentences
making.CONFIG = {{**making.CONFIG, **{SIZES}}}
making._TRAINING = {{**making._TRAINING, **{TRAINING}}}
texts.news = lambda: iter(['天 很 晴 了', '雨 很 湿 。'] * 60)
texts.reviews = lambda: [' '.join(text) for text, _ in sentences(50, 3)]
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The cache is empty, the texts are few."""
    for name in ('CONFIG', '_TRAINING'):
        monkeypatch.setattr(making, name, getattr(making, name))
    for name in ('news', 'reviews'):
        monkeypatch.setattr(texts, name, getattr(texts, name))
    exec(SMALL, {})
    monkeypatch.setattr(making, 'default_lexer', lambda: 'spaces')
    monkeypatch.setenv('ERNIE_HOME', str(tmp_path / 'home'))
    return tmp_path / 'home' / 'modules' / 'elmo_small-spaces'


def test_the_configuration_is_that_of_the_file():
    assert json.loads((ROOT / 'config/elmo_small.json').read_text()) == making.CONFIG


def test_lines_are_whole_sentences_where_they_can_be():
    words = ['好'] * 40 + ['。'] + ['坏'] * 30 + ['！'] + ['长'] * 100
    lines = [line.split() for line in texts.lines_of(words)]
    assert [len(line) for line in lines] == [41, 31, 62, 38] and sum(lines, []) == words
    assert texts.lines_of([]) == [] and texts.lines_of(['好']) == ['好']


def test_news_are_the_text_of_the_corpus(tmp_path, monkeypatch):
    path = tmp_path / '199801.txt'
    path.write_text('[中央/n  电视台/n]nt  １/m  ／/w  和/c\n\n　\n新年/t  讲话/n\n', encoding='utf-8')
    monkeypatch.setattr(texts, 'package_file', lambda *_: path)
    assert list(texts.news()) == ['中央电视台１／和', '新年讲话']


def test_texts_that_share_something_with_others_are_left_out():
    known = ['房间很大，服务也好。', '早餐一般', '离车站近 ＡＢＣ', '电脑很快', '书不错']
    others = ['《早餐一般》，下次不来', '车站近abc', '！！', '电脑很慢']
    assert texts.without(known, others) == ['房间很大，服务也好。', '电脑很快', '书不错']


def test_each_40th_text_is_for_the_dev_set(tmp_path):
    paths = [tmp_path / 'train', tmp_path / 'dev']
    with open(paths[0], 'w') as train, open(paths[1], 'w') as dev:
        counts = texts.write_texts(train, dev, [f'词{i} 很 好' for i in range(85)], 'spaces')
    assert counts == (83 * 3, 2 * 3)
    assert paths[1].read_text().splitlines() == ['词39 很 好', '词79 很 好']


def test_a_killed_training_goes_on_and_becomes_the_module_elmo(small, tmp_path, caplog, capfd):
    code = f'{SMALL}\nimport pathlib\nmaking.make(pathlib.Path({str(small)!r}), "spaces", epochs=500)'
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    child = subprocess.Popen(
        [sys.executable, '-c', code], cwd=tmp_path, env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    work, end = small.parent / 'elmo_small-spaces.training', time.monotonic() + 300
    try:
        while not list((work / 'run').glob('step_*')) and time.monotonic() < end:
            assert child.poll() is None
            time.sleep(0.1)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    assert not small.exists()
    before = max(int(path.name[5:]) for path in (work / 'run').glob('step_*'))
    assert before % 5 == 0

    hub_log.addHandler(caplog.handler)
    making.make(small, 'spaces', epochs=(before + 40) // 20 + 1)
    assert f'step_{before}' in capfd.readouterr().err
    assert not work.exists()
    origin = json.loads((small / 'origin.json').read_text())
    assert origin['steps'] > before and origin['perplexity'] < 60 and origin['left_out'] == 0

    module = hub.Module(name='elmo')
    said = [record.getMessage() for record in caplog.records]
    hub_log.removeHandler(caplog.handler)
    assert any('minutes of a core' in text for text in said)
    (line,) = [text for text in said if text.startswith('module elmo is elmo_small: ')]
    assert 'trained on this machine, not by Baidu' in line and f'perplexity {origin["perplexity"]:.1f} on ' in line
    assert module.config.cell_size == 6 and module.get_vocab_path() == str(small / 'vocab.txt')
    assert hub.reader.LACClassifyReader(vocab_path=module.get_vocab_path()).lexer == 'spaces'


def test_a_training_on_other_texts_is_not_gone_on_with(small, monkeypatch):
    monkeypatch.setattr(making, '_train', lambda *_: (_ for _ in ()).throw(UserError('killed')))
    with pytest.raises(UserError, match='killed'):
        making.make(small, 'spaces')
    with pytest.raises(UserError, match='found a training on other texts'):
        making.make(small, 'spaces', leave_out=[text for text, _ in sentences(3, 3)])


def test_a_training_that_fails_is_one_line(small, monkeypatch):
    monkeypatch.setattr(making, '_TRAINING', {'batch_size': 0})
    with pytest.raises(UserError, match='its training ended with exit code 2; the reason stands above'):
        making.make(small, 'spaces')
    assert not small.exists()


def test_the_program_leaves_out_the_texts_of_files(small, tmp_path, monkeypatch, capsys):
    made = {}
    monkeypatch.setattr(program, 'default_lexer', lambda: 'spaces')
    monkeypatch.setattr(program, 'make', lambda *args: made.update(args=args))
    monkeypatch.setattr(program, 'described', lambda folder: 'said')
    path = tmp_path / 'dev.tsv'
    path.write_text('label\ttext_a\n1\t好 的\n0\t坏\n', encoding='utf-8')
    program.main(['--folder', str(tmp_path / 'm'), '--leave_out', str(path), '--epoch', '3'])
    assert made['args'] == (tmp_path / 'm', 'spaces', ['好 的', '坏'], 3, 0)
    assert capsys.readouterr().out == f'said\n{tmp_path / "m"}\n'


@pytest.mark.parametrize(
    'flags, message',
    [
        (['--epoch', '3'], '--epoch: --folder is missing'),
        (['--folder', 'x', '--epoch', '0'], '--epoch 0: must be at least 1'),
        (['--folder', 'x', '--cpu_threads', '-1'], '--cpu_threads -1: must be at least 0'),
    ],
)
def test_flags_that_cannot_be(flags, message):
    with pytest.raises(UsageError, match=message):
        program.main(flags)
