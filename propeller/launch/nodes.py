"""What node 0's launcher does, which listens and gathers the others, and what theirs do, which connect to it."""

import asyncio
import contextlib
import socket
import time

from propeller.errors import UserError
from propeller.launch.messages import SECRET, Failure, Garbage, disagreement, is_integer
from propeller.launch.peers import Finished, Peers, Started
from propeller.log import get_logger

log = get_logger(__name__)

_RETRY_SECONDS = 0.3
_MOST_UNIDENTIFIED = 64  # connections that have not said which node they are
_SECONDS_TO_GREET = 10
_MOST_GENERATIONS = 1_000_000


class Coordinator(Peers):
    """Node 0.

    Args:
        node_ips: addresses of all nodes; this is the first.
        port: where to listen, on this node's own address.
        timeout, notify, facts, secret: see `Peers`; `--node_ips` and `--master` among the facts tell the job.

    Raises:
        UserError: the port is taken, or the address is not of this machine.
    """

    def __init__(self, timeout, notify, node_ips, port, facts, secret=b''):
        super().__init__(timeout, notify, facts, secret)
        self._node_ips, self._port, self.own_name = node_ips, port, node_ips[0]
        self._done = set()
        try:
            self._listening = socket.create_server((node_ips[0], port))
        except OSError as e:
            raise UserError(
                f'{node_ips[0]}:{port}: cannot listen there for the other launchers: {e.strerror or e}. Is '
                f'{node_ips[0]} an address of this machine, and the port below that of --master free?'
            ) from e

    async def on_open(self):
        self._server = await asyncio.get_running_loop().create_server(
            self.new_connection, sock=self._listening, backlog=len(self._node_ips) + _MOST_UNIDENTIFIED
        )

    def __exit__(self, *exception):
        super().__exit__(*exception)
        self._listening.close()

    def on_join(self):
        log.info('waiting for %s', self._missing())

    def on_own_end(self):
        self._end_of(0)

    def on_connected(self, connection):
        if len(self._unidentified()) >= _MOST_UNIDENTIFIED:
            self.drop(self._unidentified()[0])
        super().on_connected(connection)

    def on_message(self, connection, message):
        if connection.node is None:
            self._greet(connection, message)
        elif 'failed' in message:
            self.fail(Failure.from_message(message), sender=connection)
        elif message.get('done') is True:
            self._end_of(connection.node)
        elif 'heartbeat' not in message:
            raise Garbage('an unknown message')

    def on_wrong_secret(self, connection):
        reason = f'the launchers do not have the same {SECRET}: set it alike on all nodes, or on none'
        # Without signature it can be read where there is no secret.
        self._refuse(connection, '', reason, signed=False)

    def on_lost(self, connection, reason):
        if connection.node is None:
            return
        if self.phase == 'running':
            self.fail_lost(connection, reason)
        elif self.phase == 'joining':
            log.warning('%s has gone again; waiting for %s', self.name_of(connection.node), self._missing())

    def on_time(self, now):
        for connection in self._unidentified():
            if now - connection.opened > _SECONDS_TO_GREET:
                self.drop(connection)
        if self.phase == 'joining' and now - self.joining_since > self.patience:
            self.fail_for_good(
                f'{self._missing()} did not join within {self.patience:g} seconds. Is the launcher started there, '
                f'with the same --node_ips, and can it reach {self._node_ips[0]}:{self._port}?'
            )

    def name_of(self, node):
        return f'node {node} ({self._node_ips[node]})'

    def _greet(self, connection, message):
        """Take a node in, send it away for good, or have it come again."""
        node, generation, facts = (message.get(key) for key in ('node', 'generation', 'facts'))
        if not is_integer(node, 1, len(self._node_ips) - 1) or not isinstance(facts, dict):
            raise Garbage('no greeting')
        if not is_integer(generation, 0, _MOST_GENERATIONS):
            raise Garbage('no greeting')
        difference = disagreement(self.facts, facts, node)
        if difference is not None:
            self._refuse(connection, f'as node {node}', difference)
            if all(facts.get(name) == self.facts[name] for name in ('--node_ips', '--master')):
                connection.node = node
                self.fail_for_good(difference, 2)
        elif self.phase != 'joining':
            self.drop(connection)
        elif any(other.node == node for other in self.members()):
            text = f'node {node} has joined already; each launcher needs its own --node_id'
            self._refuse(connection, f'as node {node}', text)
        else:
            connection.node = node
            self.generation = max(self.generation, generation)
            if not self._absent():
                self._start()

    @staticmethod
    def _refuse(connection, role, reason, signed=True):
        log.warning('%s wants to join%s, but %s', connection.address, f' {role}' if role else '', reason)
        connection.send(Failure(reason, 2, restartable=False).to_message(), signed)

    def _start(self):
        self.phase, self._done = 'running', set()
        for connection in self.members():
            connection.send({'start': self.generation})
        self.emit(Started(self.generation))

    def _end_of(self, node):
        if self.phase != 'running':
            return
        self._done.add(node)
        if len(self._done) == len(self._node_ips):
            self.phase = 'idle'
            for connection in self.members():
                connection.send({'finished': True})
            self.emit(Finished())

    def _unidentified(self):
        """Connections that have not said who they are, oldest first."""
        return [c for c in self.connections if c.node is None and not c.retired]

    def _absent(self):
        here = {connection.node for connection in self.members()}
        return [node for node in range(1, len(self._node_ips)) if node not in here]

    def _missing(self):
        return ', '.join(self.name_of(node) for node in self._absent())


