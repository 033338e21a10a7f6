"""`ServiceCore`: admission, batches, deadlines. Every protocol of a server stands on its `submit`."""

import asyncio
import math
from typing import NamedTuple

from propeller.errors import did_you_mean, quoted
from propeller.log import get_logger
from propeller.service.errors import ServiceError, beyond
from propeller.service.pace import Pace
from propeller.service.pool import Batch, WorkerPool
from propeller.service.requests import Request, RequestQueue
from propeller.service.turns import hear_seldom

log = get_logger(__name__)

_LONGEST_NAME = 100  # of a model, that is compared with others
_KEPT = 0.1  # seconds in which a refusal may be told again as it is
# Tokens of a batch: with the first a token takes a tenth longer than in the largest ones, with the second no longer.
_ENOUGH, _PLENTY = 200, 640
_SHARE_OF_WAITING = 0.5  # of its time, that a request may have to wait; the rest is for errors of the estimate


class Observer:
    """Is told what happens in a server; does nothing. Subclasses count.

    Times are in seconds.
    """

    def request(self, model, texts, tokens, seconds):
        """A request was answered. seconds: `Seconds`."""

    def batch(self, model, rows, tokens, padded, seconds):
        """A batch was computed. tokens, padded: without and with padding."""

    def rejected(self, code):
        """A request was not admitted, or given up. code: of `ServiceError`; 'abandoned' where the client has gone."""

    def worker_replaced(self, reason):
        """A worker died, hung or grew."""


class Seconds(NamedTuple):
    """Where the time of a request went. queue: until its first batch began; inference: until its last one ended."""

    queue: float
    inference: float


class Answer(NamedTuple):
    """What `submit` returns. results: list, one for each row."""

    results: list
    seconds: Seconds


