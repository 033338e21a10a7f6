"""`InferenceServer`: an exported model over ZeroMQ, as in 2019."""

import os

from propeller.environment import usable_cores
from propeller.errors import UsageError
from propeller.log import get_logger
from propeller.service.core import ServiceCore
from propeller.service.exported import ExportedServed
from propeller.service.front import serve
from propeller.service.limits import Limits
from propeller.service.pool import PoolSettings
from propeller.service.zmq_listener import ZmqListener

log = get_logger(__name__)

_DEVICES = 'CUDA_VISIBLE_DEVICES'


class InferenceServer:
    """Serves the arrays of 2019's clients.

    Args:
        model_dir: folder with `model.json` and `model.pdiparams`.
        n_devices: number of worker processes. Each sees one entry of CUDA_VISIBLE_DEVICES, and computes on that GPU; on
            the processor where that is not set, or Paddle has no GPU. None: as many as there are entries, else one.
        host: address to bind to; `0.0.0.0` lets other machines in.
        threads: of matrix products in each worker; None: the cores are shared out.
        bf16: see `ExportedServed`.
        limits: `Limits`.
        security: `Security`.
        settings: dict, further fields of `PoolSettings`.
    Raises:
        UserError: it is no exported model.
    """

    def __init__(
        self,
        model_dir,
        n_devices=None,
        host='127.0.0.1',
        threads=None,
        bf16=False,
        limits=None,
        security=None,
        settings=None,
    ):
        entries = visible_devices()
        workers = (len(entries) or 1) if n_devices is None else n_devices
        if workers < 1:
            raise UsageError(f'number of workers: found {workers}, expected 1 or more.')
        threads = threads or max(usable_cores() // workers, 1)
        self.limits, self.security, self.host = limits or Limits(), security, host
        self.model = ExportedServed(model_dir, threads=threads, bf16=bf16)
        self.settings = PoolSettings(
            workers=workers, environments=worker_environments(workers, threads), **(settings or {})
        )

    def listen(self, port, when_ready=None, drain_timeout=30.0):
        """Serve until SIGTERM or Ctrl-C, then answer what was admitted.

        Args:
            port: number; 0 takes one that is free.
            when_ready: None, or a function that is called with the address when all workers are ready.
            drain_timeout: seconds for what was admitted.
        Raises:
            UserError: the port cannot be used, or the model cannot be opened.
        """
        core = ServiceCore([self.model], self.limits, self.settings)

        async def handler(arrays, options):
            return await core.model(options.get('model')).run(core, arrays, options)

        listener = ZmqListener(handler, self.host, port, self.limits, self.security)

        def ready():
            log.info('propeller server listent on port %d', listener.bound_port)
            if when_ready is not None:
                when_ready(listener.address)

        serve(core, [listener], drain_timeout, ready)


def visible_devices():
    """The entries of CUDA_VISIBLE_DEVICES; [] where it is not set or empty."""
    return [entry.strip() for entry in os.environ.get(_DEVICES, '').split(',') if entry.strip()]


def worker_environments(workers, threads):
    """Environment variables for each worker: its device, where there are any, and its threads."""
    entries = visible_devices()
    own = {'OMP_NUM_THREADS': str(threads)}
    return tuple({_DEVICES: entries[place % len(entries)], **own} if entries else own for place in range(workers))
