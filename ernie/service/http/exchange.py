"""One request on its way to the application, and its answer on the way back."""

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from ernie.service.http.visit import GONE, lines_of

_BODILESS = (204, 304)


class Arrival:
    """What `asyncio.Event` is, without its deque of 600 bytes for each request."""

    __slots__ = ('_is_set', '_waiters')

    def __init__(self):
        self._is_set, self._waiters = False, ()

    def set(self):
        self._is_set = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters = ()

    def clear(self):
        self._is_set = False

    async def wait(self):
        if not self._is_set:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters = (*self._waiters, waiter)
            await waiter


class Exchange(RequestResponseCycle):
    """What the application receives and sends, as ASGI has it.

    The head of an answer goes out with the begin of its body: one packet less, one wake of the client less.

    Args:
        connection: `Connection`.
        scope: of ASGI; gets `GONE`.
        keep_alive: whether the connection stays open afterwards.
        waits_for_100: whether the client sends the body only when it is asked for it.
    """

    def __init__(self, connection, scope, keep_alive, waits_for_100):
        super().__init__(
            scope=scope,
            transport=connection.transport,
            flow=connection.flow,
            logger=connection.logger,
            access_logger=connection.access_logger,
            access_log=False,
            default_headers=connection.server_state.default_headers,
            message_event=Arrival(),
            expect_100_continue=waits_for_100,
            keep_alive=keep_alive,
            on_response=connection.on_response_complete,
        )
        self._start = self._when_gone = None
        scope[GONE] = self.when_gone

    def when_gone(self, function):
        """Have a function called when the client goes before its answer is complete."""
        self._when_gone = function

    def lost(self):
        """The connection has ended."""
        if not self.response_complete:
            self.disconnected = True
            self.message_event.set()
            gone = self._when_gone
            self._forget()
            if gone is not None:
                gone()

    def _forget(self):
        """No cycle of objects is left behind: Python would find it late."""
        self._when_gone = None
        self.scope.pop(GONE, None)

    async def receive(self):
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b'HTTP/1.1 100 Continue\r\n\r\n')
            self.waiting_for_100_continue = False
        if not self.disconnected and not self.response_complete:
            if self.more_body:  # else what comes is of another request
                self.flow.resume_reading()
            await self.message_event.wait()
            self.message_event.clear()
        if self.disconnected or self.response_complete:
            return {'type': 'http.disconnect'}
        body, self.body = bytes(self.body), bytearray()
        return {'type': 'http.request', 'body': body, 'more_body': self.more_body}

    async def send(self, message):
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = message['type']
        if not self.response_started:
            if kind != 'http.response.start':
                raise RuntimeError(f'found {kind}, expected http.response.start')
            self.response_started, self.waiting_for_100_continue = True, False
            self._start = message
            return
        if kind != 'http.response.body' or self.response_complete:
            raise RuntimeError(f'found {kind} where no more is expected')
        body, more = message.get('body', b''), message.get('more_body', False)
        head = b''
        if self._start is not None:
            head, self._start = self._head(self._start, body, more), None
        self._write(head, body, more)

    def _head(self, start, body, more):
        """The head, when it is known whether the body comes in parts."""
        status, headers = start['status'], [*self.default_headers, *start.get('headers', ())]
        self.chunked_encoding, self.expected_content_length = False, None
        for name, value in headers:
            if name == b'content-length':
                self.expected_content_length = int(value)
            elif name == b'connection' and value.lower() == b'close':
                self.keep_alive = False
        if status in _BODILESS or self.scope['method'] == 'HEAD':
            self.expected_content_length = 0
            self._bodiless = True
        elif self.expected_content_length is None:
            if not more:
                self.expected_content_length = len(body)
                headers.append((b'content-length', b'%d' % len(body)))
            elif self.scope['http_version'] == '1.1':
                self.chunked_encoding = True
                headers.append((b'transfer-encoding', b'chunked'))
            else:
                self.keep_alive = False  # its end is that of the connection
        if not self.keep_alive and (b'connection', b'close') not in headers:
            headers.append((b'connection', b'close'))
        return b'%b%b\r\n' % (STATUS_LINE[status], lines_of(headers))

    _bodiless = False

    def _write(self, head, body, more):
        if self._bodiless:
            body = b''
        elif self.chunked_encoding:
            body = (b'%x\r\n%b\r\n' % (len(body), body) if body else b'') + (b'' if more else b'0\r\n\r\n')
        elif self.expected_content_length is not None:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0 or not more and self.expected_content_length:
                raise RuntimeError('a body of another length than was said')
        if head or body:
            self.transport.write(head + body if head and body else head or body)
        if not more:
            self.response_complete = True
            self._forget()
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()
