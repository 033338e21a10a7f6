"""A server of `ernie serve` as a deployment of Ray Serve: replicas on the machines of a cluster, behind its proxy.

    serve run ernie.service.ray_serve:build models=messages=/models/messages engine=openvino

Each replica is a whole server: the application of `ernie.service.http`, one core with its queue, and its workers. Ray
Serve routes requests to them, replaces them, and makes more or fewer. It needs the package `ray[serve]`.
"""

import asyncio
import contextlib

from ernie.run.ray_session import imported
from propeller.args import boolean
from propeller.errors import UsageError, one_of
from propeller.service.core import ServiceCore
from propeller.service.limits import Limits
from propeller.service.pool import PoolSettings

# How many requests a replica is given at once: its own queue has the limit, which it says in its answers.
_ONGOING = 10_000
_DRAIN = 30.0
_OPENING = {
    'engine': str,
    'precision': str,
    'threads': int,
    'pooling': str,
    'layer': int,
    'normalize': boolean,
    'task': str,
    'keep': str,
}


class Replica:
    """What a replica is, without Ray: an application over models. `start` first, `stop` last.

    Args:
        models: list of `PATH` or `NAME=PATH`, as seen from the machine of the replica.
        workers: processes that compute.
        limits: dict of fields of `Limits`.
        opening: dict of arguments of `ernie.service.open.open_models`.
    Attributes:
        app: the ASGI application.
    """

    def __init__(self, models, workers=1, limits=None, opening=None):
        self._models, self._workers = models, workers
        self._limits, self._opening = Limits(**(limits or {})), opening or {}
        self.app = self._core = self._service = None

    async def start(self):
        """Returns when the workers have the models open.

        Raises:
            UserError: one of them cannot be opened.
        """
        from ernie.service.http.app import create_app
        from ernie.service.open import named_models, open_models
        from ernie.service.text import TextService

        models = await asyncio.to_thread(open_models, named_models(self._models), **self._opening)
        self._core = ServiceCore(models, self._limits, PoolSettings(workers=self._workers))
        self._service = TextService(self._core)
        self.app = create_app(self._service, limits=self._limits)
        await self._core.start()

    @property
    def alive(self):
        """Whether a worker answers."""
        return self._core.workers_up > 0

    async def stop(self):
        """Answers what was admitted, and ends the workers."""
        if self._core is not None:
            await self._core.drain(_DRAIN)
            self._service.close()


def deployment():
    """The deployment class; its arguments are those of `Replica`.

    Raises:
        UserError: `ray[serve]` is not installed.
    """
    serve = imported('Ray Serve', ('ray.serve',), package='ray[serve]')

    def here():
        """The `Replica` that this runs in; not known before it has started."""
        return serve.get_replica_context().servable_object.replica

    async def application(scope, receive, send):
        if scope['type'] == 'lifespan':
            await _live(receive, send, here)
        else:
            await here().app(scope, receive, send)

    def made():
        return application

    @serve.deployment(max_ongoing_requests=_ONGOING, graceful_shutdown_timeout_s=_DRAIN + 10)
    @serve.ingress(made)
    class ErnieServer:
        async def __init__(self, *arguments, **named):
            self.replica = Replica(*arguments, **named)
            await self.replica.start()

        def check_health(self):
            if not self.replica.alive:
                raise RuntimeError('no worker answers')

    return ErnieServer


def build(args):
    """The application that `serve run` and a configuration file of Ray Serve start.

    Args:
        args: dict of text or values: `models`, a list or names joined by commas (`PATH` or `NAME=PATH`); `workers`,
            processes of a replica; the fields of `Limits`; of how models are opened `engine`, `precision`, `threads`,
            `pooling`, `layer`, `normalize`, `task`, `keep`; `replicas`, a number.
    Returns:
        an application of Ray Serve.
    Raises:
        UsageError: an argument that cannot be.
        UserError: `ray[serve]` is not installed.
    """
    left = dict(args)
    models = left.pop('models', None) or []
    models = [one.strip() for one in models.split(',')] if isinstance(models, str) else list(models)
    if not models:
        raise UsageError('models: found none, expected PATH or NAME=PATH.')
    workers, replicas = (_value(left, name, int, 1) for name in ('workers', 'replicas'))
    opening = {name: _value(left, name, kind) for name, kind in _OPENING.items() if name in left}
    limits = {name: _value(left, name, type(getattr(Limits(), name))) for name in list(left) if hasattr(Limits, name)}
    if left:
        name, known = next(iter(left)), ('models', 'workers', 'replicas', *_OPENING, *vars(Limits()))
        raise UsageError(f'{name}: found no such argument, expected {one_of(name, known)}')
    threads = opening.setdefault('threads', 1)
    options = {'num_replicas': replicas, 'ray_actor_options': {'num_cpus': workers * threads}}
    return deployment().options(**options).bind(models, workers, limits, opening)


def _value(args, name, kind, default=None):
    """An argument, taken out of `args`."""
    value = args.pop(name, default)
    try:
        return kind(value)
    except Exception:
        raise UsageError(f'{name}: found {value!r}, expected a value of type {kind.__name__}.') from None


async def _live(receive, send, here):
    """The protocol of ASGI for the start and the end of a server."""
    while True:
        message = await receive()
        if message['type'] == 'lifespan.startup':
            await send({'type': 'lifespan.startup.complete'})
        elif message['type'] == 'lifespan.shutdown':
            with contextlib.suppress(Exception):
                await here().stop()
            await send({'type': 'lifespan.shutdown.complete'})
            return
