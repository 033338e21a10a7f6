"""Small servers with known latencies, to put loads on, and a clock that waits for nobody."""

import asyncio
import contextlib

from propeller.tools.load.connections import Connection


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock goes on at once where nothing is to be done. Not for what goes through sockets."""

    def __init__(self):
        super().__init__()
        self._now, select = 0.0, self._selector.select

        def skipping(timeout):
            events = select(0)
            assert events or timeout is not None, 'everything waits for something that will never come'
            self._now += 0 if events else timeout
            return events

        self._selector.select = skipping

    def time(self):
        return self._now


class ToyServer:
    """A server in the same process. Each request takes `delay` seconds; none is answered in the time of `silence`.

    Attributes:
        bodies: what came, list of bytes.
        most: the most requests at once.
    """

    def __init__(self, delay, silence=(0.0, 0.0)):
        self.delay, self.silence, self.bodies, self.most, self._now = delay, silence, [], 0, 0

    def connection(self):
        return _ToyConnection(self)

    async def answer(self, body):
        self.bodies.append(body)
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await asyncio.sleep(self.delay)
            begin, end = self.silence
            if begin <= (now := asyncio.get_running_loop().time()) < end:
                await asyncio.sleep(end - now)
        finally:
            self._now -= 1
        return b'{"tokens": [3, 4]}'


class _ToyConnection(Connection):
    def __init__(self, server):
        self._server = server

    async def request(self, body):
        return await self._server.answer(body)

    def close(self):
        pass


class ToyHttp:
    """Answers each request `delay` seconds after it came, one after the other or beside each other.

    Attributes:
        bodies: what came, list of bytes.
        most: the most requests at once.
    """

    def __init__(self, delay=0.0, answer=None):
        self.delay, self.bodies, self.most, self.port = delay, [], 0, None
        self._answer = answer or (lambda body: (200, b'{"tokens": [3, 4]}'))
        self._now = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, '127.0.0.1', 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b'\r\n\r\n')).lower()
                body = await reader.readexactly(int(head.partition(b'content-length:')[2].partition(b'\r\n')[0]))
                self.bodies.append(body)
                self._now += 1
                self.most = max(self.most, self._now)
                await asyncio.sleep(self.delay)
                self._now -= 1
                answer = self._answer(body)
                if answer is None:
                    writer.close()
                    return
                if isinstance(answer, bytes):  # as it stands
                    writer.write(answer)
                    continue
                status, content = answer
                writer.write(b'HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b' % (status, len(content), content))
        writer.close()
