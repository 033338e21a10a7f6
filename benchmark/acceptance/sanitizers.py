"""The tests of the fused operators under AddressSanitizer and UndefinedBehaviorSanitizer.

    python -m benchmark.acceptance.sanitizers [--folder FOLDER] [TEST ...]

Compiles the kernels with both sanitizers, which takes two minutes the first time, and runs the tests with them. The
first report ends the run: it names the file, the line and the calls that led there; if that happens in the short test
that follows the compiling, it is in the `build.log` that is named. Exit code 1 if anything is reported, or if a test
fails. Needs g++ with its libasan.

Switched off is what would report Paddle itself:

- leaks (`detect_leaks`): it keeps its own until the process ends;
- `alloc_dealloc_mismatch`: it frees with other functions than it allocates with;
- `vptr`: its headers cast attributes to classes of which our library has a copy of its own.

Left out is `test_ops_memory.py`, which measures and limits the memory of its process: AddressSanitizer keeps what is
freed, and ends a process that gets no more.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from propeller.errors import UserError, one_line_errors
from propeller.ops.build import Unavailable, cache_folder, find_toolchain

ROOT = Path(__file__).resolve().parents[2]
FLAGS = '-fsanitize=address,undefined -fno-sanitize=vptr -fno-omit-frame-pointer -g -O1'


def main(argv=None):
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--folder', default=str(cache_folder() / 'sanitized'), help='of what is compiled (%(default)s)')
    parser.add_argument(
        'tests', nargs='*', metavar='TEST', help='a file, or `file::test`; default: those of fused operators'
    )
    args = parser.parse_args(argv)
    try:
        environ = environment(find_toolchain(), args.folder)
    except Unavailable as e:
        raise UserError(f'no fused operators: {e}.') from None
    tests = args.tests or _tests()
    # Without -s what a sanitizer says would die with the process, in a file of pytest's.
    for command in (['propeller.ops', 'build'], ['pytest', '-q', '-s', *tests]):
        if subprocess.run([sys.executable, '-m', *command], cwd=ROOT, env=os.environ | environ).returncode:
            return 1
    print('nothing was reported')
    return 0


def _tests():
    """The files of tests of fused operators, and of those between processes."""
    folder = ROOT / 'tests' / 'propeller'
    found = {*folder.glob('test_ops_*.py'), folder / 'test_process_sum.py', folder / 'test_shared_weights.py'}
    return sorted(map(str, found - {folder / 'test_ops_memory.py'}))


def environment(toolchain, folder):
    """dict of variables under which the kernels are compiled with the sanitizers and run.

    Raises:
        UserError: the compiler has no libasan.
    """
    return {
        'PROPELLER_OPS_CACHE': str(Path(folder).resolve()),
        'PROPELLER_OPS_CXXFLAGS': FLAGS,
        'LD_PRELOAD': preloaded(toolchain.compiler),
        # Libraries are opened by libasan, which does not know in which folders Paddle looks for its own.
        'LD_LIBRARY_PATH': str(toolchain.paddle / 'libs'),
        'ASAN_OPTIONS': 'detect_leaks=0:alloc_dealloc_mismatch=0',
        'UBSAN_OPTIONS': 'halt_on_error=1:print_stacktrace=1',
    }


def preloaded(compiler):
    """What `LD_PRELOAD` must name. Raises `UserError`: the compiler has no libasan."""
    # AddressSanitizer finds what it is to watch when the process starts: also the exceptions, which are in libstdc++.
    return ' '.join(_library(compiler, name) for name in ('libasan.so', 'libstdc++.so'))


def _library(compiler, name):
    """Path of one of the compiler's libraries."""
    found = subprocess.run([compiler, f'-print-file-name={name}'], capture_output=True, text=True).stdout.strip()
    if not os.path.isabs(found):  # the name alone: it has none
        raise UserError(f'{compiler} has no {name}; install g++ with its libasan (Debian: g++; Fedora: libasan).')
    return found


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
