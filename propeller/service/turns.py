"""The event loop of the front: workers are heard first, all others in small portions.

A turn of asyncio's loop sees to every socket that is ready. Where thousands of clients send, a turn takes seconds, and
a worker that is done waits that long for its next batch.
"""

import asyncio
import contextlib
import functools
import math
import select
import selectors
import time

from propeller.service import awake

_PORTION = 16  # of the others, that one turn sees to
_ALONE = 8  # turns in a row that see to workers alone: a large output comes in many pieces
# A server that refuses most of what comes looks at it so many seconds apart: several refusals then cost little more
# than one, and the cores stay with the workers.
_APART = 0.02
_CROWDED = 0.2  # seconds after a refusal


def new_loop():
    """An event loop for the front; where the system has no epoll, the usual one."""
    return FrontLoop() if hasattr(select, 'epoll') else asyncio.new_event_loop()


def hear_first(loop, number):
    """From now on, until it is closed, what comes at a socket is seen to first; in a `FrontLoop` only.

    Args:
        loop: event loop.
        number: of the file.
    """
    if isinstance(loop, FrontLoop):
        loop.turns.prefer(number)


def hear_seldom(loop):
    """More comes than can be taken: for `_CROWDED` seconds all but the preferred files wait for up to `_APART`.

    Args:
        loop: event loop; nothing changes in one that is no `FrontLoop`.
    """
    if isinstance(loop, FrontLoop):
        loop.turns.crowded_until = time.monotonic() + _CROWDED


def stay_awake(loop, seconds):
    """For so many seconds the loop does not sleep while nothing is to be done.

    Args:
        loop: event loop; nothing changes in one that is no `FrontLoop`.
        seconds: from now; 0: it may sleep.
    """
    if isinstance(loop, FrontLoop):
        loop.turns.awake_until = time.monotonic() + seconds


class FrontLoop(asyncio.SelectorEventLoop):
    """An event loop over `Turns`."""

    def __init__(self):
        self.turns = Turns()
        super().__init__(self.turns)
        for number in list(self.turns.get_map()):
            self.turns.prefer(number)  # what wakes the loop, of signals and threads


class Turns(selectors.BaseSelector):
    """A selector over two epolls: preferred files are all told of, of the others `portion` at once.

    The kernel puts those that it has told of at the end of its list, so that each has its turn.

    Args:
        portion: see above.
    Attributes:
        crowded_until: time of `time.monotonic` until which the others are looked at `_APART` seconds apart.
        awake_until: time until which it waits awake.
    """

    def __init__(self, portion=_PORTION):
        self._portion, self._alone = portion, 0
        self.crowded_until = self.awake_until = self._looked = 0.0
        self._keys, self._preferred = {}, set()
        self._first, self._others = select.epoll(), select.epoll()
        self._others.register(self._first.fileno(), select.EPOLLIN)  # so that both can be waited for

    def prefer(self, number):
        """Tell of this file first until it is unregistered. number: of the file; may be registered or not."""
        key = self._keys.get(number)
        if key is not None and number not in self._preferred:
            self._others.unregister(number)
            self._first.register(number, _mask(key.events))
        self._preferred.add(number)

    def register(self, fileobj, events, data=None):
        number = _number(fileobj)
        if number in self._keys:
            raise KeyError(f'{fileobj!r} is registered already')
        self._epoll(number).register(number, _mask(events))
        self._keys[number] = key = selectors.SelectorKey(fileobj, number, events, data)
        return key

    def unregister(self, fileobj):
        number = _number(fileobj)
        key = self._keys.pop(number)
        with contextlib.suppress(OSError):  # closed before, and no longer there
            self._epoll(number).unregister(number)
        self._preferred.discard(number)
        return key

    def modify(self, fileobj, events, data=None):
        number = _number(fileobj)
        key = self._keys[number]
        if events != key.events:
            self._epoll(number).modify(number, _mask(events))
        self._keys[number] = key = key._replace(events=events, data=data)
        return key

    def select(self, timeout=None):
        first = self._told(self._first.poll(0, len(self._preferred) + 1))
        if first and self._alone < _ALONE:
            self._alone += 1
            return first
        self._alone = 0
        end = math.inf if timeout is None else time.monotonic() + timeout
        if not first and self.crowded_until:
            first, due = self._between(end)
            if not due:
                return first
        found = self._others.poll(0, self._portion) if first else self._waited(end)
        others = self._told(found)
        if len(others) < self._portion:  # all of them were heard
            self._looked = time.monotonic()
        if found and not first:  # what it has waited for may have been one of the first
            first = self._told(self._first.poll(0, len(self._preferred) + 1))
        return first + others

    def _waited(self, end):
        """What epoll says of the others, waited for until a time at most."""
        if time.monotonic() < self.awake_until:
            look = functools.partial(self._others.poll, 0, self._portion)
            found = awake.until(min(end, self.awake_until), look)
            if found:
                return found
        return self._others.poll(_left(end), self._portion)

    def _between(self, end):
        """Wait for preferred files alone until it is time for the others, or until the time `end`.

        Returns:
            ([(key, events)], whether it is time for the others).
        """
        now = time.monotonic()
        if now >= self.crowded_until:
            self.crowded_until = 0.0
            return [], True
        look = self._looked + _APART
        if look <= now:
            return [], True
        first = self._told(self._first.poll(_left(min(look, end)), len(self._preferred) + 1))
        return first, not first and look <= end

    def get_map(self):
        return self._keys

    def get_key(self, fileobj):
        return self._keys[_number(fileobj)]

    def close(self):
        self._first.close()
        self._others.close()
        self._keys.clear()

    def _epoll(self, number):
        return self._first if number in self._preferred else self._others

    def _told(self, found):
        """[(key, events)] of what an epoll has found; an error is told as all that is waited for."""
        ready = []
        for number, event in found:
            key = self._keys.get(number)
            if key is not None:
                reads = selectors.EVENT_READ if event & ~select.EPOLLOUT else 0
                writes = selectors.EVENT_WRITE if event & ~select.EPOLLIN else 0
                ready.append((key, (reads | writes) & key.events))
        return ready


def _left(end):
    """Seconds until a time, in whole milliseconds, for epoll; -1: no end."""
    return -1 if end == math.inf else math.ceil(max(end - time.monotonic(), 0) * 1e3) * 1e-3


def _mask(events):
    reads = select.EPOLLIN if events & selectors.EVENT_READ else 0
    return reads | (select.EPOLLOUT if events & selectors.EVENT_WRITE else 0)


def _number(fileobj):
    return fileobj if isinstance(fileobj, int) else fileobj.fileno()
