"""A server as a deployment of Ray Serve, and what each replica of it is."""

import asyncio
import importlib.util
import json
import os
import sys
import urllib.request

import pytest

from ernie.programs import SERVE
from ernie.service import ray_serve
from ernie.service.open import open_models
from propeller.errors import UsageError, UserError
from tests.ernie.tiny_model import TASK_CONFIG, write_model
from tests.processes import free_ports


def has_ray_serve():
    try:
        return bool(importlib.util.find_spec('ray.serve') and importlib.import_module('ray.serve'))
    except ImportError:
        return False


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """An encoder, exported for vectors."""
    folder = tmp_path_factory.mktemp('models')
    write_model(folder / 'encoder', config=TASK_CONFIG)
    (model,) = open_models([('tiny', str(folder / 'encoder'))], pooling='mean', threads=1, keep=str(folder / 'exports'))
    return model.path


def test_a_replica_answers_as_the_server_does(exported):
    httpx = pytest.importorskip('httpx')

    async def run():
        flags = [f'tiny={exported}', '--workers', '1', '--threads', '1', '--max_texts', '2']
        replica = ray_serve.Replica(SERVE.build_parser().parse_args([*flags, '--auth_token', 'a good token']).checked())
        await replica.start()
        assert replica.alive
        try:
            transport = httpx.ASGITransport(replica.app)
            shown = {'Authorization': 'Bearer a good token'}
            async with httpx.AsyncClient(transport=transport, base_url='http://x', headers=shown) as client:
                good = await client.post('/v1/embed', json={'texts': ['你好', 'x']})
                refused = await client.post('/v1/embed', json={'texts': ['a', 'b', 'c']})
                stranger = await client.get('/v1/models', headers={'Authorization': 'Bearer another'})
                return good, refused, stranger
        finally:
            await replica.stop()

    good, refused, stranger = asyncio.run(run())
    assert stranger.status_code == 401
    assert good.status_code == 200 and good.json()['model'] == 'tiny' and len(good.json()['results']) == 2
    assert refused.status_code == 413 and refused.json()['error']['limit']['value'] == 2


def test_arguments_are_checked_before_anything_starts(monkeypatch):
    made = []

    class Deployment:
        def options(self, **options):
            made.append(options)
            return self

        def bind(self, *arguments):
            made.append(arguments)
            return 'application'

    monkeypatch.setattr(ray_serve, 'deployment', Deployment)
    args = {'models': 'a=/m/a, /m/b', 'workers': '2', 'threads': 3, 'normalize': True, 'max_texts': '7', 'replicas': 2}
    assert ray_serve.build(args) == 'application'
    options, (settings,) = made
    assert options['num_replicas'] == 2 and options['ray_actor_options'] == {'num_cpus': 6}
    assert options['graceful_shutdown_timeout_s'] > settings.drain_timeout
    assert settings.models == ('a=/m/a', '/m/b') and settings.limits().max_texts == 7 and settings.normalize is True
    for wrong, message in (
        ({}, 'no model is given'),
        ({'models': None}, 'models: found None, expected a list of models'),
        ({'models': ['a', 7]}, 'models: found .*7.*, expected a list of models'),
        ({'models': 'a', 'max_words': 3}, 'unrecognized arguments: --max_words=3. Did you mean'),
        ({'models': 'a', 'workers': 'two'}, 'two'),
        ({'models': 'a', 'normalize': 'perhaps'}, 'perhaps'),
        ({'models': 'a', 'replicas': 0}, 'replicas: found 0'),
        ({'models': 'a', 'http_port': 80}, 'http_port: Ray Serve has the address'),
    ):
        with pytest.raises(UsageError, match=message):
            ray_serve.build(wrong)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray.serve', None)
    with pytest.raises(UserError, match=r'pip install "ray\[serve\]"'):
        ray_serve.build({'models': 'a'})


@pytest.mark.slow
@pytest.mark.skipif(not has_ray_serve(), reason='needs ray[serve]')
def test_ray_serve_routes_to_the_same_application(exported, monkeypatch):
    import ray
    from ray import serve

    # Ray gives its processes the lowest priority but four, and their proxy five seconds to start.
    monkeypatch.setenv('RAY_worker_niceness', '0')
    monkeypatch.setenv('RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S', '60')
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    (port,) = free_ports(1)
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={'env_vars': {'PYTHONPATH': paths}})
    try:
        serve.start(http_options={'host': '127.0.0.1', 'port': port})
        serve.run(ray_serve.build({'models': [f'tiny={exported}']}), route_prefix='/')
        body = json.dumps({'texts': ['你好']}).encode()
        asked = urllib.request.Request(f'http://127.0.0.1:{port}/v1/embed', body, {'Content-Type': 'application/json'})
        with urllib.request.urlopen(asked, timeout=60) as answer:
            assert len(json.load(answer)['results'][0]) == TASK_CONFIG['hidden_size']
        with urllib.request.urlopen(f'http://127.0.0.1:{port}/readyz', timeout=60) as answer:
            assert json.load(answer) == {'status': 'ready', 'workers': 1}
        serve.shutdown()
    finally:
        ray.shutdown()
