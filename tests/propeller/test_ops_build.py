"""Compiling the operators: once, by one process, whole or not at all; and what is said where it cannot be done."""

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from propeller.ops import build
from propeller.ops.build import Unavailable, cache_folder, find_toolchain

ROOT = Path(__file__).resolve().parents[2]
# A compiler that notes each call and makes what was asked for out of nothing.
COMPILER = """#!/bin/sh
echo "$@" >> {calls}
case "$*" in *--version*) echo "{version}"; exit 0;; -dM*) {macros}; exit 0;; esac
{delay}
while [ $# -gt 1 ]; do [ "$1" = -o ] && echo made > "$2"; shift; done
{end}
"""


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """Function that puts a false compiler in the place of the true one; what it makes is not tried out."""
    calls, try_out = tmp_path / 'calls', build._try_out

    def install(version='g++ 1', macros='echo "#define __GNUC__ 9"', delay='', end='exit 0', tried_out=False):
        path = tmp_path / 'bin' / 'g++'
        path.parent.mkdir(exist_ok=True)
        path.write_text(COMPILER.format(calls=calls, version=version, macros=macros, delay=delay, end=end))
        path.chmod(0o755)
        monkeypatch.setenv('CXX', str(path))
        monkeypatch.delenv('PROPELLER_OPS_CXXFLAGS', raising=False)
        monkeypatch.setenv('PROPELLER_OPS_CACHE', str(tmp_path / 'cache'))
        monkeypatch.setattr(build, '_try_out', try_out if tried_out else lambda path, log: None)

    install.compiled = lambda: len([c for c in calls.read_text().splitlines() if ' -c ' in c]) if calls.exists() else 0
    install.parts = len(build.parts())
    install.alone = len(list(build.SOURCES.glob('*.cc')))
    return install


def left_over(folder):
    return [path.name for path in Path(folder).rglob('.propeller-work-*')]


# ------------------------------------------------------------------------------------------ once


def test_what_is_built_is_found_again(compiler):
    compiler()
    said = []
    assert build.existing() is None
    path = build.library(say=said.append)
    assert path.read_text() == 'made\n' and build.existing() == path
    assert build.library(say=said.append) == path == build.library(again=True)
    assert compiler.compiled() == compiler.parts
    assert len(said) == 1 and 'compiling the fused operators into ' + str(path.parents[1]) in said[0]
    assert not left_over(cache_folder())
    names = sorted(p.name for p in path.parent.iterdir())
    assert names == ['build.log', 'library.so', 'library.so.sha256', 'made_for.txt']


def test_another_compiler_flag_paddle_processor_or_source_is_another_library(compiler, tmp_path, monkeypatch):
    compiler()
    base = find_toolchain()
    variants = [
        base._replace(version='g++ 2'),
        base._replace(flags=(*base.flags, '-g')),
        base._replace(paddle_version='3.4'),
        base._replace(processor='flags: sse'),
    ]
    keys = {base.key(), *(v.key() for v in variants)}
    sources = tmp_path / 'csrc'
    sources.mkdir()
    for path in build.SOURCES.iterdir():
        (sources / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(build, 'SOURCES', sources)
    assert base.key() in keys
    with open(sources / 'support.h', 'a') as f:
        f.write('//\n')
    keys.add(base.key())
    assert len(keys) == 6
    compiler(version='g++ 2')
    assert find_toolchain().key() not in keys | {base.key()} and find_toolchain().version == 'g++ 2'
    monkeypatch.setenv('PROPELLER_OPS_CXXFLAGS', '-g "-DA=b c"')
    assert find_toolchain().flags == (*build.FLAGS, '-g', '-DA=b c')


WORKER = """
import sys
from propeller.ops import build
build._try_out = lambda path, log: None
print('ready', flush=True)
sys.stdin.readline()
print(build.library(say=lambda text: print('said', text, flush=True)), flush=True)
"""


def start(count):
    """Processes that build as soon as a line is written to them."""
    pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'text': True, 'cwd': ROOT}
    processes = [
        subprocess.Popen([sys.executable, '-c', WORKER], start_new_session=True, **pipes) for _ in range(count)
    ]
    for process in processes:
        assert process.stdout.readline() == 'ready\n'
    return processes


def go(process):
    process.stdin.write('\n')
    process.stdin.flush()


def test_two_processes_build_once(compiler):
    compiler(delay='sleep 0.3')
    processes = start(2)
    for process in processes:
        go(process)
    lines = [process.communicate()[0].splitlines() for process in processes]
    assert lines[0][-1] == lines[1][-1] == str(build.existing())
    assert compiler.compiled() == compiler.parts
    assert sorted(line.split(':')[0].split(' into ')[0] for found in lines for line in found[:-1]) == [
        'said another process compiles the fused operators',
        'said compiling the fused operators',
    ]


