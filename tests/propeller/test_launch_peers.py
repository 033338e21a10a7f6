"""Both sides of the connection between launchers, in one process and with short times."""

import contextlib
import socket
import threading

import pytest

from propeller.errors import UserError
from propeller.launch.logs import last_lines
from propeller.launch.messages import Failure
from propeller.launch.nodes import Coordinator, Member
from propeller.launch.peers import Finished, Started
from tests.launching import port_block

IPS = ('127.0.0.1', '127.0.0.2', '127.0.0.3')
FACTS = {'--node_ips': ','.join(IPS), '--master': '127.0.0.1:1'}


class Side:
    """A started coordinator (node 0) or member, and its events."""

    def __init__(self, stack, node, port, timeout, secret=b''):
        self._news = threading.Semaphore(0)
        notify = self._news.release
        if node == 0:
            peers = Coordinator(timeout, notify, IPS, port, FACTS, secret)
        else:
            peers = Member(timeout, notify, node, (IPS[0], port), FACTS, secret)
        self.peers = stack.enter_context(peers)

    def event(self, seconds=10):
        """The next event, None if there is none for so many seconds."""
        while self._news.acquire(timeout=seconds):
            event = self.peers.next_event()
            if event is not None:
                return event
        return None


@pytest.fixture
def sides():
    """Function (timeout, nodes) -> a `Side` per node of a job of three."""
    with contextlib.ExitStack() as stack:
        port = port_block(1)
        yield lambda timeout, nodes=(0, 1, 2): [Side(stack, node, port, timeout) for node in nodes]


def started(all_sides, generations):
    for side, generation in zip(all_sides, generations, strict=True):
        side.peers.join_job(generation)
    return [side.event() for side in all_sides]


def test_the_job_starts_when_all_are_there_and_ends_when_all_are_done(sides):
    first, second, third = sides(30)
    first.peers.join_job(0)
    third.peers.join_job(0)
    assert first.event(1) is None
    second.peers.join_job(0)
    assert [side.event() for side in (first, second, third)] == [Started(0)] * 3
    first.peers.report_done()
    second.peers.report_done()
    assert first.event(0.5) is None
    third.peers.report_done()
    assert [side.event() for side in (first, second, third)] == [Finished()] * 3


@pytest.mark.parametrize('failing', [0, 1, 2])
def test_a_failure_reaches_everybody(sides, failing):
    everybody = sides(30)
    assert started(everybody, (0, 0, 0)) == [Started(0)] * 3
    failure = Failure('rank 5 failed', 7)
    everybody[failing].peers.report(failure)
    assert [side.event() for side in everybody] == [failure] * 3
    # What is said about the last start is not taken for news of the next one.
    everybody[failing].peers.report(failure)
    assert started(everybody, (1, 1, 1)) == [Started(1)] * 3


def test_the_highest_count_of_restarts_holds(sides):
    """A node that was started anew does not know how often the job has begun again."""
    assert started(sides(30), (0, 2, 1)) == [Started(2)] * 3


def test_a_node_that_never_comes(sides):
    first, third = sides(0.1, (0, 2))
    first.peers.join_job(0)
    third.peers.join_job(0)
    failure = first.event()
    assert (failure.code, failure.restartable) == (1, False)
    assert failure.text.startswith('node 1 (127.0.0.2) did not join within 1 seconds')
    assert third.event() == failure


def test_a_first_node_that_never_comes(sides):
    (second,) = sides(0.1, (1,))
    second.peers.join_job(0)
    failure = second.event()
    assert (failure.code, failure.restartable) == (1, False)
    assert failure.text.startswith('node 0 (127.0.0.1) did not start the job within 1 seconds')


def test_a_first_node_that_is_something_else():
    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(1000)
                connection.sendall(b'HTTP/1.1 400 Bad Request\r\n\r\n')

    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server((IPS[0], 0)))
        threading.Thread(target=serve, daemon=True).start()
        second = Side(stack, 1, server.getsockname()[1], 0.1)
        second.peers.join_job(0)
        assert second.event().text.startswith('node 0 (127.0.0.1) did not start the job within 1 seconds')
        server.shutdown(socket.SHUT_RDWR)


def test_beats_keep_a_job_alive(sides):
    everybody = sides(0.4)
    assert started(everybody, (0, 0, 0)) == [Started(0)] * 3
    assert everybody[0].event(1.5) is None
    assert everybody[1].event(0) is None


@pytest.mark.parametrize(('first', 'second'), [(b'one', b'two'), (b'one', b''), (b'', b'two')])
def test_another_secret_is_told_at_once(first, second, caplog):
    """The node that does not know it ends; the first goes on to wait for one that does."""
    with contextlib.ExitStack() as stack:
        port = port_block(1)
        coordinator = Side(stack, 0, port, 30, first)
        stranger = Side(stack, 1, port, 30, second)
        coordinator.peers.join_job(0)
        stranger.peers.join_job(0)
        failure = stranger.event(5)
        assert 'PROPELLER_SECRET' in failure.text and failure.code == 2 and not failure.restartable
        assert any('wants to join, but the launchers do not have the same' in r.getMessage() for r in caplog.records)
        members = [Side(stack, node, port, 30, first) for node in (1, 2)]
        for member in members:
            member.peers.join_job(0)
        assert [side.event(5) for side in (coordinator, *members)] == [Started(0)] * 3


def test_a_port_that_is_taken():
    with socket.create_server((IPS[0], 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UserError, match=f'{IPS[0]}:{port}'):
            Coordinator(1, lambda: None, IPS, port, FACTS)


def test_last_lines(tmp_path):
    log = tmp_path / 'log'
    log.write_bytes(b'of an earlier job\n')
    start = log.stat().st_size
    assert last_lines(log, start) == []
    with log.open('ab') as f:
        f.write(b''.join(b'%06d \xff\n' % i for i in range(20_000)) + '未完'.encode())
    assert last_lines(log, start, 3) == ['019998 \ufffd', '019999 \ufffd', '未完']
    assert len(last_lines(log, start)) == 20
    assert 'of an earlier job' not in last_lines(log, start, 10**9)
