"""Launchers under test: started as a user starts them, with small programs in place of a training."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time

from propeller.launch.ports import is_free

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Every program writes down its process id, and `helper` starts a process that is deaf to all but SIGKILL.
_PROLOGUE = """
import json, os, signal, subprocess, sys, time
rank = int(os.environ['PADDLE_TRAINER_ID'])

def note(pid):
    open(f'{os.environ["PIDS"]}/{pid}', 'w').close()

def helper():
    deaf = '[signal.signal(s, signal.SIG_IGN) for s in (1, 2, 15)]; print(flush=True); time.sleep(99)'
    process = subprocess.Popen([sys.executable, '-S', '-c', 'import signal, time; ' + deaf], stdout=subprocess.PIPE)
    process.stdout.readline()
    note(process.pid)

def ready():
    open(f'{os.environ["PIDS"]}/../ready.{rank}', 'w').close()

note(os.getpid())
"""


def port_block(count):
    """The first of `count` neighbouring ports on which nobody listens, below those that the system gives away."""
    worker = int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:]) % 8  # processes with tests do not meet
    while True:
        first = random.randrange(12000 + 2000 * worker, 14000 + 2000 * worker - count)
        if all(is_free('0.0.0.0', port) for port in range(first, first + count)):
            return first


def listeners():
    """(address, port, number of the socket) of each socket of this machine that listens, IPv4."""
    with open('/proc/net/tcp') as f:
        rows = [line.split() for line in f][1:]
    places = [(*row[1].split(':'), row[9]) for row in rows if row[3] == '0A']
    return [(socket.inet_ntoa(bytes.fromhex(a)[::-1]), int(port, 16), inode) for a, port, inode in places]


def alive(pid):
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        with open(f'/proc/{pid}/stat') as f:
            return f.read().rpartition(')')[2].split()[0] not in 'ZX'
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition, seconds=10):
    """Wait until `condition()` is true and return its value; an `AssertionError` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, 'waited in vain'
        time.sleep(0.01)
    return value


class Bench:
    """Starts launchers in a folder of its own and finds all processes that their programs have started."""

    def __init__(self, folder):
        self.folder = folder
        self.pids = folder / 'pids'
        self.pids.mkdir()
        self.launchers = []

    def program(self, body, name='program.py'):
        (self.folder / name).write_text(_PROLOGUE + body)
        return name

    def start(self, *arguments, launcher='finetune_launch.py', env=None, prefix=()):
        """A launcher with `arguments`, its two streams in one text pipe."""
        environ = {k: v for k, v in os.environ.items() if not k.startswith(('PADDLE_', 'FLAGS_', 'OMP_', 'CUDA_'))}
        process = subprocess.Popen(
            [*prefix, sys.executable, os.path.join(ROOT, launcher), *map(str, arguments)],
            cwd=self.folder,
            env=environ | {'PIDS': str(self.pids)} | (env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.launchers.append(process)
        return process

    def run(self, *arguments, seconds=30, **kwargs):
        """(exit code, output) of a launcher that ends by itself."""
        process = self.start(*arguments, **kwargs)
        return finish(process, seconds)

    def ready(self, count):
        """Wait until `count` ranks have called `ready`."""
        wait_for(lambda: len(list(self.folder.glob('ready.*'))) == count)

    def processes(self):
        return [int(path.name) for path in self.pids.iterdir()]

    def left(self):
        return [pid for pid in self.processes() if alive(pid)]

    def assert_nobody_left(self, seconds=0.0):
        deadline = time.monotonic() + seconds
        while self.left() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert self.processes()
        assert not self.left()

    def log(self, rank, folder='log', prefix=''):
        return (self.folder / folder / f'{prefix}job.log.{rank}').read_text()

    def clean_up(self):
        for process in self.launchers:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.stdout.close()
            process.wait()
        for pid in self.left():
            os.kill(pid, signal.SIGKILL)


def messages(output):
    """The texts of the launcher's log lines."""
    return re.findall(r'^\[[A-Z]+\] [^\n]*?\]:\t(.*)$', output, re.MULTILINE)


def finish(process, seconds=30):
    """(exit code, output) of a started launcher."""
    output, _ = process.communicate(timeout=seconds)
    return process.returncode, output


def errors(output):
    return [line for line in output.splitlines() if line.startswith('error: ')]


NODES = ('127.0.0.1', '127.0.0.2')
TIMEOUT = 2
WAITING = 'ready()\ntime.sleep(99)'


class TwoNodes(Bench):
    """Two launchers in one folder, each with its own logs."""

    def __init__(self, folder):
        super().__init__(folder)
        self.port = port_block(4) + 1  # the launchers meet one below

    def node(self, node, *arguments, nproc=1, timeout=TIMEOUT, ips=NODES, prefix=()):
        return self.start(
            *('--node_ips', ','.join(ips), '--node_id', node, '--nproc_per_node', nproc, '--start_port', self.port),
            *('--peer_timeout', timeout, '--split_log_path', f'log{node}', *arguments),
            prefix=prefix,
        )
