"""`create_app`: the ASGI application over a `TextService`."""

import importlib
import importlib.util

from ernie.inference.engines import optional_package
from ernie.service.http.door import Door
from ernie.service.http.errors import HttpError
from ernie.service.http.metrics import Metrics
from propeller import __version__
from propeller.errors import quoted
from propeller.service.core import Observer
from propeller.service.errors import ServiceError
from propeller.service.limits import Limits

_PROTOCOLS = ('health', 'v1')
_PAGE = 'ernie.service.http.page'


def create_app(service, security=None, limits=None):
    """The application, FastAPI's.

    What the core does is counted too, unless it has an `Observer` of its own.

    Args:
        service: `TextService`.
        security: None: every request is answered; or what has a method `accepts(authorization)`: whether the bytes of
            an `Authorization` header let a request in. Probes, metrics, the OpenAPI page and the files of the web page
            are open to all.
        limits: `Limits`; None: those of the core.
    Raises:
        UserError: a package is missing.
    """
    fastapi = optional_package('fastapi', '--http_port')
    core = service.core
    metrics = core.observer if isinstance(core.observer, Metrics) else Metrics()
    metrics.core = core
    if type(core.observer) is Observer:
        core.observer = metrics
    app = fastapi.FastAPI(
        title='ERNIE', version=__version__, description=__doc__, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.open_paths = {'/openapi.json'}  # need no token; `add_page` adds its own
    routes = Routes(app, service, metrics)
    for name in _PROTOCOLS:
        importlib.import_module(f'ernie.service.http.routes.{name}').add(routes)
    if importlib.util.find_spec(_PAGE):
        importlib.import_module(_PAGE).add_page(app)
    _describe(app, routes)
    _tell_errors(app)
    app.add_middleware(
        Door,
        is_open=app.state.open_paths.__contains__,
        accepts=None if security is None else security.accepts,
        limits=limits or core.limits or Limits(),
        metrics=metrics,
    )
    return app


class Routes:
    """Adds routes to an application, with what the OpenAPI page says of them. service: `TextService`."""

    def __init__(self, app, service, metrics):
        self.app, self.service, self.metrics = app, service, metrics
        self.schemas = {}  # class: how it is used

    def post(self, path, function, body, reply, error, summary):
        """A route that takes JSON.

        Args:
            path: may have `{model}`.
            function: async function of an object of `body`, and of the parts of the path; gives a `Response`.
            body: subclass of `Body`.
            reply, error: see `described_answers`.
            summary: for the OpenAPI page.
        """
        from ernie.service.http.calls import request_of
        from ernie.service.http.schemas import described_answers, described_body

        async def endpoint(request: optional_package('fastapi', '--http_port').Request):
            return await function(request_of(body, request), **request.path_params)

        self.schemas |= {body: 'validation', reply: 'serialization', error: 'serialization'}
        self._add(
            path,
            endpoint,
            ['POST'],
            summary,
            responses=described_answers(reply, error, True, timed=True),
            openapi_extra=described_body(body) | _parts(path),
        )

    def get(self, path, function, reply, error, summary, is_open=False):
        """A route without a body. is_open: whether it needs no token."""
        from starlette.responses import PlainTextResponse

        from ernie.service.http.schemas import described_answers

        async def endpoint(request: optional_package('fastapi', '--http_port').Request):
            return await function(**request.path_params)

        self.schemas |= {kind: 'serialization' for kind in (reply, error) if kind}
        if is_open:
            self.app.state.open_paths.add(path)
        responses, extra = described_answers(reply, error, False), {'openapi_extra': _parts(path)}
        if reply is None:
            extra |= {'response_class': PlainTextResponse}
        self._add(path, endpoint, ['GET'], summary, responses=responses, **extra)
        self._add(path, endpoint, ['HEAD'], summary, include_in_schema=False)

    def _add(self, path, endpoint, methods, summary, **described):
        name = f'{methods[0].lower()}_{path.strip("/")}'.replace('/', '_').replace('{', '').replace('}', '')
        self.app.add_api_route(
            path, endpoint, methods=methods, summary=summary, operation_id=name, response_model=None, **described
        )


def _parts(path):
    """What the OpenAPI page says of the parts of a path."""
    if '{model}' not in path:
        return {}
    part = {'name': 'model', 'in': 'path', 'required': True, 'schema': {'type': 'string'}}
    return {'parameters': [part]}


def _describe(app, routes):
    """The OpenAPI file also has the schemas of requests and answers, neither of which FastAPI reads or makes here."""
    from pydantic.json_schema import models_json_schema

    from ernie.service.http.schemas import SCHEMAS

    made = app.openapi

    def openapi():
        if app.openapi_schema is None:
            file = made()
            schemas = models_json_schema(list(routes.schemas.items()), ref_template=SCHEMAS)[1]['$defs']
            file['components'] = {
                'schemas': schemas,
                'securitySchemes': {'token': {'type': 'http', 'scheme': 'bearer'}},
            }
            for path, operations in file['paths'].items():
                if path not in app.state.open_paths:
                    for operation in operations.values():
                        operation['security'] = [{'token': []}, {}]
        return app.openapi_schema

    app.openapi = openapi


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
