"""Compiling the operators: once for each processor, compiler, Paddle and state of the sources, by one process.

The library lies in `$PROPELLER_OPS_CACHE`, else `$XDG_CACHE_HOME/propeller/ops`, else `~/.cache/propeller/ops`, in a
folder named by a hash of all that it depends on:

    KEY/lock                who builds holds it; released by the system when its holder dies
    KEY/built/library.so    whole or not there; tried out in a process of its own before it is put there
    KEY/built/library.so.sha256   its checksum, without which it is not loaded
    KEY/built/made_for.txt  the hash without the compiler: where there is none today, it is loaded all the same
    KEY/built/failed.txt    or this: why it cannot be built, in one line; not tried again until someone asks for it
    KEY/built/build.log     what the compiler said

The library runs in our process, so it is loaded only if nobody else could have written it: folders and files belong to
this user or to root, others have no right to write there, and the content is what was built. Otherwise it is built
anew. Folders are made for this user alone.

A compiler is all that is needed beside Paddle, whose wheel brings oneDNN, its OpenMP and its headers. `$CXX` names
another compiler than g++; `$PROPELLER_OPS_CXXFLAGS` holds more flags.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from propeller import trust
from propeller.environment import usable_cores
from propeller.storage.folders import recover, remove_folder, whole_folder

SOURCES = Path(__file__).parent / 'csrc'
LIBRARY, MADE_FOR, FAILED, LOG = 'library.so', 'made_for.txt', 'failed.txt', 'build.log'
FLAGS = ('-std=c++17', '-O3', '-march=native', '-fopenmp', '-fPIC', '-fno-math-errno', '-fno-trapping-math')
FLAGS += ('-Wall', '-Wextra')  # of our sources, in the log; Paddle's headers are those of the system
# Of registrations, which check shapes and call kernels: -O3 takes the compiler twice as long and saves 0.4 microseconds
# a call.
REGISTRATION_FLAGS = ('-Og',)
# Sources are compiled in so many parts, each of several sources: reading the headers takes a compiler longer than
# reading a source, most of all Paddle's. The same on every machine, so that results are, too.
PARTS = {'kernels': 4, 'registrations': 2}
# g++ takes what is included for a header, in which types of a source's own would be a mistake.
_PART_HEAD = """#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wsubobject-linkage"
#endif
"""
# Paddle's own copies, which are loaded already: a second OpenMP in one process would fight with the first over cores.
LIBRARIES = ('libiomp5.so', 'libdnnl.so.3')
COMPILERS = ('g++', 'c++', 'clang++')
# What a compiler calls its version, and the oldest that takes C++17, vector types and AVX-512 as the sources have them.
# clang++ also claims to be an old g++.
VERSIONS = {'__clang_major__': ('clang++', 13), '__GNUC__': ('g++', 9)}
AGAIN = '`python -m propeller.ops build` tries again'


class Unavailable(Exception):
    """The operators cannot be had here; the text says why and what would help, in one line."""


class NoCompiler(Unavailable):
    """Nothing compiles here. What was compiled when something did may still be there."""


class Toolchain(NamedTuple):
    """What the library is made with.

    Attributes:
        compiler: path; empty: any.
        version: what the compiler says of itself, its first line; empty: any.
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
        for part in (*map(str, self), *REGISTRATION_FLAGS, _PART_HEAD, *LIBRARIES):
            digest.update(part.encode() + b'\0')
        for path in sorted(SOURCES.iterdir()):
            digest.update(path.name.encode() + b'\0' + path.read_bytes() + b'\0')
        return digest.hexdigest()[:20]


def find_toolchain(environ=None):
    """The `Toolchain` of this machine.

    Raises:
        NoCompiler: it has none that works.
        Unavailable: there is something else that it lacks.
    """
    environ = os.environ if environ is None else environ
    toolchain = _without_compiler(environ)
    names = [environ['CXX']] if environ.get('CXX') else COMPILERS
    found = [path for path in (shutil.which(name, path=environ.get('PATH', '')) for name in names) if path]
    if not found:
        raise NoCompiler(f'no C++ compiler was found (looked for {", ".join(names)}); install g++ 9 or newer')
    asked = _run([found[0], '--version'])
    if asked.returncode:
        raise NoCompiler(f'{found[0]} --version failed; install g++ 9 or newer')
    return toolchain._replace(compiler=found[0], version=asked.stdout.partition('\n')[0])