class ServiceCore:
    """Models in worker processes behind one queue.

    Everything happens in one event loop; none of it takes long. `start` first, `drain` last.

    Args:
        models: list of `ServedModel`; requests choose one of them by its name.
        limits: `Limits`.
        settings: `PoolSettings`.
        observer: `Observer`.
    """

    def __init__(self, models, limits, settings, observer=None):
        self.models = {model.name: model for model in models}
        assert len(self.models) == len(models), 'two models of one name'
        self.limits, self.observer = limits, observer or Observer()
        for model in models:
            model.limited(limits)
        self._queue = RequestQueue(limits)
        self._pool = WorkerPool(models, settings, self)
        self._live, self._draining = set(), False
        self._pace = Pace()
        self._refusals = {}  # timeout -> (until, tokens that waited, error), of requests of one token

    async def start(self):
        """Open the models; returns when all workers are ready.

        Raises:
            UserError: a model cannot be opened.
        """
        await self._pool.start()

    @property
    def ready(self):
        """Whether requests are taken, and at least one worker answers."""
        return not self._draining and self._pool.up > 0

    @property
    def workers_up(self):
        """Number of workers that answer."""
        return self._pool.up

    @property
    def queue_tokens(self):
        """Tokens of all rows that wait."""
        return self._queue.tokens

    def model(self, name=None):
        """The `ServedModel` of this name; without a name the only one there is.

        Raises:
            ServiceError: there is none, or there are several.
        """
        if name is None and len(self.models) == 1:
            return next(iter(self.models.values()))
        there = f'there {"is" if len(self.models) == 1 else "are"} {", ".join(self.models)}.'
        if name is None:
            raise ServiceError('not_found', f'no model is named in the request; {there}')
        if name not in self.models:
            meant = did_you_mean(name[:_LONGEST_NAME], self.models)
            raise ServiceError('not_found', f'model {quoted(name, 60)} is not served here; {there}{meant}')
        return self.models[name]

    def check_texts(self, count):
        """Refuse a request of too many texts, before anything is made of them.

        Raises:
            ServiceError: there are more than `max_texts`.
        """
        if count > self.limits.max_texts:
            raise self.refused(beyond('max_texts', count, self.limits.max_texts, 'texts'))

    def check_open(self):
        """Refuse a request at the door, where it could not be computed.

        Raises:
            ServiceError: the server is going down, or no worker answers.
        """
        if self._draining:
            raise self.refused(ServiceError('unavailable', 'the server is going down.', retry_after=1))
        if not self._pool.up:
            raise self.refused(ServiceError('unavailable', 'no worker answers at the moment.', retry_after=5))

    def check_room(self, tokens, timeout=None):
        """Refuse a request that would not find room in the queue, or its turn in time, before work is done for it.

        A queue that is longer than its requests can wait would have all of them expire just before their turn.

        Args:
            tokens: that it has at least.
            timeout: seconds that it has; None is that of the limits.
        Raises:
            ServiceError: 'overloaded'.
        """
        kept = self._refusals.get(timeout) if tokens == 1 else None
        if kept is not None:
            until, waited, error = kept
            loop = asyncio.get_running_loop()
            if self._queue.tokens >= waited and loop.time() < until:
                hear_seldom(loop)
                self.observer.rejected(error.code)
                error.__context__ = None
                raise error.with_traceback(None)
        error = self._no_room(tokens, timeout)
        if error is None:
            return
        hear_seldom(asyncio.get_running_loop())
        if tokens == 1 and timeout in (None, math.inf):
            error.forms = {}
            self._refusals[timeout] = asyncio.get_running_loop().time() + _KEPT, self._queue.tokens, error
        raise self.refused(error)

    def check_any(self, says_time):
        """Refuse a request of which nothing is known but whether it says a timeout.

        Raises:
            ServiceError: whatever else it says, it cannot be computed now.
        """
        self.check_open()
        self.check_room(1, math.inf if says_time else None)

    def _no_room(self, tokens, timeout):
        """The `ServiceError` of `check_room`, or None."""
        limits, waiting = self.limits, self._queue.tokens
        wait = self._wait(waiting)
        most = self.seconds(timeout) * _SHARE_OF_WAITING
        if waiting + tokens > limits.queue_tokens:
            message = f'{waiting:,} tokens wait already, of {limits.queue_tokens:,} (--queue_tokens).'
            limit = {'name': 'queue_tokens', 'value': limits.queue_tokens, 'found': waiting + tokens}
            return ServiceError('overloaded', message, limit, max(math.ceil(wait), 1))
        if wait > most:
            message = (
                f'{waiting:,} tokens wait already, about {wait:.1f} s of work. '
                f'With a timeout of {2 * most:g} s, a request is taken where at most {most:g} s wait.'
            )
            limit = {'name': 'timeout', 'value': 2 * most, 'found': round(2 * wait, 1)}
            return ServiceError('overloaded', message, limit, max(math.ceil(wait - most), 1))
        return None

    def _wait(self, tokens):
        """Seconds that so many tokens will take."""
        now = asyncio.get_running_loop().time()
        under_way = [(batch.tokens, now - batch.started) for batch in self._pool.under_way() if batch.crowded]
        return self._pace.wait(tokens, self._pool.up, under_way)

    def seconds(self, timeout=None):
        """The seconds that a request has. timeout: that it asks for; None: it does not say."""
        return self.limits.timeout if timeout is None else min(timeout, self.limits.max_timeout)

    def refused(self, error):
        """The error that a request gets instead of a result, counted once, wherever it is told."""
        if not error.counted:
            error.counted = True
            self.observer.rejected(error.code)
        return error

    async def submit(self, model, contents, timeout=None, texts=None):
        """Compute rows.

        A cancelled call is one whose client has gone: what is not computed of it by then is dropped.

        Args:
            model: `ServedModel` of this server.
            contents: list of rows, as the model's `pack` knows them.
            timeout: seconds; None is that of the limits.
            texts: number of texts that the rows were made of; None: as many as rows.
        Returns:
            `Answer`.
        Raises:
            ServiceError: not admitted, expired, or a row that cannot be computed.
        """
        self.check_open()
        self.check_texts(len(contents) if texts is None else texts)
        loop = asyncio.get_running_loop()
        request = Request(model, contents, loop.time())
        if not request.rows:
            return Answer([], Seconds(0.0, 0.0))
        timeout = self.seconds(timeout)
        self._admit(request, timeout)
        tokens, request.future = request.tokens, loop.create_future()
        self._live.add(request)
        deadline = loop.call_later(timeout, self._expire, request, timeout)
        try:
            self.worker_idle()
            await request.future
        except asyncio.CancelledError:
            self.observer.rejected('abandoned')
            raise
        finally:
            deadline.cancel()
            self._live.discard(request)
            self._queue.drop(request)
            request.rows = ()  # no cycle of objects is left behind: Python would find it late
        seconds = Seconds(request.started - request.admitted, request.finished - request.started)
        # Counted in the next turn, when the answer is on its way.
        loop.call_soon(self.observer.request, model.name, len(contents) if texts is None else texts, tokens, seconds)
        return Answer(request.results, seconds)

    async def drain(self, timeout=None):
        """Refuse what comes from now on, wait for what was admitted, and stop the workers.

        Args:
            timeout: seconds after which what is left fails as 'unavailable'; None: each has its own deadline.
        """
        self._draining = True
        futures = [request.future for request in self._live]
        if futures:
            await asyncio.wait(futures, timeout=timeout)
        for request in list(self._live):
            self._fail(request, ServiceError('unavailable', 'the server went down before this was computed.'))
        await self._pool.stop()

    def _admit(self, request, timeout):
        limits, tokens = self.limits, request.tokens
        if tokens > limits.request_tokens:
            raise self.refused(beyond('request_tokens', tokens, limits.request_tokens, 'tokens'))
        self.check_room(tokens, timeout)
        self._queue.add(request)

    # ---------------------------------------------------------------- what the pool tells

    def worker_idle(self):
        """A worker waits, or a row does: bring them together."""
        while self._queue.tokens and (worker := self._pool.idle()) is not None:
            taken = self._queue.take(self._share())
            if taken is None:
                return
            model, rows = taken
            now = asyncio.get_running_loop().time()
            for row in rows:
                row.request.started = row.request.started or now
            try:
                batch = Batch(model, rows, now, crowded=self._queue.tokens > 0)
                self._pool.run(worker, batch, model.pack([row.content for row in rows]))
            except Exception as e:  # a fault of the model's class: neither the queue nor the worker may end by it
                self._fault(rows, e)

    def _share(self):
        """How many tokens a batch may have, so that as many are left for the worker that is done next.

        Where nothing is left, that one waits for the next requests, and computes the first few that come by themselves.
        """
        tokens = self._queue.tokens + sum(batch.tokens for batch in self._pool.under_way())
        return min(max(tokens / (self._pool.up + 1), _ENOUGH), _PLENTY)

    def batch_done(self, batch, outputs):
        now = asyncio.get_running_loop().time()
        try:
            results = batch.model.unpack(outputs, [row.content for row in batch.rows])
        except Exception as e:  # the same
            self._fault(batch.rows, e)
            return
        seconds = max(now - batch.started, 1e-6)
        if batch.crowded:
            self._pace.note(batch.tokens, seconds)
        size = sum(array.nbytes for array in outputs) // len(batch.rows)
        for row, result in zip(batch.rows, results, strict=True):
            if not row.request.ended:
                self._keep(row, result, size, now)
        # Counted when the requests have gone on.
        told = batch.model.name, len(batch.rows), batch.tokens, batch.padded, seconds
        asyncio.get_running_loop().call_soon(self.observer.batch, *told)

    def _keep(self, row, result, size, now):
        request, most = row.request, self.limits.result_bytes
        request.results[row.place] = result
        request.left -= 1
        request.size += size
        if request.size > most:
            self._fail(request, beyond('result_bytes', request.size, most, 'bytes of results'))
        elif not request.left:
            request.finished = now
            if not request.future.done():
                request.future.set_result(None)

    def batch_failed(self, batch, message):
        log.warning('model %s failed on a batch of %d rows: %s', batch.model.name, len(batch.rows), message)
        self._again(batch, 'the model fails on it; the log of the server says how')

    def batch_died(self, batch, reason):
        self._again(batch, f'its worker went ({reason})')

    def worker_replaced(self, reason):
        self.observer.worker_replaced(reason)

    def _again(self, batch, reason):
        """Each row of a batch that gave nothing is tried once more, alone; what fails again is refused."""
        rows = []
        for row in batch.rows:
            row.failures += 1
            if row.request.ended:
                continue
            if row.failures > 1:
                message = f'row {row.place + 1} of the request could not be computed, twice: {reason}.'
                self._fail(row.request, ServiceError('internal', message))
            else:
                rows.append(row)
        self._queue.put_back([row for row in rows if not row.request.ended])
        self.worker_idle()

    def _fault(self, rows, error):
        if not isinstance(error, ServiceError):
            log.exception('a batch could not be made or read')
            error = ServiceError('internal', 'a fault of this server; its log says more.')
        for row in rows:
            self._fail(row.request, error)

    def _expire(self, request, timeout):
        if not request.future.done():
            error = ServiceError(
                'expired', f'not computed within {timeout:g} s.', {'name': 'timeout', 'value': timeout}
            )
            self._fail(request, self.refused(error))

    def _fail(self, request, error):
        if not request.future.done():
            request.future.set_exception(error)
        self._queue.drop(request)
