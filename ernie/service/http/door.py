"""What every request passes before it comes to its route, and every answer on its way out."""

import asyncio
import logging

from ernie.service.http.errors import HttpError, answer_to
from ernie.service.http.visit import GONE, VISIT, Visit, lines_of
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
    """ASGI application around another: token, size and time of bodies, clients that go, errors, ids, metrics.

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
        visit = self._visit(scope)

        async def send_on(message):
            if message['type'] == 'http.response.start':
                visit.status = message['status']
                message = message | {'headers': [*message.get('headers', ()), *visit.echoed()]}
            else:
                visit.sent = not message.get('more_body', False)
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
            self._ended(visit)

    def refusal(self, scope, body=None):
        """The answer to a POST that is refused before its task begins, and counted by then; None: it is let in.

        Args:
            scope: of ASGI.
            body: bytes; None: they are not all here.
        Returns:
            (status, lines of the head as bytes, body).
        """
        if scope['method'] != 'POST':
            return None
        visit = self._visit(scope)
        try:
            self._judge(visit)
            if body is not None:
                self._check_size(len(body))
                self._judge_body(visit, body)
                visit.whole = body
        except ServiceError as e:
            self._count(e)
            visit.status, lines, body = _refused(visit.path, e)
            self._ended(visit)
            return visit.status, lines + lines_of(visit.echoed()), body
        return None

    def _visit(self, scope):
        visit = scope.get(VISIT)
        if visit is None:
            visit = Visit(scope)
            visit.direct = visit.path if visit.path in self._direct else None
        return visit

    def _ended(self, visit):
        self._metrics.http(visit)
        if shows(logging.DEBUG):
            _log(visit)
        visit.scope.pop(VISIT, None)  # no cycle of objects is left behind

    def _count(self, error):
        if not error.counted:
            error.counted = True
            self._metrics.rejected(error.code)

    async def _refuse(self, visit, error, send):
        self._count(error)
        if visit.status is not None:  # the answer has begun: it cannot become another
            log.error('request %s: ended after its answer had begun', visit.id)
            return
        status, headers, body = _told(visit.path, error)
        await send({'type': 'http.response.start', 'status': status, 'headers': headers})
        await send({'type': 'http.response.body', 'body': body})

    def _judge(self, visit):
        """Raises `ServiceError`: a request is refused, whatever its body says."""
        if visit.judged:
            return
        visit.judged = True
        if self._accepts and not self._is_open(visit.path) and not self._accepts(visit.header(b'authorization')):
            raise ServiceError('unauthorized', 'no valid token. Send it as `Authorization: Bearer TOKEN`.')
        if visit.method == 'POST':
            self._admission.check(visit.path)
            declared = visit.header(b'content-length')
            if declared.isdigit():
                self._check_size(int(declared[:20]))

    def _judge_body(self, visit, body):
        """Raises `ServiceError`: there is no room for it, and its body asks for no time of its own."""
        if not visit.judged_body:
            visit.judged_body = True
            self._admission.check_body(visit.path, body)

    async def _answer(self, visit, receive, send):
        self._judge(visit)
        if visit.method != 'POST':
            await self._framework(visit, receive, send)
            return
        try:
            visit.body = await self._body(visit, receive)
            self._judge_body(visit, visit.body)
            await self._watched(visit, receive, send)
        finally:
            self._held -= visit.held

    async def _body(self, visit, receive):
        """The body, bytes; refused as soon as it is known to be too large."""
        if visit.whole is not None:
            whole, visit.whole = visit.whole, None
            self._hold(visit, len(whole))
            return bytes(whole)
        parts, more = [], True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more:
                    message = await receive()
                    if message['type'] == 'http.disconnect':
                        raise ClientGone
                    part, more = message.get('body', b''), message.get('more_body', False)
                    self._check_size(visit.held + len(part))
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
        work, watching = asyncio.current_task(), None

        def give_up():
            if not visit.sent:
                visit.gone = True
                work.cancel()

        if GONE in visit.scope:
            visit.scope[GONE](give_up)
        else:  # of a server that says it by a message alone
            watching = asyncio.create_task(_watch(receive, give_up))
        try:
            await self._routed(visit, send)
        except asyncio.CancelledError:
            if visit.gone and not work.uncancel():
                raise ClientGone from None
            raise
        finally:
            if watching is not None:
                watching.cancel()

    async def _routed(self, visit, send):
        function = self._direct.get(visit.path)
        if function is None:
            await self._framework(visit, _nothing, send)
            return
        response = await function(visit)
        await send({'type': 'http.response.start', 'status': response.status_code, 'headers': response.raw_headers})
        await send({'type': 'http.response.body', 'body': response.body})

    async def _framework(self, visit, receive, send):
        await self._app(visit.scope, receive, send)
        if visit.error is not None:
            raise visit.error


class Inside:
    """ASGI middleware next to the routes: hands their errors to the `Door`, before the framework answers them itself.

    Args:
        app: ASGI application.
    """

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        try:
            await self.app(scope, receive, send)
        except Exception as e:
            if VISIT not in scope:
                raise
            scope[VISIT].error = e


async def _watch(receive, gone):
    """Calls a function when the client goes."""
    while (await receive())['type'] != 'http.disconnect':
        pass
    gone()


async def _nothing():
    return {'type': 'http.request', 'body': b'', 'more_body': False}


def _log(visit):
    trace = f', trace {visit.trace}' if visit.trace else ''
    what = '%s %s: %s in %.1f ms, request %s%s'
    log.debug(what, visit.method, quoted(visit.path, 100)[1:-1], visit.status, 1e3 * visit.seconds, visit.id, trace)


def _told(path, error):
    """(status, list of headers, body) of an error."""
    status, headers, body = answer_to(error, path)
    headers['Content-Length'] = str(len(body))
    return status, [(name.lower().encode(), value.encode('latin-1')) for name, value in headers.items()], body


def _refused(path, error):
    """The same with the headers as lines; kept with an error that is told again."""
    told = None if error.forms is None else error.forms.get(path)
    if told is None:
        status, headers, body = _told(path, error)
        told = status, lines_of(headers), body
        if error.forms is not None:
            error.forms[path] = told
    return told
