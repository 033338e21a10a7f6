"""A server over ZeroMQ under what it must bear: fuzzed frames, lost workers, clients that do not read, SIGTERM.

    python -m benchmark.acceptance.zmq_server -m FOLDER [--count 10000] [--seed 2019]

FOLDER: an exported model. Each part starts `propeller.tools.start_server` anew and prints one line; the exit code is 1
where one of them failed:

    fuzz     each frame has an answer within a second; no worker is lost; a good request then succeeds
    killed   SIGKILL of one of two workers under load: nothing fails, and there are two again within 30 s
    stopped  the same with SIGSTOP
    reading  a client that does not read: others are answered as before
    drained  SIGTERM under load: every request is answered or refused as 'unavailable'
"""

import argparse
import collections
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np

from propeller.service import slots
from propeller.service.client import InferenceBaseClient, InferenceError
from propeller.service.description import read_description
from propeller.service.errors import ServiceError

ROWS, LENGTH, CLIENTS = 2, 7, 8


class Server:
    """`start_server` with its address, until the block ends."""

    def __init__(self, folder, *flags):
        command = [sys.executable, '-m', 'propeller.tools.start_server', '-m', folder, '-p', '0', *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.log = []
        threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True).start()
        self.address = self.process.stdout.readline().split()[-1]

    def workers(self):
        """Process numbers."""
        with open(f'/proc/{self.process.pid}/task/{self.process.pid}/children') as f:
            return [int(number) for number in f.read().split()]

    def lost(self):
        """Number of workers that were replaced."""
        return sum('takes its place' in line for line in self.log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)


def arrays_for(folder, rng):
    """Arrays that a model takes: small whole numbers, and ones."""
    made = []
    for one in read_description(folder).inputs:
        shape = [ROWS, *(LENGTH if size < 0 else size for size in one.shape[1:])]
        made.append(rng.integers(0, 2, shape).astype(one.dtype) if 'int' in one.dtype else np.ones(shape, one.dtype))
    return made


def fuzzed(rng, good):
    """Frames of a request that may be anything."""
    kind = rng.randrange(6)
    if kind == 0:
        content = rng.randbytes(rng.randrange(300))
    elif kind == 1:
        content = b'{' + rng.randbytes(rng.randrange(100))
    elif kind == 2:
        content = good[: rng.randrange(len(good))]
    elif kind == 3:
        content = good + slots.encode_options(rng.random() * 1e9, 'x' * rng.randrange(99)) + rng.randbytes(3)
    else:
        content = bytearray(good)
        for _ in range(rng.randrange(1, 8)):
            content[rng.randrange(min(len(content), 60) if kind == 4 else len(content))] = rng.randrange(256)
    frames = [bytes(content)]
    if rng.random() < 0.1:
        frames += [rng.randbytes(rng.randrange(9)) for _ in range(rng.randrange(1, 20))]
        rng.shuffle(frames)
    return frames if rng.random() < 0.2 else [b'', *frames]


def fuzz(folder, count, seed):
    """(whether it is right, what was seen)."""
    import zmq

    arrays, rng = arrays_for(folder, np.random.default_rng(seed)), random.Random(seed)
    good, seen, slowest = slots.encode(arrays), collections.Counter(), (0.0, None)
    with Server(folder) as server:
        workers, client = server.workers(), InferenceBaseClient(server.address, timeout=60)
        client(*arrays)
        place = tuple(server.address.removeprefix('tcp://').split(':'))
        one = zmq.Context.instance().socket(zmq.DEALER)
        one.linger = 0
        one.connect(server.address)
        for number in range(count):
            if number % 50 == 0:  # no ZeroMQ at all
                with socket.create_connection(place) as raw:
                    raw.sendall(rng.randbytes(rng.randrange(200)))
            begin = time.monotonic()
            one.send_multipart(fuzzed(rng, good))
            if not one.poll(20_000):
                return False, f'no answer to frame {number} of seed {seed}'
            seen[kind_of(one.recv_multipart()[-1])] += 1
            slowest = max(slowest, (time.monotonic() - begin, number))
        client(*arrays)
        kept = server.workers() == workers and not server.lost()
    right = kept and slowest[0] < 1 and not seen['no message']
    found = ', '.join(f'{number:,} {code}' for code, number in seen.most_common())
    return right, f'{found}; slowest {slowest[0]:.3f} s (frame {slowest[1]}); workers lost: {0 if kept else "some"}'