def test_killed_in_the_middle_the_next_one_builds(compiler):
    compiler(delay='sleep 30')
    (process,) = start(1)
    go(process)
    deadline = time.monotonic() + 20
    while not compiler.compiled():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert left_over(cache_folder()) and build.existing() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    os.killpg(process.pid, signal.SIGKILL)  # the compilers that it left behind
    process.stdin.close()
    process.stdout.close()
    compiler()  # the same compiler, quicker
    path = build.library()
    assert path.read_text() == 'made\n' and not left_over(cache_folder())


# ------------------------------------------------------------------------------------------ in parts


def test_every_source_is_in_one_part_on_every_machine(monkeypatch):
    parts = build.parts()
    assert sorted(path for sources in parts.values() for path in sources) == sorted(build.SOURCES.glob('*.cc'))
    for name, sources in parts.items():
        assert {path.stem.endswith('_op') for path in sources} == {name.startswith('registrations')}
    monkeypatch.setattr(build, 'usable_cores', lambda: 1)
    assert build.parts() == parts


def test_registrations_are_compiled_with_less_effort_unless_flags_say_otherwise(compiler, monkeypatch):
    compiler()
    monkeypatch.setenv('PROPELLER_OPS_CXXFLAGS', '-O2')
    build.library()
    calls = (Path(os.environ['CXX']).parents[1] / 'calls').read_text().splitlines()
    efforts = {
        re.search(r'(\w+)-\d+\.o$', call).group(1): re.findall(r'-O\w', call) for call in calls if ' -c ' in call
    }
    assert efforts == {'kernels': ['-O3', '-O2'], 'registrations': ['-O3', '-Og', '-O2']}


def test_a_part_whose_sources_collide_is_taken_apart(compiler):
    compiler(delay='case "$*" in *kernels-0.cc*) echo "error: redefinition"; exit 1;; esac')
    path = build.library()
    assert path.read_text() == 'made\n'
    apart = [source.name for source in build.parts()['kernels-0']]
    assert len(apart) > 1 and compiler.compiled() == compiler.parts + len(apart)
    log = (path.parent / build.LOG).read_text()
    assert [name for name in apart if f'/{name} -o ' in log] == apart and 'kernels-0.o' not in log.splitlines()[-2]


def test_no_sources_collide(compiled):
    """What all of the library is made of is its parts and a link: none was taken apart, and nothing warned of."""
    log = (Path(compiled.path).parent / build.LOG).read_text(encoding='utf-8')
    compiled_parts = re.findall(r'^\$ .* -c \S*?([\w-]+)\.cc -o ', log, re.M)
    assert compiled_parts == list(build.parts()) and 'error:' not in log


@pytest.mark.slow
def test_each_source_stands_alone():
    """Whatever part it comes into, a source includes what it needs."""
    toolchain = find_toolchain()
    headers = [flag for name in ('', 'third_party') for flag in ('-isystem', str(toolchain.paddle / 'include' / name))]
    for source in sorted(build.SOURCES.glob('*.cc')):
        command = [toolchain.compiler, *toolchain.flags, *headers, '-fsyntax-only', str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ''), source.name


# ------------------------------------------------------------------------------------------ not at all


def test_what_the_compiler_refuses_is_said_once_and_not_tried_again(compiler):
    compiler(end='echo "in file x:"; echo "x.cc:3:1: error: no such thing"; exit 1')
    for _ in range(2):
        with pytest.raises(Unavailable) as caught:
            build.library()
        text = str(caught.value)
        assert re.search(
            r'g\+\+ failed: x.cc:3:1: error: no such thing \(all of it: (.*)\); `python -m propeller.ops', text
        )
        assert '\n' not in text
        assert compiler.compiled() == compiler.parts + compiler.alone
    log = re.search(r'all of it: (.*)\)', text).group(1)
    assert 'in file x:\nx.cc:3:1: error: no such thing\n' in Path(log).read_text()
    with pytest.raises(Unavailable):
        build.library(again=True)
    assert compiler.compiled() == 2 * (compiler.parts + compiler.alone)
    compiler()
    with pytest.raises(Unavailable):
        build.library()  # the same version of the compiler: as it was
    assert build.library(again=True).read_text() == 'made\n'
    assert build.library().read_text() == 'made\n'


def test_a_library_that_crashes_is_not_used(compiler, monkeypatch):
    compiler(tried_out=True)
    run = build._run

    def crash(command, timeout=None):
        if 'check' in command:
            command = [sys.executable, '-c', 'import os; os.write(1, b"about to"); os.abort()']
        return run(command, timeout)

    monkeypatch.setattr(build, '_run', crash)
    with pytest.raises(Unavailable, match='were compiled, but their test ended with -6: about to'):
        build.library()


