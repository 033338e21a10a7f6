"""`ZmqListener`: requests over ZeroMQ, in the message of 2019 or as JSON."""

import asyncio
import collections
import contextlib
import errno
import functools
import json
import socket

from propeller.errors import UserError
from propeller.log import get_logger
from propeller.optional import optional_package
from propeller.service import json_text, slots
from propeller.service.envelope import split
from propeller.service.errors import ServiceError
from propeller.service.front import Listener
from propeller.service.limits import Limits
from propeller.service.security import Security

log = get_logger(__name__)

_AT_ONCE = 64  # messages that are read before others of the event loop have their turn
_READ_AHEAD = 32  # messages of one client that wait to be looked at
_MOST_STUCK = 10_000
_QUIET = 0.05  # seconds without a message after which no more is on its way
_MOST_QUIET = 40
_LINGER = 2000  # milliseconds for answers that are not yet sent


class ZmqListener(Listener):
    """One ZeroMQ address. A request of a client never waits for another's.

    A message that `json_text.is_object` knows is JSON, and its answer is; all others are `Slots`
    (`propeller.service.slots`). What is no message of either kind has an error as its answer. A client that has gone
    has its requests cancelled; answers for one that does not read them are dropped when `4 * client_requests` wait, its
    next requests are not computed.

    Args:
        handler: async function (arrays: list of numpy arrays that may not be written to, options: dict with `timeout`,
            seconds, and `model`, the name of the model that is meant, where the client says them) -> list of numpy
            arrays. Raises `ServiceError`.
        host: name or address to bind to.
        port: number; 0 takes one that is free.
        limits: `Limits`.
        security: `Security`; None: everybody who reaches the port is served.
        text_handler: async function (request: dict) -> dict for JSON. Raises `ServiceError`. None: no JSON.
        refused: None, or function that counts a `ServiceError` that is an answer; `ServiceCore.refused`.
        admit: None, or function that raises `ServiceError` where a request cannot be computed now, of whether it says a
            time of its own; it is asked before the message is decoded. `ServiceCore.check_any`.
    """

    def __init__(
        self,
        handler,
        host='127.0.0.1',
        port=0,
        limits=None,
        security=None,
        text_handler=None,
        refused=None,
        admit=None,
    ):
        self.handler, self.text_handler, self._refused, self._admit = handler, text_handler, refused, admit
        self.host, self.port, self.limits, self.security = host, port, limits or Limits(), security or Security()
        self._zmq = optional_package('zmq', 'a server over ZeroMQ', 'pyzmq')
        self._context = self._socket = self._monitor = self._endpoint = None
        self._outstanding = collections.Counter()  # identity -> requests under way
        self._tasks = {}  # task -> number of the connection that its request came from
        self._stuck = set()  # identities that do not read their answers
        self._scheduled, self._taken = False, 0

    @property
    def address(self):
        return self._endpoint or f'tcp://{self.host}:{self.port}'

    @property
    def bound_port(self):
        """The port, after `start`."""
        return int(self.address.rpartition(':')[2])

    async def start(self):
        zmq = self._zmq
        family, place = _resolved(self.host, self.port)
        self._context = zmq.Context()
        self._socket = router = self._context.socket(zmq.ROUTER)
        router.ipv6 = family == socket.AF_INET6
        router.linger = _LINGER
        # An answer that cannot be sent is an error here, not a wait and not a silence.
        router.router_mandatory = True
        # libzmq frees places of a full pipe by halves. What comes is refused or admitted at once: few have to wait.
        router.rcvhwm, router.sndhwm = _READ_AHEAD, 4 * self.limits.client_requests
        # Larger ones are not read at all: their connection ends. Between the two the answer says the limit.
        router.maxmsgsize = 2 * self.limits.message_bytes
        router.tcp_keepalive, router.tcp_keepalive_idle = 1, 60
        self._watch_connections()
        try:
            self.security.protect(router)
            router.bind(place)
        except zmq.ZMQError as e:
            self._close()
            raise _refused(place, e) from None
        except BaseException:
            self._close()
            raise
        self._endpoint = router.last_endpoint.decode().rstrip('\0')
        asyncio.get_running_loop().add_reader(router.fd, self._readable)
        self._again()

    async def stop(self):
        if self._socket is None:
            return
        with contextlib.suppress(self._zmq.ZMQError):
            self._socket.unbind(self._endpoint)
        # What was sent before is on its way still; the core says by now that the server is going down. Clients that
        # send on and on whatever the answer are not waited for.
        for _ in range(_MOST_QUIET):
            taken = self._taken
            if self._tasks:
                await asyncio.wait(list(self._tasks))
            await asyncio.sleep(_QUIET)
            self._readable()
            if taken == self._taken and not self._tasks:
                break
        context = self._context
        self._close()
        await asyncio.to_thread(context.term)

    def _close(self):
        self.security.release()
        if self._socket is not None:
            self._socket.disable_monitor()  # else libzmq waits for ever where it has something to tell
        for one in (self._socket, self._monitor):
            if one is not None:
                asyncio.get_running_loop().remove_reader(one.fd)  # the number may be used again
                one.close()
        self._socket = self._monitor = None

    # ---------------------------------------------------------------- connections

    def _watch_connections(self):
        """Have libzmq tell of connections that end."""
        self._socket.monitor('inproc://connections', self._zmq.EVENT_DISCONNECTED)
        self._monitor = self._context.socket(self._zmq.PAIR)
        self._monitor.linger, self._monitor.rcvhwm = 0, 0
        self._monitor.connect('inproc://connections')
        asyncio.get_running_loop().add_reader(self._monitor.fd, self._note_ends)

    def _note_ends(self):
        """Cancel the requests of connections that have ended."""
        while self._monitor is not None and self._monitor.get(self._zmq.EVENTS) & self._zmq.POLLIN:
            event, _ = self._monitor.recv_multipart(self._zmq.NOBLOCK)
            number = int.from_bytes(event[2:6], 'little')
            for task, connection in list(self._tasks.items()):
                if connection == number:
                    task.cancel()

    # ---------------------------------------------------------------- requests

    def _again(self):
        """Look at the socket once more, soon: its file number does not tell twice, and sending may swallow it."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._readable)

    def _readable(self):
        self._scheduled = False
        for _ in range(_AT_ONCE):
            if self._socket is None:
                return
            try:
                frames = self._socket.recv_multipart(self._zmq.NOBLOCK, copy=False)
            except self._zmq.Again:
                return
            try:
                self._take(frames)
            except Exception:  # else the loop ends before libzmq has said that nothing is left, and is never told again
                log.exception('a message could not be taken')
        self._again()

    def _take(self, frames):
        identity, connection = frames[0].bytes, self._connection_of(frames[-1])
        self._taken += 1
        # A number of a connection may be used again: what ended before this request came is not its end.
        self._note_ends()
        way, message = split([frame.buffer for frame in frames[1:]], self.limits.message_bytes)
        way = [bytes(frame) for frame in way]
        is_json = json_text.is_object(frames[-1].buffer)
        if isinstance(message, ServiceError):
            self._send_error(identity, way, message, is_json)
        elif identity in self._stuck:
            text = 'answers of this client wait unread; this request was not computed.'
            self._send_error(identity, way, ServiceError('overloaded', text, retry_after=1), is_json)
        elif self._outstanding[identity] >= self.limits.client_requests:
            value, found = self.limits.client_requests, self._outstanding[identity] + 1
            text = f'{found} requests of one client are under way, where at most {value} are (--client_requests).'
            limit = {'name': 'client_requests', 'value': value, 'found': found}
            self._send_error(identity, way, ServiceError('overloaded', text, limit, 1), is_json)
        elif (error := self._judged(message, is_json)) is not None:
            self._send_error(identity, way, error, is_json)
        else:
            self._outstanding[identity] += 1
            task = asyncio.get_running_loop().create_task(self._answer(identity, way, message, is_json))
            self._tasks[task] = connection
            task.add_done_callback(lambda task: self._ended(task, identity))

    def _judged(self, message, is_json):
        """The `ServiceError` of a request that cannot be computed now, whatever it says; None: it is let in.

        Where a token is asked for, that comes first, and stands in the message.
        """
        if self._admit is None or self.security.token is not None:
            return None
        try:
            if is_json:
                content = bytes(message) if len(message) <= json_text.SMALL else b'timeout'
                says_time = b'timeout' in content or b'\\u00' in content
            else:
                says_time = 'timeout' in slots.decode_options(message)
            self._admit(says_time)
        except ServiceError as e:
            return e
        except UserError:
            return None  # no message; that is said later
        return None

    def _connection_of(self, frame):
        """Number of the connection that a message came by; None where that has ended."""
        try:
            return frame.get(self._zmq.SRCFD)
        except self._zmq.ZMQError:
            return None

    def _ended(self, task, identity):
        del self._tasks[task]
        self._outstanding[identity] -= 1
        if not self._outstanding[identity]:
            del self._outstanding[identity]

    async def _answer(self, identity, way, message, is_json):
        try:
            answer = await (self._json(message) if is_json else self._slots(message))
        except ServiceError as e:
            self._send_error(identity, way, e, is_json)
        except Exception:  # a fault of a handler: its request fails, the server goes on
            log.exception('a request could not be answered')
            error = ServiceError('internal', 'a fault of this server; its log says more.')
            self._send_error(identity, way, error, is_json)
        else:
            self._send(identity, way, answer)

    async def _slots(self, message):
        try:
            options = slots.decode_options(message)
        except UserError as e:
            raise ServiceError('malformed', f'found no Slots message: {e}') from None
        self.security.check(options.pop('token', None), 'Slots')
        try:
            arrays = slots.decode(message)
        except ServiceError:
            raise ServiceError('malformed', 'found an error message, expected arrays.') from None
        except UserError as e:
            raise ServiceError('malformed', f'found no Slots message: {e}') from None
        return slots.encode(await self.handler(arrays, options)) + slots.encode_options(model=options.get('model'))

    async def _json(self, message):
        content = bytes(message)
        bounds = json_text.Bounds.of(self.limits.max_texts, 0)  # no field takes a list of numbers
        if len(content) > json_text.SMALL:
            request = await asyncio.to_thread(json_text.parse, content, bounds)
        else:
            request = json_text.parse(content, bounds)
        self.security.check(request.pop('token', None), 'JSON')
        if self.text_handler is None:
            raise ServiceError('not_found', 'this server takes arrays (Slots), no JSON.')
        return _to_json(await self.text_handler(request))

    # ---------------------------------------------------------------- answers

    def _send_error(self, identity, way, error, is_json):
        if self._refused is not None:
            self._refused(error)
        content = None if error.forms is None else error.forms.get(is_json)
        if content is None:
            content = _to_json({'error': error.to_dict()}) if is_json else slots.encode_error(error)
            if error.forms is not None:
                error.forms[is_json] = content
        self._send(identity, way, content)

    def _send(self, identity, way, content):
        if self._socket is None:
            return
        try:
            self._socket.send_multipart([identity, *way, content], self._zmq.NOBLOCK, copy=False)
            self._stuck.discard(identity)
        except self._zmq.ZMQError as e:
            if e.errno == errno.EAGAIN:
                if len(self._stuck) >= _MOST_STUCK:  # most of them have gone; who has not is noted again
                    self._stuck.clear()
                self._stuck.add(identity)
            elif e.errno == errno.EHOSTUNREACH:
                self._stuck.discard(identity)
            log.debug('an answer was dropped: %s', 'its client does not read' if e.errno == errno.EAGAIN else e)
        self._again()


def _to_json(fields):
    write = _quick_writer()
    if write is not None:
        with contextlib.suppress(ValueError):  # halves of surrogate pairs, which it does not write
            return write(fields)
    return json.dumps(fields, ensure_ascii=False, separators=(',', ':')).encode(errors='replace')


@functools.cache
def _quick_writer():
    """pydantic's, which takes a quarter of the time for vectors; None where it is not, as HTTP alone needs it."""
    try:
        from pydantic_core import to_json
    except ImportError:
        return None
    return to_json


def _resolved(host, port):
    """(family, the place that libzmq binds to) of a host and a port."""
    if not 0 <= port <= 65535:
        raise UserError(f'port {port}: expected 0 to 65535.')
    try:
        host = '0.0.0.0' if host in ('', '*') else host
        family, _, _, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as e:
        raise UserError(f'{host}:{port}: no address of this machine ({e.strerror or e}).') from None
    number = port or '*'
    return family, f'tcp://[{found[0]}]:{number}' if family == socket.AF_INET6 else f'tcp://{found[0]}:{number}'


def _refused(place, error):
    advice = {
        errno.EADDRINUSE: 'the port is taken. Choose another one.',
        errno.EACCES: 'too few rights for this port. Choose one above 1023.',
        errno.EADDRNOTAVAIL: 'no address of this machine.',
        errno.ENODEV: 'no address of this machine.',
    }
    return UserError(f'{place}: {advice.get(error.errno, str(error))}')