def kind_of(answer):
    """The code of an error, 'answered' or 'no message'."""
    if answer[:1] == b'{':
        return 'JSON'
    try:
        slots.decode(answer)
    except ServiceError as e:
        return e.code
    except ValueError:
        return 'no message'
    return 'answered'


class Load:
    """Clients that ask one request after the other until the block ends, or theirs fails as 'unavailable'."""

    def __init__(self, server, arrays):
        self.times, self.failures = [], collections.Counter()
        self._ending, self._server, self._arrays = False, server, arrays
        self._expected = InferenceBaseClient(server.address, timeout=60)(*arrays)
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    def _run(self):
        client = InferenceBaseClient(self._server.address, timeout=30)
        while not self._ending:
            begin = time.monotonic()
            try:
                answer = client(*self._arrays)
            except InferenceError as e:
                self.failures[f'{e.code}: {e}'] += 1
                if e.code == 'unavailable':
                    return
            else:
                self.times.append(time.monotonic() - begin)
                if not all(np.allclose(a, b, 1e-3, 1e-4) for a, b in zip(answer, self._expected, strict=True)):
                    self.failures['another answer'] += 1

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ending = True
        for thread in self._threads:
            thread.join()


def lose(folder, number, seed):
    """One of two workers gets a signal under load."""
    arrays = arrays_for(folder, np.random.default_rng(seed))
    with Server(folder, '--workers', '2') as server, Load(server, arrays) as load:
        time.sleep(1)
        os.kill(server.workers()[0], number)
        begin = time.monotonic()
        while not any('there again' in line for line in server.log) and time.monotonic() - begin < 60:
            time.sleep(0.05)
        again = time.monotonic() - begin
        InferenceBaseClient(server.address)(*arrays)
        time.sleep(1)
    right = not load.failures and again < 30
    found = f'another after {again:.1f} s; {len(load.times):,} answers, slowest {max(load.times, default=0):.2f} s'
    return right, f'{found}; failures: {dict(load.failures)}'


def slow_reader(folder, seed):
    """Times of a client alone, and beside one that does not read."""
    import zmq

    arrays, times = arrays_for(folder, np.random.default_rng(seed)), ([], [])
    with Server(folder) as server:
        client = InferenceBaseClient(server.address)
        slow = zmq.Context.instance().socket(zmq.DEALER)
        slow.linger, slow.rcvhwm, slow.rcvbuf = 0, 1, 4096
        slow.connect(server.address)
        large = slots.encode([np.repeat(array, 100, axis=0) for array in arrays])
        for number in range(400):
            if number % 200 >= 100 and slow.poll(0, zmq.POLLOUT):
                slow.send_multipart([b'', large], zmq.NOBLOCK)
            begin = time.monotonic()
            client(*arrays)
            times[number % 200 >= 100].append(time.monotonic() - begin)
        client.close()
    alone, beside = (float(np.median(some)) for some in times)
    return beside < 20 * alone + 0.5, f'median {alone * 1e3:.1f} ms alone, {beside * 1e3:.1f} ms beside it'


def drained(folder, seed):
    """SIGTERM under load."""
    arrays = arrays_for(folder, np.random.default_rng(seed))
    with Server(folder) as server, Load(server, arrays) as load:
        time.sleep(2)
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(60)
    right = code == 0 and all('going down' in failure for failure in load.failures) and load.failures.total() == CLIENTS
    return right, f'{len(load.times):,} answers, exit code {code}, failures: {dict(load.failures)}'


def main():
    """Run all parts, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-m', '--model_dir', required=True)
    parser.add_argument('--count', type=int, default=10_000)
    parser.add_argument('--seed', type=int, default=2019)
    parser.add_argument('parts', nargs='*', metavar='PART')
    arguments = parser.parse_args()
    folder, seed = arguments.model_dir, arguments.seed
    parts = {
        'fuzz': lambda: fuzz(folder, arguments.count, seed),
        'killed': lambda: lose(folder, signal.SIGKILL, seed),
        'stopped': lambda: lose(folder, signal.SIGSTOP, seed),
        'reading': lambda: slow_reader(folder, seed),
        'drained': lambda: drained(folder, seed),
    }
    wrong = 0
    for name in arguments.parts or parts:
        right, seen = parts[name]()
        wrong += not right
        print(f'{name}: {"right" if right else "WRONG"}: {seen}', flush=True)
    sys.exit(bool(wrong))


if __name__ == '__main__':
    main()