def test_a_library_that_cannot_be_loaded_is_not_used(compiler):
    compiler(tried_out=True)
    with pytest.raises(Unavailable, match='were compiled, but their test ended with 1: .*library.so cannot be loaded'):
        build.library()


def test_no_compiler_no_paddle_library_no_folder(compiler, tmp_path, monkeypatch):
    compiler()
    monkeypatch.delenv('CXX')
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(Unavailable, match=r'no C\+\+ compiler was found \(looked for g\+\+, c\+\+, clang\+\+\)'):
        build.library()
    monkeypatch.setenv('CXX', 'g++-77')
    with pytest.raises(Unavailable, match=r'looked for g\+\+-77\)'):
        build.existing()
    compiler()
    monkeypatch.setattr(build, 'LIBRARIES', ('libiomp5.so', 'libdnnl.so.9'))
    with pytest.raises(Unavailable, match='this PaddlePaddle comes without libdnnl.so.9'):
        build.library()
    monkeypatch.setattr(build, 'LIBRARIES', ('libiomp5.so', 'libdnnl.so.3'))
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('PROPELLER_OPS_CACHE', str(tmp_path / 'file' / 'cache'))
    with pytest.raises(Unavailable, match=r'cannot be written \(Not a directory\); PROPELLER_OPS_CACHE names another'):
        build.library()


def test_without_a_compiler_what_one_has_made_for_this_machine_is_used(compiler, tmp_path, monkeypatch):
    compiler()
    path = build.library()
    monkeypatch.delenv('CXX')
    monkeypatch.setenv('PATH', str(tmp_path))
    said = []
    assert build.library(say=said.append) == build.existing() == path and not said
    with monkeypatch.context() as other:
        other.setenv('PROPELLER_OPS_CXXFLAGS', '-g')
        with pytest.raises(Unavailable, match='no C.. compiler was found'):
            build.library()
    with monkeypatch.context() as other:
        other.setattr(build, '_processor', lambda: 'flags: sse')
        with pytest.raises(Unavailable, match='no C.. compiler was found'):
            build.existing()
    with monkeypatch.context() as other:
        other.setattr(build, 'REGISTRATION_FLAGS', ('-O1',))  # stands for sources that are others
        with pytest.raises(Unavailable, match='no C.. compiler was found'):
            build.library()
    assert build.library() == path
    plant(path, 'content')
    with pytest.raises(Unavailable, match='no C.. compiler was found'):
        build.library(say=said.append)
    assert len(said) == 1 and said[0].startswith(f'{path.parent}: ') and 'not loaded' in said[0]


@pytest.mark.skipif(os.geteuid() != 0, reason='only root gives files away')
def test_without_a_compiler_what_others_have_made_is_not_used(compiler, tmp_path, monkeypatch):
    compiler()
    folder = build.library().parents[1]
    os.chown(folder, 12345, -1)
    monkeypatch.delenv('CXX')
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(Unavailable, match='no C.. compiler was found'):
        build.library()


@pytest.mark.parametrize(
    ('macros', 'text'),
    [
        (['__GNUC__ 8'], 'is g++ 8, expected 9 or newer'),
        (['__GNUC__ 4', '__clang_major__ 12'], 'is clang++ 12, expected 13 or newer'),
        (['__TINYC__ 9'], 'is neither g++ nor clang++'),
    ],
)
def test_a_compiler_that_is_too_old_is_said_once_and_compiles_nothing(compiler, macros, text):
    compiler(macros='; '.join(f'echo "#define {macro}"' for macro in macros))
    for find in (build.library, build.library, build.existing):
        with pytest.raises(Unavailable, match=rf'g\+\+ {re.escape(text)}; CXX names another') as caught:
            find()
        assert '\n' not in str(caught.value)
    assert not compiler.compiled()


def test_a_new_clang_claims_to_be_an_old_gcc(compiler):
    compiler(macros='echo "#define __GNUC__ 4"; echo "#define __clang_major__ 13"')
    assert build.library().read_text() == 'made\n'


# ------------------------------------------------------------------------------------------ the package


def test_what_is_installed_can_be_compiled_and_stays_as_it_was(compiler):
    package = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['tool']['setuptools']['package-data']
    sources = set(build.SOURCES.iterdir())
    assert {path for pattern in package['propeller'] for path in (ROOT / 'propeller').glob(pattern)} >= sources
    before = {path: path.stat().st_mtime_ns for path in sources}
    assert not build.library().is_relative_to(ROOT / 'propeller')
    assert {path: path.stat().st_mtime_ns for path in build.SOURCES.iterdir()} == before


def test_no_compiler_warns_of_the_sources(compiled):
    log = (Path(compiled.path).parent / build.LOG).read_text(encoding='utf-8')
    assert '-Wall -Wextra' in log and 'warning:' not in log


# ------------------------------------------------------------------------------------------ not from others


