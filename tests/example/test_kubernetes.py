"""The manifests of example/kubernetes: they agree with each other, with the flags of the server and with its routes."""

import dataclasses

import pytest
import yaml

from ernie.programs import SERVE
from ernie.settings.serve import ServeSettings
from propeller.service.security import TOKEN_VARIABLE
from tests.processes import ROOT

FOLDER = ROOT / 'example' / 'kubernetes'


@pytest.fixture(scope='module')
def files():
    """dict of file name -> content."""
    return {path.name: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob('*.yaml'))}


@pytest.fixture(scope='module')
def pod(files):
    return files['deployment.yaml']['spec']['template']['spec']


@pytest.fixture(scope='module')
def container(pod):
    (container,) = pod['containers']
    return container


def test_all_files_are_applied_but_the_values_of_the_adapter(files):
    applied = files['kustomization.yaml']['resources']
    assert sorted(applied) == sorted(set(files) - {'kustomization.yaml', 'adapter-rule.yaml'})
    assert all(files[name]['apiVersion'] and files[name]['kind'] for name in applied)


def test_the_command_is_one_that_the_server_takes(container):
    verb, *flags = container['args']
    settings = SERVE.build_parser().parse_args(flags)
    assert verb == 'serve' and settings.host == '0.0.0.0'
    assert settings.http_port == container['ports'][0]['containerPort']
    assert {variable['name'] for variable in container['env']} == {TOKEN_VARIABLE}
    mounts = {mount['mountPath']: mount for mount in container['volumeMounts']}
    assert mounts['/models']['readOnly'] and settings.save_inference_model_path.startswith('/tmp/')
    cores = settings.workers * settings.cpu_threads
    assert int(container['resources']['requests']['cpu']) == cores
    assert {field.name for field in dataclasses.fields(ServeSettings)} >= {'drain_timeout', 'queue_tokens'}


def test_it_ends_before_it_is_killed(pod, container):
    pause = int(container['lifecycle']['preStop']['exec']['command'][1])
    settings = SERVE.build_parser().parse_args(container['args'][1:])
    assert pod['terminationGracePeriodSeconds'] > pause + settings.drain_timeout


def test_probes_and_metrics_are_routes_that_need_no_token(files, container):
    pytest.importorskip('fastapi')
    from ernie.service.http.app import create_app
    from tests.ernie.fake_text_service import Service

    app = create_app(Service())
    routes = {container[f'{kind}Probe']['httpGet']['path'] for kind in ('startup', 'readiness', 'liveness')}
    routes.add(files['deployment.yaml']['spec']['template']['metadata']['annotations']['prometheus.io/path'])
    assert routes == {'/livez', '/readyz', '/metrics'} and routes <= app.state.open_paths


def test_pods_are_scaled_by_a_metric_that_there_is(files):
    pytest.importorskip('prometheus_client')
    from ernie.service.http.metrics import Metrics

    (metric,) = files['autoscaler.yaml']['spec']['metrics']
    name = metric['pods']['metric']['name']
    assert f'\n{name} ' in Metrics().text().decode()
    (rule,) = files['adapter-rule.yaml']['rules']['custom']
    assert rule['name']['matches'] == name and rule['seriesQuery'].startswith(name)
    assert files['autoscaler.yaml']['spec']['scaleTargetRef']['name'] == files['deployment.yaml']['metadata']['name']


def test_selectors_meet(files):
    labels = files['deployment.yaml']['spec']['template']['metadata']['labels'].items()
    for selector in (
        files['deployment.yaml']['spec']['selector']['matchLabels'],
        files['service.yaml']['spec']['selector'],
        files['disruption-budget.yaml']['spec']['selector']['matchLabels'],
    ):
        assert selector.items() <= labels


def test_nothing_runs_as_root_or_writes_outside_tmp(pod, container):
    assert pod['securityContext']['runAsNonRoot'] and pod['securityContext']['runAsUser'] > 0
    assert container['securityContext']['readOnlyRootFilesystem']
    assert container['securityContext']['capabilities'] == {'drop': ['ALL']}
    user = f'--uid {pod["securityContext"]["runAsUser"]} '
    assert user in (FOLDER / 'Dockerfile').read_text()
