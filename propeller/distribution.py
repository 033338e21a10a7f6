"""The processes of one job: rank and size, all_gather, broadcast, barrier.

A launcher (`finetune_launch.py`, or Paddle's own) starts the processes and describes the job in their environment.
Paddle makes the connections: gloo on processors, NCCL on GPUs.
"""

import contextlib
import functools
import io
import json
import logging
import os
import re
import socket
import stat
import time
import warnings
from typing import NamedTuple

import numpy as np

from propeller import disconfig, rendezvous
from propeller.errors import UsageError, UserError
from propeller.inputs import parse_json
from propeller.launch.plan import LOST_PEER
from propeller.log import get_logger

_BARRIERS = 'propeller/barriers'
_GRACE_SECONDS = 0.5
_LONGEST_WAIT = 1800.0  # NCCL waits as long for a peer that is silent; a launcher notices one that has died at once


class LostPeerError(UserError):
    """Another process of the job ended, or cannot be reached any more."""

    exit_code = LOST_PEER


class ProcessInfo(NamedTuple):
    """Where a process stands in its job.

    Attributes:
        rank: number of the process, 0 .. size - 1. The one with rank 0 writes logs and files.
        size: processes of the job.
        local_rank: number of the process on its machine.
        local_size: processes on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1


def process_info(environ):
    """The `ProcessInfo` that a launcher's environment describes.

    Args:
        environ: mapping with `PADDLE_TRAINERS_NUM`, `PADDLE_TRAINER_ID`, `PADDLE_TRAINER_ENDPOINTS` (`address:port`,
            joined by commas) and `PADDLE_CURRENT_ENDPOINT`, or with `PROPELLER_DISCONFIG`; without the first of them,
            the process is alone.
    Raises:
        UserError: the environment contradicts itself; names the variable.
    """
    environ = {**environ, **disconfig.launcher_variables(environ)}
    size = _number(environ, 'PADDLE_TRAINERS_NUM', '1', 1)
    if size == 1:
        return ProcessInfo()
    rank = _number(environ, 'PADDLE_TRAINER_ID', '', 0)
    if rank >= size:
        raise UserError(f'PADDLE_TRAINER_ID {rank}: expected a number below PADDLE_TRAINERS_NUM {size}.')
    endpoints = [part.strip() for part in environ.get('PADDLE_TRAINER_ENDPOINTS', '').split(',') if part.strip()]
    if len(set(endpoints)) != size:
        raise UserError(
            f'PADDLE_TRAINER_ENDPOINTS: found {len(set(endpoints))} addresses, expected {size} different ones, '
            f'one for each process (PADDLE_TRAINERS_NUM). Started alone? unset PADDLE_TRAINERS_NUM.'
        )
    own = environ.get('PADDLE_CURRENT_ENDPOINT', endpoints[rank])
    if own != endpoints[rank]:
        raise UserError(f'PADDLE_CURRENT_ENDPOINT {own}: expected {endpoints[rank]}, number {rank} of all endpoints.')
    machine = own.rpartition(':')[0]
    neighbours = [endpoint for endpoint in endpoints if endpoint.rpartition(':')[0] == machine]
    return ProcessInfo(rank, size, neighbours.index(own), len(neighbours))


def _number(environ, name, default, least):
    text = environ.get(name, default)
    if not re.fullmatch(r'\d{1,6}', text) or int(text) < least:
        raise UserError(f'{name} {text!r}: expected a whole number of at least {least}, as a launcher sets it.')
    return int(text)


def require_single_process(program):
    """Raises `UsageError` in one of several processes: `program` would do its work, and write its files, in each."""
    place = process_info(os.environ)
    if place.size > 1:
        raise UsageError(f'{program} works in one process; found PADDLE_TRAINERS_NUM {place.size}. Start it alone.')


def log_in_main_process_only(place):
    """From here on, the log of every process but the first one has warnings and errors only."""
    if place.rank:
        for package in ('ernie', 'propeller'):
            get_logger(package).setLevel(logging.WARNING)


class World:
    """The processes of this job, connected.

    Args:
        place: `ProcessInfo` of this process.
        device: Paddle's place for the data of `all_gather`.
    """

    def __init__(self, place, device=None):
        self.rank, self.size, self.local_rank, self.local_size = place
        self._device = device
        self._barriers, self._neighbours = 0, []

    @property
    def is_main_process(self):
        """Whether this process is the one that writes."""
        return self.rank == 0

    def all_gather(self, arrays):
        """What every process gave, known to all.

        Args:
            arrays: list of numpy arrays of numbers, as many and as large as this process likes.
        Returns:
            list, by rank, of lists of arrays.
        Raises:
            LostPeerError: another process has ended.
        """
        if self.size == 1:
            return [list(arrays)]
        return [_unpacked(content) for content in self._gather_bytes(_packed(arrays))]

    def broadcast_object(self, value):
        """A JSON-able value as the first process has it, for all. Raises `LostPeerError`."""
        own = json.dumps(value).encode() if self.is_main_process else b''
        return parse_json(self._gather_bytes(own)[0], 'process 0', finite=False) if self.size > 1 else value

    def any_process(self, value):
        """Whether `value` is true in any process. Raises `LostPeerError`."""
        return any(bool(flags[0]) for flags in self.all_gather([np.array(bool(value))]))

    def barrier(self):
        """Go on when all processes have come here, however long that takes.

        gloo gives up after 30 seconds. What takes one process longer than another (reading, saving, a slow disk) must
        therefore end before a collective operation begins; the store through which the processes met has patience.

        Raises:
            LostPeerError: the store is gone, and with it the first process.
        """
        if self.size == 1:
            return
        self._barriers += 1
        pause, started = 0.0, time.monotonic()
        try:
            arrived = self._store.add(_BARRIERS, 1)
            while arrived < self.size * self._barriers:
                time.sleep(pause)
                pause = min(pause + 0.0002, 0.02)
                arrived = self._store.add(_BARRIERS, 0)
                self._check_peers(time.monotonic() - started)
        except RuntimeError as e:
            raise lost_peer(self, e) from e

    def _check_peers(self, waited):
        gone = [pid for pid in self._neighbours if not is_running(pid)] if waited > _GRACE_SECONDS else []
        if gone:
            raise lost_peer(self, f'process {gone[0]} of this machine is gone')
        if waited > _LONGEST_WAIT:
            raise lost_peer(self, f'waited {waited:.0f} seconds')

    def introduce(self):
        """Learn the process numbers of the others on this machine. Raises `LostPeerError`."""
        own = np.array([self.rank - self.local_rank, os.getpid()])
        machines = [numbers for (numbers,) in self.all_gather([own])]
        self._neighbours = [int(pid) for first, pid in machines if first == own[0]]

    @functools.cached_property
    def _store(self):
        from propeller.graph import paddle

        return paddle.base.core.create_or_get_global_tcp_store()

    @contextlib.contextmanager
    def local_main_process_first(self):
        """The block runs in the first process of each machine before it runs in the others, which then find what it
        left on the disk.
        """
        if self.local_rank:
            self.barrier()
        yield
        if not self.local_rank:
            self.barrier()

    def _gather_bytes(self, content):
        from propeller.graph import paddle

        self.barrier()
        try:
            with paddle.base.dygraph.guard(self._device):
                lengths = self._all_gather_array(np.array([len(content)], np.int64))
                longest = max(int(length[0]) for length in lengths)
                if not longest:
                    return [b''] * self.size
                padded = np.zeros(longest, np.uint8)
                padded[: len(content)] = np.frombuffer(content, np.uint8)
                parts = self._all_gather_array(padded)
        except RuntimeError as e:
            raise lost_peer(self, e) from e
        return [part[: int(length[0])].tobytes() for part, length in zip(parts, lengths, strict=True)]

    @staticmethod
    def _all_gather_array(array):
        from propeller.graph import paddle

        parts = []
        paddle.distributed.all_gather(parts, paddle.to_tensor(array))
        return [part.numpy() for part in parts]


def is_running(pid):
    """Whether process `pid` of this machine exists and has not ended."""
    try:
        with open(f'/proc/{pid}/stat', encoding='utf-8', errors='replace') as f:
            return f.read().rpartition(')')[2].split()[0] not in 'ZX'
    except FileNotFoundError:
        return not os.path.isdir('/proc/self')  # no such process; or a system without this list


_worlds = {}


def join(use_cuda=False):
    """The `World` of this process: alone, or connected with the processes that its environment names.

    Paddle connects a process once; later calls give the same world. Must come before Paddle's static mode is entered
    the first time.

    Raises:
        UserError: the environment contradicts itself, or the other processes cannot be reached in time.
    """
    place = process_info(os.environ)
    if place.size == 1:
        return World(place)
    if use_cuda not in _worlds:
        world = _worlds[use_cuda] = World(place, _connect(place, use_cuda))
        world.introduce()
    return _worlds[use_cuda]


def _connect(place, use_cuda):
    from propeller.graph import paddle

    os.environ.update(disconfig.launcher_variables(os.environ))
    core, limit = paddle.base.core, rendezvous.time_limit(os.environ)
    rendezvous.complete_environment(os.environ, place, 'nccl' if use_cuda else 'gloo', limit)
    paddle.disable_static()
    try:
        store = rendezvous.join(place, os.environ, lambda host, port: core.TCPStore(host, port, False, 0, limit))
        # Paddle's own would listen at all addresses of the machine, and is an abort where the port is taken.
        core.create_or_get_global_tcp_store = lambda: store
        # It prints its settings and advice on the number of threads, which are chosen already.
        quiet = io.StringIO()
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            paddle.distributed.init_parallel_env()
    except UserError:
        raise
    except (RuntimeError, ValueError) as e:
        host, port, _ = rendezvous.meeting_point(os.environ)
        raise UserError(
            f'process {place.rank} of {place.size} found no way to the others through {host}:{port} ({_reason(e)}). '
            f'Check that all of them were started, and that this address can be reached from each machine.'
        ) from e
    _send_at_once()
    if use_cuda:
        return paddle.CUDAPlace(paddle.distributed.ParallelEnv().device_id)
    return paddle.CPUPlace()


def _send_at_once():
    """Switch Nagle's algorithm off for the connections that Paddle has made.

    The store's client writes a request in several pieces; each then waits for the acknowledgement of the one before,
    which the other side delays: 45 ms a request instead of 0.04.
    """
    for name in os.listdir('/proc/self/fd') if os.path.isdir('/proc/self/fd') else []:
        try:
            is_socket = stat.S_ISSOCK(os.fstat(int(name)).st_mode)
        except OSError:  # that of the listing itself
            continue
        if not is_socket:
            continue
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(name))) as connection:
            if connection.type == socket.SOCK_STREAM and connection.family in (socket.AF_INET, socket.AF_INET6):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def is_lost_peer(error):
    """Whether an error of Paddle says that a connection broke. gloo often gives no more than `std::exception`."""
    text = str(error).lower()
    return any(word in text for word in ('gloo', 'nccl', 'connection', 'std::exception', 'socket', 'peer'))


def lost_peer(world, error):
    """What an error in the middle of a collective operation means, as a `LostPeerError`."""
    return LostPeerError(
        f'process {world.rank} of {world.size}: another process of the job ended, or the connection to it broke '
        f'({_reason(error)}). Its log tells why.'
    )


def _reason(error):
    return ' '.join(str(error).split())[-200:] or type(error).__name__


# ---------------------------------------------------------------- arrays as bytes


def _packed(arrays):
    arrays = [np.asarray(array) for array in arrays]
    if not arrays:
        return b''
    header = json.dumps([[array.dtype.str, list(array.shape)] for array in arrays]).encode()
    return b''.join([len(header).to_bytes(8, 'little'), header, *(array.tobytes() for array in arrays)])


def _unpacked(content):
    if not content:
        return []
    end = 8 + int.from_bytes(content[:8], 'little')
    arrays = []
    for kind, shape in parse_json(content[8:end], 'another process'):
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(content, np.dtype(kind), count, end).reshape(shape)
        arrays.append(array.copy())
        end += array.nbytes
    return arrays
