"""How many workers a server has, and how many threads each of them, where nobody says."""

import os
from typing import NamedTuple

from propeller.environment import available_memory, usable_cores
from propeller.launch import machine
from propeller.service.pool import PoolSettings

MOST = 4  # workers that are chosen: each has the models in its memory
# Bytes of a worker without models, and how often it has those of their files at most, with what a batch needs.
_PROGRAM, _COPIES = 400 << 20, 3
_SHARE = 0.8  # of free memory
_BUSY = 0.75  # of the cores, at least, that have something to do
_DEVICES = 'CUDA_VISIBLE_DEVICES'


class Sizing(NamedTuple):
    """Workers of a server. gpus: names of those that they compute on, () for the processor; reason: in words."""

    workers: int
    threads: int
    reason: str
    gpus: tuple = ()

    def __str__(self):
        processes = f'{self.workers} process{"es" if self.workers > 1 else ""}'
        return f'{processes}, {self.threads} thread{"s" if self.threads > 1 else ""} each ({self.reason})'

    def environments(self):
        """Environment variables of each worker, tuple of dicts: its threads, and one GPU where there are some."""
        threads = {'OMP_NUM_THREADS': str(self.threads)}
        if not self.gpus:
            return (threads,)
        return tuple(threads | {_DEVICES: self.gpus[i % len(self.gpus)]} for i in range(self.workers))

    def settings(self, **further):
        """The `PoolSettings`. further: its other fields."""
        spare = max(usable_cores() - self.threads, 0)
        return PoolSettings(workers=self.workers, environments=self.environments(), spare_cores=spare, **further)


def sized(folders, workers=None, threads=None, gpus=()):
    """The `Sizing` of a server.

    On GPUs there is a worker for each. On a processor there are as many as cores, `MOST` at most, and as fit into free
    memory: batches of short texts are computed up to twice as fast by two workers of one thread as by one of two.

    Args:
        folders: of the exported models, list; each worker opens all of them.
        workers, threads: what the user says; None: nothing.
        gpus: names of the GPUs that may be computed on.
    """
    cores, reason = usable_cores(), 'as --workers says'
    if workers is None:
        need = _PROGRAM + _COPIES * sum(map(_bytes, folders))
        workers, reason = _for_gpus(gpus) if gpus else _for_cores(cores, threads, need, available_memory())
    return Sizing(workers, threads or max(cores // workers, 1), reason, tuple(gpus))


def gpus_of_paddle(environ=None):
    """Names of the GPUs that Paddle may compute on; found without loading it."""
    return [] if machine.paddle_is_for_cpu() else machine.visible_gpus(os.environ if environ is None else environ)


def _for_gpus(gpus):
    return len(gpus), f'one for GPU {gpus[0]}' if len(gpus) == 1 else f'one for each GPU: {", ".join(gpus)}'


def _for_cores(cores, threads, need, free):
    """(workers, reason). need: bytes of a worker; free: bytes, or None."""
    most = min(MOST, max(cores // (threads or 1), 1))
    if threads is None:
        while most * (cores // most) < _BUSY * cores:  # 6 cores: three workers of two threads
            most -= 1
    fit = most if free is None else max(int(_SHARE * free / need), 1)
    if fit < most:
        return fit, f'{free / 2**30:.1f} GB of memory are free, and a worker takes about {need / 2**30:.1f}'
    if most == 1:
        return 1, 'one core' if cores == 1 else f'{cores} cores'
    return most, 'one for each core' if most == cores else f'{cores} cores'


def _bytes(folder):
    with os.scandir(folder) as entries:
        return sum(entry.stat().st_size for entry in entries if entry.is_file())
