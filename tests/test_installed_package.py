"""The wheel: what is in it, and that it works from a folder where no repository is.

`benchmark.acceptance.empty_environment` does the same in an environment where nothing else is installed.
"""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ernie.command import help_text
from propeller.ops import build
from tests.ernie.tiny_model import SETTINGS, flags, sentences, table

ROOT = Path(__file__).parents[1]
PACKAGES = ('ernie', 'propeller')
BUILDER = 77  # the version of setuptools that pyproject.toml asks for


def clean_copy(target):
    """What a wheel is made of, without what others have left in the repository."""
    target.mkdir()
    for name in ('pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, target)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns('__pycache__'))
    return target


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """Path of the wheel of this repository."""
    folder = tmp_path_factory.mktemp('wheel')
    command = [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--disable-pip-version-check', '-w', str(folder)]
    if int(importlib.metadata.version('setuptools').partition('.')[0]) >= BUILDER:
        command.append('--no-build-isolation')
    done = subprocess.run([*command, clean_copy(folder / 'source')], capture_output=True, text=True, check=False)
    if done.returncode and re.search(r'setuptools|ConnectionError|connection broken', done.stderr + done.stdout):
        pytest.skip(f'setuptools {BUILDER} cannot be had: {done.stderr.splitlines()[-1:]}')
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob('*.whl')
    return path


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    """Function (program, words, folder) -> a finished process; programs of the package are in `bin`."""
    site = tmp_path_factory.mktemp('site')
    pip = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index', '--target', str(site)]
    subprocess.run([*pip, str(wheel)], check=True, stderr=subprocess.DEVNULL)
    environment = {**os.environ, 'PYTHONPATH': str(site), 'PYTHONDONTWRITEBYTECODE': '1'}

    def run(program, words, folder):
        command = [str(site / program), *words]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    run.site = site
    return run


def files(root):
    found = (path.relative_to(root) for name in PACKAGES for path in (root / name).rglob('*') if path.is_file())
    return {path.as_posix() for path in found if '__pycache__' not in path.parts}


@pytest.mark.slow
def test_the_wheel_holds_both_packages_whole(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if '.dist-info/' not in name]
    assert set(names) == files(ROOT)
    assert 'propeller/ops/csrc/attention.cc' in names and 'ernie/__main__.py' in names


@pytest.mark.slow
def test_what_is_installed_trains_and_loads_elsewhere(installed, tmp_path, model):
    before = files(installed.site)
    assert installed('bin/ernie', ['--help'], tmp_path).stdout == help_text() + '\n'
    data = table(tmp_path / 'train.tsv', sentences(24, 5))
    values = {'init_pretraining_params': model / 'params', 'train_set': data, 'do_val': False, 'do_test': False}
    settings = SETTINGS | values | {'max_steps': 3, 'checkpoints': 'c', 'fused_ops': False}
    done = installed('bin/ernie', ['finetune', 'classify', *flags(**settings)], tmp_path)
    assert done.returncode == 0, done.stderr
    load = 'ernie.load("c/step_3", engine="executor", device="cpu")'
    code = f'import ernie; print(len({load}(["的一", "是"])), ernie.__file__)'
    done = installed(sys.executable, ['-P', '-c', code], tmp_path)
    assert done.stdout == f'2 {installed.site}/ernie/__init__.py\n', done.stderr
    assert files(installed.site) == before
    assert sorted(os.listdir(tmp_path)) == ['c', 'train.tsv']


@pytest.mark.slow
def test_the_operators_of_the_installed_package_are_those_of_the_repository(installed, tmp_path):
    """Libraries have names made of the sources: what the installed package finds or would compile has the same."""
    try:
        key = build.find_toolchain().key()
    except build.Unavailable as e:
        pytest.skip(str(e))
    code = 'import propeller; from propeller.ops import build; print(build.find_toolchain().key(), propeller.__file__)'
    done = installed(sys.executable, ['-P', '-c', code], tmp_path)
    assert done.stdout.split() == [key, str(installed.site / 'propeller' / '__init__.py')], done.stderr
