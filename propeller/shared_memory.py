"""Memory that the processes of a job on one machine share."""

import contextlib
import errno
import mmap
import os
import tempfile

from propeller.errors import UserError
from propeller.graph import np

LINE = 64  # bytes: arrays begin at a line of the cache
POPULATE_WRITE = 23  # of madvise(2), Linux 5.14; Python has no name for it


def anonymous_file(world, size):
    """An open file in memory that has no name, the same one in all processes; None where one of them cannot open it.

    All processes must ask, and at the same time.

    Args:
        world: `propeller.distribution.World`, all of whose processes run on this machine.
        size: bytes, all 0.
    Returns:
        (number of the file or None, why this process cannot have it or None).
    """
    file, why, place = None, None, None
    try:
        if world.is_main_process:
            file = os.memfd_create('propeller', os.MFD_CLOEXEC)
            os.posix_fallocate(file, 0, size)
            place = [f'/proc/{os.getpid()}/fd/{file}', *_identity(file)]
    except (OSError, AttributeError) as e:  # AttributeError: not on Linux
        why = f'{size} bytes of memory: {getattr(e, "strerror", e)}'
    place = world.broadcast_object(place)
    if place and not world.is_main_process:
        try:
            file = _same_file(*place)
        except OSError as e:
            why = f'process {world.rank}: {place[0]}: {e.strerror}'
    return _kept(world, file, why, bool(place))


def _identity(file):
    found = os.fstat(file)
    return found.st_dev, found.st_ino


def _same_file(path, *identity):
    """Open it, if it is this file: in another container the number of a process is that of another process."""
    if not os.readlink(path).startswith('/memfd:propeller'):
        raise OSError(errno.ENOENT, 'another file')
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    if _identity(file) == identity:
        return file
    os.close(file)
    raise OSError(errno.ENOENT, 'another file')


def file_in(world, size, folder):
    """The same, of a file in a folder; it has a name until all have opened it, or one of them cannot."""
    path, file, why = '', None, None
    try:
        if world.is_main_process:
            file, path = tempfile.mkstemp(prefix='propeller-', dir=folder)  # for this user alone
            os.posix_fallocate(file, 0, size)
    except OSError as e:
        why = f'{folder}: {e.strerror}'
    try:
        place = world.broadcast_object(path)
        if file is None and place:
            try:
                file = os.open(place, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except OSError as e:
                why = f'process {world.rank}: {place}: {e.strerror}'
        return _kept(world, file, why, bool(place))
    finally:
        if path:
            os.unlink(path)


def _kept(world, file, why, made):
    if not world.any_process(why is not None or file is None or not made):
        return file, None
    if file is not None:
        os.close(file)
    return None, why


class SharedArrays:
    """float32 arrays that all processes of a job have in common: what one writes, the others read.

    All processes must make it, and at the same time, with the same shapes.

    Args:
        world: `propeller.distribution.World`, all of whose processes run on this machine.
        values: dict name -> float32 array. Those of the first process are the first values in all of them.
    Raises:
        UserError: memory has run out.
    """

    def __init__(self, world, values):
        starts, size = {}, 0
        for name, array in values.items():
            starts[name] = size
            size += -(-array.nbytes // LINE) * LINE
        file, why = anonymous_file(world, max(size, 1))
        if file is None:
            raise UserError(
                f'parameters cannot be shared by the processes: {why or "another process says why"}. '
                'Give the job more memory.'
            )
        memory = mmap.mmap(file, max(size, 1))  # closed with the last array
        os.close(file)
        self.arrays = {}
        for name, array in values.items():
            view = np.frombuffer(memory, np.float32, array.size, starts[name]).reshape(array.shape)
            if world.is_main_process:
                view[...] = array
            self.arrays[name] = view
        if not world.is_main_process:
            # Meanwhile these make pages, too, and have all of them at hand: the first update finds them there.
            with contextlib.suppress(OSError):  # a kernel that does not know of it
                memory.madvise(POPULATE_WRITE)
        world.barrier()