def plant(path, change):
    """Change what lies at the path of a library as another user, a mishap or an older version of ours might."""
    checksum = path.with_name(path.name + '.sha256')
    if change == 'content':
        path.write_text('evil\n')
    elif change == 'cut off':
        os.truncate(path, 2)
    elif change == 'no checksum':
        checksum.unlink()
    elif change == 'checksum of another':
        path.write_text('evil!\n')
        checksum.write_text(checksum.read_text().split()[0] + ' 6\n')
    elif change == 'no numbers':
        checksum.write_text('\u00b2' * 64 + ' 5\n', encoding='utf-8')
    elif change == 'link':
        path.rename(path.with_name('other'))
        path.symlink_to('other')
    elif change == 'folder link':
        path.parent.rename(path.parents[1] / 'other')
        path.parent.symlink_to('other')
    elif change == 'mode':
        path.chmod(0o666)
    elif change == 'folder mode':
        path.parent.chmod(0o777)
    else:
        os.chown({'owner': path, 'owner of the checksum': checksum, 'folder owner': path.parent}[change], 12345, -1)


CHANGES = ['content', 'cut off', 'no checksum', 'checksum of another', 'no numbers', 'link', 'folder link', 'mode']
CHANGES += ['folder mode', 'owner', 'owner of the checksum', 'folder owner']


@pytest.mark.parametrize('change', CHANGES)
def test_what_others_could_have_written_is_built_anew(compiler, change):
    if 'owner' in change and os.geteuid():
        pytest.skip('only root gives files away')
    compiler()
    path, said = build.library(), []
    plant(path, change)
    assert build.existing(said.append) is None
    assert len(said) == 1 and said.pop().startswith(f'{path.parent}: ')
    with pytest.raises(Unavailable, match=re.escape(str(path.parent))):
        build.loadable(path)
    again = build.library(say=said.append)
    assert again == path and path.read_text() == 'made\n' and build.existing() == path
    assert compiler.compiled() == 2 * compiler.parts
    assert len(said) == 2 and said[0].startswith(f'{path.parent}: ') and 'not loaded' in said[0]
    assert build.library(say=said.append) == path and len(said) == 2


@pytest.mark.parametrize('change', ['mode', 'owner', 'link'])
def test_a_folder_of_others_is_left_alone(compiler, tmp_path, change):
    if change == 'owner' and os.geteuid():
        pytest.skip('only root gives files away')
    compiler()
    folder, said = build.library().parents[1], []
    if change == 'mode':
        folder.chmod(0o770)
    elif change == 'owner':
        os.chown(folder, 12345, -1)
    else:
        folder.rename(tmp_path / 'elsewhere')
        folder.symlink_to(tmp_path / 'elsewhere')
    path = build.library(say=said.append)
    assert path.parents[1] == folder.with_name(folder.name + '-1') and path.read_text() == 'made\n'
    assert said[0].startswith(f'{folder} ') and said[0].endswith('not used') and len(said) == 2
    assert (folder / 'built/library.so').read_text() == 'made\n' and build.existing() == path


def test_a_cache_folder_that_others_can_write(compiler, tmp_path, monkeypatch):
    compiler()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'home'))
    (tmp_path / 'cache').mkdir()
    (tmp_path / 'cache').chmod(0o777)
    said = []
    path = build.library(say=said.append)
    assert path.is_relative_to(tmp_path / 'home/propeller/ops') and os.listdir(tmp_path / 'cache') == []
    usual = f'{tmp_path}/cache, which can be written by others (mode 777), but in {tmp_path}/home/propeller/ops'
    assert said[0] == f'compiled operators are not kept in {usual}' and len(said) == 2
    (tmp_path / 'home/propeller/ops').chmod(0o775)
    with pytest.raises(Unavailable, match=r'ops can be written by others \(mode 775\); PROPELLER_OPS_CACHE names'):
        build.library()


def test_what_is_made_is_for_one_user_alone(compiler):
    umask = os.umask(0o002)
    try:
        compiler()
        path = build.library()
    finally:
        os.umask(umask)
    assert {p: os.stat(p).st_mode & 0o777 for p in (path, path.parent, path.parents[1], cache_folder())} == {
        path: 0o600,
        path.parent: 0o700,
        path.parents[1]: 0o700,
        cache_folder(): 0o700,
    }


def test_what_was_checked_is_what_is_loaded(compiler):
    compiler()
    path = build.library()
    place = build.loadable(path)
    path.unlink()
    path.write_text('evil\n')
    assert Path(place).read_text() == 'made\n'


def test_cache_folder():
    assert cache_folder({'PROPELLER_OPS_CACHE': '/a'}) == Path('/a')
    assert cache_folder({'XDG_CACHE_HOME': '/x'}) == Path('/x/propeller/ops')
    assert cache_folder({}) == Path.home() / '.cache' / 'propeller' / 'ops'