def _without_compiler(environ):
    """The `Toolchain` of this machine with any compiler."""
    if sys.platform != 'linux':
        raise Unavailable(f'they are for Linux, this is {platform.system()}')
    paddle = _paddle_folder()
    for name in LIBRARIES:
        if not (paddle / 'libs' / name).is_file():
            raise Unavailable(f'this PaddlePaddle comes without {name}')
    flags = (*FLAGS, *shlex.split(environ.get('PROPELLER_OPS_CXXFLAGS', '')))
    version = (paddle / 'version' / '__init__.py').read_text(encoding='utf-8')
    return Toolchain('', '', flags, paddle, version, _processor())


def cache_folder(environ=None):
    """`Path` of the folder that holds what was built."""
    environ = os.environ if environ is None else environ
    if environ.get('PROPELLER_OPS_CACHE'):
        return Path(environ['PROPELLER_OPS_CACHE']).expanduser()
    return Path(environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'propeller' / 'ops'


def library(again=False, say=lambda text: None):
    """`Path` of the compiled library; it is compiled if it is not there, which takes 10 to 20 seconds.

    Args:
        again: try again what has failed before.
        say: called with a line of text when this process is going to take its time.
    Raises:
        Unavailable: it cannot be built, or has failed before.
    """
    toolchain, found = _toolchain_or_library(say)
    if found:
        return found
    folder = None
    try:
        folder = _place(_root(say), toolchain.key(), say)
        built = folder / 'built'
        found = None if again else _result(built)
        if found:
            return found
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder / 'lock', say):
            recover(folder)
            if again and (built / FAILED).exists():
                _remove(built)
            found = _result(built, say)
            if not found:
                _remove(built)
                say(f'compiling the fused operators into {folder}: once for this machine, 10 to 20 seconds')
                _build(toolchain, built)
    except OSError as e:
        folder = folder or cache_folder()
        raise Unavailable(f'{folder} cannot be written ({e.strerror or e}); PROPELLER_OPS_CACHE names another') from e
    found = found or _result(built)
    if not found:
        raise Unavailable(f'{built} cannot be made safe from others; PROPELLER_OPS_CACHE names another place')
    return found


def existing(say=lambda text: None):
    """`Path` of the compiled library; None: not built yet, or not to be trusted.

    Args:
        say: called with a line of text for what is not trusted, and why.
    Raises:
        Unavailable: it cannot be built, or has failed before.
    """
    toolchain, found = _toolchain_or_library(say)
    if found:
        return found
    root = _root(say, make=False)
    return _result(_place(root, toolchain.key(), say) / 'built', say) if root else None


def _toolchain_or_library(say):
    """(`Toolchain`, None); where nothing compiles (None, `Path` of a library that was compiled before).

    Raises:
        Unavailable: there is neither.
    """
    try:
        return find_toolchain(), None
    except NoCompiler:
        found = _made_before(say)
        if not found:
            raise
        return None, found


def _made_before(say):
    """`Path` of a library for this machine, by a compiler that is gone; None: there is none to be trusted."""
    key = _without_compiler(os.environ).key().encode()
    try:
        root = _root(say, make=False)
        folders = sorted(root.iterdir()) if root else ()
    except (Unavailable, OSError):
        return None
    for folder in folders:
        with contextlib.suppress(OSError):  # what cannot be read is nobody's of this user
            mark = folder / 'built' / MADE_FOR
            if not trust.folder_fault(folder) and mark.is_file() and mark.read_bytes() == key:
                found = _result(mark.parent, say)
                if found:
                    return found
    return None


def loadable(path):
    """The path under which a library that `library` or `existing` gave is to be loaded: see `trust.sealed_path`.

    Raises:
        Unavailable: by now it is another.
    """
    try:
        return trust.sealed_path(path.parent, path.name)
    except trust.Distrust as e:
        raise Unavailable(f'{path.parent}: {e}') from None


def _root(say=lambda text: None, make=True):
    """The cache folder; where others can write to the one that is asked for, the usual one. None: not there.

    make: whether it is made then.
    """
    places = [cache_folder()]
    if os.environ.get('PROPELLER_OPS_CACHE'):
        places.append(cache_folder({k: v for k, v in os.environ.items() if k != 'PROPELLER_OPS_CACHE'}))
    for i, place in enumerate(places):
        if make:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif not place.exists():
            return None
        why = trust.folder_fault(place, follow=True)
        if not why:
            return place
        if i + 1 < len(places):
            say(f'compiled operators are not kept in {place}, which {why}, but in {places[i + 1]}')
    raise Unavailable(f'{place} {why}; PROPELLER_OPS_CACHE names another place')


