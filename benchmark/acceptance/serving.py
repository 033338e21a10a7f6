"""What a server must bear: overload, dead workers, its end, a hundred thousand requests, bad clients.

    python -m benchmark.acceptance.serving overload|workers|drain|many|clients --model FOLDER --texts FILE

Each starts `ernie serve` with --model (anything that gives vectors) and two workers of one thread, puts loads on it
over HTTP from this process, and prints what it finds beside what is asked for. Exit code 1 where that is missed.

- overload: the best rate of 32 clients, before and after ten times as many requests a second for `--seconds`. All must
  be answered or refused; memory grows by less than a tenth; the rate of answers stays at 0.9 of the best (the mean).
- workers: at half of the best rate, SIGKILL for one worker, and later SIGSTOP for one. Nothing fails but by a typed
  error; two workers answer again within 30 s.
- drain: SIGTERM under the load of 32 clients. What was sent before is answered, or refused by name.
- many: `--requests` requests of one to four texts of mixed length. Answers equal those of one pass offline, in order;
  memory drifts by less than 2 % after the first tenth.
- clients: what a good client sees while others are silent, half-closed or read nothing; how long calls of our own
  clients take on servers that are dead, silent, or die during the call.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import threading
import time

import numpy as np

from benchmark.acceptance import bad_clients
from benchmark.served import Served, embed_bodies, ernie_serve, machine
from propeller.errors import one_line_errors
from propeller.tools.load import result
from propeller.tools.load.arrivals import arrivals
from propeller.tools.load.bodies import read_lines
from propeller.tools.load.connections import HttpTarget
from propeller.tools.load.drive import Load, Plan

CLIENTS = 32
TYPED = {'overloaded', 'expired', 'unavailable'}


class Meter:
    """Looks at the memory of a server four times a second, in a thread, within the block of `with`."""

    def __init__(self, server):
        self.server, self.seen, self._done = server, [], threading.Event()

    def __enter__(self):
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    def _watch(self):
        while not self._done.wait(0.25):
            self.seen.append(self.server.memory())


def start(args, *more):
    """A `Served` of the model."""
    flags = ['--workers', '2', '--threads', '1', '--engine', args.engine, '--pooling', 'mean', *more]
    return Served(ernie_serve(f'encoder={args.model}', *flags))


def put(server, args, plan, texts=1, on_answer=None):
    """(summary, records) of a load on `/v1/embed`."""
    load = Load(HttpTarget(f'{server.url}/v1/embed'), embed_bodies(args.texts, texts), plan, on_answer=on_answer)
    records = asyncio.run(load.run())
    return result.summary(records, plan, texts, load.processor_seconds), records


def closed(seconds=None, requests=None, clients=CLIENTS, timeout=60.0, warmup=1.0):
    """The `Plan` of a closed load."""
    return Plan(None, clients, warmup if requests is None else 0.0, seconds, requests, timeout)


def opened(rate, seconds, timeout=60.0, warmup=0.0):
    """The `Plan` of an open load."""
    return Plan(arrivals('poisson', rate), 4000, warmup, seconds, None, timeout)


def settle(server):
    """Returns when nothing has waited for a second."""
    quiet = 0
    while quiet < 4:
        time.sleep(0.25)
        quiet = 0 if server.metric('ernie_queue_tokens') else quiet + 1


def told(rows):
    """Print what was found; returns 1 where something is missed. rows: (what, found, asked for, whether it is)."""
    for what, found, asked, holds in rows:
        print(f'{what}: {found} ({asked}){"" if holds else "  MISSED"}')
    return int(not all(holds for *_, holds in rows))


# ---------------------------------------------------------------- the programs


def overload(args):
    with start(args) as server:
        rate, before = _best_rate(server, args), server.memory()
        with Meter(server) as meter:
            load = opened(10 * rate, args.seconds, warmup=args.seconds / 12)  # rates are told as of the closed loads
            found, records = put(server, args, load, args.texts_of_a_request)
        after, good = server.memory(), server.ready()
        again = _best_rate(server, args)
    share = found['per_second']['requests'] / ((rate + again) / 2)  # the speed of a machine drifts by a tenth
    lost = {code: records.codes.count(code) for code in set(records.codes) - TYPED - {''}}
    print(f'{machine()}; requests of {args.texts_of_a_request} texts')
    print(
        f'best: {rate:.1f} requests/s of {CLIENTS} clients; then {10 * rate:.0f} a second for {args.seconds:g} s; '
        f'best again: {again:.1f}'
    )
    print(f'sent {len(records.codes):,}, answered {records.codes.count(""):,}; after the warm-up: {found["requests"]}')
    print(f'refused: {found["errors"]}')
    print(f'answered, ms: {found["latency_ms"]}')
    print(f'refused, ms: {found["error_latency_ms"].get("overloaded")}')
    print(f'this program took {found["tool"]["cpu_share"]:.2f} of a core')
    growth = max(meter.seen) / before - 1
    return told(
        [
            ('neither answered nor refused', lost or 0, '0', not lost),
            ('memory, MB', f'{before >> 20} -> {max(meter.seen) >> 20} -> {after >> 20}', '', True),
            ('growth of memory', f'{100 * growth:.1f} %', 'under 10 %', growth < 0.1),
            ('rate of answers / best', f'{share:.2f}', 'at least 0.9', share >= 0.9),
            ('ready afterwards', good, 'True', good),
        ]
    )


def _best_rate(server, args):
    load = closed(args.seconds / 3, warmup=args.seconds / 12)
    return put(server, args, load, args.texts_of_a_request)[0]['per_second']['requests']


def workers(args):
    rows = []
    with start(args) as server:
        rate = put(server, args, closed(5))[0]['per_second']['requests'] / 2
        for number in (signal.SIGKILL, signal.SIGSTOP):
            struck = []
            watcher = threading.Thread(target=_strike, args=(server, number, 5.0, struck))
            watcher.start()
            found, records = put(server, args, opened(rate, args.seconds, timeout=45.0))
            watcher.join()
            _, recovered = struck
            name = signal.Signals(number).name
            print(f'{name}, {rate:.0f} requests/s: {found["requests"]}, {found["errors"]}, ms {found["latency_ms"]}')
            lost = {code: count for code, count in found['errors'].items() if code not in (*TYPED, 'internal')}
            longest = float((np.array(records.ended) - np.array(records.due)).max())
            rows += [
                (f'{name}: requests without an answer or a typed error', lost or 0, '0', not lost),
                (f'{name}: requests that failed', sum(found['errors'].values()), 'measured', True),
                (f'{name}: longest request', f'{longest:.2f} s', 'at most 32 s', longest <= 32),
                (f'{name}: two workers again after', f'{recovered:.1f} s', 'within 30 s', recovered < 30),
            ]
    return told(rows)


def _strike(server, number, after, struck):
    """Send a signal to a worker, and see when two others are up."""
    time.sleep(after)
    victim = server.workers()[0]
    os.kill(victim, number)
    began = time.monotonic()
    while time.monotonic() - began < 60:
        time.sleep(0.1)
        now = server.workers()
        if victim not in now and len(now) == 2 and server.metric('ernie_workers_up') == 2:
            break
    struck += [victim, time.monotonic() - began]


def drain(args):
    rows = []
    with start(args) as server:
        ended = []

        def end():
            time.sleep(4.0)
            ended.append(time.monotonic())
            server.process.send_signal(signal.SIGTERM)
            ended.append(server.process.wait(60))
            ended.append(time.monotonic())

        watcher, began = threading.Thread(target=end), time.monotonic()
        watcher.start()
        found, records = put(server, args, Plan(None, CLIENTS, 0.0, 12.0, None, 40.0))
        watcher.join()
    moment = ended[0] - began
    before = [i for i, sent in enumerate(records.sent) if sent < moment]
    under_way = [i for i in before if records.ended[i] >= moment]
    codes = {records.codes[i] or 'answered': 0 for i in before}
    for i in before:
        codes[records.codes[i] or 'answered'] += 1
    lost = sum(count for code, count in codes.items() if code not in ('answered', 'unavailable'))
    print(f'sent before SIGTERM: {codes}, {len(under_way)} of them under way; all: {found["errors"]}')
    rows = [
        ('sent before SIGTERM, neither answered nor refused by name', lost, '0', not lost),
        ('exit code', ended[1], '0', ended[1] == 0),
        ('seconds from SIGTERM to the end', f'{ended[2] - ended[0]:.2f}', 'measured', True),
    ]
    return told(rows)


def many(args):
    """Answers beside those of one pass offline."""
    lines = read_lines(args.texts)
    random.Random(5).shuffle(lines)
    lines = mixed(lines)
    with start(args) as server:
        target = HttpTarget(f'{server.url}/v1/embed')
        expected = _offline(target, lines, args)
        counts = [1 + i % 4 for i in range(args.requests)]
        starts = np.concatenate([[0], np.cumsum(counts)]) % len(lines)
        quoted = [json.dumps(line, ensure_ascii=False) for line in lines]

        def body(number):
            places = _places(starts[number], counts[number], len(lines))
            return f'{{"texts": [{", ".join(quoted[i] for i in places)}]}}'.encode()

        worst, memory, wrong = [0.0], [], []

        def look(number, content):
            vectors = np.array(json.loads(content)['results'], np.float32)
            places = _places(starts[number], counts[number], len(lines))
            apart = np.abs(vectors - expected[places]).max() if vectors.shape == (len(places), expected.shape[1]) else 9
            worst[0] = max(worst[0], float(apart))
            if apart > 1e-3:
                wrong.append(number)
            if number % max(args.requests // 50, 1) == 0:
                memory.append(server.memory())

        plan = closed(requests=args.requests)
        load = Load(target, body, plan, on_answer=look)
        records = asyncio.run(load.run())
    failed = [code for code in records.codes if code]
    settled, last = memory[len(memory) // 10], memory[-1]
    drift = last / settled - 1
    print(f'{machine()}; {args.requests:,} requests of 1 to 4 texts of {len(lines):,}, {CLIENTS} clients')
    return told(
        [
            ('requests that failed', len(failed), '0', not failed),
            ('answers that are not the offline ones, or not in order', len(wrong), '0', not wrong),
            ('largest difference of a number', f'{worst[0]:.1e}', 'at most 1e-3', worst[0] <= 1e-3),
            ('memory, MB', ' '.join(str(m >> 20) for m in memory[:: max(len(memory) // 10, 1)]), '', True),
            ('drift of memory after the first tenth', f'{100 * drift:.2f} %', 'under 2 %', drift < 0.02),
        ]
    )


def mixed(lines):
    """Lines of very different lengths: every fourth is three of them."""
    return [' '.join(lines[i : i + 3]) if i % 4 == 3 else line for i, line in enumerate(lines)]


def _places(begin, count, total):
    return [(begin + i) % total for i in range(count)]


def _offline(target, lines, args):
    """float32 [N, H]: vectors of the lines by the engine in this process."""
    from ernie.service.open import open_models
    from ernie.service.opener import open_served

    (model,) = open_models([('encoder', args.model)], args.engine, 'fp32', 2, 'mean')
    run = open_served(**model.arguments)
    rows = [model.encode({'text_a': line}).rows[0] for line in lines]
    order, out = sorted(range(len(rows)), key=lambda i: len(rows[i][0])), {}
    for begin in range(0, len(order), 16):
        places = order[begin : begin + 16]
        chosen = [rows[i] for i in places]
        out |= dict(zip(places, model.unpack(run(model.pack(chosen)), chosen), strict=True))
    return np.stack([model.vector(out[i], normalize=False) for i in range(len(rows))]).astype(np.float32)


def clients(args):
    rows = []
    with start(args) as server:
        host, port = '127.0.0.1', int(server.url.rpartition(':')[2])
        alone = put(server, args, closed(6, clients=4))[0]
        with bad_clients.crowd(host, port, args.bad) as crowd:
            settle(server)  # some of them have asked for something
            beside = put(server, args, closed(10, clients=4))[0]
        memory = server.memory()
        after = put(server, args, closed(4, clients=4))[0]
        print(f'{len(crowd)} bad clients; ms alone {alone["latency_ms"]}')
        print(f'beside them {beside["latency_ms"]}, afterwards {after["latency_ms"]}; memory {memory >> 20} MB')
        rows += [
            ('good requests that failed', beside['errors'] or 0, '0', not beside['errors']),
            (
                'median beside bad clients / alone',
                f'{beside["latency_ms"]["p50"] / alone["latency_ms"]["p50"]:.2f}',
                'measured',
                True,
            ),
        ]
    for name, seconds, over in bad_clients.our_clients():
        rows.append((f'client on {name}: beyond its time-out', f'{over:+.2f} s of {seconds:g}', '+0.5', over <= 0.5))
    return told(rows)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=('overload', 'workers', 'drain', 'many', 'clients'))
    parser.add_argument('--model', required=True, help='model folder that gives vectors')
    parser.add_argument('--texts', required=True, help='file, one text a line')
    parser.add_argument('--engine', default='openvino')
    parser.add_argument('--seconds', type=float, default=60.0)
    parser.add_argument('--requests', type=int, default=100_000)
    parser.add_argument('--texts_of_a_request', type=int, default=8, help='of overload (default: 8)')
    parser.add_argument('--bad', type=int, default=200, help='bad clients of each kind (default: 200)')
    args = parser.parse_args(argv)
    return globals()[args.what](args)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
