"""One HTTP request, as the door and the metrics see it."""

import os
import re
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
        whole: the body where it was there before the task of the request began; None.
        body: bytes; None until they are here, and when they were read.
        held: bytes of the body that are here.
        judged, judged_body: whether its head and its body were looked at, and let in.
        error: what its route raised within the framework; None.
        direct: the path of a route that was called directly; None.
    """

    def __init__(self, scope):
        self.scope, self.path, self.method = scope, scope['path'], scope['method']
        self._headers = dict(reversed(scope['headers']))  # the first of a name
        given, trace = self.header(b'x-request-id'), self.header(b'traceparent')
        self.id = given.decode() if given and _ID.fullmatch(given) else os.urandom(16).hex()
        self.trace = trace.decode() if trace and _TRACE.fullmatch(trace) else ''
        self.status = self.body = self.direct = None
        self.sent = self.gone = self.judged = self.judged_body = False
        self.error = self.whole = None
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


def lines_of(headers):
    """The lines of an HTTP head, bytes.

    Args:
        headers: list of (name, value), bytes.
    Raises:
        RuntimeError: one of them has a line break: a part of it would be read as another one.
    """
    lines = b''.join([part for name, value in headers for part in (name, b': ', value, b'\r\n')])
    if not lines.count(b'\n') == lines.count(b'\r') == len(headers):
        raise RuntimeError('a header with a line break')
    return lines
