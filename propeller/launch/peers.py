"""The launchers of a job on several nodes: they wait for each other, feel each other's pulse and end together.

Node 0 listens at the port below the master's; the others connect to it. Everybody sends a beat now and then. A node
whose connection ends, or that has been silent for too long, is lost, and the job with it. A failure that one node
reports is passed on to all.

Everything happens in one thread of its own, so that a launcher that is busy stopping its processes still answers. It
talks to the main thread through two queues.
"""

import abc
import contextlib
import dataclasses
import queue
import selectors
import socket
import threading
import time

from propeller.launch.messages import Failure, Garbage, Lines, WrongSecret, encode
from propeller.log import get_logger

log = get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class Started:
    """All nodes are here. `generation`: how often the job has been started before."""

    generation: int


@dataclasses.dataclass(frozen=True)
class Finished:
    """The processes of all nodes have ended with 0."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """Times in seconds, from `--peer_timeout`.

    Attributes:
        timeout: a lost node must have been noticed by then.
    """

    timeout: float

    @property
    def beat(self):
        return min(5.0, self.timeout / 10)

    @property
    def silence(self):
        """Longest time without a sign of life. The rest of the timeout is for telling the others."""
        return 0.8 * self.timeout

    @property
    def start(self):
        """How long nodes wait for each other at the start: machines are not given to a job all at once."""
        return 10 * self.timeout


def lost(name, reason):
    """The `Failure` of a node whose connection ended before the job did."""
    return Failure(f'{name} is lost: {reason}. Was its launcher killed, or the network to it cut?', 1)


class Closed(Exception):
    """The connection has ended; the text says how."""


class Connection:
    """A connected socket that never blocks, with the messages in and out."""

    def __init__(self, sock, address, secret=b''):
        sock.setblocking(False)
        self.socket, self.address = sock, address
        self.node = None  # until it has said so
        self.retired = False  # what comes through it no longer counts
        self.heard = self.opened = time.monotonic()
        self._secret, self._lines, self._unsent = secret, Lines(secret), b''

    def receive(self):
        """The messages that have arrived; `Closed` at the end, `Garbage` for what is none."""
        try:
            chunk = self.socket.recv(1 << 16)
        except BlockingIOError:
            return []
        except OSError as e:
            raise Closed(e.strerror or str(e)) from e
        if not chunk:
            raise Closed('closed by the other side')
        self.heard = time.monotonic()
        return self._lines.feed(chunk)

    def send(self, message):
        """Send now what the system takes, the rest with later calls. A broken connection shows when it is read."""
        self._unsent += encode(message, self._secret)
        with contextlib.suppress(OSError):  # full, or broken
            self._unsent = self._unsent[self.socket.send(self._unsent) :]

    def refuse(self, reason):
        """Tell why, in a line without signature, which the other side can read if it has no secret."""
        with contextlib.suppress(OSError):
            self.socket.send(encode({'refused': reason}))

    def retire(self):
        """Nothing follows; the connection stays until the other side has read everything and closes."""
        self.retired = True
        if not self._unsent:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    def end(self, patience=1.0):
        """Send the rest and close once the other side has read it: closing earlier could take it back."""
        with contextlib.suppress(OSError):
            self.socket.settimeout(patience)
            self.socket.sendall(self._unsent)
            self.socket.shutdown(socket.SHUT_WR)
            deadline = time.monotonic() + patience
            while self.socket.recv(1 << 16) and time.monotonic() < deadline:
                pass
        self.socket.close()


class Peers(abc.ABC):
    """What both sides share: the thread, the queues, the connections. Used as a context manager.

    Args:
        limits: the times.
        notify: function without arguments, called when there may be a new event.
        secret: bytes that all launchers of the job know; empty: nobody proves anything.
    """

    def __init__(self, limits, notify, secret=b''):
        self._thread = threading.Thread(target=self._run, name='peers', daemon=True)
        self._events = queue.SimpleQueue()
        self.limits, self._secret = limits, secret
        self._wanted = self._current = 0  # which call of join_job: the main thread's, and the one the thread is at
        self.phase = 'idle'  # idle -> joining -> running -> idle
        self.generation, self.joining_since = 0, 0.0
        self._notify = notify
        self._commands = queue.SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._wake_up)
        self._connections = []
        self._beaten = 0.0
        self._closing = False

    # Called by the main thread.

    def join_job(self, generation):
        """Wait for the other nodes; `Started` follows, or a `Failure`."""
        self._wanted += 1
        self._command(self._join, self._wanted, generation)

    def has_news(self):
        """Whether there is anything for `next_event` to look at."""
        return not self._events.empty()

    def next_event(self):
        """`Started`, `Finished` or a `Failure` since the last call of `join_job`; None if there is nothing new."""
        while not self._events.empty():
            number, event = self._events.get()
            if number == self._wanted:
                return event
        return None

    def report(self, failure):
        """This node has failed, or has been told to end: the others are told."""
        self._command(self.on_own_failure, failure)

    def report_done(self):
        """All processes of this node have ended with 0; `Finished` follows, or a `Failure` elsewhere."""
        self._command(self.on_own_end)

    def close(self):
        """Send what has not been sent, and end the thread."""
        self._command(self._close)
        self._thread.join(10)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self.close()

    def _command(self, function, *arguments):
        self._commands.put((function, arguments))
        self._waker.send(b'.')

    # Everything below runs in the thread.

    def _run(self):
        try:
            while not self._closing:
                for key, _ in self._selector.select(min(self.limits.beat / 2, 0.5)):
                    key.data()
                while not self._commands.empty():
                    function, arguments = self._commands.get()
                    function(*arguments)
                self._beat()
                self.on_time(time.monotonic())
        except Exception as e:  # a job without its pulse must not run on unnoticed
            log.exception('the connection between the launchers broke down')
            self.emit(Failure(f'the connection between the launchers broke down: {e!r}', 1, restartable=False))
        finally:
            for connection in list(self._connections):
                self._selector.unregister(connection.socket)
                connection.end()
            self.on_close()
            self._selector.close()

    def emit(self, event):
        self._events.put((self._current, event))
        self._notify()

    def fail(self, failure, told=None):
        """End the phase and tell everybody but the connection that told us."""
        if self.phase == 'idle':
            return
        self.phase = 'idle'
        for connection in self.members():
            if connection is not told:
                connection.send(failure.to_message())
            connection.retire()
        self.emit(failure)

    def listen_to(self, sock, callback, event=selectors.EVENT_READ):
        self._selector.register(sock, event, callback)

    def ignore(self, sock):
        self._selector.unregister(sock)

    @staticmethod
    def now():
        return time.monotonic()

    def add(self, sock, address):
        connection = Connection(sock, address, self._secret)
        self._connections.append(connection)
        self.listen_to(sock, lambda: self._read(connection))
        return connection

    def drop(self, connection):
        if connection in self._connections:
            self._connections.remove(connection)
            self._selector.unregister(connection.socket)
            connection.socket.close()

    def _read(self, connection):
        try:
            for message in connection.receive():
                if connection in self._connections and not connection.retired:
                    self.on_message(connection, message)
        except WrongSecret:
            self.on_wrong_secret(connection)
            self.lose(connection, 'another secret')
        except Garbage as e:
            log.debug('%s sent no message of a launcher: %s', connection.address, e)
            self.lose(connection, 'garbage received')
        except Closed as e:
            self.lose(connection, str(e))

    def lose(self, connection, reason):
        if connection in self._connections:
            self.drop(connection)
            if not connection.retired:
                self.on_closed(connection, reason)

    def _beat(self):
        now = time.monotonic()
        if now - self._beaten >= self.limits.beat:
            self._beaten = now
            for connection in self.members():
                connection.send({'beat': 1})

    def _join(self, number, generation):
        self._current, self.phase, self.generation, self.joining_since = number, 'joining', generation, self.now()
        self.on_join()

    def _wake_up(self):
        self._woken.recv(1 << 10)

    def _close(self):
        self._closing = True

    def members(self):
        """Connections to nodes of the job, in the order of their ids."""
        known = (c for c in self._connections if c.node is not None and not c.retired)
        return sorted(known, key=lambda connection: connection.node)

    def strangers(self):
        """Connections that have not said who they are, oldest first."""
        return [c for c in self._connections if c.node is None and not c.retired]

    # What the two sides do differently.

    @abc.abstractmethod
    def on_join(self):
        """This node waits for its job to begin."""

    def on_own_failure(self, failure):
        self.fail(failure)

    @abc.abstractmethod
    def on_own_end(self):
        """All processes of this node have ended with 0."""

    @abc.abstractmethod
    def on_message(self, connection, message):
        """A message, a dict, has come."""

    @abc.abstractmethod
    def on_wrong_secret(self, connection):
        """The other side has another secret; the connection is closed next."""

    @abc.abstractmethod
    def on_closed(self, connection, reason):
        """A connection was lost; it is closed."""

    @abc.abstractmethod
    def on_time(self, now):
        """Called about every half second; now: seconds of the monotonic clock."""

    @abc.abstractmethod
    def on_close(self):
        """Called when all connections are closed."""
