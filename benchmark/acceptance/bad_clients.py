"""Clients that behave badly, and servers that do: what `benchmark.acceptance.serving clients` needs."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np

_REQUEST = b'POST /v1/embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b'
_BODY = b'{"texts": ["a text"]}'


@contextlib.contextmanager
def crowd(host, port, count):
    """So many bad clients of each kind, connected within the block. Yields the list of their sockets.

    They say nothing; send half of a head; half of a body; close their side after a request; send requests and read
    nothing.
    """
    sent = [
        b'',
        b'POST /v1/embed HTTP/1.1\r\nHos',
        (_REQUEST % (len(_BODY), _BODY))[:-7],
        _REQUEST % (len(_BODY), _BODY),
        (_REQUEST % (len(_BODY), _BODY)) * 20,
    ]
    sockets = []
    try:
        for kind, content in enumerate(sent):
            for _ in range(count):
                one = socket.create_connection((host, port), timeout=10)
                sockets.append(one)
                if kind == 4:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                with contextlib.suppress(OSError):
                    one.sendall(content)
                    if kind == 3:
                        one.shutdown(socket.SHUT_WR)
        yield sockets
    finally:
        for one in sockets:
            one.close()


def our_clients(timeout=1.5):
    """What calls of our clients over ZeroMQ take where no answer comes.

    Yields:
        (name of the server, the time-out, seconds beyond it until the call failed).
    """
    from propeller.service.client import InferenceClient

    for name, server in (('no server', _nothing), ('a silent server', _silent), ('a server that is stopped', _stopped)):
        with server() as port:
            client = InferenceClient(f'tcp://127.0.0.1:{port}', timeout=timeout)
            began = time.monotonic()
            with contextlib.suppress(Exception):
                client(np.zeros((3, 4, 1), np.int64))
            yield name, timeout, time.monotonic() - began - timeout


@contextlib.contextmanager
def _nothing():
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        yield one.getsockname()[1]


@contextlib.contextmanager
def _silent():
    """Takes connections and says nothing."""
    with socket.create_server(('127.0.0.1', 0)) as one:
        kept = []
        threading.Thread(target=_accept, args=(one, kept), daemon=True).start()
        yield one.getsockname()[1]


def _accept(listening, kept):
    with contextlib.suppress(OSError):
        while True:
            kept.append(listening.accept())


@contextlib.contextmanager
def _stopped():
    """A ROUTER that speaks ZeroMQ and then stands still."""
    program = (
        "import zmq, time; s = zmq.Context().socket(zmq.ROUTER); print(s.bind_to_random_port('tcp://127.0.0.1'), "
        'flush=True); time.sleep(60)'
    )
    process = subprocess.Popen([sys.executable, '-c', program], stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGSTOP)
        yield port
    finally:
        process.kill()
        process.wait()
