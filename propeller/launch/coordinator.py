"""Node 0's side of `peers`: listens, gathers the other nodes, passes failures on."""

import socket

from propeller.errors import UserError
from propeller.launch.messages import SECRET, Failure, Garbage, disagreement, is_integer
from propeller.launch.peers import Finished, Peers, Started, lost
from propeller.log import get_logger

log = get_logger(__name__)

_MOST_STRANGERS = 64
_STRANGER_SECONDS = 10
_MOST_GENERATIONS = 1_000_000


class Coordinator(Peers):
    """Args:
    node_ips: addresses of all nodes; this is the first.
    port: where to listen, on this node's own address.
    facts: settings in which all launchers must agree; `--node_ips` and `--master` tell the job.
    secret: see `Peers`.

    Raises:
        UserError: the port is taken, or the address is not of this machine.
    """

    def __init__(self, limits, notify, node_ips, port, facts, secret=b''):
        super().__init__(limits, notify, secret)
        self._node_ips, self._port, self._facts = node_ips, port, facts
        self._done = set()
        try:
            self._server = socket.create_server((node_ips[0], port), backlog=len(node_ips) + _MOST_STRANGERS)
        except OSError as e:
            raise UserError(
                f'{node_ips[0]}:{port}: cannot listen there for the other launchers: {e.strerror or e}. Is '
                f'{node_ips[0]} an address of this machine, and the port below that of --master free?'
            ) from e
        self._server.setblocking(False)
        self.listen_to(self._server, self._accept)

    def on_join(self):
        log.info('waiting for %s', self._missing())

    def on_own_end(self):
        self._end_of(0)

    def on_message(self, connection, message):
        if connection.node is None:
            self._greet(connection, message)
        elif 'failed' in message:
            self.fail(Failure.from_message(message), told=connection)
        elif message.get('done') is True:
            self._end_of(connection.node)
        elif 'beat' not in message:
            raise Garbage('an unknown message')

    def on_wrong_secret(self, connection):
        reason = f'the launchers do not have the same {SECRET}: set it alike on all nodes, or on none'
        log.warning('%s wants to join, but %s', connection.address, reason)
        connection.refuse(reason)

    def on_closed(self, connection, reason):
        if connection.node is None:
            return
        if self.phase == 'running':
            self.fail(lost(self._name(connection.node), reason))
        elif self.phase == 'joining':
            log.warning('%s has gone again; waiting for %s', self._name(connection.node), self._missing())

    def on_time(self, now):
        for connection in self.strangers():
            if now - connection.opened > _STRANGER_SECONDS:
                self.drop(connection)
        for connection in self.members():
            if self.phase != 'idle' and now - connection.heard > self.limits.silence:
                self._silent(connection)
        if self.phase == 'joining' and now - self.joining_since > self.limits.start:
            self.fail(
                Failure(
                    f'{self._missing()} did not join within {self.limits.start:g} seconds. Is the launcher started '
                    f'there, with the same --node_ips, and can it reach {self._node_ips[0]}:{self._port}?',
                    1,
                    restartable=False,
                )
            )

    def on_close(self):
        self._server.close()

    def _accept(self):
        try:
            sock, address = self._server.accept()
        except OSError:  # gone before we came
            return
        if len(self.strangers()) >= _MOST_STRANGERS:
            self.drop(self.strangers()[0])
        self.add(sock, f'{address[0]}:{address[1]}')

    def _greet(self, connection, message):
        """Take a node in, send it away for good (`refused`), or have it come again (`wait`)."""
        node, generation, facts = (message.get(key) for key in ('node', 'generation', 'facts'))
        if not is_integer(node, 1, len(self._node_ips) - 1) or not isinstance(facts, dict):
            raise Garbage('no greeting')
        if not is_integer(generation, 0, _MOST_GENERATIONS):
            raise Garbage('no greeting')
        difference = disagreement(self._facts, facts, node)
        if difference is not None:
            log.warning('%s wants to join as node %d, but %s', connection.address, node, difference)
            connection.send({'refused': difference})
            if all(facts.get(name) == self._facts[name] for name in ('--node_ips', '--master')):
                connection.node = node
                self.fail(Failure(difference, 2, restartable=False))
        elif self.phase != 'joining':
            connection.send({'wait': True})
        elif any(other.node == node for other in self.members()):
            text = f'node {node} has joined already; each launcher needs its own --node_id'
            log.warning('%s wants to join, but %s', connection.address, text)
            connection.send({'refused': text})
        else:
            connection.node = node
            self.generation = max(self.generation, generation)
            if not self._absent():
                self._start()

    def _start(self):
        self.phase = 'running'
        self._done = set()
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

    def _silent(self, connection):
        if self.phase == 'joining':
            self.lose(connection, 'silent')
            return
        text = f'{self._name(connection.node)} has not been heard for {self.limits.silence:g} seconds'
        self.fail(Failure(f'{text}. Is the machine up, and the network between it and {self._node_ips[0]}?', 1))

    def _name(self, node):
        return f'node {node} ({self._node_ips[node]})'

    def _absent(self):
        here = {connection.node for connection in self.members()}
        return [node for node in range(1, len(self._node_ips)) if node not in here]

    def _missing(self):
        return ', '.join(self._name(node) for node in self._absent())
