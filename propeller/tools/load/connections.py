"""Connections of a load: one request at a time, over HTTP/1.1 or ZeroMQ.

HTTP is written out here: the well-kept clients take several times the processor time for each request, which a load on
the same machine would take from the server.
"""

import abc
import asyncio
import contextlib
import json
import re
import socket
import ssl
import urllib.parse

from propeller.errors import UsageError, UserError, one_line, quoted
from propeller.optional import optional_package
from propeller.service import slots
from propeller.service.connection import Endpoint
from propeller.service.errors import ServiceError

_LENGTH = re.compile(rb'\r\ncontent-length: *(\d+)', re.I)
_HEAD_BYTES = 64 << 10
_CHUNKED = re.compile(rb'\r\ntransfer-encoding: *chunked', re.I)
_MOST_SHOWN = 300  # characters of a message
_SLICE = 100  # milliseconds for which the event loop stands still, where nobody else needs it
_CLOSE = re.compile(rb'\r\nconnection: *close', re.I)


class Failure(Exception):
    """A request without a result.

    Args:
        code: of the server, or of what became of the connection; the text of the exception.
        message: what the server says, '' where it says nothing.
    """

    def __init__(self, code, message=''):
        super().__init__(code)
        self.message = message


class Connection(abc.ABC):
    """A way to the server. After `Failure`, and after `close`, `request` opens it again where needed.

    Attributes:
        alone: whether this is the only one: it may keep the event loop to itself for a tenth of a second at a time.
    """

    alone = False

    @abc.abstractmethod
    async def request(self, body):
        """The bytes of the answer. A cancelled call leaves a connection that has to be closed.

        Raises:
            Failure: there is no result.
        """

    @abc.abstractmethod
    def close(self):
        """At once."""


class HttpTarget:
    """A route of an HTTP server.

    Args:
        url: `http://HOST:PORT/PATH` or `https://`.
        method: None: POST where there is a body, else GET.
        headers: list of 'Name: value'.
    Raises:
        UsageError: it is no such address.
    """

    def __init__(self, url, method=None, headers=()):
        try:
            parts = urllib.parse.urlsplit(url)
            self.host, self.port = parts.hostname, parts.port or (443 if parts.scheme == 'https' else 80)
        except ValueError:
            parts = self.host = None
        if not self.host or parts.scheme not in ('http', 'https'):
            raise UsageError(f'found {quoted(url)}, expected http://HOST:PORT/PATH or tcp://HOST:PORT.')
        self.secure = ssl.create_default_context() if parts.scheme == 'https' else None
        path = urllib.parse.quote(parts.path or '/', safe="/%:@!$&'()*+,;=~-._") + (parts.query and f'?{parts.query}')
        lines = [f'{{}} {path} HTTP/1.1', f'Host: {parts.netloc.rpartition("@")[2]}', *headers]
        if any(not line.isascii() or not line.isprintable() for line in lines):
            raise UsageError('--header and the address take printable ASCII characters.')
        if not any(line.lower().startswith('content-type:') for line in headers):
            lines.append('Content-Type: application/json')
        self._method, self._lines = method, '\r\n'.join(lines)

    def connection(self):
        """A `Connection`, not yet open."""
        return HttpConnection(self)

    def check(self):
        """Raises `UserError`: nobody takes connections there."""
        try:
            socket.create_connection((self.host, self.port), timeout=5).close()
        except OSError as e:
            raise UserError(f'{self.host}:{self.port}: found no server ({e.strerror or e}).') from None

    def message(self, body):
        """The bytes of a request."""
        method = self._method or ('POST' if body else 'GET')
        head = self._lines.replace('{}', method, 1)
        return f'{head}\r\nContent-Length: {len(body)}\r\n\r\n'.encode() + body


class HttpConnection(Connection):
    """HTTP/1.1, kept open."""

    def __init__(self, target):
        self._target, self._wire = target, None

    async def request(self, body):
        try:
            if self._wire is None:
                target = self._target
                _, self._wire = await asyncio.get_running_loop().create_connection(
                    _Wire, target.host, target.port, ssl=target.secure
                )
            status, content, stays = await self._wire.ask(self._target.message(body))
        except (EOFError, ConnectionResetError, BrokenPipeError):
            self.close()
            raise Failure('disconnected') from None
        except OSError as e:
            self.close()
            raise Failure('not connected' if isinstance(e, ConnectionRefusedError) else e.strerror or 'network') from e
        except ValueError:
            self.close()
            raise Failure('not HTTP') from None
        if not stays:
            self.close()
        if status >= 400:
            raise _failure(content, f'status {status}')
        return content

    def close(self):
        if self._wire is not None:
            self._wire.transport.abort()
            self._wire = None


