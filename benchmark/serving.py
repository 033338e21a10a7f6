"""Vectors of short texts from `ernie serve` beside the engine offline and beside FastAPI servers around PyTorch.

    python -m benchmark.serving --data FOLDER --model FOLDER --rival_python VENV/bin/python [--rounds 3 --seconds 10]

The texts are the sentences of SST-2 dev in their order. All sides take turns on the same `--threads` cores, on which
the clients run too. In each round:

- offline: the engine alone in this program's process, batches of `--batch` texts of like length; with and without
  tokenizing; and the median time of one text alone with the threads of a worker, around each load of one client: one
  after the other, and with a pause between them as long as what the server adds, in which the core sleeps or spins. An
  engine takes longer after a pause, whoever makes it; what is asked for is judged by the first.
- `ernie serve` with `--workers` workers that share the cores, `--clients` clients (`propeller.tools.bench_client`) that
  send one text each, over HTTP and over ZeroMQ; and one client alone.
- the rivals (`benchmark.serving_rival`), the same clients over HTTP: without batching, and with batches by time. In the
  Python of `--rival_python` are PyTorch, transformers, fastapi and uvicorn (`pip install fastapi uvicorn`).

Medians over the rounds. Exit code 1 where a number is below what is asked for.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time

from benchmark import common
from benchmark.served import Served, ernie_serve, machine, processor_seconds
from propeller.errors import UserError, one_line_errors

NEEDED = {'offline': 0.8, 'rival none': 2.0, 'rival time': 1.3}  # the server's rate, in times of these
ADDED = {'zmq': 2.0, 'http': 3.0}  # milliseconds that the server may add
_BODY = '{"texts": ["{line}"]}'
_MODEL = 'encoder'


def write_texts(data, path):
    """Write the sentences of SST-2 dev, one a line; returns them."""
    import csv

    with open(common.file_of(data, 'dev.tsv'), encoding='utf-8', newline='') as f:
        texts = [row['text_a'].strip() for row in csv.DictReader(f, delimiter='\t', quoting=csv.QUOTE_NONE)]
    with open(path, 'w', encoding='utf-8') as f:
        f.writelines(f'{text}\n' for text in texts)
    return texts


def engine(keep, model, texts, args):
    """Two functions: -> dict, texts a second offline; -> median time of one text with the threads of a worker, ms,
    of a pause before each (ms) and whether the core spins in it."""
    from ernie.service.open import open_models
    from ernie.service.opener import open_served

    (served,) = open_models([(_MODEL, model)], args.engine, args.precision, args.threads, 'mean', keep=keep)
    run = open_served(**served.arguments)
    run_alone = open_served(**served.arguments | {'threads': args.threads // args.workers})
    began = time.perf_counter()
    rows = [served.encode({'text_a': text}).rows[0] for text in texts]
    tokenizing = time.perf_counter() - began
    ordered = sorted(rows, key=served.tokens)
    batches = [served.pack(ordered[i : i + args.batch]) for i in range(0, len(ordered), args.batch)]
    singles = [served.pack([row]) for row in rows[:200]]

    def offline():
        seconds, deadline = [], time.perf_counter() + args.seconds
        for arrays in batches:
            run(arrays)
        while time.perf_counter() < deadline or not seconds:
            seconds.append(_timed(run, batches))
        computing = statistics.median(seconds)
        return {
            'offline': len(rows) / computing,
            'offline with tokenizing': len(rows) / (computing + tokenizing),
        }

    def alone(pause=0.0, spins=False):
        for arrays in singles[:20]:
            run_alone(arrays)
        seconds = []
        for arrays in singles:
            _wait(pause / 1000, spins)
            seconds.append(_timed(run_alone, [arrays]))
        return 1000 * statistics.median(seconds)

    return offline, alone


def _wait(seconds, spins):
    end = time.perf_counter() + seconds
    if seconds and not spins:
        time.sleep(seconds)
    while time.perf_counter() < end:
        pass


def _timed(run, batches):
    began = time.perf_counter()
    for arrays in batches:
        run(arrays)
    return time.perf_counter() - began


def load(address, texts, clients, seconds):
    """What `bench_client` finds, dict; it runs in a process of its own."""
    command = [sys.executable, '-m', 'propeller.tools.bench_client', address, '--texts', texts, '--body', _BODY]
    command += ['--clients', str(clients), '--duration', str(seconds), '--warmup', '2', '--json']
    found = common.run_json(command, 'bench_client', ('per_second', 'latency_ms', 'errors'))
    if found['errors']:
        raise UserError(f'{address}: requests failed, {found["errors"]}.')
    return found


def our_server(keep, model, texts, args, alone):
    """dict: rates and what front, workers and clients take of the cores; latencies of one client alone, and those of
    the engine right before and after. alone: function of `engine`."""
    flags = ['--engine', args.engine, '--precision', args.precision]
    threads = str(args.threads // args.workers)
    flags += [
        '--pooling',
        'mean',
        '--workers',
        str(args.workers),
        '--threads',
        threads,
        '--save_inference_model_path',
        keep,
    ]
    found = {}
    with Served(ernie_serve(f'{_MODEL}={model}', *flags)) as server:
        for protocol, address in (('http', f'{server.url}/v1/embed'), ('zmq', server.zmq)):
            processes = [server.process.pid, *server.workers()]
            before, began = [processor_seconds(pid) for pid in processes], time.monotonic()
            many = load(address, texts, args.clients, args.seconds)
            took = [processor_seconds(pid) - past for pid, past in zip(processes, before, strict=True)]
            shares = [seconds / (time.monotonic() - began) for seconds in took]
            found[protocol] = many['per_second']['texts']
            found[f'{protocol} p50 p99'] = many['latency_ms']['p50'], many['latency_ms']['p99']
            found[f'{protocol} shares'] = [shares[0], sum(shares[1:]), many['tool']['cpu_share']]
            before = alone()
            one = load(address, texts, 1, min(args.seconds, 5))['latency_ms']['p50']
            plain = (before + alone()) / 2
            found[f'{protocol} alone'], found[f'{protocol} engine alone'] = one, plain
            pause = max(one - plain, 0.0)
            found[f'{protocol} pause'] = pause
            found[f'{protocol} engine after sleep'], found[f'{protocol} engine after spin'] = (
                alone(pause, spins) for spins in (False, True)
            )
    return found


def rival(folder, texts, args, batching):
    """Texts a second of a rival."""
    command = [args.rival_python, '-m', 'benchmark.serving_rival', '--model', folder, '--port', '{port}']
    command += ['--batching', batching, '--threads', str(args.threads), '--workers', str(args.rival_workers)]
    with Served(command) as server:
        return load(f'{server.url}/v1/embed', texts, args.clients, args.seconds)['per_second']['texts']


def compare(args, work):
    """list of dicts, what each round found."""
    from ernie.checkpoint.convert import convert

    path, keep, theirs = (os.path.join(work, name) for name in ('texts.txt', 'exports', 'rival'))
    model = args.model or common.minilm_folder()
    texts = write_texts(args.data, path)
    if args.rival_python:
        convert(model, theirs, 'huggingface')
    offline, alone = engine(keep, model, texts, args)
    sides = [offline, lambda: our_server(keep, model, path, args, alone)]
    if args.rival_python:
        for batching in ('none', 'time'):
            sides.append(lambda batching=batching: {f'rival {batching}': rival(theirs, path, args, batching)})
    rounds = []
    for number in range(args.rounds):
        found = {}
        for side in sides[:: 1 if number % 2 == 0 else -1]:
            found |= side()
        rounds.append(found)
        print(f'round {number + 1}: {json.dumps(found)}', flush=True)
    return rounds


def report(args, rounds):
    """Print the table; returns the exit code."""
    middle = {
        name: statistics.median(found[name] for found in rounds)
        for name, value in rounds[0].items()
        if isinstance(value, float)
    }
    print(f'{machine()}; engine {args.engine} {args.precision}, {args.clients} clients with one text each')
    print(f'{"side":26} {"texts/s":>8}  HTTP is so many times')
    missed = 0
    for name in ('offline', 'offline with tokenizing', 'http', 'zmq', 'rival none', 'rival time'):
        if name not in middle:
            continue
        ratio, needed = middle['http'] / middle[name], NEEDED.get(name)
        missed += needed is not None and ratio < needed
        print(f'{name:26} {middle[name]:8.1f}  {ratio:.2f}' + (f' (at least {needed:g})' if needed else ''))
    for protocol, most in ADDED.items():
        front, workers, clients = rounds[-1][f'{protocol} shares']
        server, engine_alone = middle[f'{protocol} alone'], middle[f'{protocol} engine alone']
        added = server - engine_alone
        missed += added > most
        print(
            f'{protocol}: one client alone {server:.2f} ms, engine {engine_alone:.2f} ms: '
            f'{added:.2f} ms more (at most {most:g}); cores taken: front {front:.2f}, workers {workers:.2f}, '
            f'clients {clients:.2f}'
        )
        slept, spun = (middle[f'{protocol} engine after {how}'] for how in ('sleep', 'spin'))
        print(
            f'    engine with a pause of {middle[f"{protocol} pause"]:.1f} ms before each text: {slept:.2f} ms after '
            f'sleeping, {spun:.2f} ms after spinning; the server takes {server - slept:.2f} ms more than the former'
        )
    return int(missed > 0)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_flags(parser)
    parser.add_argument('--engine', default='openvino')
    parser.add_argument('--precision', default='fp32', help='bf16 where the processor has it (default: fp32)')
    parser.add_argument('--clients', type=int, default=32)
    parser.add_argument('--workers', type=int, default=2, help='of the server, which share --threads (default: 2)')
    parser.add_argument('--batch', type=int, default=32, help='texts of a batch offline (default: 32)')
    parser.add_argument('--rival_python', help='Python with PyTorch, transformers, fastapi and uvicorn')
    parser.add_argument('--rival_workers', type=int, default=1, help='batches of a rival at once (default: 1)')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--seconds', type=float, default=10.0, help='of each measurement (default: 10)')
    args = parser.parse_args(argv)
    common.limit_cores(args.threads)
    common.check_python(args.rival_python, '--rival_python', ('torch', 'transformers', 'fastapi', 'uvicorn'))
    with tempfile.TemporaryDirectory() as work:
        return report(args, compare(args, work))


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
