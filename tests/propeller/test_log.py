"""What the console shows at each level, and the file that keeps all lines."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from propeller.errors import UsageError, UserError
from propeller.log import VARIABLE, console, get_logger, keep_log

log = get_logger('propeller.test')
ROOT = str(Path(__file__).parents[2])
LINE = re.compile(
    r'\[(DEBUG|INFO|WARNING|ERROR)\] \d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[ *test_log\.py: *\d+\]:\t(.*)'
)


def say():
    log.debug('of an expert')
    log.info('好 of %s', 'everybody')
    log.warning('to act on')
    log.error('bad')


def shown(level=None, stream=io.StringIO):
    with pytest.MonkeyPatch.context() as patch, console(level):
        patch.setattr(sys, 'stderr', stream())
        say()
        return sys.stderr.getvalue()


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv(VARIABLE)


def test_lines_of_each_level(monkeypatch):
    plain = ['好 of everybody', 'warning: to act on', 'error: bad']
    assert shown().splitlines() == shown('info').splitlines() == plain
    assert shown('warning').splitlines() == plain[1:]
    assert shown('error').splitlines() == plain[2:]
    texts = ['of an expert', '好 of everybody', 'to act on', 'bad']
    assert [LINE.fullmatch(line)[2] for line in shown('debug').splitlines()] == texts
    monkeypatch.setenv(VARIABLE, 'error')
    assert shown().splitlines() == plain[2:] and shown('warning').splitlines() == plain[1:]


def test_a_level_that_is_none_is_refused(monkeypatch):
    with pytest.raises(UsageError, match="--log_level 'loud': expected one of debug, info, warning, error"):
        shown('loud')
    monkeypatch.setenv(VARIABLE, 'x')
    with pytest.raises(UsageError, match="ERNIE_LOG_LEVEL 'x'"):
        shown()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_colour_is_for_terminals_that_want_it(monkeypatch):
    monkeypatch.delenv('NO_COLOR', raising=False)
    monkeypatch.setenv('TERM', 'xterm')
    assert '\033' not in shown()
    assert shown(stream=Terminal).splitlines()[1:] == ['\033[33mwarning: \033[0mto act on', '\033[31merror: \033[0mbad']
    monkeypatch.setenv('NO_COLOR', '1')
    assert '\033' not in shown(stream=Terminal)


def test_the_file_has_all_lines_those_before_it_too(tmp_path):
    path = tmp_path / 'run.log'
    path.write_text('of a run before, cut')
    with console('error'):
        log.debug('first')
        keep_log(path)
        log.info('second\r')
        assert path.read_text().splitlines()[-1].endswith('second\\r')  # on the disk at once
        keep_log(tmp_path / 'other')  # one is enough
    log.info('after')
    old, *lines = path.read_text().splitlines()
    assert old == 'of a run before, cut' and [LINE.fullmatch(line)[2] for line in lines] == ['first', 'second\\r']
    assert os.listdir(tmp_path) == ['run.log']


def test_a_file_that_cannot_be(tmp_path):
    os.mkfifo(tmp_path / 'fifo')
    with console(), pytest.raises(UserError, match='run.log: cannot be written'):
        keep_log(tmp_path / 'fold' / 'run.log')
    with console(), pytest.raises(UserError, match='cannot be written'):
        keep_log(tmp_path)
    keep_log(tmp_path / 'x')  # outside of a block there is nothing to keep
    assert os.listdir(tmp_path) == ['fifo']


def test_a_full_disk_ends_the_file_not_the_run(capsys):
    with console():
        keep_log('/dev/full')
        log.info('one')
        log.info('two')
    told = 'warning: run.log cannot be written (No space left on device): it ends here'
    assert capsys.readouterr().err.splitlines() == ['one', told, 'two']


def test_console_output_that_goes_to_the_very_file_is_not_written_twice(tmp_path):
    program = (
        'from propeller.log import console, get_logger, keep_log\n'
        'with console():\n    keep_log("run.log")\n    get_logger("propeller").info("once")\n'
    )
    with open(tmp_path / 'run.log', 'w') as f:
        subprocess.run([sys.executable, '-c', program], cwd=tmp_path, stderr=f, env={'PYTHONPATH': ROOT}, check=True)
    assert (tmp_path / 'run.log').read_text() == 'once\n'
