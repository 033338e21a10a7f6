"""A worker process by itself: what it says, and how it waits."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from propeller.service import channel
from tests.propeller.service_models import HANG

OPENER = 'tests.propeller.service_models:open_sums'


@contextlib.contextmanager
def worker():
    """(process, our end of its channel), with its model open."""
    front, other = socket.socketpair()
    front.settimeout(30)
    command = [sys.executable, '-m', 'propeller.service.worker', str(other.fileno())]
    with other:
        process = subprocess.Popen(command, pass_fds=[other.fileno()])
    try:
        with front:
            front.sendall(channel.of_json(channel.START, [[OPENER, {}]]))
            assert channel.receive(front)[0] == channel.READY
            yield process, front
    finally:
        process.kill()
        process.wait()


def ask(front, number, values, alone=False):
    front.sendall(channel.batch(number, 0, [np.array([values])], alone))


def sums(front):
    """(number of the batch, its first sum)."""
    kind, number, content = channel.receive(front)
    assert kind == channel.OUTPUTS
    return number, channel.read_outputs(content)[0].tolist()


def test_batches_and_questions_are_answered_in_turn():
    with worker() as (_, front):
        for number, alone in enumerate((False, True, True, True), 1):
            ask(front, number, [number, 1], alone)
            front.sendall(channel.message(channel.PING))
            assert sums(front) == (number, [number + 1])
            kind, _, content = channel.receive(front)
            assert kind == channel.PONG and json.loads(bytes(content))['bytes'] > 0


def test_it_says_that_it_lives_while_it_computes():
    with worker() as (_, front):
        ask(front, 1, [HANG])
        front.sendall(channel.message(channel.PING))
        assert channel.receive(front)[0] == channel.PONG


@pytest.mark.parametrize('values', [[], [HANG]])
def test_it_ends_with_the_front(values):
    with worker() as (process, front):
        if values:
            ask(front, 1, values)
        front.close()
        assert process.wait(20) == 0


def test_it_ends_with_a_front_that_has_not_read_all():
    with worker() as (process, front):
        front.sendall(channel.message(channel.PING))
        assert select.select([front], [], [], 20)[0]  # its answer is there; who closes now resets the connection
        front.close()
        assert process.wait(20) == 0


@pytest.mark.skipif(sys.platform != 'linux', reason='/proc tells the time that a process takes')
def test_only_a_batch_that_is_alone_is_waited_for_awake():
    def busy(pid):
        with open(f'/proc/{pid}/schedstat') as f:
            return int(f.read().split()[0]) / 1e9

    def share(alone):
        """Seconds that the worker takes for each of 300 batches with pauses of 1 ms."""
        with worker() as (process, front):
            for number in range(300):
                if number == 20:
                    before = busy(process.pid)
                ask(front, number, [1], alone)
                assert sums(front) == (number, [1])
                time.sleep(0.001)
            return (busy(process.pid) - before) / 280

    assert share(True) > 1.5 * share(False)


def test_signals_of_a_terminal_are_the_fronts():
    with worker() as (process, front):
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(process.pid, number)
        ask(front, 1, [2, 3])
        assert sums(front) == (1, [5])
