"""Signals and news from other threads, for a main thread that waits for all of them in one place."""

import contextlib
import os
import select
import signal
import time

# `timeout` and others signal a process and then its group, so that one request comes twice.
_ONE_REQUEST = 0.3


class Signals:
    """A context in which SIGINT, SIGTERM and SIGHUP are collected, and `wait` returns at once when one of them comes, a
    child ends, or another thread calls `notify`.

    Attributes:
        received: numbers of the signals that asked the program to end, in order.
    """

    def __init__(self):
        self.received = []
        self._previous, self._last = {}, -1.0

    def __enter__(self):
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup has the program survive its terminal.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._receive)
        # Without a handler the end of a child would not interrupt anything.
        self._previous[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self._previous_fd = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        return self

    def __exit__(self, *exception):
        signal.set_wakeup_fd(self._previous_fd)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        os.close(self._reading)
        os.close(self._writing)

    def notify(self):
        """Wake the main thread; from any thread."""
        with contextlib.suppress(OSError):  # full: it is awake; closed: nobody waits any more
            os.write(self._writing, b'\0')

    def wait(self, seconds=None):
        """Sleep until there may be something new, at most so many seconds."""
        if select.select([self._reading], [], [], seconds)[0]:
            os.read(self._reading, 1 << 12)

    def _receive(self, number, frame):
        now = time.monotonic()
        if now - self._last > _ONE_REQUEST:
            self.received.append(number)
        self._last = now
