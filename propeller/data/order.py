"""Shuffled and repeated sequences, and how they go on from the middle."""

import itertools


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
    oldest of it came in about `buffer_size * log(buffer_size)` elements ago.
    """
    count = dataset.count()
    if count is None:
        yield from itertools.islice(shuffle(dataset, buffer_size, rng), start, None)
        return
    held = list(range(min(buffer_size, count)))
    begun = len(held) + min(start, count - len(held))
    for number in range(len(held), begun):
        held[rng.randrange(buffer_size)] = number
    last = start > count - len(held)  # no element comes in any more
    if last:
        rng.shuffle(held)
        held = held[len(held) - max(count - start, 0) :]
    wanted, first = set(held), min(held, default=0)
    source = dataset.iterate_from(first)
    made = {number: element for number, element in zip(range(first, begun), source, strict=False) if number in wanted}
    elements = [made[number] for number in held]
    yield from elements if last else shuffle(source, buffer_size, rng, elements)


def repeat(dataset, rounds, start):
    """Yields the elements of a `Dataset` so many times over, the first `start` left out; see `Dataset.iterate_from`."""
    count = dataset.count() if start else None
    if start and not count:
        yield from itertools.islice(repeat(dataset, rounds, 0), start, None)
        return
    done, start = map(int, divmod(start, count)) if start else (0, 0)
    while done < rounds:
        empty = True
        for element in dataset.iterate_from(start):
            empty = False
            yield element
        if empty:
            return
        done, start = done + 1, 0
