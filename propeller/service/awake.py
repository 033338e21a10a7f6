"""Waiting awake, for one client alone that asks again and again.

A core that has slept takes 0.1 ms to come back, and what it does next takes up to twice as long as usual: its caches
are cold. Over the way of one text through a server that is up to 1 ms of 8.
"""

import os
import time

AWAKE = 0.004  # seconds of a pause, between an answer and the next request, that is waited through awake
LONGEST = 0.03  # seconds of a batch that the front waits for awake; in longer ones there is little to gain


def until(end, ready):
    """Call a function until it gives something, or until the time `end` of `time.monotonic`.

    The core is left to all others that have a use for it in between.

    Args:
        end: time.
        ready: function without arguments.
    Returns:
        what it gave last.
    """
    found = ready()
    while not found and time.monotonic() < end:
        os.sched_yield()
        found = ready()
    return found
