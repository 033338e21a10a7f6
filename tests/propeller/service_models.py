"""Models for the tests of servers: functions that workers open, and what they are to the front."""

import os
import signal
import time

import numpy as np

from propeller.errors import UserError
from propeller.service.served import ServedModel

POISON, STOP, SLOW, GROW, BAD, HANG = -1, -2, -3, -4, -5, -6  # a first number with this meaning to `sums`


def open_sums(broken=''):
    """Sums of rows of numbers, as a worker opens it. broken: what is wrong with the model."""
    if broken:
        raise UserError(broken)
    kept = []

    def sums(arrays):
        (numbers,) = arrays
        first = set(numbers[:, 0].tolist())
        if POISON in first:
            os._exit(3)
        if STOP in first:
            os.kill(os.getpid(), signal.SIGSTOP)
        if SLOW in first:
            time.sleep(0.3)
        if HANG in first:
            time.sleep(60)
        if GROW in first:
            kept.append(np.ones(8 << 20))
        if BAD in first:
            raise ValueError('a number that is bad')
        return [numbers.sum(axis=1), np.full(len(numbers), os.getpid(), np.int64)]

    return sums


class Sums(ServedModel):
    """A row is a list of numbers; its result is their sum, and the process that made it."""

    opener = 'tests.propeller.service_models:open_sums'

    def __init__(self, name='sums', **arguments):
        self.name, self.arguments, self.batches = name, arguments, []

    def tokens(self, row):
        return len(row)

    def pack(self, rows):
        self.batches.append([len(row) for row in rows])
        longest = max(len(row) for row in rows)
        return [np.array([list(row) + [0] * (longest - len(row)) for row in rows], np.int64)]

    def unpack(self, outputs, rows):
        sums, processes = outputs
        return list(zip(sums.tolist(), processes.tolist(), strict=True))
