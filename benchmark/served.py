"""What the programs that measure servers share: a server in processes of its own, loads on it, its memory."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from benchmark.common import ROOT
from propeller.errors import UserError
from propeller.tools.load.bodies import Template, read_lines

WORKER = 'propeller.service.worker'
_PAGE = os.sysconf('SC_PAGE_SIZE')


def free_port():
    """A port that nobody listens at."""
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]


class Served:
    """A server program that answers HTTP, ready within the block of `with`.

    Args:
        command: words; `{port}` in them is the port of HTTP, `{zmq}` that of ZeroMQ.
        patience: seconds until `/readyz` answers.
    Attributes:
        url: `http://127.0.0.1:PORT`; zmq: `tcp://127.0.0.1:PORT`.
        process: `Popen` of the front.
    """

    def __init__(self, command, patience=600.0):
        ports = {'{port}': free_port(), '{zmq}': free_port()}
        self._command = [_filled(word, ports) for word in command]
        self._patience = patience
        self._log = tempfile.TemporaryFile('w+')  # noqa: SIM115 (as long as the object)
        self.url, self.zmq = f'http://127.0.0.1:{ports["{port}"]}', f'tcp://127.0.0.1:{ports["{zmq}"]}'

    def __enter__(self):
        self.process = subprocess.Popen(self._command, cwd=ROOT, stdout=self._log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + self._patience
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise UserError(f'{" ".join(self._command)}: found no server. {self.log()[-2000:]}')
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        for pid in [self.process.pid, *self.workers()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def get(self, path):
        """The text of a GET; None where there is no answer or an error."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            return None

    def ready(self):
        """Whether `/readyz` answers with 200."""
        return self.get('/readyz') is not None

    def metric(self, name):
        """A metric without labels, float; None where it is not told."""
        for line in (self.get('/metrics') or '').splitlines():
            if line.startswith(f'{name} '):
                return float(line.split()[1])
        return None

    def workers(self):
        """Process ids of the workers, those that are stopped too."""
        return [pid for pid in children(self.process.pid) if WORKER in _command_of(pid)]

    def memory(self):
        """Bytes in memory of the front and its workers, pages that they share counted each time."""
        return sum(resident(pid) for pid in [self.process.pid, *children(self.process.pid)])

    def log(self):
        """What it has said."""
        self._log.seek(0)
        return self._log.read()


def ernie_serve(model, *flags):
    """The command of `ernie serve` with both protocols."""
    return [sys.executable, '-m', 'ernie', 'serve', model, '--http_port', '{port}', '--port', '{zmq}', *flags]


def children(pid):
    """Process ids of the children of a process."""
    found = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f'/proc/{pid}/task'):
            with open(f'/proc/{pid}/task/{thread}/children') as f:
                found += map(int, f.read().split())
        return found
    for name in filter(str.isdecimal, os.listdir('/proc')):  # a kernel without such files
        with contextlib.suppress(OSError, ValueError), open(f'/proc/{name}/stat') as f:
            if int(f.read().rpartition(')')[2].split()[1]) == pid:
                found.append(int(name))
    return found


def resident(pid):
    """Bytes of a process in memory; 0 where it has gone."""
    try:
        with open(f'/proc/{pid}/statm') as f:
            return int(f.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def processor_seconds(pid):
    """What a process has taken of the processor, seconds."""
    with open(f'/proc/{pid}/stat') as f:
        user, system = f.read().rpartition(')')[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf('SC_CLK_TCK')


def embed_bodies(path, texts=1):
    """Bodies of `/v1/embed` with so many lines of a file each."""
    return Template('{"texts": {lines}}', read_lines(path), texts)


def machine():
    """The processor and the cores that may be used, for the head of a table."""
    with contextlib.suppress(OSError), open('/proc/cpuinfo') as f:
        for line in f:
            if line.startswith('model name'):
                return f'{line.partition(":")[2].strip()}, {len(os.sched_getaffinity(0))} cores'
    return f'{len(os.sched_getaffinity(0))} cores'


def _filled(word, ports):
    for place, port in ports.items():
        word = word.replace(place, str(port))
    return word


def _command_of(pid):
    with contextlib.suppress(OSError), open(f'/proc/{pid}/cmdline') as f:
        return f.read()
    return ''
