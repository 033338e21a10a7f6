"""Every parser of outside data under thousands of changed inputs: only the project's own errors, in bounded time.

Each parser has a valid input; its bytes, its JSON values or its pickle instructions are changed at random. A parser
runs in a process of its own, whose memory is limited. An input ends well if it is accepted, or refused by a `UserError`
whose text is one line (or the launcher's `Garbage` and `NoRequest`), within 1 s and 500 MB. Anything else is counted
under other exceptions, and its first traceback is shown.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

SECONDS, MEGABYTES = 1.0, 500
# What a process may take beyond what it has after loading its modules; a C++ library would abort, not raise.
HEADROOM = 2 << 30
HANGS_AFTER = 20
_MOST_KEPT = 100


class Hangs(BaseException):
    """An input that does not end."""


def judge(read, folder):
    """('own', 'accepted' or 'other', traceback or '') of one input."""
    from propeller.errors import UserError
    from propeller.launch.messages import Garbage
    from propeller.launch.store import NoRequest

    try:
        read(folder)
    except (UserError, Garbage, NoRequest) as e:
        text = str(e)
        if isinstance(e, UserError) and (not text.isprintable() or len(text) > 20_000):
            return 'other', f'a text that is no line: {text[:300]!r}'
        return 'own', ''
    except Hangs:
        return 'other', f'no end after {HANGS_AFTER} s'
    except Exception:
        return 'other', traceback.format_exc()[-1500:]
    return 'accepted', ''


def run_parser(name, count, seed, keep):
    """Judge `count` inputs of one parser. -> dict of the numbers for its row of the table.

    keep: folder where inputs that end badly are kept; None for none.
    """
    import logging

    from benchmark.acceptance.outside import PARSERS, write

    logging.disable(logging.CRITICAL)
    sys.stderr = open(os.devnull, 'w')  # noqa: SIM115 (progress bars)
    parser = PARSERS[name]
    row = {'inputs': 0, 'own': 0, 'accepted': 0, 'other': 0, 'slowest': 0.0, 'memory': 0.0, 'first': ''}
    with tempfile.TemporaryDirectory(dir='/dev/shm' if os.path.isdir('/dev/shm') else None) as work:
        folder = os.path.join(work, 'input')
        kind, why = judge(parser.read, write(parser.files or parser.mutate(random.Random(0)), folder))
        if kind != 'accepted' and parser.files:
            row['first'], row['other'] = f'the valid input is not accepted: {why or kind}', 1
        _limit_memory()
        for number in range(count):
            write(parser.mutate(random.Random(f'{seed} {name} {number}')), folder)
            kind, why, seconds, megabytes = _measured(parser.read, folder)
            row['inputs'] += 1
            row[kind] += 1
            row['slowest'], row['memory'] = max(row['slowest'], seconds), max(row['memory'], megabytes)
            if kind == 'other' or seconds > SECONDS or megabytes > MEGABYTES:
                row['first'] = row['first'] or f'input {number}: {why or f"{seconds:.1f} s, {megabytes:.0f} MB"}'
                if keep and len(os.listdir(keep)) < _MOST_KEPT:
                    shutil.move(folder, os.path.join(keep, f'{name.replace(" ", "_")}.{number}'))
    return row


def _measured(read, folder):
    from pathlib import Path

    def hang(*_):
        raise Hangs

    signal.signal(signal.SIGALRM, hang)
    before = _reset_peak()
    signal.alarm(HANGS_AFTER)
    started = time.process_time()
    kind, why = judge(read, Path(folder))
    seconds = time.process_time() - started
    signal.alarm(0)
    return kind, why, seconds, (_status('VmHWM') - before) / 1e6


def _reset_peak():
    """Begin to count the peak of the resident memory anew; returns what is resident now."""
    try:
        with open('/proc/self/clear_refs', 'w', encoding='ascii') as f:
            f.write('5')
    except OSError:
        pass
    return _status('VmRSS')


def _status(field):
    with open('/proc/self/status', encoding='ascii') as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(f'{field}:'))


def _limit_memory():
    most = _status('VmSize') + HEADROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def in_process(name, count, seed, keep):
    """`run_parser` in a process of its own; one that dies or does not end is a row with its reason."""
    command = [sys.executable, '-m', 'benchmark.acceptance.hostile_inputs', '--only', name, '--inputs', str(count)]
    command += ['--seed', str(seed), '--child', *(['--keep', keep] if keep else [])]
    environ = {**os.environ, 'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1', 'PYTHONHASHSEED': '0'}
    done = subprocess.run(command, capture_output=True, text=True, env=environ)
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        first = f'the process ended with {done.returncode}: {done.stderr[-500:]}'
        return {'inputs': 0, 'own': 0, 'accepted': 0, 'other': 1, 'slowest': 0.0, 'memory': 0.0, 'first': first}


def is_bad(row):
    """Whether a row misses what is demanded."""
    return bool(row['other'] or row['slowest'] > SECONDS or row['memory'] > MEGABYTES)


def main(argv=None):
    """The program."""
    from benchmark.acceptance.outside import PARSERS

    about = argparse.ArgumentParser(prog='benchmark.acceptance.hostile_inputs', description=__doc__)
    about.formatter_class = argparse.RawDescriptionHelpFormatter
    about.add_argument('--inputs', type=int, default=2000, help='for each parser')
    about.add_argument('--only', default='', help='parsers whose name holds this')
    about.add_argument('--seed', type=int, default=1)
    about.add_argument('--keep', default=None, help='folder that takes the inputs that end badly')
    about.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
    args = about.parse_args(argv)
    if args.child:
        print(json.dumps(run_parser(args.only, args.inputs, args.seed, args.keep)))
        return 0
    if args.keep:
        os.makedirs(args.keep, exist_ok=True)
    print('| parser | inputs | own errors | accepted | other exceptions | slowest, s | most memory, MB |')
    print('|---|---|---|---|---|---|---|')
    bad = []
    for name in PARSERS:
        if args.only not in name:
            continue
        row = in_process(name, args.inputs, args.seed, args.keep)
        numbers = (row['inputs'], row['own'], row['accepted'], row['other'])
        print(f'| {name} | {" | ".join(map(str, numbers))} | {row["slowest"]:.2f} | {row["memory"]:.0f} |', flush=True)
        if is_bad(row):
            bad.append(f'{name}: {row["first"]}')
    for line in bad:
        print(f'\n{line}')
    return int(bool(bad))


if __name__ == '__main__':
    sys.exit(main())
