"""The launchers of a job on several nodes: they wait for each other, watch each other and end together.

Everybody sends a message now and then. A node whose connection ends, or that has been silent for too long, is lost, and
the job with it. A failure that one node reports is passed on to all. What node 0 does and what the others do is in
`nodes`.

Everything happens in an event loop with a thread of its own, so that a launcher that is busy stopping its processes
still answers. The main thread gives it commands and takes events from a queue.
"""

import asyncio
import contextlib
import dataclasses
import queue
import threading
import time

from propeller.launch.messages import Connection, Failure
from propeller.log import get_logger

log = get_logger(__name__)

_SECONDS_TO_CLOSE = 1


@dataclasses.dataclass(frozen=True)
class Started:
    """All nodes are here. `generation`: how often the job has been started before."""

    generation: int


@dataclasses.dataclass(frozen=True)
class Finished:
    """The processes of all nodes have ended with 0."""


class Peers:
    """What node 0 and the others share. Used as a context manager.

    They add: `on_open`, when the loop begins; `on_join`, when this node waits for its job to begin; `on_own_end`, when
    all its processes have ended with 0; `on_message(connection, message)`; `on_wrong_secret(connection)`, before the
    connection is closed; `on_lost(connection, reason)`, when it is; `on_time(now)`, about every half second; and for
    messages `own_name` and `name_of(node)`.

    Args:
        timeout: seconds, `--peer_timeout`: a lost node must have been noticed by then.
        notify: function without arguments, called when there may be a new event.
        facts: settings in which all launchers must agree, by flag.
        secret: bytes that all launchers of the job know; empty: nobody proves anything.
    """

    def __init__(self, timeout, notify, facts, secret=b''):
        self._heartbeat = min(5.0, timeout / 10)
        # Longest time without a sign of life; the rest of the timeout is for telling the others.
        self.silence = 0.8 * timeout
        # How long nodes wait for each other at the start: machines are not given to a job all at once.
        self.patience = 10 * timeout
        self.facts = facts
        self._notify, self._secret = notify, secret
        self._thread = threading.Thread(target=self._run, name='peers', daemon=True)
        self._closing = asyncio.Event()
        self._events = queue.SimpleQueue()
        self._wanted = self._current = 0  # which call of join_job: the main thread's, and the one the loop is at
        self.phase = 'idle'  # idle -> joining -> running -> idle
        self.generation, self.joining_since = 0, 0.0
        self.connections = []

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
        self._command(self.fail, failure)

    def report_done(self):
        """All processes of this node have ended with 0; `Finished` follows, or a `Failure` elsewhere."""
        self._command(self.on_own_end)

    def __enter__(self):
        self._loop = asyncio.new_event_loop()
        self._thread.start()
        return self

    def __exit__(self, *exception):
        """Send what has not been sent, and end the thread."""
        self._command(self._closing.set)
        self._thread.join(10)

    def _command(self, function, *arguments):
        with contextlib.suppress(RuntimeError):  # the loop broke down, which it has told
            self._loop.call_soon_threadsafe(function, *arguments)

    # Everything below runs in the thread.

    def _run(self):
        self._loop.set_exception_handler(self._broke_down)
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except Exception as e:
            self._broke_down(self._loop, {'exception': e})

    async def _serve(self):
        await self.on_open()
        beaten = 0.0
        while not self._closing.is_set():
            now = time.monotonic()
            if now - beaten >= self._heartbeat:
                beaten = now
                for connection in self.members():
                    connection.send({'heartbeat': 1})
            self._check_silence(now)
            self.on_time(now)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), min(self._heartbeat / 2, 0.5))
        # Closing before the other side has read everything could take it back.
        for connection in self.connections:
            connection.retire()
        deadline = time.monotonic() + _SECONDS_TO_CLOSE
        while self.connections and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    def _broke_down(self, loop, context):
        error = context.get('exception')
        if not isinstance(error, OSError):  # else a connection that could not be accepted
            # A job that nobody watches must not run on unnoticed.
            log.error('the connection between the launchers broke down', exc_info=error)
            text = f'the connection between the launchers broke down: {error or context.get("message")!r}'
            self.emit(Failure(text, 1, restartable=False))

    def emit(self, event):
        self._events.put((self._current, event))
        self._notify()

    def fail(self, failure, sender=None):
        """End the phase and tell everybody but the connection that the failure has come through."""
        if self.phase == 'idle':
            return
        self.phase = 'idle'
        for connection in self.members():
            if connection is not sender:
                connection.send(failure.to_message())
            connection.retire()
        self.emit(failure)

    def fail_for_good(self, text, code=1, sender=None):
        """`fail` in a way that would only happen again."""
        self.fail(Failure(text, code, restartable=False), sender)

    def _join(self, number, generation):
        self._current, self.phase, self.generation = number, 'joining', generation
        self.joining_since = time.monotonic()
        self.on_join()

    def new_connection(self):
        return Connection(self, self._secret)

    def on_connected(self, connection):
        """A connection was made: it is one of ours from now on."""
        self.connections.append(connection)

    def drop(self, connection):
        """End a connection of which nobody needs to hear."""
        if connection in self.connections:
            self.connections.remove(connection)
            connection.abort()

    def lose(self, connection, reason):
        """End a connection that has ended, or should."""
        is_news = connection in self.connections and not connection.retired
        self.drop(connection)
        if is_news:
            self.on_lost(connection, reason)

    def _check_silence(self, now):
        for connection in self.members() if self.phase != 'idle' else ():
            if now - connection.heard <= self.silence:
                continue
            if self.phase == 'joining':
                self.lose(connection, 'silent')
                continue
            text = f'{self.name_of(connection.node)} has not been heard for {self.silence:g} seconds'
            self.fail(Failure(f'{text}. Is the machine up, and the network between it and {self.own_name}?', 1))

    def fail_lost(self, connection, reason):
        """`fail` because a connection ended before the job did."""
        text = f'{self.name_of(connection.node)} is lost: {reason}. Was its launcher killed, or the network to it cut?'
        self.fail(Failure(text, 1))

    def members(self):
        """Connections to nodes of the job, in the order of their ids."""
        known = (c for c in self.connections if c.node is not None and not c.retired)
        return sorted(known, key=lambda connection: connection.node)
