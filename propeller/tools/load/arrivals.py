"""When the requests of an open load are due."""

import itertools
import random

KINDS = ('poisson', 'even')


def arrivals(kind, rate, seed=0):
    """Seconds after the start, without end.

    Args:
        kind: `poisson`, independent of each other, as those of many users are; or `even`.
        rate: requests a second, on average.
        seed: of `poisson`.
    Yields:
        float, not falling.
    """
    if kind == 'even':
        yield from (number / rate for number in itertools.count())
    chance, due = random.Random(seed), 0.0
    while True:
        due += chance.expovariate(rate)
        yield due
