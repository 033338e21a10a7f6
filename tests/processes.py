"""A program in several processes, connected as a launcher would connect them."""

import contextlib
import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def free_ports(count):
    """So many ports of this machine that nobody listens at."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(('127.0.0.1', 0))
        return [one.getsockname()[1] for one in sockets]


def environment(rank, ports, threads=1):
    """The environment of process `rank` of `len(ports) - 1`, the last port being that of their meeting."""
    endpoints = [f'127.0.0.1:{port}' for port in ports[:-1]]
    return {
        **os.environ,
        'PADDLE_TRAINER_ID': str(rank),
        'PADDLE_TRAINERS_NUM': str(len(endpoints)),
        'PADDLE_TRAINER_ENDPOINTS': ','.join(endpoints),
        'PADDLE_CURRENT_ENDPOINT': endpoints[rank],
        'PADDLE_MASTER': f'127.0.0.1:{ports[-1]}',
        'OMP_NUM_THREADS': str(threads),
    }


def start(count, arguments):
    """Start `python arguments` in `count` processes. Returns a list of `Popen` with text in `stdout` and `stderr`."""
    ports = free_ports(count + 1)
    return [
        subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=ROOT,
            env=environment(rank, ports),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def run(count, arguments, timeout=120, environment=environment):
    """The same, waited for. Returns a list of (exit code, stdout, stderr) by rank.

    environment: function (rank, ports) -> the environment of that process.

    The processes are forked from one that has loaded Paddle, which takes half the time of a small training.
    """
    ports, context = free_ports(count + 1), multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['tests.preloaded'])
    with tempfile.TemporaryDirectory() as folder:
        started = []
        for rank in range(count):
            streams = [os.path.join(folder, f'{name}.{rank}') for name in ('out', 'err')]
            place = (environment(rank, ports), [*map(str, arguments)], streams)
            started.append((context.Process(target=_be_python, args=place), streams))
        try:
            for process, _ in started:
                process.start()
            deadline = time.monotonic() + timeout
            for process, _ in started:
                process.join(max(0, deadline - time.monotonic()))
        finally:
            for process, _ in started:
                process.kill()
                process.join()
        return [(process.exitcode, *(Path(path).read_text() for path in streams)) for process, streams in started]


def _be_python(environ, arguments, streams):
    """In the new process: what `python arguments` does."""
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environ)
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    if arguments[0] == '-m':
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name='__main__', alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name='__main__')
