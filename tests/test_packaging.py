"""The package says once what it needs; requirements.txt, which people of 2019 install, says the same."""

import os
import re
import tomllib
from pathlib import Path

import pytest

from ernie.zoo.packages import DATA_PACKAGES
from propeller import __version__

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture(scope='module')
def settings():
    with open(os.path.join(ROOT, 'pyproject.toml'), 'rb') as f:
        return tomllib.load(f)


def test_requirements_are_the_dependencies_of_the_package(settings):
    with open(os.path.join(ROOT, 'requirements.txt'), encoding='utf-8') as f:
        lines = [line.strip() for line in f if line.strip() and not line.startswith('#')]
    assert lines == settings['project']['dependencies']


def test_requirements_name_no_registry(settings):
    optional = settings['project']['optional-dependencies']
    rule = r"[A-Za-z0-9_.-]+(\[\w+\])?[<>=]=?[0-9.]+(,<[0-9.]+)?(; python_version < '3.14')?"
    for group in (settings['project']['dependencies'], *optional.values(), *settings['dependency-groups'].values()):
        assert group
        for line in group:
            assert re.fullmatch(rule, line), line


def test_something_uses_every_package_of_an_extra(settings):
    folders = [Path(ROOT, name) for name in ('ernie', 'propeller')]
    source = '\n'.join(path.read_text(encoding='utf-8') for folder in folders for path in folder.rglob('*.py'))
    for extra, lines in settings['project']['optional-dependencies'].items():
        for line in lines:
            module = re.match(r'[\w-]+', line)[0].replace('-', '_')
            assert re.search(rf"(import {module}\b|'{module}')", source), f'{extra}: {line}'


def test_the_quickstart_reads_the_versions_of_the_group_data(settings):
    assert [f'{name}=={version}' for name, version in DATA_PACKAGES.items()] == settings['dependency-groups']['data']


def test_version():
    assert re.fullmatch(r'\d+\.\d+\.\d+', __version__)
