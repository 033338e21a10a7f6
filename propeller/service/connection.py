"""A connection of a client: one request at a time, in the frames of 2019's clients, and what became of it."""

import itertools
import os
import threading

from propeller.errors import UsageError, quoted
from propeller.optional import optional_package
from propeller.service import calls
from propeller.service.security import load_keys

_NUMBERS = itertools.count()
_lock, _contexts = threading.Lock(), {}


class Endpoint:
    """Where a server is, and what it must be shown.

    Args:
        address: `tcp://HOST:PORT`.
        server_key: None, or the server's public CURVE key: 40 characters, or the file `NAME.key` that holds it.
        client_key: None, or file of this client's key pair (`NAME.key_secret`); None: a new one, for servers that let
            any client in.
    Raises:
        UserError: pyzmq is missing; a key cannot be used.
    """

    def __init__(self, address, server_key=None, client_key=None):
        self.address = address
        self.zmq = optional_package('zmq', 'the client', 'pyzmq')
        self._keys, self.encrypted = None, server_key is not None
        if server_key is not None:
            is_key = len(server_key) == 40 and '/' not in server_key
            server = server_key.encode() if is_key else load_keys(server_key)[0]
            own = self.zmq.curve_keypair() if client_key is None else load_keys(client_key, secret=True)
            self._keys = server, *own
        elif client_key is not None:
            raise UsageError('client_key needs server_key.')

    def context(self):
        """The context of all clients in this process; sockets do not survive a fork.

        It is never closed: a context that vanishes with its sockets waits for them for ever.
        """
        with _lock:
            if os.getpid() not in _contexts:
                _contexts[os.getpid()] = context = self.zmq.Context()
                context.max_sockets = min(65536, context.get(self.zmq.SOCKET_LIMIT))
            return _contexts[os.getpid()]

    def open(self, context):
        """A REQ socket that is being connected, and a socket that tells what becomes of it.

        Args:
            context: of this process, or its shadow.
        Raises:
            UsageError: it is no such address.
        """
        zmq = self.zmq
        one, events = context.socket(zmq.REQ), context.socket(zmq.PAIR)
        try:
            one.linger = events.linger = events.rcvhwm = 0
            if self._keys is not None:
                one.curve_serverkey, one.curve_publickey, one.curve_secretkey = self._keys
            place = f'inproc://client-{next(_NUMBERS)}'
            failed = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            failed |= zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            one.monitor(place, zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | failed)
            events.connect(place)
            one.connect(self.address)
        except (zmq.ZMQError, TypeError) as e:
            close(one, events)
            raise UsageError(f'found {quoted(self.address)}, expected tcp://HOST:PORT ({e}).') from None
        return one, events


def close(socket, events, process=None, plain=None):
    """Close a socket and the one that tells of it.

    In this order: libzmq waits for ever where it has something to tell and nobody is left. For the same reason the two
    are never left to the garbage collector, which knows no order: `weakref.finalize` holds them.

    Args:
        socket, events: of `Endpoint.open`.
        process: number of the process that they are of; nothing is done in another.
        plain: class whose `close` is taken, where that of the sockets needs their event loop.
    """
    if process not in (None, os.getpid()):
        return
    socket.disable_monitor()
    for one in (socket, events):
        one.close() if plain is None else plain.close(one)


class State:
    """What the events of a connection say."""

    def __init__(self, endpoint):
        self._zmq, self._address, self._encrypted = endpoint.zmq, endpoint.address, endpoint.encrypted
        self.connected = False

    def note(self, event):
        """Take a frame of the socket of events.

        Raises:
            InferenceError: no answer will come on this connection.
        """
        kind = int.from_bytes(event[:2], 'little')
        if kind == self._zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.connected = True
        elif kind == self._zmq.EVENT_DISCONNECTED:
            # Before the handshake it is one of the tries to connect.
            if self.connected:
                raise calls.ended(self._address)
        elif kind != self._zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL or self._encrypted:
            # A server that has another key ends the connection without a word; so does one that is being started.
            raise calls.refused(self._address)
