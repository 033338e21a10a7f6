"""Shuffled and repeated sequences, and how they go on from the middle."""

import itertools

_END = object()


def shuffle(elements, buffer_size, rng, held=()):
    """Yields a random one of `buffer_size` held elements as the next comes in. held: elements that came in before."""
    held = list(held)
    for element in elements:
        if len(held) < buffer_size:
            held.append(element)
            continue
        slot = rng.randrange(buffer_size)
        yield held[slot]
        held[slot] = element
    rng.shuffle(held)
    yield from held


def shuffle_from(dataset, buffer_size, rng, start):
    """`shuffle` of a `Dataset` after its first `start` elements; see `Dataset.iterate_from`.

    The numbers of the elements are shuffled first. Of those before, only what the buffer still holds is made; the
    oldest of it came in about `buffer_size * log(buffer_size)` elements ago. Elements are counted only where the data
    set may end before.
    """
    begun, state = buffer_size + start, rng.getstate()
    if dataset.seekable:
        held = _held_numbers(buffer_size, begun, rng)
        source, made, read = _make(dataset, held, begun)
        if read == begun:
            yield from shuffle(source, buffer_size, rng, [made[number] for number in held])
            return
        rng.setstate(state)
        count = read or dataset.count()
        if count is not None:
            yield from _last_of_shuffle(dataset, count, buffer_size, rng, start, made)
            return
    yield from itertools.islice(shuffle(iter(dataset), buffer_size, rng), start, None)


def _held_numbers(buffer_size, begun, rng):
    """Numbers of the elements in the buffer when those before number `begun` have come in."""
    held = list(range(buffer_size))
    # What `rng.randrange` does, at a third of its time.
    bits, draw = buffer_size.bit_length(), rng.getrandbits
    for number in range(buffer_size, begun):
        slot = draw(bits)
        while slot >= buffer_size:
            slot = draw(bits)
        held[slot] = number
    return held


def _make(dataset, numbers, begun):
    """The iterator behind element `begun`, dict number -> element, and `begun`.

    Where the data end before, the last is the count of their elements, or 0 where that is not seen.
    """
    wanted, first = set(numbers), min(numbers)
    source, made, read = dataset.iterate_from(first), {}, first
    for element in itertools.islice(source, begun - first):
        if read in wanted:
            made[read] = element
        read += 1
    return source, made, read if read > first else 0


def _last_of_shuffle(dataset, count, buffer_size, rng, start, made):
    """The same where the last element has come in already. made: dict number -> element, of some elements."""
    size = min(buffer_size, count)
    held = _held_numbers(size, count, rng) if size else []
    rng.shuffle(held)
    held = held[len(held) - max(count - start, 0) :] if start < count else []
    missing = [number for number in held if number not in made]
    if missing:
        made |= _make(dataset, missing, max(missing) + 1)[1]
    yield from (made[number] for number in held)


def repeat(dataset, rounds, start=0):
    """Yields the elements of a `Dataset` so many times over, the first `start` left out; see `Dataset.iterate_from`."""
    done = 0
    if start and rounds:
        source = dataset.iterate_from(start)
        first = next(source, _END)
        if first is not _END:  # within the first round: nothing need be counted
            yield first
            yield from source
            done, start = 1, 0
        elif count := dataset.count():
            done, start = divmod(start, count)
        else:
            yield from itertools.islice(repeat(dataset, rounds), start, None)
            return
    while done < rounds:
        empty = True
        for element in dataset.iterate_from(start):
            empty = False
            yield element
        if empty:
            return
        done, start = done + 1, 0
