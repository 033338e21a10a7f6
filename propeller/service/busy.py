"""How much of its time a server has something to do."""

import time

from propeller.service.core import Observer


class Busy(Observer):
    """Adds up the time in which workers compute. workers: how many there are."""

    def __init__(self, workers):
        self.workers, self.batches, self.rows, self.seconds = workers, 0, 0, 0.0
        self._first = self._last = 0.0

    def batch(self, model, rows, tokens, padded, seconds):
        self._last = time.monotonic()
        if not self.batches:
            self._first = self._last - seconds
        self.batches, self.rows, self.seconds = self.batches + 1, self.rows + rows, self.seconds + seconds

    @property
    def idle(self):
        """Share of the workers' time, from the first batch to the last, in which they had no batch; 0 before one."""
        whole = self.workers * (self._last - self._first)
        return max(0.0, 1 - self.seconds / whole) if whole else 0.0

    def __str__(self):
        each = '' if self.workers == 1 else f' each of {self.workers} workers'
        return (
            f'{self.batches:,} batches of {self.rows:,} rows in {self._last - self._first:.1f} s{each}, from the first '
            f'to the last; idle {self.idle:.0%} of it'
        )
