"""Several sequences in turn, and how that goes on from the middle."""

import collections
import itertools

_END = object()
_NEAR = 1000  # items that are rather made and dropped than looked for again from the beginning


def interleave(elements, open_lane, cycle_length, block_length, start=0):
    """Yields `block_length` items of each of `cycle_length` lanes in turn, without the first `start` items.

    Args:
        elements: iterator; each element becomes a lane. A lane that is used up is replaced by that of the next element.
        open_lane: function (element) -> iterable of items. Where it is a `Dataset` that can begin in the middle, the
            items before are not made; others are, and dropped.
        cycle_length, block_length, start: int.
    """
    waiting = (Lane(open_lane(element)) for element in elements)
    lanes = collections.deque(itertools.islice(waiting, cycle_length))
    left, given = _pass_over(lanes, waiting, block_length, start)
    turns = _turns(map(iter, lanes), map(iter, waiting), block_length, given)
    yield from itertools.islice(turns, left, None)


def _turns(lanes, waiting, block_length, given):
    """The items that follow; the first lane has `given` items of its turn already."""
    lanes = collections.deque(lanes)
    while lanes:
        lane = lanes.popleft()
        count = given
        for item in itertools.islice(lane, block_length - given):
            count += 1
            yield item
        given = 0
        if count < block_length:  # used up: the next element takes its place in the circle
            lane = next(waiting, None)
        if lane is not None:
            lanes.append(lane)


def _pass_over(lanes, waiting, block_length, start):
    """Moves the lanes on by `start` items without making them; stops at a lane that cannot.

    Returns:
        (int, int): items that are still to be passed over, and how many of its turn the first lane has given.
    """
    while start and lanes:
        rounds = start // (len(lanes) * block_length)
        if rounds and all(lane.seekable for lane in lanes):
            rounds = min(lane.has(rounds * block_length) // block_length for lane in lanes)
            for lane in lanes:
                lane.position += rounds * block_length
            start -= rounds * block_length * len(lanes)
        for _ in range(len(lanes)):  # a round in which a lane ends, or the last
            lane = lanes[0]
            if not start or not lane.seekable:
                return start, 0
            count = lane.has(min(block_length, start))
            lane.position += count
            start -= count
            if count < block_length:
                if not start:
                    return 0, count
                lane = next(waiting, None)
            lanes.popleft()
            if lane is not None:
                lanes.append(lane)
    return start, 0


class Lane:
    """The items of one element, from number `position` on."""

    def __init__(self, items):
        self.position = 0
        self.seekable = getattr(items, 'seekable', False)
        self._items = items
        self._count, self._known = None, 0  # how many items there are, once it is known; at least so many
        self._ahead = None  # iterator that begins with the last of the known ones

    def has(self, wanted):
        """How many of `wanted` items follow: so many, or less where the lane ends."""
        last = self.position + wanted
        if self._count is None and last > self._known:
            if self._known:  # to count them all costs less than to look again and again
                self._count = self._items.count()
            else:
                self._look_for(last)
        return wanted if self._count is None else min(wanted, self._count - self.position)

    def _look_for(self, last):
        items = self._items.iterate_from(last - 1)
        item = next(items, _END)
        if item is _END:
            self._count = self._items.count()
        else:
            self._known, self._ahead = last, itertools.chain([item], items)

    def __iter__(self):
        ahead, at = self._ahead, self._known - 1
        self._ahead = None
        if ahead is not None and 0 <= self.position - at <= _NEAR:
            return itertools.islice(ahead, self.position - at, None)
        return self._items.iterate_from(self.position) if self.position else iter(self._items)
