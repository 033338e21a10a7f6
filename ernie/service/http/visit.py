"""One HTTP request, as the door and the metrics see it."""

import re
import secrets
import time

_ID = re.compile(rb'[A-Za-z0-9._:/+=@-]{1,128}')
# https://www.w3.org/TR/trace-context/: version, trace id, parent id, flags; neither id is 0.
_TRACE = re.compile(rb'(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]{0,200})?')
ELSEWHERE = 'other'
# In the scope of ASGI: the `Visit`, and a function that takes one, to be called when the client goes.
VISIT, GONE = 'ernie.visit', 'ernie.gone'


class Visit:
    """A request and what became of it.

    Attributes:
        id: of the client, where it gave a proper one, or made here; str.
        trace: the `traceparent` of the client, str; '' without a proper one.
        status: of the answer; None until it is begun.
        sent: whether the last part of the answer was given to the connection.
        gone: whether the client went before that.
        started: time.
        body: bytes; None until they are here.
        held: bytes of the body that are here.
        judged: whether it was let in by its head.
        error: what its route raised within the framework; None.
        direct: the path of a route that was called directly; None.
    """

    def __init__(self, scope):
        self.scope, self.path, self.method = scope, scope['path'], scope['method']
        self._headers = {}
        for name, value in scope['headers']:
            if name not in self._headers:
                self._headers[name] = value
        given = self.header(b'x-request-id')
        self.id = given.decode() if _ID.fullmatch(given) else secrets.token_hex(16)
        trace = self.header(b'traceparent')
        self.trace = trace.decode() if _TRACE.fullmatch(trace) else ''
        self.status = self.body = self.direct = None
        self.sent = self.gone = self.judged = False
        self.error = None
        self.held, self.started = 0, time.perf_counter()
        scope[VISIT] = self

    def header(self, name):
        """The value of the first header of this name, bytes; b'' without. name: bytes, in small letters."""
        return self._headers.get(name, b'')

    @property
    def seconds(self):
        """Since the request came."""
        return time.perf_counter() - self.started

    @property
    def route(self):
        """The path as it is declared: few values, whatever clients ask for."""
        return self.direct or getattr(self.scope.get('route'), 'path', ELSEWHERE)

    def echoed(self):
        """Headers for the answer, as ASGI has them."""
        echoed = [(b'x-request-id', self.id.encode())]
        return [*echoed, (b'traceparent', self.trace.encode())] if self.trace else echoed