def _place(root, key, say=lambda text: None):
    """The folder of a key: the first with this name, or a number after it, that is not there or nobody else's."""
    for name in (key, *(f'{key}-{i}' for i in range(1, 10))):
        folder = root / name
        why = trust.folder_fault(folder) if os.path.lexists(folder) else None
        if not why:
            return folder
        say(f'{folder} {why}: not used')
    raise Unavailable(f'{root} is full of folders that belong to others; PROPELLER_OPS_CACHE names another place')


def _result(built, say=lambda text: None):
    """`Path` of the library; None: it is not there, or not to be trusted, which is said.

    Raises:
        Unavailable: building has failed before.
    """
    if not os.path.lexists(built):
        return None
    why = trust.folder_fault(built)
    if not why and (built / FAILED).exists():
        raise Unavailable((built / FAILED).read_text(encoding='utf-8').strip())
    try:
        trust.check_sealed(built, LIBRARY)
        return built / LIBRARY
    except trust.Distrust as e:
        say(f'{built}: {e}: it is not loaded')
        return None


def _remove(built):
    if built.is_symlink() or (os.path.lexists(built) and not built.is_dir()):
        built.unlink()
    elif built.is_dir():
        remove_folder(built)


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
        work.chmod(0o700)
        with open(work / LOG, 'w', encoding='utf-8') as log:
            failure = _too_old(toolchain.compiler) or _compile(toolchain, work, log) or _try_out(work / LIBRARY, log)
        if failure:
            text = f'{failure} (all of it: {target / LOG}); {AGAIN}\n'
            (work / FAILED).write_text(text, encoding='utf-8')
        else:
            made_for = toolchain._replace(compiler='', version='').key()
            (work / MADE_FOR).write_text(made_for, encoding='utf-8')
            trust.seal(work / LIBRARY)


def _too_old(compiler):
    """None, or in a line why this compiler cannot do it."""
    asked = _run([compiler, '-dM', '-E', '-x', 'c++', os.devnull])
    macros = dict(re.findall(r'^#define (\w+) (\d+)$', asked.stdout, re.M))
    for macro, (name, oldest) in VERSIONS.items():
        if macro in macros:
            if int(macros[macro]) >= oldest:
                return None
            return f'{compiler} is {name} {macros[macro]}, expected {oldest} or newer; CXX names another'
    return f'{compiler} is neither g++ nor clang++; CXX names another'


def parts():
    """Names of the parts that are compiled, with their sources: lists of `Path`."""
    sources = sorted(SOURCES.glob('*.cc'), key=lambda path: (-path.stat().st_size, path.name))
    result = {}
    for kind, count in PARTS.items():
        groups = [[] for _ in range(count)]
        for path in sources:
            if path.stem.endswith('_op') == (kind == 'registrations'):
                min(groups, key=lambda group: sum(p.stat().st_size for p in group)).append(path)
        result |= {f'{kind}-{i}': group for i, group in enumerate(groups) if group}
    return result


def _compile_part(toolchain, work, name, sources):
    """The objects of a part, in `work`, with the runs of the compiler. Sources that collide are compiled one by one."""
    include = toolchain.paddle / 'include'
    folders = '-iquote', SOURCES, '-isystem', include, '-isystem', include / 'third_party'
    more = REGISTRATION_FLAGS if name.startswith('registrations') else ()
    flags = [*toolchain.flags[: len(FLAGS)], *more, *toolchain.flags[len(FLAGS) :], *map(str, folders)]

    def compiled(source):
        target = work / f'{source.stem}.o'
        return target, _run([toolchain.compiler, *flags, '-c', str(source), '-o', str(target)])

    whole = work / f'{name}.cc'
    whole.write_text(_PART_HEAD + ''.join(f'#include "{source.name}"\n' for source in sources), encoding='utf-8')
    done = compiled(whole)
    return [done] if done[1].returncode == 0 else [compiled(source) for source in sources]


def _compile(toolchain, work, log):
    """None, or in a line what went wrong."""
    with ThreadPoolExecutor(usable_cores()) as pool:
        parts_done = pool.map(lambda part: _compile_part(toolchain, work, *part), parts().items())
        done = [run for runs in parts_done for run in runs]
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
    for path in (*work.glob('*.o'), *work.glob('*.cc')):
        path.unlink()
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
    modules = os.pathsep.join(filter(None, [root, os.environ.get('PYTHONPATH')]))
    environ = os.environ | {'PYTHONPATH': modules, 'LC_ALL': 'C'}
    streams = {'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT}
    try:
        return subprocess.run(command, **streams, text=True, errors='replace', env=environ, timeout=timeout)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, f'error: no end after {timeout} s')
    except OSError as e:
        return subprocess.CompletedProcess(command, 1, f'error: {e}')


def _complaint(text):
    """The line of a compiler's or Python's output that says most."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if 'error:' in line.lower()]
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
