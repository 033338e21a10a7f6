"""A folder in which the commands of the pages run: a clone of the repository with an environment of its own."""

import contextlib
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

from script.documents.page import ROOT

_STATE = '.documents-environment'
# What a user's shell may have set and the commands of a page would take.
_UNSET = ('MODEL_PATH', 'TASK_DATA_PATH', 'ERNIE_LOG_LEVEL', 'NPROC_PER_NODE', 'NODE_IPS', 'RUNS', 'SEED', 'PYTHONPATH')
_SITE = 'import site; print(site.getsitepackages()[0])'


class Scratch:
    """A clone of what is committed and changed in the working tree.

    Args:
        folder: where; made if it is not there.
        fresh: with an empty environment: the commands of the pages install what they need. Otherwise the packages of
            the repository's `.venv` are there, and what a page installs goes into the clone.
    """

    def __init__(self, folder, fresh=False):
        self.folder = Path(folder).resolve()
        self.done = self.folder / '.documents-done'
        if not (self.folder / 'pyproject.toml').exists():
            self._copy()
            if not fresh:
                self._make_environment()

    def update(self):
        """Bring the files of the repository up to date, and leave what commands have made."""
        self._copy()

    def run(self, block, timeout):
        """What a block printed: (exit code, text of both streams)."""
        if block.language == 'sh':
            state = self.folder / _STATE
            state.touch()
            command = ['sh', '-e', '-c', f'. ./{_STATE}\n{block.text}\nexport -p > ./{_STATE}\n']
        else:
            command = [str(self._python()), '-c', block.text]
        started = {'cwd': self.folder, 'env': self.environment(), 'stdin': subprocess.DEVNULL}
        if block.mark == 'terminal':
            return _run_on_terminal(command, timeout, **started)
        output = {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT, 'text': True, 'errors': 'replace'}
        done = subprocess.run(command, timeout=timeout, check=False, **output, **started)
        return done.returncode, done.stdout

    def write(self, name, text):
        """A file that a page shows."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')

    def was_run(self, name):
        """Whether the commands of the page have run in this folder."""
        return self.done.exists() and name in self.done.read_text().split('\n')

    def set_run(self, name):
        """Remember that they have."""
        with self.done.open('a') as f:
            f.write(f'{name}\n')

    def forget_shell(self):
        """A page begins with a new shell."""
        (self.folder / _STATE).unlink(missing_ok=True)

    def _copy(self):
        listed = subprocess.run(
            ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in filter(None, listed.stdout.split('\0')):
            source, target = ROOT / name, self.folder / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)

    def _make_environment(self):
        """`.venv` that finds the packages of the repository's too, so that nothing is installed there."""
        parent = ROOT / '.venv'
        subprocess.run([sys.executable, '-m', 'venv', self.folder / '.venv'], check=True)
        site = subprocess.run([self._python(), '-c', _SITE], capture_output=True, text=True, check=True).stdout.strip()
        theirs = subprocess.run([parent / 'bin/python', '-c', _SITE], capture_output=True, text=True, check=True).stdout
        (Path(site) / 'repository.pth').write_text(theirs, encoding='utf-8')
        state = parent / '.state.json'
        if state.exists():
            shutil.copy(state, self.folder / '.venv/.state.json')

    def _python(self):
        return self.folder / '.venv/bin/python'

    def environment(self):
        """The variables of what runs here."""
        environment = {name: value for name, value in os.environ.items() if name not in _UNSET}
        environment |= {
            'ERNIE_CACHE': str(self.folder / '.cache/tokens'),
            'ERNIE_HOME': str(self.folder / '.cache/models'),
            'PATH': f'{self.folder}/.venv/bin:{environment["PATH"]}',
            'VIRTUAL_ENV': str(self.folder / '.venv'),
            'NO_COLOR': '1',
            'COLUMNS': '100',
            'LC_ALL': 'C.UTF-8',
            'PIP_DISABLE_PIP_VERSION_CHECK': '1',
        }
        return environment


def _run_on_terminal(command, timeout, **started):
    """(exit code, output) of a command whose standard output and standard error are a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, **started) as process, open(ours, 'rb') as terminal:
        os.close(theirs)
        chunks = []
        with contextlib.suppress(OSError):  # how a terminal ends
            while chunk := terminal.read1(65536):
                chunks.append(chunk)
        code = process.wait(timeout)
    return code, b''.join(chunks).decode(errors='replace')
