"""How processes come together: where they meet, who listens, and what is said while somebody is missing."""

import contextlib
import itertools
import logging
import os
import socket
import subprocess
import sys

import pytest

from propeller import rendezvous
from propeller.distribution import ProcessInfo
from propeller.errors import UserError
from propeller.launch import store
from tests.launching import ROOT, listeners, port_block
from tests.processes import environment


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(rendezvous.time, 'monotonic', lambda: self.now)
        monkeypatch.setattr(rendezvous.time, 'sleep', self.sleep)

    def sleep(self, seconds):
        self.now += seconds


class Client:
    """A store in this process, with `others` already there."""

    def __init__(self, *others):
        self.counts = {'propeller/arrived': len(others)} | {f'propeller/arrived/{rank}': 1 for rank in others}

    def add(self, key, number):
        self.counts[key] = self.counts.get(key, 0) + number
        return self.counts[key]


@pytest.fixture
def first_alone(monkeypatch):
    """Function (size, others) -> error of process 0 that meets `others` only, in 100 seconds of made-up time."""
    Clock(monkeypatch)
    monkeypatch.setattr(rendezvous, '_listen', lambda *address: socket.socket())
    monkeypatch.setattr(store, 'start', lambda listening: None)

    def run(size, others):
        environ = {'PADDLE_TRAINER_ENDPOINTS': '127.0.0.1:7001,127.0.0.1:7002', 'PADDLE_LAUNCH_TIMEOUT': '100'}
        with pytest.raises(UserError) as error:
            rendezvous.join(ProcessInfo(0, size, 0, size), environ, lambda host, port: Client(*others))
        return str(error.value)

    return run


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_wait_is_not_silent(first_alone, caplog):
    error = first_alone(4, [1])
    assert error.startswith(
        'process 0 of 4 found no way to the others: processes 2, 3 did not come to 127.0.0.1:7001 '
        '(PADDLE_TRAINER_ENDPOINTS) within 100 seconds.'
    )
    said = warnings_of(caplog)
    assert [text.partition(' seconds')[0].rpartition(' ')[2] for text in said] == ['8', '38', '68', '98']
    assert all('for processes 2, 3 to come to 127.0.0.1:7001' in text and 'unset PADDLE_TRAIN' in text for text in said)
    assert '\n' not in error + ''.join(said)


def test_many_missing_are_a_short_line(first_alone, caplog):
    assert 'processes 1, 2, 3, 4, 5, 6, 7, 8, ... did not come' in first_alone(512, [])
    assert len(warnings_of(caplog)[0]) < 400


def test_a_process_that_waits_for_the_first(monkeypatch, caplog):
    Clock(monkeypatch)
    answers = itertools.chain([False] * 100, itertools.repeat(True))
    monkeypatch.setattr(rendezvous, '_answers', lambda host, port: next(answers))
    environ = {'PADDLE_MASTER': '10.0.0.1:7000', 'PADDLE_TRAINER_ENDPOINTS': '10.0.0.1:7001,10.0.0.2:7001'}
    client = Client(0)
    assert rendezvous.join(ProcessInfo(1, 2, 0, 1), environ, lambda host, port: client) is client
    assert client.counts == {'propeller/arrived': 2, 'propeller/arrived/0': 1, 'propeller/arrived/1': 1}
    (said,) = warnings_of(caplog)
    assert 'process 1 of 2 has waited 8 seconds for process 0 to come to 10.0.0.1:7000 (PADDLE_MASTER)' in said


@pytest.mark.parametrize('text', ['', 'soon', '-1', '0', '1e9', '9' * 5000])
def test_a_time_limit_that_cannot_be(text):
    with pytest.raises(UserError, match='PADDLE_LAUNCH_TIMEOUT'):
        rendezvous.time_limit({'PADDLE_LAUNCH_TIMEOUT': text})


@pytest.mark.parametrize('address', ['7000', ':7000', 'host:', 'host:0', 'host:65536', '::1:7000'])
def test_a_meeting_point_that_cannot_be(address):
    with pytest.raises(UserError, match='expected ADDRESS:PORT'):
        rendezvous.meeting_point({'PADDLE_MASTER': address})


def test_where_the_store_listens(monkeypatch):
    monkeypatch.setattr(socket, 'gethostbyname', lambda host: {'node-0': '127.0.1.1', 'node-1': '10.0.0.2'}[host])
    assert rendezvous._own_address('node-0', 'node-0:1, node-0:2') == 'node-0'
    assert rendezvous._own_address('node-1', 'node-0:1,node-1:2') == 'node-1'
    # Debian gives a machine's own name to the loopback, where the others would not find it.
    assert rendezvous._own_address('node-0', 'node-0:1,node-1:2') == ''


def test_an_address_that_is_not_of_this_machine(caplog):
    """That of a machine behind a translation of addresses, say."""
    port = port_block(1)
    with rendezvous._listen('192.0.2.1', port, 'PADDLE_MASTER', '192.0.2.1:1,192.0.2.2:1') as listening:
        assert listening.getsockname() == ('0.0.0.0', port)
    assert 'the store listens at all of them' in warnings_of(caplog)[0]
    with pytest.raises(UserError, match='no.such.host.invalid:1 .* cannot listen there: .* Give this job another addr'):
        rendezvous._listen('no.such.host.invalid', 1, 'PADDLE_MASTER', 'no.such.host.invalid:1')


def test_a_busy_port_is_one_line():
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
        environ = {'PADDLE_TRAINER_ENDPOINTS': f'127.0.0.1:{port},127.0.0.1:1'}
        with pytest.raises(UserError, match=rf'127\.0\.0\.1:{port} \(PADDLE_TRAINER_ENDPOINTS\): process 0 cannot lis'):
            rendezvous.join(ProcessInfo(0, 2, 0, 2), environ, None)


JOIN = """
import sys
from propeller.errors import one_line_errors
from propeller.distribution import join
with one_line_errors():
    world = join()
    print('joined', world.broadcast_object('by all'), flush=True)
    sys.stdin.readline()
    world.barrier()
"""


@pytest.mark.slow
def test_a_job_of_one_machine_is_open_to_this_machine_only():
    first = port_block(3)
    ports = [first + 1, first + 2, first]
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', JOIN],
            cwd=ROOT,
            env=environment(rank, ports) | {'PYTHONPATH': ROOT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        assert [process.stdout.readline() for process in processes] == ['joined by all\n'] * 2
        assert [address for address, port, _ in listeners() if port == first] == ['127.0.0.1']
        assert {address for pid in (p.pid for p in processes) for address in open_to(pid)} <= {'127.0.0.1'}
    finally:
        for process in processes:
            process.stdin.close()
        for process in processes:
            process.wait(60)
            process.stdout.close()
    assert [process.returncode for process in processes] == [0, 0]


def open_to(pid):
    """Addresses of all listening sockets of a process."""
    sockets = set()
    for name in os.listdir(f'/proc/{pid}/fd'):
        with contextlib.suppress(FileNotFoundError):
            sockets.add(os.readlink(f'/proc/{pid}/fd/{name}'))
    return [address for address, _, inode in listeners() if f'socket:[{inode}]' in sockets]
