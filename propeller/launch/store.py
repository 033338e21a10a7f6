"""The store through which the processes of a job find each other, listening at one address only.

Paddle's own server listens at all addresses of the machine, whatever it is told. This one speaks the same protocol with
Paddle's clients (`phi/core/distributed/store/tcp_store.cc`, 3.3): a command as int32; a key, and for SET a value, each
as uint64 length and bytes; for ADD an int64. Numbers are those of the machine.

Run by path, as `python store.py SOCKET LIFELINE`: SOCKET is listening, LIFELINE the reading end of a pipe whose other
end the first process holds open. A process of its own, because the clients wait for answers while they hold Python's
lock.
"""

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys

ADD, GET, CHECK, SET, WAIT = range(5)
STOP_WAIT, READY, NOT_READY = 1, 2, 3
LONGEST_KEY = 1 << 14
LONGEST_VALUE = 1 << 24
MOST_BYTES = 1 << 28  # of all keys and values; rendezvous needs some kilobytes a process
_LONG = 1 << 63
_BACKLOG = 2048


class NoRequest(Exception):
    """What a client has sent is no request, or more than there is room for."""


class Store:
    """Keys and values, and who waits for which key. Knows nothing of sockets: a client is any hashable object."""

    def __init__(self):
        self.values, self.waiting, self.size = {}, {}, 0

    def answer(self, client, command, key, value):
        """Do what a client asks for: list of (client, bytes), the answers that are due now.

        Args:
            client: who asks.
            command, key: int and bytes.
            value: bytes for SET, int for ADD, else None.
        Raises:
            NoRequest: GET of a key that is not there, a sum beyond int64, a full store.
        """
        if command == WAIT and key not in self.values:
            self.waiting.setdefault(key, []).append(client)
            return []
        if command == WAIT:
            return [(client, struct.pack('=i', STOP_WAIT))]
        if command == CHECK:
            return [(client, struct.pack('=i', READY if key in self.values else NOT_READY))]
        if command == GET:
            if key not in self.values:
                raise NoRequest('no such key')
            return [(client, struct.pack('=Q', len(self.values[key])) + self.values[key])]
        answers = []
        if command == ADD:
            value += _number(self.values.get(key, b'0'))
            if not -_LONG <= value < _LONG:
                raise NoRequest('a sum of more than 64 bits')
            answers, value = [(client, struct.pack('=q', value))], str(value).encode()
        self._put(key, value)
        return answers + [(waiting, struct.pack('=i', STOP_WAIT)) for waiting in self.waiting.pop(key, ())]

    def _put(self, key, value):
        size = self.size + len(key) + len(value) - (len(key) + len(self.values[key]) if key in self.values else 0)
        if size > MOST_BYTES:
            raise NoRequest('the store is full')
        self.values[key], self.size = value, size

    def forget(self, client):
        """A client has gone: it waits no more."""
        for key in [key for key, clients in self.waiting.items() if client in clients]:
            self.waiting[key].remove(client)
            if not self.waiting[key]:
                del self.waiting[key]


def _number(text):
    try:
        return int(text)
    except ValueError:
        raise NoRequest('ADD to what is no number') from None


def parse(data):
    """The first request in what a client has sent: (bytes used, command, key, value); None if it is not whole yet.

    Raises:
        NoRequest: it is none.
    """
    if len(data) < 12:
        return None
    command, size = struct.unpack_from('=iQ', data)
    if not ADD <= command <= WAIT or size > LONGEST_KEY:
        raise NoRequest('an unknown command, or a key that is too long')
    end = 12 + size
    if command not in (ADD, SET):
        return (end, command, bytes(data[12:end]), None) if len(data) >= end else None
    key, start = bytes(data[12:end]), end + 8
    if len(data) < start:
        return None
    (value,) = struct.unpack_from('=q' if command == ADD else '=Q', data, end)
    if command == ADD:
        return start, command, key, value
    if value > LONGEST_VALUE:
        raise NoRequest('a value that is too long')
    end = start + value
    return (end, command, key, bytes(data[start:end])) if len(data) >= end else None


class _Client(asyncio.Protocol):
    def __init__(self, store):
        self._store, self._received = store, bytearray()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self._received += data
        try:
            while request := parse(self._received):
                del self._received[: request[0]]
                for receiver, answer in self._store.answer(self, *request[1:]):
                    receiver.transport.write(answer)
        except NoRequest:
            self.transport.abort()

    def connection_lost(self, error):
        self._store.forget(self)


async def _serve(listening, lifeline):
    """Serve a store at a listening socket until `lifeline` ends."""
    store, end, loop = Store(), asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(lifeline, end.set)
    await loop.create_server(lambda: _Client(store), sock=listening, backlog=_BACKLOG)
    await end.wait()


def listen(host, port):
    """A socket that listens at the address; for `start`.

    Raises:
        OSError: the port is taken (EADDRINUSE), or the address is not of this machine (EADDRNOTAVAIL).
    """
    # By SO_REUSEADDR, on Linux this also takes the port over from a launcher that holds it without listening.
    return socket.create_server((host, port), backlog=_BACKLOG)


def start(listening):
    """Serve a store at a listening socket in a process of its own, which is no child of this one.

    Returns:
        a file number: the store ends when it is closed, with this process at the latest.
    """
    lifeline, held = os.pipe()
    try:
        subprocess.run(
            [sys.executable, '-I', '-S', __file__, str(listening.fileno()), str(lifeline)],
            stdin=subprocess.DEVNULL,
            pass_fds=[listening.fileno(), lifeline],
            check=True,
        )
    finally:
        os.close(lifeline)
    return held


def main():
    listening, lifeline = (int(argument) for argument in sys.argv[1:3])
    if os.fork():
        os._exit(0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the processes still meet here when they save at the user's wish
    with open(os.devnull, 'r+b') as nothing:
        for stream in range(3):
            os.dup2(nothing.fileno(), stream)  # else whoever reads their output waits for this process too
    asyncio.run(_serve(socket.socket(fileno=listening), lifeline))


if __name__ == '__main__':
    main()
