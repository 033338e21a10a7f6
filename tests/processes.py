"""A program in several processes, connected as a launcher would connect them."""

import contextlib
import os
import socket
import subprocess
import sys
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


def run(count, arguments, timeout=120):
    """The same, waited for. Returns a list of (exit code, stdout, stderr) by rank."""
    processes = start(count, arguments)
    try:
        results = [(*process.communicate(timeout=timeout), process.returncode) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(code, out, err) for out, err, code in results]
