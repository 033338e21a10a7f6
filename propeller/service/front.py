"""The front process of a server: a core and its listeners, from the start to the last answer."""

import abc
import asyncio
import contextlib
import gc
import signal
import threading

from propeller.log import get_logger
from propeller.service.turns import new_loop

log = get_logger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Objects more than before, after which Python looks for cycles. With its own 700 that takes a fifth of the front's
# time: those of the requests that are here come and go, and have no cycles.
_OBJECTS = 20_000


class Listener(abc.ABC):
    """One protocol at one address."""

    @property
    @abc.abstractmethod
    def address(self):
        """Where it can be reached, for the log: `http://127.0.0.1:8080`, `tcp://127.0.0.1:8888`."""

    @abc.abstractmethod
    async def start(self):
        """Bind and begin to answer. Requests that come before the core is ready are answered 'unavailable'.

        Raises:
            UserError: the address is taken, or may not be used.
        """

    @abc.abstractmethod
    async def stop(self):
        """Take no more requests; returns when the answers to all that came are sent."""


def serve(core, listeners, drain_timeout=30.0, when_ready=None):
    """Run a server until SIGTERM or Ctrl-C, then answer what was admitted, and end. A second signal ends it at once.

    Args:
        core: `ServiceCore`.
        listeners: list of `Listener`.
        drain_timeout: seconds for what was admitted.
        when_ready: None, or a function that is called when all workers are ready.
    Raises:
        UserError: an address cannot be used, or a model cannot be opened. Nothing runs any more then.
    """
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_serve(core, listeners, drain_timeout, when_ready))


async def _serve(core, listeners, drain_timeout, when_ready):
    loop, signals = asyncio.get_running_loop(), asyncio.Queue()
    if threading.current_thread() is threading.main_thread():  # elsewhere the process has others that see to them
        for number in _SIGNALS:
            loop.add_signal_handler(number, signals.put_nowait, number)
    started = []
    try:
        # The addresses first: a port that is taken is known before a model is opened.
        for listener in listeners:
            await listener.start()
            started.append(listener)
        if await _either(core.start(), signals.get()):
            return
        with _seldom_collecting():
            for listener in listeners:
                log.info('listening on %s', listener.address)
            if when_ready is not None:
                when_ready()
            number = await signals.get()
            log.info('%s: answering what was admitted', signal.Signals(number).name)
            await _either(core.drain(drain_timeout), signals.get())
    finally:
        await core.drain(timeout=0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                for listener in started:
                    await listener.stop()


@contextlib.contextmanager
def _seldom_collecting():
    """Cycles of objects are looked for seldom, and not among what is here when the server is ready."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


async def _either(work, interruption):
    """Whether the interruption came before the work was done, which is given up then."""
    work, interruption = asyncio.ensure_future(work), asyncio.ensure_future(interruption)
    await asyncio.wait((work, interruption), return_when=asyncio.FIRST_COMPLETED)
    interrupted = not work.done()
    work.cancel()
    interruption.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
    return interrupted
