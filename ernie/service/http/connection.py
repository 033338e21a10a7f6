"""A connection of HTTP/1.1: httptools reads it, `Exchange` carries one request to the application and back."""

import urllib.parse

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ernie.service.http.errors import answer_to
from ernie.service.http.exchange import Exchange
from ernie.service.http.listener import most_connections
from ernie.service.http.visit import VISIT, lines_of
from propeller.service.errors import ServiceError

_HEAD_BYTES = 32 << 10
_AT_ONCE = 2 << 10  # bytes that are parsed before it is seen whether a request waits for its turn
_RECEIVED = 64 << 10  # bytes that asyncio makes room for each time that it reads; its own 256 KB cost more than reading
_IDLE, _HEAD, _BODY = 'idle', 'head', 'body'  # where a client is


class Malformed(Exception):
    """What httptools takes, and this server does not."""


class Connection(HttpToolsProtocol):
    """A connection that does not wait for ever for a client, and answers at once what its head alone has refused.

    One request is answered at a time. What comes behind it waits unread.
    """

    # Python shares the names of up to 30 attributes among objects; with more, each has a dict of 1.6 KB of its own.
    __slots__ = (
        *('_door', '_place', '_requests', '_head', '_current', '_fresh', '_left', '_over', '_ends', '_stage', '_since'),
        *('_method', 'url'),
    )
    most = most_connections()

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.pipeline = []  # an empty deque takes 600 bytes
        self._door = getattr(self.config.app, 'door', None)
        self._place, self._requests, self._head = _IDLE, 0, 0
        self._current = self._fresh = None  # the `Exchange` whose turn it is; the same before it is begun
        self._left, self._over, self._ends = b'', False, False
        self._stage, self._since = None, 0.0
        self._new_parser()

    def _new_parser(self):
        self.parser = httptools.HttpRequestParser(self)
        # What follows a request that ends the connection is passed over.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    # ---------------------------------------------------------------- what comes

    def connection_made(self, transport):
        super().connection_made(transport)
        transport.max_size = _RECEIVED
        if len(self.connections) > self.most:
            limit = {'name': 'connections', 'value': self.most}
            message = f'{self.most:,} connections are open, which is the most.'
            self._end(ServiceError('unavailable', message, limit, retry_after=1))

    def connection_lost(self, exc):
        super().connection_lost(exc)
        for cycle in (self._current, *self.pipeline):
            if cycle is not None:
                cycle.lost()

    def data_received(self, data):
        if self._left:
            self._left += data  # what was on its way before reading was paused
        elif not self._over:
            self._read(data)

    def _read(self, data):
        """Parse, up to the end of a request behind another."""
        for begin in range(0, len(data), _AT_ONCE):
            if self.pipeline:
                self._left = data[begin:]
            if self._left or self._over or self.transport.is_closing():
                return
            piece = data if len(data) <= _AT_ONCE else data[begin : begin + _AT_ONCE]
            try:
                self.parser.feed_data(piece)
                if self._place == _HEAD:
                    self._count(len(piece))  # of names and values that have no end yet, too
            except httptools.HttpParserUpgrade as e:
                self._read(self._declined() + data[begin + e.args[0] :])
                return
            except (httptools.HttpParserError, Malformed):
                self._fail()
            self._begin()

    def _fail(self):
        """No more is read. What came whole before is answered first."""
        self._over, cycle = True, self.cycle
        if cycle is not None and cycle.more_body and not cycle.response_complete:
            if cycle is self._current:
                self._current = self._fresh = None
            else:
                self.pipeline.remove(cycle)

    def _declined(self):
        """The head of a request that asks for another protocol, without that: it is answered in this one."""
        self._new_parser()
        hops = (b'upgrade', b'connection', b'http2-settings')
        lines = [b'%s: %s\r\n' % pair for pair in self.headers if pair[0] not in hops]
        self._place, self._requests = _IDLE, self._requests - 1
        return b'%s %s HTTP/1.1\r\n%s\r\n' % (self._method.encode(), self.url, b''.join(lines))

    def _count(self, size):
        self._head += size
        if self._head > _HEAD_BYTES:
            raise Malformed

    # ---------------------------------------------------------------- what httptools calls

    def on_message_begin(self):
        self._place, self._head = _HEAD, 0
        self._requests += 1
        self.url, self.headers = b'', []

    def on_url(self, url):
        self._count(len(url))
        self.url += url

    def on_header(self, name, value):
        self._head += len(name) + len(value)
        if self._head > _HEAD_BYTES:
            raise Malformed
        self.headers.append((name.lower(), value.rstrip()))

    def on_headers_complete(self):
        self._place, self._head = _BODY, 0
        parser, headers = self.parser, self.headers
        version, self._method = parser.get_http_version(), parser.get_method().decode('ascii')
        waits_for_100 = _check(version, self._method, headers)
        if parser.should_upgrade():
            return  # `_declined` has it read again
        raw_path, _, query = self.url.partition(b'?')
        path = raw_path.decode('ascii')
        scope = {
            'type': 'http',
            'asgi': {'version': self.asgi_version, 'spec_version': '2.3'},
            'http_version': version,
            'server': self.server,
            'client': self.client,
            'scheme': self.scheme,
            'method': self._method,
            'root_path': '',
            'path': urllib.parse.unquote(path) if '%' in path else path,
            'raw_path': raw_path,
            'query_string': query,
            'headers': headers,
            'state': {},
        }
        keep_alive = version == '1.1' and parser.should_keep_alive()
        is_first = self._current is None
        if is_first and self._door is not None:
            refusal = self._door.refusal(scope)
            if refusal is not None:
                self._ends = not keep_alive or waits_for_100
                self._refuse(refusal, not self._ends)
                self.cycle = None
                self._over = waits_for_100  # nobody asks for the body
                return
        self.cycle = Exchange(self, scope, keep_alive, waits_for_100)
        if is_first:
            self._current = self._fresh = self.cycle
        else:
            self.flow.pause_reading()
            self.pipeline.insert(0, self.cycle)

    def on_body(self, body):
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self):
        if self.parser.should_upgrade():
            return
        self._place = _IDLE
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    # ---------------------------------------------------------------- answers

    def _begin(self):
        """Answer at once, or have the application answer, what came last."""
        while self._fresh is not None:
            cycle, self._fresh = self._fresh, None
            refusal = None
            if not cycle.more_body and self._door is not None:
                refusal = self._door.refusal(cycle.scope, cycle.body)
            if refusal is None:
                visit = cycle.scope.get(VISIT)
                if visit is not None and visit.whole is not None:  # has the body now
                    cycle.body = bytearray()
                task = self.loop.create_task(cycle.run_asgi(self.app))
                task.add_done_callback(self.tasks.discard)
                self.tasks.add(task)
                return
            self._refuse(refusal, cycle.keep_alive)
            cycle.response_complete, self._ends = True, not cycle.keep_alive
            self._current = self._fresh = self.pipeline.pop() if self.pipeline else None
        if self._current is None:
            if self._ends and self._place == _IDLE or self._over and self._ends:
                self.transport.close()
            elif self._over:
                self._end(ServiceError('malformed', 'this is no HTTP request.'))

    def _refuse(self, refusal, keep_alive):
        status, lines, body = refusal
        date = lines_of(self.server_state.default_headers)
        end = b'\r\n' if keep_alive else b'connection: close\r\n\r\n'
        self.transport.write(b''.join((STATUS_LINE[status], date, lines, end, body)))
        self.server_state.total_requests += 1

    def on_response_complete(self):
        self.server_state.total_requests += 1
        self._current = None
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._current = self._fresh = self.pipeline.pop()
        self._begin()
        if self._left and not self.pipeline:
            left, self._left = self._left, b''
            self._read(left)
        if not self.pipeline and not self._left:
            self.flow.resume_reading()

    def _end(self, error):
        status, headers, body = answer_to(error, '')
        pairs = [(name.lower().encode(), value.encode('latin-1')) for name, value in headers.items()]
        lines = lines_of([*pairs, (b'content-length', b'%d' % len(body)), (b'connection', b'close')])
        self.transport.write(b''.join((STATUS_LINE[status], lines, b'\r\n', body)))
        self.transport.close()

    # ---------------------------------------------------------------- time

    def sweep(self, now, patience):
        """End it where nothing has moved for `patience` seconds although it is the client's turn."""
        stage = self._its_turn()
        if stage is None or stage != self._stage:
            self._stage, self._since = stage, now
        elif stage[0] == _IDLE:
            if now - self._since > self.timeout_keep_alive:
                self.transport.close()
        elif now - self._since > patience:
            self.transport.abort()

    def _its_turn(self):
        """What the client has to do, as something that changes when it moves; None: nothing at present."""
        waiting = self.transport.get_write_buffer_size()
        if waiting:
            return 'take', waiting
        if self._current is not None:
            return None  # `Door` has an eye on bodies
        return (self._place if self._requests else _HEAD), self._requests


def _check(version, method, headers):
    """Whether the client waits for a word before it sends the body.

    Raises:
        Malformed: the head is none of HTTP/1.1 (RFC 9112, 2.3, 3.2 and 6.1).
    """
    hosts, waits = 0, False
    for name, value in headers:
        if name == b'host':
            hosts += 1
        elif name == b'transfer-encoding' and (value.lower() != b'chunked' or version != '1.1'):
            raise Malformed
        elif name == b'expect':
            waits = value.lower() == b'100-continue'
    if version not in ('1.0', '1.1') or method == 'CONNECT' or hosts > 1 or version == '1.1' and not hosts:
        raise Malformed
    return waits and version == '1.1'
