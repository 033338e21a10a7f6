"""How routes are added to the application, and what its OpenAPI file says of them."""

from fastapi import Request
from pydantic.json_schema import models_json_schema
from starlette.responses import PlainTextResponse

from ernie.service.http.admission import Admission
from ernie.service.http.calls import request_of
from ernie.service.http.schemas import SCHEMAS, described_answers, described_body, with_limits
from ernie.service.http.visit import VISIT
from propeller.service.json_text import Bounds


class Routes:
    """Adds routes to an application, with what the OpenAPI file says of them.

    Args:
        app: FastAPI's.
        service: `TextService`.
        metrics: `Metrics`.
    Attributes:
        admission: `Admission` for the routes that compute.
        direct: of routes without parts, path -> async function of a `Visit` that gives a `Response`: `Door` calls it
            without the framework, which takes as long as all the rest of a request.
    """

    def __init__(self, app, service, metrics):
        self.app, self.service, self.metrics = app, service, metrics
        self.schemas = {}  # class: how it is used
        self.direct, self.admission = {}, Admission(service.core)
        longest = max(model.info['max_seq_len'] for model in service.models.values())
        self._bounds = Bounds.of(service.core.limits.max_texts, longest)

    def post(self, path, function, body, reply, error, summary, computes=True):
        """A route that takes JSON.

        Args:
            path: may have `{model}`.
            function: async function of an object of `body`, and of the parts of the path; gives a `Response`.
            body: subclass of `Body`.
            reply, error: see `described_answers`.
            summary: for the OpenAPI page.
            computes: whether workers are needed for it.
        """

        async def direct(visit, **parts):
            return await function(await request_of(body, visit, self._bounds), **parts)

        async def endpoint(request: Request):
            return await direct(request.scope[VISIT], **request.path_params)

        if '{' not in path:
            self.direct[path] = direct
        if computes:
            self.admission.add(path, 'timeout' in body.model_fields)
        self.schemas |= {body: 'validation', reply: 'serialization', error: 'serialization'}
        self._add(
            path,
            endpoint,
            ['POST'],
            summary,
            responses=described_answers(reply, error, True, timed=True),
            openapi_extra=described_body(body) | _parts(path),
        )

    def get(self, path, function, reply, error, summary, is_open=False, query=()):
        """A route without a body.

        Args:
            path, summary: see `post`.
            function: async function of the parts of the path and of the query.
            reply, error: see `described_answers`.
            is_open: whether it needs no token.
            query: names of optional parameters.
        """

        async def endpoint(request: Request):
            given = {name: request.query_params[name] for name in query if name in request.query_params}
            return await function(**request.path_params, **given)

        self.schemas |= {kind: 'serialization' for kind in (reply, error) if kind}
        if is_open:
            self.app.state.open_paths.add(path)
        responses, extra = described_answers(reply, error, False), {'openapi_extra': _parts(path, query)}
        if reply is None:
            extra |= {'response_class': PlainTextResponse}
        self._add(path, endpoint, ['GET'], summary, responses=responses, **extra)
        self._add(path, endpoint, ['HEAD'], summary, include_in_schema=False)

    def _add(self, path, endpoint, methods, summary, **described):
        name = f'{methods[0].lower()}_{path.strip("/")}'.replace('/', '_').replace('{', '').replace('}', '')
        self.app.add_api_route(
            path, endpoint, methods=methods, summary=summary, operation_id=name, response_model=None, **described
        )


def _parts(path, query=()):
    """What the OpenAPI file says of the parts of a path and of a query."""
    text = {'schema': {'type': 'string'}}
    parts = [{'name': 'model', 'in': 'path', 'required': True} | text] if '{model}' in path else []
    parts += [{'name': name, 'in': 'query', 'required': False} | text for name in query]
    return {'parameters': parts} if parts else {}


def describe(app, routes):
    """The OpenAPI file also has the schemas of requests and answers, neither of which FastAPI reads or makes here."""
    made = app.openapi

    def openapi():
        if app.openapi_schema is None:
            file = made()
            schemas = models_json_schema(list(routes.schemas.items()), ref_template=SCHEMAS)[1]['$defs']
            file['components'] = {
                'schemas': with_limits(schemas, routes.service.core.limits),
                'securitySchemes': {'token': {'type': 'http', 'scheme': 'bearer'}},
            }
            for path, operations in file['paths'].items():
                if path not in app.state.open_paths:
                    for operation in operations.values():
                        operation['security'] = [{'token': []}, {}]
        return app.openapi_schema

    app.openapi = openapi
