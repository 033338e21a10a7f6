"""Distribution of the batches of a stream over the processes of a job."""

import itertools

import numpy as np

from propeller.errors import UserError


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


def is_own_share(dataset, world):
    """Whether the processes read a share of the data each, by `dataset.shard(processes, own number)`.

    Called in every process. Then nothing is left to be shared out: what `shard_batches` would take away would be lost.

    Raises:
        UserError: some of them do.
    """
    share = dataset.share
    if world.size == 1:
        return False
    own = [bool(flag) for (flag,) in world.all_gather([np.array(share == (world.size, world.rank))])]
    if any(own) and not all(own):
        raise UserError(
            f'data set {dataset.name}: process {world.rank} reads {_share(share)}, expected shard({world.size}, number '
            'of the process) in every process, or in none: then the processes share out the batches.'
        )
    return all(own)


def _share(share):
    return 'all of it' if share is None else f'shard({share[0]}, {share[1]})'


def own_batches(batches, parts=1):
    """The same lists as `shard_batches` gives, of the batches of this process alone."""
    batches = iter(batches)
    while together := list(itertools.islice(batches, parts)):
        yield [(batch, True) for batch in together] + [(together[0], False)] * (parts - len(together))


def until_all_end(updates, world, first):
    """Updates of processes with shares of their own: while others have some left, this one makes what does not count.

    Called in every process, where it takes part in nothing else meanwhile.

    Args:
        updates: iterable of lists of pairs (batch, whether it counts).
        world: `propeller.distribution.World`.
        first: function () -> the first update of the share, for a training that goes on behind its end; None for none.
    Raises:
        UserError: this process has no batch at all.
    """
    updates, last = iter(updates), None
    while True:
        update = next(updates, None)
        if not world.any_process(update is not None):
            return
        if update is None:
            last = last or first()
            if last is None:
                raise UserError(
                    f'process {world.rank}: found no batch in its share of the data, expected one at least.'
                )
            update = [(arrays, False) for arrays, _ in last]
        last = update
        yield update
