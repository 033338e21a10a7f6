"""`create_app`: the ASGI application over a `TextService`."""

import functools
import importlib
import importlib.util

from ernie.service.http.door import Door, Inside
from ernie.service.http.errors import HttpError
from ernie.service.http.metrics import Metrics
from propeller import __version__
from propeller.errors import quoted
from propeller.optional import optional_package
from propeller.service.core import Observer
from propeller.service.errors import ServiceError
from propeller.service.limits import Limits

_PROTOCOLS = ('health', 'v1', 'openai', 'tei', 'oip')
_PAGE = 'ernie.service.http.page'
_DESCRIPTION = 'Models of ERNIE: classes, entities, answers and vectors of texts. Bodies are JSON in UTF-8.'


def create_app(service, security=None, limits=None):
    """The application, FastAPI's.

    What the core does is counted too, unless it has an `Observer` of its own.

    Args:
        service: `TextService`.
        security: `propeller.service.security.Security`; None, or one without a token: every request is answered.
            Probes, metrics, the OpenAPI file and the files of the web page are open to all.
        limits: `Limits`; None: those of the core.
    Raises:
        UserError: a package is missing.
    """
    fastapi = optional_package('fastapi', '--http_port')
    from ernie.service.http.routing import Routes, describe

    core = service.core
    metrics = core.observer if isinstance(core.observer, Metrics) else Metrics()
    metrics.core = core
    if type(core.observer) is Observer:
        core.observer = metrics
    app = _application(fastapi)(
        title='ERNIE',
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.open_paths = {'/openapi.json'}  # need no token; `add_page` adds its own
    routes = Routes(app, service, metrics)
    for name in _PROTOCOLS:
        importlib.import_module(f'ernie.service.http.routes.{name}').add(routes)
    if importlib.util.find_spec(_PAGE):
        importlib.import_module(_PAGE).add_page(app)
    describe(app, routes)
    _tell_errors(app)
    app.add_middleware(Inside)
    app.door = Door(
        app.framework,
        direct=routes.direct,
        admission=routes.admission,
        is_open=app.state.open_paths.__contains__,
        accepts=_accepts(security),
        limits=limits or core.limits or Limits(),
        metrics=metrics,
    )
    return app


@functools.cache
def _application(fastapi):
    class Application(fastapi.FastAPI):
        """FastAPI's, behind a `Door`."""

        async def __call__(self, scope, receive, send):
            await self.door(scope, receive, send)

        async def framework(self, scope, receive, send):
            await super().__call__(scope, receive, send)

    return Application


def _accepts(security):
    """A function of the bytes of an `Authorization` header: whether they let a request in; None: all are let in."""
    if security is None or security.token is None:
        return None

    def accepts(header):
        scheme, _, token = header.partition(b' ')
        return security.is_token(token.strip().decode('latin-1') if scheme.lower() == b'bearer' else '')

    return accepts


def _tell_errors(app):
    """What the framework itself refuses has the form of all other errors."""
    from starlette.exceptions import HTTPException

    async def refused(request, error):
        path = quoted(request.url.path, 100)[1:-1]
        if error.status_code == 405:
            allowed = (error.headers or {}).get('Allow', '')
            message = f'{request.method} {path}: this route takes {allowed}.'
            raise HttpError(405, 'malformed', message, headers={'Allow': allowed})
        raise ServiceError('not_found', f'no route {path} here. /openapi.json has them all.')

    app.add_exception_handler(HTTPException, refused)
