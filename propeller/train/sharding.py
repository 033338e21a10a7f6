"""Distribution of the batches of a stream over the processes of a job."""

import itertools


def shard_batches(batches, world, parts=1):
    """What this process computes of each update: lists of `parts` pairs (batch, whether it counts).

    As many batches in a row as there are parts in all processes make one update. At the end of the data some may be
    missing; in their place stands another one, which does not count.

    Args:
        batches: iterable of batches, the same in every process.
        world: `propeller.distribution.World`.
        parts: batches of one process for one update.
    """
    batches = iter(batches)
    while together := list(itertools.islice(batches, world.size * parts)):
        own = range(world.rank, world.size * parts, world.size)
        yield [(together[i], True) if i < len(together) else (together[0], False) for i in own]
