"""Sums over the processes of a job: through memory that they share where all run on one machine, else by Paddle."""

import math
from typing import NamedTuple

from propeller import graph
from propeller.graph import paddle
from propeller.log import get_logger
from propeller.ops.checks import require_type
from propeller.ops.choice import available, enabled, segment_bytes
from propeller.shared_memory import anonymous_file, file_in

log = get_logger(__name__)
BUCKET_BYTES, SMALL_BYTES = 32 * 2**20, 2**18  # of a message through sockets, through memory
# Memory that looks like a folder of files. Elsewhere, files would be written to a disk.
MEMORY = '/dev/shm'
_segments = {}


class Segment(NamedTuple):
    """Memory that the processes of a machine share.

    Attributes:
        file: number of an open file without a name, for the life of the process.
        rank: of this process.
        size: processes.
        grows: whether they can share more memory, as much as there is.
    """

    file: int
    rank: int
    size: int
    grows: bool

    @property
    def place(self):
        """(file, rank, size), as operators take it."""
        return self[:3]


def segment_of(world, mode='auto', folder=MEMORY):
    """The `Segment` of the processes of a job; None where they cannot share one.

    They can where all of them run on this machine with fused operators. All processes must ask, and at the same time:
    all get one, or none does. They have one for all their sessions.

    Args:
        world: `propeller.distribution.World`, on a processor.
        mode: of the fused operators (`propeller.ops.use`).
        folder: for the file.
    """
    if world.size == 1:
        return None
    if world.any_process(world.local_size < world.size or not available(mode)):
        return None
    if world not in _segments:
        _segments[world] = _agreed(world, folder)
    return _segments[world]


def _agreed(world, folder):
    """A new one."""
    size = segment_bytes(world.size)
    file, unshared = anonymous_file(world, size)
    if file is not None:
        return Segment(file, world.rank, world.size, True)
    file, why = file_in(world, size, folder)
    if file is not None:
        if unshared:
            log.warning('each process updates, and holds, all parameters: they can share no more memory: %s', unshared)
        return Segment(file, world.rank, world.size, False)
    if why or world.is_main_process:
        log.warning(_SLOW, why or 'another process cannot open what this one has made there; its log says why', folder)
    return None


_SLOW = (
    'the processes add up their gradients through sockets, not through memory that they share: a sixth of a step '
    'instead of a twentieth. Reason: %s. They need a few megabytes of %s; a container gets its size and permissions at '
    'its start.'
)


def process_sum(values):
    """Sums of values over all processes of the program's job, the same bits in all of them.

    Args:
        values: list of float32 values; each has the same shape in all processes.
    Returns:
        list of values of these shapes.
    Raises:
        ValueError: a value of another type.
    """
    for i, value in enumerate(values):
        require_type(f'process_sum: value {i}', value, 'float32')
    # Through sockets a message costs much, through memory little, but putting values together copies them.
    limit = BUCKET_BYTES if segment_in_use() is None else SMALL_BYTES
    # A shape that is not known yet has a message of its own.
    sizes = [4 * math.prod(value.shape) if min(value.shape, default=0) >= 0 else limit for value in values]
    results = [None] * len(values)
    for bucket in buckets(sizes, limit):
        if len(bucket) == 1:
            (i,) = bucket
            results[i] = _summed(values[i])
            continue
        flat = _summed(paddle.concat([values[i].reshape([-1]) for i in bucket]))
        parts = paddle.split(flat, [math.prod(values[i].shape) for i in bucket])
        for i, part in zip(bucket, parts, strict=True):
            results[i] = part.reshape(values[i].shape)
    return results


def sum_own_share(values, numbers):
    """Sums over all processes of which each process gets its own share alone, and of a few numbers in all of them.

    Of each value, each process has one portion of equal size (csrc/share.h); the rest stays as it is. Half of what
    `process_sum` moves.

    Args:
        values: list of float32 values, which are used up; each has the same shape in all processes.
        numbers: float32 value [n], which is used up.
    Returns:
        (list of values of these shapes, in the same memory; float32 value [n + 1], the sums of the numbers, then that
        of the squares of all sums of `values`, the same bits in all processes).
    Raises:
        ValueError: a value of another type, or processes that share no memory.
    """
    segment = segment_in_use()
    if segment is None:
        raise ValueError('sum_own_share: the processes share no memory.')
    for i, value in enumerate([*values, numbers]):
        require_type(f'sum_own_share: value {i}', value, 'float32')
    numbers = paddle.concat([numbers, paddle.zeros([1])])  # to the last one the operator adds the squares
    if not values:
        return [], process_sum([numbers])[0]
    *sums, numbers = paddle._C_ops._run_custom_op('propeller_sum_own_share', values, numbers, *segment.place)
    return sums, numbers


def segment_in_use():
    """The `Segment` through which the program being built adds up, None: it has none, or one process."""
    return graph.building().plan.segment if enabled() else None


def _summed(value):
    segment = segment_in_use()
    if segment is not None:
        return paddle._C_ops._run_custom_op('propeller_process_sum', value, *segment.place)[0]
    total = paddle.assign(value)
    paddle.distributed.all_reduce(total)
    return total


def buckets(sizes, limit):
    """Neighbours that share one message: lists of indices, each of at most `limit` bytes or of one large element.

    Args:
        sizes: list of int, bytes of each element.
        limit: bytes of a message.
    """
    groups, room = [], 0
    for i, size in enumerate(sizes):
        if groups and size <= room:
            groups[-1].append(i)
            room -= size
        else:
            groups.append([i])
            room = limit - size
    return groups
