"""Makes or completes the repository's `.venv`; called by venv.sh. Standard library only.

A file of state in `.venv` tells what is installed, so that the next call returns at once, and whether an installation
was interrupted: an environment that was made here is then made anew, one that the user made is only completed.
"""

import fcntl
import hashlib
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, '.venv')
PYTHON = os.path.join(VENV, 'bin', 'python')
STATE = os.path.join(VENV, '.state.json')
LOCK = os.path.join(VENV, '.lock')
LOG = os.path.join(VENV, 'install.log')
# Packages wanted for the files in them bring dependencies that nobody needs.
WITHOUT_DEPENDENCIES = ('data', 'test-data')
GROUPS = ('data', 'dev', 'test-data')

_NETWORK = re.compile(
    r'connection broken|ConnectionError|Temporary failure|timed out|SSLError|ProxyError|HTTP error', re.I
)
_DISK = re.compile(r'Errno (28|27|122|30)\b|No space left|Disk quota', re.I)


class InstallError(Exception):
    """Text for the user, one line. `damaged` tells that the environment may hold half an installation."""

    def __init__(self, text, damaged=True):
        super().__init__(text)
        self.damaged = damaged


def read_state():
    """The state dict of `.venv`; empty when there is none."""
    try:
        with open(STATE, encoding='utf-8') as f:
            state = json.load(f)
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def write_state(state):
    """Replace the state file as a whole."""
    with open(STATE + '.new', 'w', encoding='utf-8') as f:
        json.dump(state, f, indent=1, sort_keys=True)
        f.flush()
        os.fsync(f.fileno())
    os.replace(STATE + '.new', STATE)


