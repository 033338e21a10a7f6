"""Compiling the operators: once for each processor, compiler, Paddle and state of the sources, by one process.

The library lies in `$PROPELLER_OPS_CACHE`, else `$XDG_CACHE_HOME/propeller/ops`, else `~/.cache/propeller/ops`, in a
folder named by a hash of all that it depends on:

    KEY/lock                who builds holds it; released by the system when its holder dies
    KEY/built/library.so    whole or not there; tried out in a process of its own before it is put there
    KEY/built/failed.txt    or this: why it cannot be built, in one line; not tried again until someone asks for it
    KEY/built/build.log     what the compiler said

A compiler is all that is needed beside Paddle, whose wheel brings oneDNN, its OpenMP and its headers. `$CXX` names
another compiler than g++; `$PROPELLER_OPS_CXXFLAGS` holds more flags.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from propeller.environment import usable_cores
from propeller.storage.folders import recover, remove_folder, whole_folder

SOURCES = Path(__file__).parent / 'csrc'
LIBRARY, FAILED, LOG = 'library.so', 'failed.txt', 'build.log'
FLAGS = ('-std=c++17', '-O3', '-march=native', '-fopenmp', '-fPIC', '-fno-math-errno', '-fno-trapping-math', '-w')
# Paddle's own copies, which are loaded already: a second OpenMP in one process would fight with the first over cores.
LIBRARIES = ('libiomp5.so', 'libdnnl.so.3')
COMPILERS = ('g++', 'c++', 'clang++')
AGAIN = '`python -m propeller.ops build` tries again'


class Unavailable(Exception):
    """The operators cannot be had here; the text says why and what would help, in one line."""


class Toolchain(NamedTuple):
    """What the library is made with.

    Attributes:
        compiler: path.
        version: what the compiler says of itself, its first line.
        flags: tuple of str, for compiling.
        paddle: `Path` of Paddle's package.
        paddle_version: what its file of versions holds.
        processor: its name and its features.
    """

    compiler: str
    version: str
    flags: tuple
    paddle: Path
    paddle_version: str
    processor: str

    def key(self):
        """str, the name of the folder of what is built with it from these sources."""
        digest = hashlib.sha256()
        for part in (*map(str, self), *LIBRARIES):
            digest.update(part.encode() + b'\0')
        for path in sorted(SOURCES.iterdir()):
            digest.update(path.name.encode() + b'\0' + path.read_bytes() + b'\0')
        return digest.hexdigest()[:20]


def find_toolchain(environ=None):
    """The `Toolchain` of this machine.

    Raises:
        Unavailable: there is none.
    """
    environ = os.environ if environ is None else environ
    if sys.platform != 'linux':
        raise Unavailable(f'they are for Linux, this is {platform.system()}')
    paddle = _paddle_folder()
    for name in LIBRARIES:
        if not (paddle / 'libs' / name).is_file():
            raise Unavailable(f'this PaddlePaddle comes without {name}')
    names = [environ['CXX']] if environ.get('CXX') else COMPILERS
    found = [path for path in (shutil.which(name, path=environ.get('PATH', '')) for name in names) if path]
    if not found:
        raise Unavailable(f'no C++ compiler was found (looked for {", ".join(names)}); install g++ 9 or newer')
    asked = _run([found[0], '--version'])
    if asked.returncode:
        raise Unavailable(f'{found[0]} --version failed; install g++ 9 or newer')
    flags = (*FLAGS, *shlex.split(environ.get('PROPELLER_OPS_CXXFLAGS', '')))
    version = (paddle / 'version' / '__init__.py').read_text(encoding='utf-8')
    return Toolchain(found[0], asked.stdout.partition('\n')[0], flags, paddle, version, _processor())


def cache_folder(environ=None):
    """`Path` of the folder that holds what was built."""
    environ = os.environ if environ is None else environ
    if environ.get('PROPELLER_OPS_CACHE'):
        return Path(environ['PROPELLER_OPS_CACHE']).expanduser()
    return Path(environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'propeller' / 'ops'


def library(again=False, say=lambda text: None):
    """`Path` of the compiled library; it is compiled if it is not there, which takes half a minute.

    Args:
        again: try again what has failed before.
        say: called with a line of text when this process is going to take its time.
    Raises:
        Unavailable: it cannot be built, or has failed before.
    """
    toolchain = find_toolchain()
    folder = cache_folder() / toolchain.key()
    built = folder / 'built'
    if not again and built.is_dir():
        return _result(built)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / 'lock', say):
            recover(folder)
            if again and (built / FAILED).exists():
                remove_folder(built)
            if not built.is_dir():
                say(f'compiling the fused operators into {folder}: once for this machine, half a minute')
                _build(toolchain, built)
    except OSError as e:
        raise Unavailable(f'{folder} cannot be written ({e.strerror or e}); PROPELLER_OPS_CACHE names another') from e
    return _result(built)


def existing():
    """`Path` of the compiled library; None: not built yet.

    Raises:
        Unavailable: it cannot be built, or has failed before.
    """
    built = cache_folder() / find_toolchain().key() / 'built'
    return _result(built) if built.is_dir() else None


def _result(built):
    failed = built / FAILED
    if failed.exists():
        raise Unavailable(failed.read_text(encoding='utf-8').strip())
    return built / LIBRARY


@contextlib.contextmanager
def _locked(path, say):
    """One process at a time; where the file system knows no locks, everyone: what is renamed last stays."""
    with open(path, 'w') as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say('another process compiles the fused operators: waiting for it')
            fcntl.flock(f, fcntl.LOCK_EX)
        except OSError:
            pass
        yield


def _build(toolchain, target):
    """Make the folder `target`: with the library, or with what is wrong."""
    with contextlib.suppress(FileExistsError), whole_folder(target) as work:
        work = Path(work)
        with open(work / LOG, 'w', encoding='utf-8') as log:
            failure = _compile(toolchain, work, log) or _try_out(work / LIBRARY, log)
        if failure:
            text = f'{failure} (all of it: {target / LOG}); {AGAIN}\n'
            (work / FAILED).write_text(text, encoding='utf-8')


def _compile(toolchain, work, log):
    """None, or in a line what went wrong."""
    include = toolchain.paddle / 'include'
    compile_one = [toolchain.compiler, *toolchain.flags, f'-I{include}', f'-I{include / "third_party"}']

    def compiled(source):
        target = work / f'{source.stem}.o'
        return target, _run([*compile_one, '-c', str(source), '-o', str(target)])

    with ThreadPoolExecutor(usable_cores()) as pool:
        done = list(pool.map(compiled, sorted(SOURCES.glob('*.cc'))))
    objects = [str(target) for target, _ in done]
    folders = [f'-L{toolchain.paddle / name}' for name in ('libs', 'base')]
    libraries = [f'-l:{name}' for name in (*LIBRARIES, 'libpaddle.so')]
    runs = [run for _, run in done]
    if not any(run.returncode for run in runs):
        sanitizers = [flag for flag in toolchain.flags if flag.startswith('-fsanitize')]
        link = [toolchain.compiler, '-shared', *sanitizers, *objects, *folders, *libraries]
        runs.append(_run([*link, '-o', str(work / LIBRARY)]))
    for run in runs:
        log.write(f'$ {shlex.join(run.args)}\n{run.stdout}\n')
    for target in objects:
        Path(target).unlink(missing_ok=True)
    failed = [run for run in runs if run.returncode]
    return f'{toolchain.compiler} failed: {_complaint(failed[0].stdout)}' if failed else None


def _try_out(path, log):
    """Run the library's test in a process of its own: what crashes there does not crash here."""
    run = _run([sys.executable, '-m', 'propeller.ops', 'check', str(path)], timeout=300)
    log.write(f'$ {shlex.join(run.args)}\n{run.stdout}\n')
    if run.returncode:
        return f'they were compiled, but their test ended with {run.returncode}: {_complaint(run.stdout)}'
    return None


def _run(command, timeout=None):
    root = str(Path(__file__).resolve().parents[2])
    environ = os.environ | {'PYTHONPATH': os.pathsep.join(filter(None, [root, os.environ.get('PYTHONPATH')]))}
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            env=environ | {'LC_ALL': 'C'},
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, f'error: no end after {timeout} s')
    except OSError as e:
        return subprocess.CompletedProcess(command, 1, f'error: {e}')


def _complaint(text):
    """The line of a compiler's or Python's output that says most."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if 'error' in line.lower()]
    return (errors or lines or ['it said nothing'])[0][:200]


def _paddle_folder():
    spec = importlib.util.find_spec('paddle')
    if spec is None or spec.origin is None:
        raise Unavailable('PaddlePaddle is not installed')
    return Path(spec.origin).parent


def _processor(cpuinfo='/proc/cpuinfo'):
    """Name and features of the first processor, as Linux tells."""
    try:
        with open(cpuinfo, encoding='utf-8', errors='replace') as f:
            lines = f.read().partition('\n\n')[0].splitlines()
    except OSError:
        return platform.processor()
    return '\n'.join(
        line for line in lines if line.startswith(('vendor_id', 'model name', 'cpu family', 'model', 'flags'))
    )
