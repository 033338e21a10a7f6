"""Makes or completes the repository's `.venv`; called by venv.sh. Standard library only.

A file of state in `.venv` tells what is installed, so that the next call returns at once, and whether an installation
was interrupted: an environment that was made here is then made anew, one that the user made is only completed.
"""

import fcntl
import glob
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, '.venv')
PYTHON = os.path.join(VENV, 'bin', 'python')
STATE = os.path.join(VENV, '.state.json')
LOCK = os.path.join(VENV, '.lock')
# Packages wanted for the files in them bring dependencies that nobody needs.
WITHOUT_DEPENDENCIES = ('data', 'test-data')

_DISK = re.compile(r'Errno (28|27|122|30)\b|No space left|Disk quota', re.I)
_NETWORK = re.compile(
    r'connection broken|ConnectionError|Temporary failure|timed out|SSLError|ProxyError|HTTP error', re.I
)


def say(text):
    """A line of progress, also where standard error is a file."""
    print(text, file=sys.stderr, flush=True)


def requirements():
    """What pyproject.toml asks for: dict group -> arguments of pip; '' is what the programs need."""
    with open(os.path.join(ROOT, 'pyproject.toml'), 'rb') as f:
        settings = tomllib.load(f)
    needed = settings['project']['dependencies']
    optional = [line for lines in settings['project']['optional-dependencies'].values() for line in lines]
    groups = {'': needed}
    for name, lines in settings['dependency-groups'].items():
        # Tests want all that is optional; what the programs need is named again, lest it be replaced.
        groups[name] = ['--no-deps', *lines] if name in WITHOUT_DEPENDENCIES else [*needed, *lines, *optional]
    return groups


def read_state():
    """The state of `.venv`, a dict; empty when there is none."""
    try:
        with open(STATE, encoding='utf-8') as f:
            return json.load(f)
    except (OSError, ValueError):
        return {}


def write_state(state):
    """Replace the state file as a whole."""
    with open(STATE + '.new', 'w', encoding='utf-8') as f:
        json.dump(state, f, indent=1)
    os.replace(STATE + '.new', STATE)


def interpreter_runs():
    """Whether `.venv` has a Python of 3.11 or newer that starts and has pip."""
    check = 'import sys, importlib.util as u; sys.exit(sys.version_info < (3, 11) or u.find_spec("pip") is None)'
    try:
        return subprocess.run([PYTHON, '-c', check], stderr=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


def make_environment(state):
    """An empty environment, in place of what an interrupted call of ours left, never of a user's. Returns its state."""
    entries = [name for name in os.listdir(VENV) if name != os.path.basename(LOCK)]
    if entries and not state.get('created'):
        sys.exit(f'error: {VENV} is not a working environment with Python 3.11 or newer. Remove it and run again.')
    if os.path.abspath(sys.executable).startswith(VENV + os.sep):
        sys.exit(f'error: {VENV} must be made anew, for which a Python outside it is needed. Set PYTHON to one.')
    for path in (os.path.join(VENV, name) for name in entries):
        shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    state = {'created': True, 'unfinished': True, 'installed': {}}
    write_state(state)
    run(f'making .venv with Python {sys.version.split()[0]}', [sys.executable, '-m', 'venv', VENV], state)
    return state


def run(what, command, state):
    """Runs a command with its output on standard error. If it fails, its last error ends the program, in one line."""
    say(what)
    pipe = {'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT}
    with subprocess.Popen(command, text=True, errors='replace', **pipe) as process:
        lines = ['']
        for line in process.stdout:
            sys.stderr.write(line)
            sys.stderr.flush()
            lines.append(line)
    code = process.returncode
    if not code:
        return
    said, text = [line for line in lines if re.match(r'ERROR\b|error:|OSError|.*\[Errno ', line)], ''.join(lines)
    cause = re.sub(r'^(ERROR|error): ', '', (said or lines)[-1]).strip().rstrip('.') or f'exit code {code}'
    advice = ''
    if _DISK.search(text):
        advice = ' The disk did not take the files: free some space, then run again.'
    elif _NETWORK.search(text):
        advice = ' The package registry cannot be reached: check the network and the settings of pip.'
    # Pip writes nothing before it has all packages: it is only the disk, or a kill, that leaves halves.
    write_state(state | {'unfinished': code < 0 or bool(_DISK.search(text)) or not state['installed']})
    sys.exit(f'error: {what} failed: {cause}.{advice}')


def add_command():
    """The command `ernie` of this repository in `.venv/bin`, and `import ernie` from any folder, without a copy.

    What pip or the user put there stays.
    """
    (site,) = glob.glob(os.path.join(VENV, 'lib', 'python3*', 'site-packages'))
    command = f'#!/bin/sh\nexec {shlex.quote(PYTHON)} -P -m ernie "$@"\n'
    files = {os.path.join(site, 'ernie-repository.pth'): ROOT + '\n', os.path.join(VENV, 'bin', 'ernie'): command}
    for path, text in files.items():
        if not os.path.lexists(path):
            with open(path, 'w', encoding='utf-8') as f:
                f.write(text)
            os.chmod(path, 0o755)


def main(names):
    """Command line: names of dependency groups. Returns the exit code."""
    groups = requirements()
    for name in names:
        if name not in groups:
            say(f'error: unknown group {name}; there are: {", ".join(filter(None, groups))}')
            return 2
    os.makedirs(VENV, exist_ok=True)
    with open(LOCK, 'a', encoding='utf-8') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say('waiting for another installation into .venv')
            fcntl.flock(lock, fcntl.LOCK_EX)
        state = read_state()
        if (state.get('created') and state.get('unfinished')) or not interpreter_runs():
            state = make_environment(state)
        state.setdefault('installed', {})
        for name in ('', *names):
            if state['installed'].get(name) != groups[name]:
                write_state(state | {'unfinished': True})
                pip = [PYTHON, '-m', 'pip', 'install', '--disable-pip-version-check', '--no-input', *groups[name]]
                run(f'installing {f"the group {name}" if name else "what the programs need"}', pip, state)
                state['installed'][name] = groups[name]
                state['unfinished'] = False
                write_state(state)
        add_command()
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except OSError as error:
        sys.exit(f'error: {error.filename or VENV}: {error.strerror or error}')
    except KeyboardInterrupt:
        say('interrupted')
        sys.exit(130)
