"""Worker processes of a server: started, watched, and replaced when they die, hang or grow."""

import asyncio
import contextlib
import dataclasses
import json
import math
import os
import socket
import subprocess
import sys

from propeller.errors import UsageError, UserError
from propeller.log import get_logger
from propeller.service import awake, channel
from propeller.service.turns import hear_first, stay_awake

log = get_logger(__name__)

STARTING, IDLE, BUSY, GONE = 'starting', 'idle', 'busy', 'gone'
_EVERY = 1.0  # seconds between questions whether a worker is alive
# glibc gives back what is larger than this as soon as it is free. Left alone, it raises the number to the largest array
# that was freed, and arrays of all sizes leave holes: 100 MB of OpenVINO's 400 after batches of 40 shapes.
_MEMORY = {'MALLOC_MMAP_THRESHOLD_': str(1 << 20)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """Workers of a server.

    Attributes:
        workers: number of processes.
        environments: dict of environment variables for each worker; the i-th worker gets the (i modulo n)-th. (): none.
        silence: seconds without a sign of life after which a worker is replaced.
        batch_timeout: seconds that a batch may take before its worker is replaced.
        start_timeout: seconds until the models of a worker are open.
        growth: bytes that a worker may have beyond what it has after its first batches, before it is replaced.
        spare_cores: cores that are free while one worker computes. With one, the front waits for that worker awake
            where a client alone asks again and again.
    """

    workers: int = 1
    environments: tuple = ()
    silence: float = 5.0
    batch_timeout: float = 60.0
    start_timeout: float = 600.0
    growth: int = 2 << 30
    spare_cores: int = 0


class Batch:
    """Rows on their way to a worker and back. started: time; tokens: without padding; crowded: others wait."""

    __slots__ = ('model', 'rows', 'started', 'tokens', 'crowded')

    def __init__(self, model, rows, started, crowded=False):
        self.model, self.rows, self.started, self.crowded = model, rows, started, crowded
        self.tokens = sum(row.tokens for row in rows)

    @property
    def padded(self):
        """Tokens with padding."""
        return len(self.rows) * self.model.padded(max(row.tokens for row in self.rows))


class WorkerPool:
    """Workers that compute batches of any of the models.

    Args:
        models: list of `ServedModel`.
        settings: `PoolSettings`.
        listener: is told of `worker_idle()`, `batch_done(batch, outputs)`, `batch_failed(batch, message)` when the
            model refused it, `batch_died(batch, reason)` when its worker went, and `worker_replaced(reason)`.
    """

    def __init__(self, models, settings, listener):
        self.models, self.settings, self.listener = models, settings, listener
        self._workers = [None] * settings.workers
        self._tasks, self._stopping = set(), False
        self._alone_until = -math.inf  # when the last batch that was alone was done

    async def start(self):
        """Start all workers, and wait until they have opened the models.

        Raises:
            UserError: one of them cannot open a model; all are stopped then.
        """
        starts = [asyncio.ensure_future(self._started(place)) for place in range(self.settings.workers)]
        try:
            await asyncio.gather(*starts)
        except BaseException:
            for start in starts:
                start.cancel()
            await self.stop()
            raise
        self.task(self._watch())

    @property
    def up(self):
        """Number of workers that answer."""
        return sum(worker is not None and worker.state in (IDLE, BUSY) for worker in self._workers)

    def under_way(self):
        """List of the `Batch`es that workers compute."""
        return [worker.batch for worker in self._workers if worker is not None and worker.batch is not None]

    def idle(self):
        """A `_WorkerProcess` that waits for a batch; None where none does."""
        return next((worker for worker in self._workers if worker is not None and worker.state == IDLE), None)

    def run(self, worker, batch, arrays):
        """Have a worker compute a batch; the listener is told of its end.

        Args:
            worker: of `idle`.
            batch: `Batch`.
            arrays: what `pack` made of its rows.
        """
        alone = not batch.crowded and not self.under_way()
        worker.run(batch, self.models.index(batch.model), arrays, alone)
        now = asyncio.get_running_loop().time()
        asks_again = alone and now - self._alone_until < awake.AWAKE
        self._stay_awake(awake.LONGEST if asks_again else 0.0)

    def done(self, alone):
        """A batch is done: the next request may follow at once.

        alone: whether no other batch was under way when it began, and nothing waited.
        """
        if alone:
            self._alone_until = asyncio.get_running_loop().time()
            self._stay_awake(awake.AWAKE)

    def _stay_awake(self, seconds):
        """Have the front wait awake, where that takes a core from nobody. seconds: from now."""
        if self.settings.spare_cores > 0:
            stay_awake(asyncio.get_running_loop(), seconds)

    async def stop(self):
        """End all workers."""
        self._stopping = True
        for task in list(self._tasks):
            task.cancel()
        for worker in self._workers:
            if worker is not None:
                worker.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(asyncio.to_thread(worker.wait) for worker in self._workers if worker is not None))

    def task(self, coroutine):
        """Run a coroutine until it or the pool ends."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _started(self, place):
        """A worker that is ready, at its place."""
        environments = self.settings.environments
        environment = environments[place % len(environments)] if environments else {}
        worker = _WorkerProcess(self, place, environment)
        self._workers[place] = worker
        self.task(worker.listen())
        await worker.ready(self.settings.start_timeout)
        self.listener.worker_idle()

    def gone(self, worker, reason):
        """A worker is no more: its batch goes back, and another takes its place."""
        if self._stopping or self._workers[worker.place] is not worker:
            return
        if worker.batch is not None:
            batch, worker.batch = worker.batch, None
            self.listener.batch_died(batch, reason)
        if worker.was_ready:
            log.warning('worker %d (process %d): %s; another takes its place', worker.place, worker.pid, reason)
            self.listener.worker_replaced(reason)
            self._workers[worker.place] = None
            self.task(self._replace(worker.place))

    async def _replace(self, place):
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            try:
                await self._started(place)
                log.info('worker %d is there again', place)
                return
            except UserError as e:
                pause = min(2 * pause or 1.0, 30.0)
                log.error('worker %d cannot be started: %s Tried again in %g s.', place, e, pause)

    async def _watch(self):
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            await asyncio.sleep(_EVERY)
            slept = clock() - began > 2 * _EVERY  # a machine that was halted: nobody was asked in that time
            for worker in self._workers:
                if worker is not None and worker.state in (IDLE, BUSY):
                    worker.look_after(self.settings, slept)


class _WorkerProcess:
    """A worker as the front sees it."""

    def __init__(self, pool, place, environment):
        self.pool, self.place, self.state, self.batch = pool, place, STARTING, None
        self.was_ready, self._transport, self._alone = False, None, False
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._opened = self._loop.create_future()
        self._bytes = self._usual = self._batches = self._number = 0
        self._connection, other = socket.socketpair()
        # What can be imported here can be there; the folder that it happens to run in is no place for modules (-P).
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
        command = [sys.executable, '-P', '-m', 'propeller.service.worker', str(other.fileno())]
        environment = _MEMORY | os.environ | {'PYTHONPATH': path} | environment
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=[other.fileno()], env=environment
            )
        finally:
            other.close()
        self.pid = self._process.pid

    async def ready(self, timeout):
        """Returns when the models are open.

        Raises:
            UserError: they cannot be opened.
        """
        try:
            await asyncio.wait_for(asyncio.shield(self._opened), timeout)
        except TimeoutError:
            self.kill()
            raise UserError(f'a worker has not opened its models after {timeout:g} s.') from None

    def run(self, batch, model, arrays, alone):
        self.state, self.batch, self._alone = BUSY, batch, alone
        self._number += 1
        self._transport.write(channel.batch(self._number, model, arrays, alone))

    def look_after(self, settings, pardoned=False):
        """Ask whether it lives; replace it where it has not said so for too long, or has grown.

        pardoned: whether its silence until now does not count.
        """
        now = self._loop.time()
        if pardoned:
            self._heard = now
        if now - self._heard > settings.silence:
            self._lost(f'no sign of life for {settings.silence:g} s')
        elif self.batch is not None and now - self.batch.started > settings.batch_timeout:
            self._lost(f'a batch took more than {settings.batch_timeout:g} s')
        elif self.batch is None and self._usual and self._bytes > self._usual + settings.growth:
            self._lost(f'it grew from {self._usual >> 20} to {self._bytes >> 20} MB')
        else:
            self._transport.write(channel.message(channel.PING))

    async def listen(self):
        """Have it open the models, and take what it says."""
        hearing = channel.Hearing(self._take, self._disconnected)
        self._transport, _ = await self._loop.create_connection(lambda: hearing, sock=self._connection)
        hear_first(self._loop, self._connection.fileno())
        models = [[model.opener, model.arguments] for model in self.pool.models]
        self._transport.write(channel.of_json(channel.START, models))

    def _disconnected(self):
        if self.state != GONE:
            self.pool.task(self._ended())

    async def _ended(self):
        code = await self._exit_code()
        self._lost(f'ended by signal {-code}' if code < 0 else f'ended with exit code {code}')

    def _take(self, kind, number, content):
        self._heard = self._loop.time()
        if kind == channel.OUTPUTS:
            self._finish(number, lambda batch: self.pool.listener.batch_done(batch, channel.read_outputs(content)))
        elif kind == channel.PONG:
            self._bytes = json.loads(bytes(content))['bytes']
            if self._batches >= 100 and not self._usual:
                self._usual = self._bytes
        elif kind == channel.READY:
            for model, description in zip(self.pool.models, json.loads(bytes(content))['models'], strict=True):
                model.opened(description)
            self.state, self.was_ready = IDLE, True
            self._opened.set_result(None)
        elif kind == channel.FAILED and not self.was_ready:
            fields = json.loads(bytes(content))
            error = UsageError if fields['exit_code'] == 2 else UserError
            self._opened.set_exception(error(fields['message']))
        else:
            message = json.loads(bytes(content))['message']
            self._finish(number, lambda batch: self.pool.listener.batch_failed(batch, message))

    def _finish(self, number, tell):
        if number != self._number or self.batch is None:
            return
        batch, self.batch, self.state = self.batch, None, IDLE
        self._batches += 1
        self.pool.done(self._alone)
        self.pool.listener.worker_idle()  # first: it computes while the front sees to what is done
        tell(batch)

    def _lost(self, reason):
        if self.state == GONE:
            return
        self.kill()
        if not self._opened.done():
            self._opened.set_exception(UserError(f'a worker went before its models were open: {reason}.'))
        self.pool.gone(self, reason)

    async def _exit_code(self):
        for _ in range(50):
            if self._process.poll() is not None:
                return self._process.returncode
            await asyncio.sleep(0.02)
        return 0

    def kill(self):
        """At once, whatever it does; SIGKILL ends a stopped process too."""
        self.state = GONE
        with contextlib.suppress(OSError):
            self._process.kill()
        if self._transport is not None:
            self._transport.abort()

    def wait(self):
        """Until the process has ended, after `kill`."""
        self._process.wait()
