"""What every request passes before it comes to its route, and every answer on its way out."""

import asyncio
import logging

from ernie.service.http.errors import HttpError, answer_to
from ernie.service.http.visit import Visit
from propeller.errors import quoted
from propeller.log import get_logger, shows
from propeller.service.errors import ServiceError

log = get_logger(__name__)

BODY_SECONDS = 20.0  # for the whole body of a request
_BODIES = 16  # bodies of the largest size that may be here at the same time
_GONE = 499  # nginx's number for a client that did not wait


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class Door:
    """ASGI middleware: token, size and time of bodies, clients that go, errors, ids, metrics.

    The body of a POST is read whole before its route is called, and is in the `Visit` at `scope[VISIT]`.

    Args:
        app: ASGI application.
        direct, admission: see `Routes`; what is not in `direct` goes to `app`.
        is_open: function of a path: whether it needs no token.
        accepts: None: nothing needs a token; or a function of the bytes of an `Authorization` header.
        limits: `propeller.service.limits.Limits`.
        metrics: `Metrics`.
    """

    def __init__(self, app, direct, admission, is_open, accepts, limits, metrics):
        self._app, self._direct, self._admission = app, direct, admission
        self._is_open, self._accepts, self._limits, self._metrics = is_open, accepts, limits, metrics
        self._held = 0  # bytes of bodies

    async def __call__(self, scope, receive, send):
        if scope['type'] != 'http':
            await self._app(scope, receive, send)
            return
        visit = Visit(scope)
        visit.direct = visit.path if visit.path in self._direct else None

        async def send_on(message):
            if message['type'] == 'http.response.start':
                visit.status = message['status']
                message = message | {'headers': [*message.get('headers', ()), *visit.echoed()]}
            visit.sent = message['type'] == 'http.response.body' and not message.get('more_body', False)
            await send(message)

        try:
            await self._answer(visit, receive, send_on)
        except ClientGone:
            visit.status = _GONE
        except ServiceError as e:
            await self._refuse(visit, e, send_on)
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling():
                raise
            # What it waited for was given up, as at the end of the server.
            await self._refuse(visit, ServiceError('unavailable', 'the server is going down.', retry_after=1), send_on)
        except Exception:
            log.exception('request %s: %s %s', visit.id, visit.method, quoted(visit.path, 100))
            await self._refuse(visit, ServiceError('internal', 'a fault of this server; its log says more.'), send_on)
        finally:
            self._metrics.http(visit)
            if shows(logging.DEBUG):
                _log(visit)

    async def _refuse(self, visit, error, send):
        if not error.counted:
            self._metrics.rejected(error.code)
        await _send_error(visit, error, send)

    async def _answer(self, visit, receive, send):
        if self._accepts and not self._is_open(visit.path) and not self._accepts(visit.header(b'authorization')):
            raise ServiceError('unauthorized', 'no valid token. Send it as `Authorization: Bearer TOKEN`.')
        if visit.method != 'POST':
            await self._app(visit.scope, receive, send)
            return
        try:
            self._admission.check(visit.path)
            visit.body = await self._body(visit, receive)
            self._admission.check_body(visit.path, visit.body)
            await self._watched(visit, receive, send)
        finally:
            self._held -= visit.held

    async def _body(self, visit, receive):
        """The body, bytes; refused as soon as it is known to be too large."""
        declared = visit.header(b'content-length')
        if declared.isdigit():
            self._check_size(int(declared[:20]))
        parts, size, more = [], 0, True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more:
                    message = await receive()
                    if message['type'] == 'http.disconnect':
                        raise ClientGone
                    part, more = message.get('body', b''), message.get('more_body', False)
                    size += len(part)
                    self._check_size(size)
                    self._hold(visit, len(part))
                    parts.append(part)
        except TimeoutError:
            message = f'the body did not come within {BODY_SECONDS:g} s.'
            limit = {'name': 'body_seconds', 'value': BODY_SECONDS}
            raise HttpError(408, 'expired', message, limit, {'Connection': 'close'}) from None
        return parts[0] if len(parts) == 1 else b''.join(parts)

    def _check_size(self, size):
        most = self._limits.message_bytes
        if size > most:
            limit = {'name': 'message_bytes', 'value': most, 'found': size}
            message = f'a body of {size:,} bytes or more, where at most {most:,} are taken (--message_bytes).'
            raise HttpError(413, 'too_large', message, limit)

    def _hold(self, visit, size):
        most = _BODIES * self._limits.message_bytes
        if self._held + size > most:
            message = f'the bodies of requests that are here have {self._held:,} bytes, of {most:,}.'
            limit = {'name': 'bodies_bytes', 'value': most, 'found': self._held + size}
            raise ServiceError('overloaded', message, limit, retry_after=1)
        self._held += size
        visit.held += size

    async def _watched(self, visit, receive, send):
        """The application's answer; given up when the client goes."""
        work = asyncio.current_task()
        watching = asyncio.create_task(_give_up(visit, work, receive))
        try:
            await self._routed(visit, send)
        except asyncio.CancelledError:
            if visit.gone and not work.uncancel():
                raise ClientGone from None
            raise
        finally:
            watching.cancel()

    async def _routed(self, visit, send):
        function = self._direct.get(visit.path)
        if function is None:
            await self._app(visit.scope, _nothing, send)
            return
        response = await function(visit)
        await response(visit.scope, _nothing, send)


async def _give_up(visit, work, receive):
    """Cancels the task of a request when its client goes before the answer is sent."""
    while (await receive())['type'] != 'http.disconnect':
        pass
    if not visit.sent:
        visit.gone = True
        work.cancel()


async def _nothing():
    return {'type': 'http.request', 'body': b'', 'more_body': False}


def _log(visit):
    trace = f', trace {visit.trace}' if visit.trace else ''
    what = '%s %s: %s in %.1f ms, request %s%s'
    log.debug(what, visit.method, quoted(visit.path, 100)[1:-1], visit.status, 1e3 * visit.seconds, visit.id, trace)


async def _send_error(visit, error, send):
    if visit.status is not None:  # the answer has begun: it cannot become another
        log.error('request %s: ended after its answer had begun', visit.id)
        return
    status, headers, body = answer_to(error, visit.path)
    headers['Content-Length'] = str(len(body))
    pairs = [(name.lower().encode(), value.encode('latin-1')) for name, value in headers.items()]
    await send({'type': 'http.response.start', 'status': status, 'headers': pairs})
    await send({'type': 'http.response.body', 'body': body})
