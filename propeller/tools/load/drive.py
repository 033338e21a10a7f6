"""Sends a load: open, by the clock, or closed, by so many clients that each wait for their answer."""

import array
import asyncio
import collections
import re
import time
from typing import NamedTuple

from propeller.tools.load.connections import Failure

_NUMBERS = re.compile(rb'\d+')


class Plan(NamedTuple):
    """How a load is sent.

    Attributes:
        due: None for a closed load, else an iterator: seconds after the start at which requests are due.
        clients: a closed load: clients; an open load: the most requests on their way at once.
        warmup: seconds at the start that do not count.
        duration: seconds that count; None: `requests` says.
        requests: number of requests that count; None: `duration` says.
        timeout: seconds from when a request was due, after which it is given up.
    """

    due: object
    clients: int
    warmup: float
    duration: float | None
    requests: int | None
    timeout: float


class Records:
    """What came of each request, a place for each: `due` and `sent` and `ended` in seconds after the start, `tokens`
    (0 where not known), `codes` ('' for an answer). `messages`: dict code -> the first message with it."""

    def __init__(self):
        self.due, self.sent, self.ended = array.array('d'), array.array('d'), array.array('d')
        self.tokens, self.codes, self.messages = array.array('q'), [], {}

    def add(self, due, sent, ended, tokens, code, message=''):
        """One request that has ended."""
        if message:
            self.messages.setdefault(code, message)
        self.due.append(due)
        self.sent.append(sent)
        self.ended.append(ended)
        self.tokens.append(tokens)
        self.codes.append(code)


class Load:
    """One load on one server.

    Args:
        target: `HttpTarget` or `ZmqTarget`.
        bodies: function of a number -> bytes; see `propeller.tools.load.bodies`.
        plan: `Plan`.
        tokens_field: name of the field of an answer with its number of tokens, or a list of them; '' for none.
        on_answer: None, or a function (number, content) that is called with each answer.
    """

    def __init__(self, target, bodies, plan, tokens_field='tokens', on_answer=None):
        self.target, self.bodies, self.plan = target, bodies, plan
        self.records, self.processor_seconds = Records(), 0.0
        self._field = f'"{tokens_field}":'.encode() if tokens_field else None
        self._on_answer, self._numbers = on_answer, 0
        self._idle, self._waiting, self._open = [], collections.deque(), 0

    async def run(self):
        """Returns `Records` when all have ended. `processor_seconds` is then what this process took of the processor
        after the warm-up."""
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        watch = self._loop.create_task(self._watch_processor())
        try:
            await (self._closed() if self.plan.due is None else self._by_the_clock())
            self.processor_seconds = time.process_time() - self._processor
        finally:
            watch.cancel()
            for connection in self._idle:
                connection.close()
        return self.records

    async def _watch_processor(self):
        self._processor = time.process_time()
        await asyncio.sleep(self.plan.warmup)
        self._processor = time.process_time()

    def _over(self, now, counted):
        plan = self.plan
        if plan.requests is not None:
            return counted >= plan.requests
        return now >= plan.warmup + plan.duration

    # ---------------------------------------------------------------- closed

    async def _closed(self):
        self._counted = 0
        await asyncio.gather(*(self._client() for _ in range(self.plan.clients)))

    async def _client(self):
        connection = self.target.connection()
        connection.alone = self.plan.clients == 1
        self._idle.append(connection)  # to be closed at the end
        while not self._over(now := self._loop.time() - self._start, self._counted):
            self._counted += now >= self.plan.warmup
            answered = await self._send(connection, now)
            # A server that refuses at once is not asked ten thousand times a second by one client. A connection that is
            # alone may leave the loop no other turn than this one.
            await asyncio.sleep(0 if answered else 0.01)

    # ---------------------------------------------------------------- open

    async def _by_the_clock(self):
        tasks, counted = set(), 0
        for due in self.plan.due:
            if self._over(due, counted):
                break
            counted += due >= self.plan.warmup
            await asyncio.sleep(due - (self._loop.time() - self._start))  # also when late: the answers need a turn
            task = self._loop.create_task(self._one(due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks)

    async def _one(self, due):
        connection = await self._connection()
        await self._send(connection, due)
        if self._waiting:
            self._waiting.popleft().set_result(connection)
        else:
            self._idle.append(connection)

    async def _connection(self):
        """The one used last of those that are idle. Who waits for one is served in the order of coming."""
        if self._idle:
            return self._idle.pop()
        if self._open < self.plan.clients:
            self._open += 1
            return self.target.connection()
        waiting = self._loop.create_future()
        self._waiting.append(waiting)
        return await waiting

    # ---------------------------------------------------------------- one request

    async def _send(self, connection, due):
        """Whether there was an answer."""
        number, self._numbers = self._numbers, self._numbers + 1
        body = self.bodies(number)
        sent, code, message, tokens = self._loop.time() - self._start, '', '', 0
        try:
            async with asyncio.timeout_at(self._start + due + self.plan.timeout):
                content = await connection.request(body)
            ended = self._loop.time() - self._start
            tokens = self._tokens(content)
            if self._on_answer:
                self._on_answer(number, content)
        except TimeoutError:
            connection.close()
            ended, code = self._loop.time() - self._start, 'timeout'
        except Failure as e:
            ended, code, message = self._loop.time() - self._start, str(e), e.message
        self.records.add(due, sent, ended, tokens, code, message)
        return not code

    def _tokens(self, content):
        """The number, or the sum of the list, behind the field. No text looks like it: quotes are escaped in JSON."""
        place = content.rfind(self._field) if self._field else -1
        if place < 0:
            return 0
        begin = place + len(self._field)
        rest = content[begin : begin + 65536].lstrip()
        rest = rest[: rest.find(b']')] if rest.startswith(b'[') else rest[:20].partition(b',')[0].partition(b'}')[0]
        return sum(map(int, _NUMBERS.findall(rest)))