class _Wire(asyncio.Protocol):
    """What comes on one connection, read as it comes: asyncio's streams take as long again as all else of a request."""

    def __init__(self):
        self.transport = self._answer = None
        self._came, self._head = bytearray(), None
        self._ended = False

    def connection_made(self, transport):
        self.transport = transport

    async def ask(self, message):
        """(status, content, whether the connection stays open) of a request.

        Raises:
            EOFError: the connection ended before the answer did.
            OSError: the network fails.
            ValueError: what comes is no HTTP.
        """
        if self._ended:
            raise EOFError
        self._came.clear()
        self._head, self._answer = None, asyncio.get_running_loop().create_future()
        self.transport.write(message)
        return await self._answer

    def data_received(self, data):
        self._came += data
        self._read()

    def connection_lost(self, error):
        self._ended = True
        self._read(error)

    def _read(self, error=None):
        """Gives the answer, when it is here."""
        answer = self._answer
        if answer is None or answer.done():
            return
        try:
            found = self._found()
        except ValueError as e:
            answer.set_exception(e)
            return
        if found is not None:
            answer.set_result(found)
        elif self._ended:
            answer.set_exception(error or EOFError())

    def _found(self):
        """What `ask` returns; None: there is more to come."""
        came = self._came
        if self._head is None:
            end = came.find(b'\r\n\r\n', 0, _HEAD_BYTES)
            if end < 0:
                if len(came) > _HEAD_BYTES:
                    raise ValueError('a head without an end')
                return None
            self._head = bytes(came[: end + 2])
            del came[: end + 4]
        head = self._head
        status, length, stays = int(head[9:12]), _LENGTH.search(head), not _CLOSE.search(head)
        if length:
            size = int(length[1])
            return None if len(came) < size else (status, bytes(came[:size]), stays)
        if _CHUNKED.search(head):
            content = _chunks(came)
            return None if content is None else (status, content, stays)
        if status in (204, 304):
            return status, b'', stays
        return (status, bytes(came), False) if self._ended else None  # its end is that of the connection


def _chunks(came):
    """The content of a body in parts; None: there is more to come."""
    parts, at = [], 0
    while (end := came.find(b'\r\n', at)) >= 0:
        size = int(came[at:end].partition(b';')[0], 16)
        if not size:
            # Trailers, which a client may pass over, end as a head does.
            if came.find(b'\r\n\r\n', end) < 0:
                return None
            return b''.join(came[begin:stop] for begin, stop in parts)
        parts.append((end + 2, end + 2 + size))
        at = end + 4 + size
    return None


class ZmqTarget:
    """A server of `Slots` or JSON over ZeroMQ.

    Args:
        address: `tcp://HOST:PORT` or `ipc://PATH`.
        server_key: None, or the public CURVE key of the server, or its file.
    Raises:
        UserError: the package is not installed, the address or the key is none.
    """

    def __init__(self, address, server_key=None):
        self.zmq = optional_package('zmq', address, 'pyzmq')
        self._endpoint = Endpoint(address, server_key)
        self._context = self.zmq.Context()
        self._context.max_sockets = min(65536, self._context.get(self._endpoint.zmq.SOCKET_LIMIT))
        with self._endpoint.zmq.Context() as context:  # an address that is none is known now
            for one in self._endpoint.open(context):
                one.close()

    def connection(self):
        """A `Connection`, not yet open."""
        return ZmqConnection(self)

    def opened(self):
        """A socket that is being connected, and one of its events."""
        return self._endpoint.open(self._context)


class ZmqConnection(Connection):
    """A REQ socket. A server that is not there is a time-out.

    Its file is heard by the event loop itself: the sockets of `zmq.asyncio` add a tenth of a millisecond to an answer.
    One that is alone waits without the loop, as a program does that asks a question and needs the answer to go on: the
    loop adds 0.15 ms, as all its code was last used an answer ago.
    """

    def __init__(self, target):
        self._target, self._zmq = target, target.zmq
        self._socket = self._events = self._ready = None

    async def request(self, body):
        if self._socket is None:
            self._socket, self._events = self._target.opened()
            asyncio.get_running_loop().add_reader(self._socket.fd, self._heard)
        await self._when_ready(self._socket.send, body)
        content = await self._when_ready(self._socket.recv)
        if content[:1] == b'{':
            if content[:10].replace(b' ', b'').startswith(b'{"error"'):
                raise _failure(content, 'error')
            return content
        try:
            slots.decode(content, tuple(number for number in slots.TYPES if number != 20))
        except ServiceError as e:
            raise Failure(e.code, one_line(e, _MOST_SHOWN)) from None
        except UserError:
            raise Failure('not Slots') from None
        return content

    async def _when_ready(self, function, *arguments):
        while True:
            try:
                return function(*arguments, self._zmq.NOBLOCK)
            except self._zmq.Again:
                if not self.alone:
                    self._ready = asyncio.get_running_loop().create_future()
                    await self._ready
                elif not self._socket.poll(_SLICE):
                    await asyncio.sleep(0)  # else the request would never be given up

    def _heard(self):
        self._socket.get(self._zmq.EVENTS)  # else the file is ready for ever
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def close(self):
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fd)
            self._socket.close()
            self._events.close()
            self._socket = None


def _failure(content, otherwise):
    """The `Failure` of an answer, in the forms of errors that servers of this kind have. otherwise: its code."""
    text, code = content[:65536].decode(errors='replace').strip(), otherwise
    with contextlib.suppress(ValueError):
        fields = json.loads(text)
        error = fields.get('error') if isinstance(fields, dict) else None
        if isinstance(error, dict):
            code = next((part[:60] for part in (error.get('code'), error.get('type')) if isinstance(part, str)), code)
            error = error.get('message')
        text = error if isinstance(error, str) else text
    return Failure(code, one_line(text, _MOST_SHOWN))
