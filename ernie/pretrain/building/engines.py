"""Where blocks are computed: in processes of this machine, or in those of Ray. The results are the same, in order."""

import collections

from ernie.run.ray_session import ray_session
from propeller.data.parallel import available_cpus, map_ordered

ENGINES = ('local', 'ray')


def run_blocks(builder, blocks, engine='local', processes=0):
    """`builder(block)` for every block, in order, with bounded memory.

    Args:
        builder: picklable callable.
        blocks: iterable.
        engine: `local` or `ray`.
        processes: how many; 0: one for each processor (of the machine, or of the cluster).

    Raises:
        UserError: Ray is wanted and not installed, or cannot be reached.
    """
    if engine == 'local':
        return map_ordered(builder, blocks, processes or available_cpus(), alone=1)
    return _run_on_ray(builder, blocks, processes)


def _run_on_ray(builder, blocks, processes):
    with ray_session('--engine ray', processes) as ray:
        yield from _in_order(ray, builder, blocks, processes or int(ray.cluster_resources().get('CPU', 1)))


def _in_order(ray, builder, blocks, workers):
    call = ray.remote(num_cpus=1)(_call)
    shared = ray.put(builder)
    pending = collections.deque()

    def pop():
        block, reference = pending.popleft()
        try:
            return ray.get(reference)
        except ray.exceptions.RayError:
            return builder(block)  # what it raises here, in this process, is what the user sees

    for block in blocks:
        pending.append((block, call.remote(shared, block)))
        if len(pending) > 2 * workers:
            yield pop()
    while pending:
        yield pop()


def _call(builder, block):
    return builder(block)
