"""`HttpListener`: the application at an address, inside the event loop of the front process."""

import asyncio
import contextlib
import resource
import socket

from propeller.errors import UserError
from propeller.log import get_logger
from propeller.optional import optional_package
from propeller.service.front import Listener

log = get_logger(__name__)

KEEP_ALIVE = 75  # seconds that a connection without a request stays open; more than the 60 of usual load balancers
PATIENCE = 20.0  # seconds for the head of a request, and for a client that takes nothing of its answer
_CONNECTIONS = 4096  # at most; and so many files stay free for all else
_FREE_FILES = 128
_QUEUED = 2048  # connections that wait to be taken, in the kernel
_TAKEN_AT_ONCE = 16


class HttpListener(Listener):
    """Serves an ASGI application over HTTP/1.1.

    Args:
        app: of `create_app`.
        host, port: where; port 0: one that is free.
        patience: seconds for the head of a request, and for a client that takes nothing of its answer.
        keep_alive: seconds that a connection stays open without a request.
    Raises:
        UserError: the package is missing.
    """

    def __init__(self, app, host='127.0.0.1', port=8080, patience=PATIENCE, keep_alive=KEEP_ALIVE):
        for package in ('uvicorn', 'httptools'):
            optional_package(package, '--http_port')
        self._app, self._host, self._port = app, host, port
        self._patience, self._keep_alive = patience, keep_alive
        self._server = self._serving = self._sweeping = None

    @property
    def address(self):
        host = f'[{self._host}]' if ':' in self._host else self._host
        return f'http://{host}:{self._port}'

    async def start(self):
        bound = _bind(self._host, self._port)
        self._port = bound.getsockname()[1]
        self._server = _server(self._app, self._keep_alive)
        self._serving = asyncio.create_task(self._server.serve(sockets=[bound]))
        while not self._server.started:
            await asyncio.wait((self._serving,), timeout=0.005)
            if self._serving.done():
                self._serving.result()
        bound.listen(_QUEUED)
        self._sweeping = asyncio.create_task(self._sweep())

    async def stop(self):
        if self._serving is None:
            return
        self._server.should_exit = True
        await asyncio.wait((self._serving,))
        self._sweeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sweeping
        self._serving = None

    async def _sweep(self):
        """Ends connections that have been in the way for too long."""
        loop, pause = asyncio.get_running_loop(), min(self._patience / 4, 1.0)
        while True:
            await asyncio.sleep(pause)
            now = loop.time()
            for connection in list(self._server.server_state.connections):
                connection.sweep(now, self._patience)


def _bind(host, port):
    """A socket that is bound, not yet open for connections.

    Raises:
        UserError: it cannot be had.
    """
    host, place = '0.0.0.0' if host in ('', '*') else host, f'{host}:{port}'
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError, OverflowError) as e:
        raise UserError(f'{place}: found no address of this name ({getattr(e, "strerror", None) or e}).') from None
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.listen(1)  # two servers may be bound to one port before either listens
    except (OSError, OverflowError) as e:
        bound.close()
        advice = ' Another program listens there; give another --http_port.' if 'in use' in str(e) else ''
        raise UserError(f'{place}: cannot be listened to ({getattr(e, "strerror", None) or e}).{advice}') from None
    bound.setblocking(False)
    return bound


def _server(app, keep_alive):
    """uvicorn's server, which leaves the signals to the front."""
    import uvicorn

    from ernie.service.http.connection import Connection

    class Server(uvicorn.Server):
        def capture_signals(self):
            return contextlib.nullcontext()

    config = uvicorn.Config(
        app,
        http=Connection,
        ws='none',
        loop='none',
        lifespan='off',
        log_config=None,
        log_level='critical',  # `Door` logs what fails
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=keep_alive,
        backlog=_TAKEN_AT_ONCE,  # asyncio takes so many in one turn too; the queue is made longer afterwards
        timeout_graceful_shutdown=4,
    )
    return Server(config)


def most_connections():
    """How many connections may be open at the same time; the limit of open files of this process sets it too."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _CONNECTIONS if files < 0 else max(min(_CONNECTIONS, files - _FREE_FILES), 16)
