"""`benchmark.acceptance.sanitizers`: how it starts what it runs, and what it says where it cannot."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmark.acceptance import sanitizers
from propeller.errors import UserError


@pytest.fixture
def compiler(tmp_path):
    """Function (output) -> path of a compiler that answers so when it is asked where a library is."""

    def make(output):
        path = tmp_path / 'g++'
        path.write_text(f'#!/bin/sh\nname=${{1#-print-file-name=}}\necho "{output}"\n')
        path.chmod(0o755)
        return str(path)

    return make


def test_environment(compiler, tmp_path):
    toolchain = SimpleNamespace(compiler=compiler('/lib/gcc/$name'), paddle=Path('/p/paddle'))
    found = sanitizers.environment(toolchain, tmp_path / 'own')
    assert found['LD_PRELOAD'] == '/lib/gcc/libasan.so /lib/gcc/libstdc++.so'
    assert found['LD_LIBRARY_PATH'] == '/p/paddle/libs'
    assert found['PROPELLER_OPS_CACHE'] == str(tmp_path / 'own')
    assert '-fsanitize=address,undefined' in found['PROPELLER_OPS_CXXFLAGS'].split()


def test_a_compiler_without_the_library_is_named(compiler, tmp_path, monkeypatch):
    monkeypatch.setenv('CXX', compiler('$name'))
    with pytest.raises(UserError, match=r'g\+\+ has no libasan.so; install g\+\+ with its libasan'):
        sanitizers.main(['--folder', str(tmp_path)])
    monkeypatch.setenv('CXX', 'g++-77')
    with pytest.raises(UserError, match=r'no fused operators: no C\+\+ compiler was found \(looked for g\+\+-77\)'):
        sanitizers.main(['--folder', str(tmp_path)])


@pytest.mark.parametrize(('failing', 'code', 'last'), [(None, 0, 'pytest'), ('build', 1, 'build'), ('-s', 1, 'pytest')])
def test_what_fails_ends_it(compiler, tmp_path, monkeypatch, capfd, failing, code, last):
    """With a Python that only says what it is to run: first the build, then all tests of the operators."""
    python = tmp_path / 'python'
    end = f'case "$*" in *{failing}*) exit 77;; esac\n' if failing else ''
    python.write_text(f'#!/bin/sh\necho "$PROPELLER_OPS_CACHE: $*"\n{end}')
    python.chmod(0o755)
    monkeypatch.setenv('CXX', compiler('/$name'))
    monkeypatch.setenv('LD_PRELOAD', '')
    monkeypatch.setattr(sanitizers, 'environment', lambda toolchain, folder: {'PROPELLER_OPS_CACHE': str(folder)})
    monkeypatch.setattr(sys, 'executable', str(python))
    assert sanitizers.main(['--folder', '/own']) == code
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == '/own: -m propeller.ops build'
    assert (lines[-1] == 'nothing was reported') == (code == 0)
    ran = [line for line in lines if line.startswith('/own: -m ')]
    assert ran[-1].startswith(f'/own: -m {"pytest -q -s " if last == "pytest" else "propeller.ops build"}')
    if last == 'pytest':
        names = [Path(name).name for name in ran[-1].split()[5:]]
        operators = {path.name for path in Path(__file__).parent.glob('propeller/test_ops_*.py')}
        between_processes = {'test_process_sum.py', 'test_shared_weights.py'}
        assert names == sorted(operators - {'test_ops_memory.py'} | between_processes)