class Member(Peers):
    """Every node but the first.

    Args:
        node: index of this node.
        address: (host, port) of node 0's launcher.
        timeout, notify, facts, secret: see `Peers`.
    """

    def __init__(self, timeout, notify, node, address, facts, secret=b''):
        super().__init__(timeout, notify, facts, secret)
        self._node, self._address, self.own_name = node, address, f'node {node}'
        self._connecting = None

    async def on_open(self):
        """Nothing: a member connects when it joins."""

    def on_join(self):
        log.info('waiting for %s', self.name_of(0))
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def on_own_end(self):
        for connection in self.members():
            connection.send({'done': True})

    async def _connect(self):
        """Try until it works. A network that swallows packets must not keep an attempt waiting for minutes."""
        while self.phase == 'joining':
            if not self.members():
                with contextlib.suppress(OSError):  # TimeoutError too
                    async with asyncio.timeout(min(5, self.silence)):
                        await asyncio.get_running_loop().create_connection(self.new_connection, *self._address)
            await asyncio.sleep(_RETRY_SECONDS)

    def on_connected(self, connection):
        super().on_connected(connection)
        connection.node = 0
        connection.send({'node': self._node, 'generation': self.generation, 'facts': self.facts})

    def on_message(self, connection, message):
        if 'failed' in message:
            self.fail(Failure.from_message(message), sender=connection)
        elif is_integer(message.get('start'), 0, 1 << 30) and self.phase == 'joining':
            self.phase, self.generation = 'running', message['start']
            self.emit(Started(self.generation))
        elif 'finished' in message and self.phase == 'running':
            self.phase = 'idle'
            self.emit(Finished())
        elif 'heartbeat' in message:
            self.joining_since = time.monotonic()  # node 0 lives; how long to wait for the others is for it to say
        else:
            raise Garbage('an unknown message')

    def on_wrong_secret(self, connection):
        text = f'{self.name_of(0)} does not have the {SECRET} of this node: set it alike on all nodes, or on none'
        self.fail_for_good(text, 2, sender=connection)

    def on_lost(self, connection, reason):
        if self.phase == 'running':
            self.fail_lost(connection, reason)

    def on_time(self, now):
        if self.phase == 'joining' and not self.members() and now - self.joining_since > self.patience:
            host, port = self._address
            self.fail_for_good(
                f'{self.name_of(0)} did not start the job within {self.patience:g} seconds. Is the launcher '
                f'started there, with the same --node_ips, and can {host}:{port} be reached from here?'
            )

    def name_of(self, node):
        return f'node {node} ({self._address[0]})'
