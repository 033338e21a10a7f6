"""Processor settings that paddle's math library reads once, when it is loaded."""

import ctypes
import math
import os

# The environment as the program found it, for those that it starts: the settings below divide a machine by what one
# program needs.
of_user = dict(os.environ)

# Whether programs get operators of our own: where they can be had, or an error, or never. See `propeller.ops`.
FUSED_OPS = ('auto', 'true', 'false')

LARGEST_SEED = 2**64 - 1  # that paddle's generators take

# Of the container that this runs in, of version 2 of cgroups and of version 1: files of microseconds of the processors'
# time and of the period that they are for; file of the limit of memory -> file of what is taken of it.
CPU_QUOTAS = (
    ('/sys/fs/cgroup/cpu.max',),
    ('/sys/fs/cgroup/cpu/cpu.cfs_quota_us', '/sys/fs/cgroup/cpu/cpu.cfs_period_us'),
)
MEMORY_LIMITS = {
    '/sys/fs/cgroup/memory.max': '/sys/fs/cgroup/memory.current',
    '/sys/fs/cgroup/memory/memory.limit_in_bytes': '/sys/fs/cgroup/memory/memory.usage_in_bytes',
}


def is_amd(cpuinfo='/proc/cpuinfo'):
    """True when the processor reports the vendor AuthenticAMD; False also where `cpuinfo` cannot be read."""
    try:
        with open(cpuinfo, encoding='utf-8', errors='replace') as f:
            return any(line.startswith('vendor_id') and 'AuthenticAMD' in line for line in f)
    except OSError:
        return False


def usable_cores(quotas=None):
    """Number of cores this process may run on; of a container fewer, where it has less of their time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    for paths in CPU_QUOTAS if quotas is None else quotas:
        numbers = ' '.join(next(iter(_lines(path)), '') for path in paths).split()
        if len(numbers) == 2 and all(map(str.isdecimal, numbers)) and int(numbers[1]):  # `max` and -1 are no limit
            cores = min(cores, max(math.ceil(int(numbers[0]) / int(numbers[1])), 1))
    return cores


def available_memory(meminfo='/proc/meminfo', limits=None):
    """Bytes that this process may still take: what the system has free, or less by the limit of its container.

    None where neither is known (not Linux).
    """
    found = []
    for line in _lines(meminfo):
        if line.startswith('MemAvailable:'):
            found.append(int(line.split()[1]) * 1024)
    for limit, usage in (MEMORY_LIMITS if limits is None else limits).items():
        numbers = [next(iter(_lines(path)), '').strip() for path in (limit, usage)]
        if all(number.isdecimal() for number in numbers):  # a limit of `max` is none
            found.append(max(0, int(numbers[0]) - int(numbers[1])))
    return min(found, default=None)


def _lines(path):
    try:
        with open(path, encoding='ascii', errors='replace') as f:
            return f.read().splitlines()
    except OSError:
        return []


def prepare_cpu(environ=None, cpuinfo='/proc/cpuinfo'):
    """Settings for full speed on a processor, each only where the user has not chosen. Runs before paddle is imported.

    - Threads: paddle takes one unless OMP_NUM_THREADS says otherwise; here it is the number of usable cores.
    - AMD: MKL takes a path 2.5 times slower than the AVX2 kernels that MKL_DEBUG_CPU_TYPE=5 selects. On other
      processors the setting would do harm, so there it is left alone.
    """
    environ = os.environ if environ is None else environ
    environ.setdefault('OMP_NUM_THREADS', str(usable_cores()))
    if 'MKL_DEBUG_CPU_TYPE' not in environ and is_amd(cpuinfo):
        environ['MKL_DEBUG_CPU_TYPE'] = '5'


def keep_memory(library=None):
    """Have the C library keep freed memory instead of handing it back to the system after every step.

    Paddle allocates each tensor of a step anew on a processor; giving the pages back and faulting them in again cost as
    much time in the kernel as half of the computation (measured on two cores: 30,000 page faults a step, 700 after).
    Resident memory stays at the peak of a step. Does nothing where the C library is not glibc.

    Args:
        library: the C library, for tests.
    Returns:
        bool, whether the settings were taken.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
    try:
        mallopt = (library or ctypes.CDLL(None)).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(m_mmap_threshold, 1 << 30)) and bool(mallopt(m_trim_threshold, (1 << 31) - 1))
