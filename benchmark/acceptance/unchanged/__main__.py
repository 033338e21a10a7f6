"""Does a change leave all results as they were? Small runs of every program in two checkouts, compared byte for byte.

    python -m benchmark.acceptance.unchanged BEFORE_CHECKOUT AFTER_CHECKOUT

Compared are the exit code, standard output and log of each run and every file that it leaves: checkpoints, records,
predictions, exports. Times, dates, speeds, memory, identities of runs, process numbers, ports and places in the source
are masked. One line a run: equal, or what differs first. Exit code 1 if anything does.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

from benchmark.acceptance.unchanged import runs
from benchmark.acceptance.unchanged.compare import CODE, LOG, OUT, Allowed, compare
from benchmark.acceptance.unchanged.data import write_data
from propeller.errors import UserError, one_line_errors

NOTE = '.unchanged.json'  # in a folder of results: what to mask
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
START = (
    'import sys; sys.path[0] = sys.argv[1]; from benchmark.acceptance.unchanged.server import serve; serve(sys.argv[2])'
)


def python_of(checkout):
    """The Python of a checkout's environment, else this one; links are followed: operators are built for a path."""
    path = os.path.join(os.path.realpath(os.path.join(checkout, '.venv')), 'bin', 'python')
    return path if os.path.exists(path) else sys.executable


def environment_of(checkout, folder):
    """Of the programs: one thread, so that sums have one order; a cache of their own."""
    own = {
        'OMP_NUM_THREADS': '1',
        'ERNIE_CACHE': os.path.join(folder, '.cache'),
        'PYTHONPATH': checkout,
        'LC_ALL': 'C.UTF-8',
        'GLOG_minloglevel': '2',  # as the programs do before they load Paddle, which is loaded already
        'PYTHONPYCACHEPREFIX': os.path.join(folder, '.cache', 'bytecode'),  # checkouts stay as they are
    }
    return {**os.environ, **own}


class Server:
    """A process of `server.serve`, working in `folder`."""

    def __init__(self, checkout, folder):
        command = [python_of(checkout), '-c', START, ROOT, checkout]
        pipe, environment = subprocess.PIPE, environment_of(checkout, folder)
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=folder, env=environment)

    def run(self, run):
        """Returns the exit code of one `Run`, as text, and its processor seconds."""
        argv = [part.replace('{port}', str(free_port())) for part in run.argv]
        job = {'argv': argv, 'stdin': run.stdin, 'stdout': f'{run.name}/{OUT}', 'stderr': f'{run.name}/{LOG}'}
        self.process.stdin.write(json.dumps(job) + '\n')
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if len(answer) != 2:
            raise UserError(f'{run.name}: the process that starts programs has ended with {self.process.wait()}.')
        return answer[0], float(answer[1])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def free_port():
    """A port that nobody uses now."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def run_chain(checkout, folder, chain):
    """Run a list of `Run`s, one after the other, in the working directory. Returns dict name -> processor seconds."""
    seconds = {}
    with contextlib.closing(Server(checkout, folder)) as server:
        for run in chain:
            os.makedirs(run.name)
            try:
                if run.prepare:
                    run.prepare()
            except OSError as e:  # an earlier run did not leave what this one needs
                code = f'not started: {e}'
            else:
                code, seconds[run.name] = server.run(run)
            with open(os.path.join(run.name, CODE), 'w', encoding='utf-8') as f:
                f.write(f'{code}\n')
    return seconds


def run_all(checkout, folder, args):
    """Run the programs of `checkout` in `folder`, which is made, and say how long it took."""
    if os.path.exists(folder):
        raise UserError(f'{folder}: exists; give --out another folder, or delete it.')
    os.makedirs(folder)
    os.chdir(folder)
    write_data()
    chains = [chain for chain in runs.chains(args.slow) if any(re.search(args.only, run.name) for run in chain)]
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        parts = list(pool.map(lambda chain: run_chain(checkout, folder, chain), chains))
    seconds = {name: value for part in parts for name, value in part.items()}
    most = ', '.join(f'{name} {seconds[name]:.1f}' for name in sorted(seconds, key=seconds.get, reverse=True)[:5])
    took = f'{time.monotonic() - started:.0f} s, {sum(seconds.values()):.0f} s of processor, most of it: {most}'
    print(f'{checkout}: {len(seconds)} runs in {took}', flush=True)
    with open(os.path.join(folder, NOTE), 'w', encoding='utf-8') as f:
        json.dump([[folder, '<folder>'], [checkout, '<checkout>']], f)


def results_of(place, folder, args):
    """(folder of results, pairs to mask). place: a checkout, whose programs are run now, or results."""
    if os.path.exists(os.path.join(place, NOTE)):
        folder = place
    elif os.path.exists(os.path.join(place, 'run_classifier.py')):
        run_all(place, folder, args)
    else:
        raise UserError(f'{place}: neither a checkout nor results of an earlier call.')
    with open(os.path.join(folder, NOTE), encoding='utf-8') as f:
        return folder, json.load(f)


def parse_flags(argv):
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser('benchmark.acceptance.unchanged', description=__doc__, formatter_class=form)
    parser.add_argument('before', help='checkout before the change, or results of an earlier call')
    parser.add_argument('after', nargs='?', help='the same after it; left out: BEFORE is only run')
    parser.add_argument('--out', help='keep the results, as OUT/before and OUT/after (default: they are deleted)')
    parser.add_argument('--allow', help='file of what differs on purpose: `OLD => NEW`, `line REGEX`, `file REGEX`')
    parser.add_argument('--only', default='', help='regular expression: only chains of runs with such a one')
    parser.add_argument('--slow', action='store_true', help='also the demo data and the quickstart: some minutes')
    parser.add_argument('--jobs', type=int, default=2, help='chains of runs at a time (default: 2)')
    return parser.parse_args(argv)


def main(argv=None):
    """Run and compare; returns the exit code."""
    args = parse_flags(argv)
    allowed = Allowed.read(args.allow) if args.allow else Allowed()
    before, after = (place and os.path.realpath(place) for place in (args.before, args.after))
    with contextlib.ExitStack() as stack:
        out = os.path.realpath(args.out or stack.enter_context(tempfile.TemporaryDirectory()))
        before, *places = results_of(before, os.path.join(out, 'before'), args)
        if not after:
            return 0
        after, *more = results_of(after, os.path.join(out, 'after'), args)
        different = compare(before, after, allowed, (*places, *more), both=bool(args.only))
    print(f'{len(different)} NOT equal: {", ".join(different)}' if different else 'all equal')
    return int(bool(different))


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
