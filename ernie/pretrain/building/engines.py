"""Where blocks are computed: in processes of this machine, or in those of Ray. The results are the same, in order."""

import collections
import os
import sys

from ernie.reader.parallel import available_cpus, map_ordered
from propeller.errors import UserError

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
    try:
        import ray
    except ImportError as e:
        raise UserError(f'--engine ray needs the package ray, which is not there ({e}). Run: pip install ray') from None
    started_here = not ray.is_initialized()
    if started_here:
        _start(ray, processes)
    try:
        yield from _in_order(ray, builder, blocks, processes or int(ray.cluster_resources().get('CPU', 1)))
    finally:
        if started_here:
            ray.shutdown()


def _start(ray, processes):
    """Joins the cluster that RAY_ADDRESS names, or starts one on this machine.

    The nodes of a cluster need this package under the same path, or installed, and the package of the lexer.
    """
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    options = {'log_to_driver': False, 'logging_level': 'ERROR', 'runtime_env': {'env_vars': {'PYTHONPATH': paths}}}
    if not os.environ.get('RAY_ADDRESS'):
        options |= {'num_cpus': processes or available_cpus(), 'include_dashboard': False}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, OSError, ValueError) as e:
        raise UserError(f'Ray cannot be started or reached ({e}).') from None


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
