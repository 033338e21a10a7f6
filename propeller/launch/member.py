"""The side of `peers` of every node but the first: connects to node 0 and tells it how this node fares."""

import selectors
import socket

from propeller.errors import one_line
from propeller.launch.messages import SECRET, Failure, Garbage, is_integer
from propeller.launch.peers import Finished, Peers, Started, lost
from propeller.log import get_logger

log = get_logger(__name__)

_RETRY_SECONDS = 0.3


class Member(Peers):
    """Args:
    node: index of this node.
    address: (host, port) of node 0's launcher.
    facts: settings in which all launchers must agree.
    secret: see `Peers`.
    """

    def __init__(self, limits, notify, node, address, facts, secret=b''):
        super().__init__(limits, notify, secret)
        self._node, self._address, self._facts = node, address, facts
        self._dialling, self._dialled = None, 0.0

    def on_join(self):
        log.info('waiting for %s', self._name())

    def on_own_end(self):
        for connection in self.members():
            connection.send({'done': True})

    def on_message(self, connection, message):
        if 'failed' in message:
            self.fail(Failure.from_message(message), told=connection)
        elif is_integer(message.get('start'), 0, 1 << 30) and self.phase == 'joining':
            self.phase, self.generation = 'running', message['start']
            self.emit(Started(self.generation))
        elif 'refused' in message:
            self.fail(Failure(one_line(message['refused'], 1000), 2, restartable=False), told=connection)
        elif 'wait' in message:
            self.drop(connection)
        elif 'finished' in message and self.phase == 'running':
            self.phase = 'idle'
            self.emit(Finished())
        elif 'beat' in message:
            self.joining_since = self.now()  # node 0 lives; how long to wait for the others is for it to say
        else:
            raise Garbage('an unknown message')

    def on_wrong_secret(self, connection):
        text = f'{self._name()} does not have the {SECRET} of this node: set it alike on all nodes, or on none'
        self.fail(Failure(text, 2, restartable=False), told=connection)

    def on_closed(self, connection, reason):
        if self.phase == 'running':
            self.fail(lost(self._name(), reason))

    def on_time(self, now):
        for connection in self.members():
            if self.phase != 'idle' and now - connection.heard > self.limits.silence:
                self._silent(connection)
        if self.phase == 'joining' and not self.members():
            if now - self.joining_since > self.limits.start:
                self._give_up()
            elif now - self._dialled > _RETRY_SECONDS:
                self._dial(now)

    def on_close(self):
        if self._dialling is not None:
            self._dialling.close()

    def _dial(self, now):
        """Begin to connect; a network that swallows packets must not hold up the thread. Tried again until it works."""
        if self._dialling is not None and now - self._dialled < min(5, self.limits.silence):
            return
        self._stop_dialling()
        self._dialled = now
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(*self._address, type=socket.SOCK_STREAM)[0]
            self._dialling = socket.socket(family, kind, protocol)
            self._dialling.setblocking(False)
            self._dialling.connect_ex(address)
        except OSError:  # a name that is not known yet
            self._stop_dialling()
            return
        self.listen_to(self._dialling, self._answered, selectors.EVENT_WRITE)

    def _answered(self):
        sock, self._dialling = self._dialling, None
        self.ignore(sock)
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            sock.close()
            return
        connection = self.add(sock, '{}:{}'.format(*self._address))
        connection.node = 0
        connection.send({'node': self._node, 'generation': self.generation, 'facts': self._facts})

    def _stop_dialling(self):
        if self._dialling is not None:
            self.ignore(self._dialling)
            self._dialling.close()
            self._dialling = None

    def _silent(self, connection):
        if self.phase == 'joining':
            self.lose(connection, 'silent')
            return
        text = f'{self._name()} has not been heard for {self.limits.silence:g} seconds'
        self.fail(Failure(f'{text}. Is the machine up, and the network between it and node {self._node}?', 1))

    def _give_up(self):
        host, port = self._address
        self.fail(
            Failure(
                f'{self._name()} did not start the job within {self.limits.start:g} seconds. Is the launcher started '
                f'there, with the same --node_ips, and can {host}:{port} be reached from here?',
                1,
                restartable=False,
            )
        )

    def _name(self):
        return f'node 0 ({self._address[0]})'
