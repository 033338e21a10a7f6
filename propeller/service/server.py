"""`InferenceServer`: an exported model over ZeroMQ, as in 2019."""

from propeller.errors import UsageError
from propeller.log import get_logger
from propeller.service.busy import Busy
from propeller.service.core import ServiceCore
from propeller.service.exported import ExportedServed
from propeller.service.front import serve
from propeller.service.limits import Limits
from propeller.service.sizing import gpus_of_paddle, sized
from propeller.service.zmq_listener import ZmqListener

log = get_logger(__name__)


class InferenceServer:
    """Serves the arrays of 2019's clients.

    Args:
        model_dir: folder with `model.json` and `model.pdiparams`.
        n_devices: number of worker processes. Each sees one GPU and computes on it, or computes on the processor where
            Paddle can use none. None: one for each GPU, else what `propeller.service.sizing.sized` chooses.
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
        if n_devices is not None and n_devices < 1:
            raise UsageError(f'number of workers: found {n_devices}, expected 1 or more.')
        self.limits, self.security, self.host = limits or Limits(), security, host
        self.model = ExportedServed(model_dir, bf16=bf16)
        self.sizing = sized([model_dir], n_devices, threads, gpus_of_paddle())
        self.model.arguments['threads'] = self.sizing.threads
        self.settings = self.sizing.settings(**(settings or {}))

    def listen(self, port, when_ready=None, drain_timeout=30.0):
        """Serve until SIGTERM or Ctrl-C, then answer what was admitted.

        Args:
            port: number; 0 takes one that is free.
            when_ready: None, or a function that is called with the address when all workers are ready.
            drain_timeout: seconds for what was admitted.
        Raises:
            UserError: the port cannot be used, or the model cannot be opened.
        """
        busy = Busy(self.settings.workers)
        core = ServiceCore([self.model], self.limits, self.settings, busy)

        async def handler(arrays, options):
            return await core.model(options.get('model')).run(core, arrays, options)

        listener = ZmqListener(handler, self.host, port, self.limits, self.security, admit=core.check_any)

        def ready():
            log.info('workers: %s', self.sizing)
            log.info('propeller server listent on port %d', listener.bound_port)
            if when_ready is not None:
                when_ready(listener.address)

        serve(core, [listener], drain_timeout, ready)
        if busy.batches:
            log.info('computed: %s', busy)
