"""A server of `ernie serve` as a deployment of Ray Serve: replicas on the machines of a cluster, behind its proxy.

    serve run ernie.service.ray_serve:build models=messages=/models/messages engine=openvino

Each replica is a whole server: the application of `ernie.service.http`, one core with its queue, and its workers. Ray
Serve routes requests to them, replaces them, and makes more or fewer. It needs the package `ray[serve]`.
"""

import asyncio
import contextlib
import sys

from ernie.programs import SERVE
from ernie.run.ray_session import imported
from ernie.service.verb import SWITCH, open_service
from propeller.errors import UsageError, UserError, quoted
from propeller.service.security import Security, read_token

# How many requests a replica is given at once: its own queue has the limit, which it says in its answers.
_ONGOING = 10_000
# Ray's proxy has the address.
_NOT_HERE = ('host', 'port', 'http_port', 'curve_secret_key', 'curve_client_keys')


class Replica:
    """What a replica is, without Ray: an application over models. `start` first, `stop` last.

    Args:
        settings: `ServeSettings`; paths are those of the machine of the replica.
    Attributes:
        app: the ASGI application.
    """

    def __init__(self, settings):
        self._settings = settings
        self.app = self._service = None

    async def start(self):
        """Returns when the workers have the models open.

        Raises:
            UserError: one of them cannot be opened.
        """
        from ernie.service.http.app import create_app

        args = self._settings
        security = Security(read_token(args.auth_token, args.auth_token_file, of_server=True))
        service, _ = await asyncio.to_thread(open_service, args)
        sys.setswitchinterval(SWITCH)
        self.app = create_app(service, security)
        self._service = service
        await service.core.start()

    @property
    def alive(self):
        """Whether a worker answers."""
        return self._service.core.workers_up > 0

    async def stop(self):
        """Answers what was admitted, and ends the workers."""
        if self._service is not None:
            await self._service.core.drain(self._settings.drain_timeout)
            self._service.close()


def deployment():
    """The deployment class; its argument is that of `Replica`.

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

    @serve.deployment(max_ongoing_requests=_ONGOING)
    @serve.ingress(made)
    class ErnieServer:
        async def __init__(self, settings):
            self.replica = Replica(settings)
            await self.replica.start()

        def check_health(self):
            if not self.replica.alive:
                raise RuntimeError('no worker answers')

    return ErnieServer


def build(args):
    """The application that `serve run` and a configuration file of Ray Serve start.

    Args:
        args: dict of the flags of `ernie serve` without their dashes, text or values; `models` is a list, or text with
            commas; one worker with one thread where it does not say. `replicas`: a number.
    Returns:
        an application of Ray Serve.
    Raises:
        UserError: an argument that cannot be; `ray[serve]` is not installed.
    """
    left = dict(args)
    models, replicas = left.pop('models', ()), left.pop('replicas', 1)
    for name in _NOT_HERE:
        if name in left:
            raise UsageError(f'{name}: Ray Serve has the address. Leave it out.')
    if not str(replicas).isdecimal() or not int(replicas):
        raise UsageError(f'replicas: found {quoted(replicas)}, expected a number above 0.')
    models = models.split(',') if isinstance(models, str) else models
    if not isinstance(models, list | tuple) or not all(isinstance(model, str) for model in models):
        raise UsageError(f'models: found {quoted(models)}, expected a list of models, or text with commas.')
    words = [f'--{name}={value}' for name, value in ({'workers': 1, 'threads': 1} | left).items()]
    try:
        settings = SERVE.build_parser('ernie').parse_args([*words, '--', *(model.strip() for model in models)])
        settings = settings.checked()
    except UserError as e:
        raise type(e)(str(e).replace(' --help lists all flags.', '')) from None
    options = {
        'num_replicas': int(replicas),
        'graceful_shutdown_timeout_s': settings.drain_timeout + 10,
        'ray_actor_options': {'num_cpus': settings.workers * settings.cpu_threads},
    }
    return deployment().options(**options).bind(settings)


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