def take_lock():
    """Holds the lock of `.venv` until this process ends; waits for another installation."""
    os.makedirs(VENV, exist_ok=True)
    lock = open(LOCK, 'a', encoding='utf-8')  # noqa: SIM115
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print('waiting for another installation into .venv', file=sys.stderr, flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def interpreter_runs():
    """Whether `.venv` has a Python of 3.11 or newer that starts and has pip."""
    check = 'import sys, importlib.util as u; sys.exit(sys.version_info < (3, 11) or u.find_spec("pip") is None)'
    try:
        return subprocess.run([PYTHON, '-c', check], stderr=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


def make_environment(state):
    """An empty environment in `.venv`. Removes what an interrupted call of ours left there, but nothing of a user's.

    Returns:
        the new state dict.
    """
    entries = [name for name in os.listdir(VENV) if name != os.path.basename(LOCK)]
    if entries and not state.get('created'):
        raise InstallError(f'{VENV} is not a working environment with Python 3.11 or newer. Remove it and run again.')
    if os.path.abspath(sys.executable).startswith(VENV + os.sep):
        raise InstallError(f'{VENV} must be made anew, for which a Python outside it is needed. Set PYTHON to one.')
    for name in entries:
        path = os.path.join(VENV, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    state = {'created': True, 'unfinished': True, 'installed': {}}
    write_state(state)
    show_step(f'making .venv with Python {sys.version.split()[0]}')
    run_logged([sys.executable, '-m', 'venv', VENV], 'the environment could not be made')
    return state


def install(state, groups):
    """Installs the requirement files whose contents differ from those installed last."""
    for group in ('', *groups):
        name = f'requirements-{group}.txt' if group else 'requirements.txt'
        path = os.path.join(ROOT, name)
        with open(path, 'rb') as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        if state['installed'].get(name) == digest:
            continue
        write_state({**state, 'unfinished': True})
        show_step(f'installing {name}')
        command = [PYTHON, '-m', 'pip', 'install', '--disable-pip-version-check', '--no-input', '-r', path]
        if group in WITHOUT_DEPENDENCIES:
            command.append('--no-deps')
        elif group:
            command += ['-c', os.path.join(ROOT, 'requirements.txt')]
        try:
            run_logged(command, f'{name} could not be installed')
        except InstallError as e:
            write_state({**state, 'unfinished': e.damaged})
            raise
        state['installed'][name] = digest
        state['unfinished'] = False
        write_state(state)


def run_logged(command, failure):
    """Runs a command with its output in the log and its current line on the terminal.

    Raises:
        InstallError: it failed; the text ends with its last error line and names the log.
    """
    started = time.strftime('%Y-%m-%d %H:%M:%S')
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace'
    )
    lines = queue.Queue()
    threading.Thread(target=_pump, args=(process.stdout, lines), daemon=True).start()
    kept, status = deque(maxlen=2000), Status()
    try:
        while True:
            try:
                line = lines.get(timeout=1)
            except queue.Empty:
                status.tick()
                continue
            if line is None:
                break
            kept.append(line)
            status.show(line)
    finally:
        if process.poll() is None and sys.exc_info()[0] is not None:
            process.terminate()
        code = process.wait()
        status.clear()
        logged = write_log(command, started, kept)
    if code:
        where = f' Log: {LOG}' if logged else ''
        # Pip writes nothing before it has all packages: it is only the disk, or a kill, that leaves halves.
        damaged = code < 0 or bool(_DISK.search('\n'.join(kept)))
        raise InstallError(f'{failure}: {explain(list(kept), code)}{where}', damaged)


def _pump(stream, lines):
    for line in stream:
        lines.put(line.rstrip())
    lines.put(None)


def write_log(command, started, lines):
    """Appends to the log; False when the disk does not take it, which must not hide the error being reported."""
    try:
        with open(LOG, 'a', encoding='utf-8') as f:
            f.write('\n'.join([f'{started} $ {" ".join(command)}', *lines, '']))
    except OSError:
        return False
    return True


def explain(lines, code):
    """The line of pip's output that tells why it failed, and what the user can do about it."""
    errors = [line for line in lines if re.match(r'ERROR\b|error:|OSError|.*\[Errno ', line)]
    said = (errors or [line for line in lines if line.strip()] or [f'exit code {code}'])[-1]
    said = re.sub(r'^(ERROR|error): ', '', said).strip().rstrip('.')
    text = '\n'.join(lines)
    if _DISK.search(text):
        return f'{said}. The disk did not take the files: free some space, then run again.'
    if _NETWORK.search(text):
        return f'{said}. The package registry cannot be reached: check the network and the settings of pip.'
    if 'No matching distribution' in text or 'Could not find a version' in text:
        return f'{said}. The package registry does not offer it for this Python and machine.'
    return f'{said}.'


class Status:
    """One line on a terminal that is written over: the current line of a command and the seconds so far."""

    def __init__(self):
        self.line, self.start, self.shown = '', time.monotonic(), sys.stderr.isatty()

    def show(self, line):
        """Take a new line."""
        self.line = line.strip()
        self.tick()

    def tick(self):
        """Write the line with the time."""
        if self.shown:
            width = shutil.get_terminal_size().columns - 1
            text = f'  {time.monotonic() - self.start:4.0f} s  {self.line}'
            sys.stderr.write(f'\r\x1b[K{text[:width]}')
            sys.stderr.flush()

    def clear(self):
        """Remove the line."""
        if self.shown:
            sys.stderr.write('\r\x1b[K')
            sys.stderr.flush()


def show_step(text):
    """A line of progress, also where standard error is a file."""
    print(text, file=sys.stderr, flush=True)


def main(groups):
    """Command line: names of requirement groups."""
    unknown = [group for group in groups if group not in GROUPS]
    if unknown:
        print(f'error: unknown group {unknown[0]}; there are: {", ".join(GROUPS)}', file=sys.stderr)
        return 2
    try:
        lock = take_lock()
        state = read_state()
        interrupted = state.get('created') and state.get('unfinished')
        if interrupted or not interpreter_runs():
            state = make_environment(state)
        state.setdefault('installed', {})
        install(state, groups)
        lock.close()
    except InstallError as e:
        print(f'error: {e}', file=sys.stderr)
        return 1
    except OSError as e:
        print(f'error: {e.filename or VENV}: {e.strerror or e}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
