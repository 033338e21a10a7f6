"""The package says once what it needs; requirements.txt, which people of 2019 install, says the same."""

import os
import tomllib

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _requirements(name):
    with open(os.path.join(ROOT, name), encoding='utf-8') as f:
        return [line.strip() for line in f if line.strip() and not line.startswith('#')]


@pytest.fixture(scope='module')
def project():
    with open(os.path.join(ROOT, 'pyproject.toml'), 'rb') as f:
        return tomllib.load(f)['project']


def test_requirements_are_the_dependencies_of_the_package(project):
    assert _requirements('requirements.txt') == project['dependencies']


def test_what_is_optional_is_what_the_tests_install(project):
    spaced = {line.replace(' ', '').replace('"', "'") for line in _requirements('requirements-dev.txt')}
    for extra, lines in project['optional-dependencies'].items():
        missing = {line.replace(' ', '') for line in lines} - spaced
        assert not missing, f'{extra}: {missing}'
