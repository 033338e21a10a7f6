"""Probes and metrics; never behind the token."""

from ernie.service.http.bodies import dump
from ernie.service.http.calls import answered
from ernie.service.http.schemas import Error, Reply


class State(Reply):
    status: str
    workers: int | None = None


def add(routes):
    """Adds the routes. routes: `ernie.service.http.routing.Routes`."""
    core, metrics = routes.service.core, routes.metrics

    async def live():
        return answered(dump({'status': 'alive'}))

    async def ready():
        response = answered(dump({'status': 'ready' if core.ready else 'not ready', 'workers': core.workers_up}))
        if not core.ready:
            response.status_code = 503
            response.headers['Retry-After'] = '5'
        return response

    async def counted():
        from starlette.responses import Response

        return Response(metrics.text(), media_type=metrics.content_type)

    routes.get('/livez', live, State, Error, 'Whether the process answers', is_open=True)
    for path in ('/readyz', '/health'):
        routes.get(path, ready, State, Error, 'Whether requests are taken; 503 where they are not', is_open=True)
    routes.get('/metrics', counted, None, Error, 'Metrics for Prometheus', is_open=True)
