"""Processor settings that paddle's math library reads once, when it is loaded."""

import ctypes
import os

# The environment as the program found it, for those that it starts: the settings below divide a machine by what one
# program needs.
of_user = dict(os.environ)

# Whether programs get operators of our own: where they can be had, or an error, or never. See `propeller.ops`.
FUSED_OPS = ('auto', 'true', 'false')


def is_amd(cpuinfo='/proc/cpuinfo'):
    """True when the processor reports the vendor AuthenticAMD; False also where `cpuinfo` cannot be read."""
    try:
        with open(cpuinfo, encoding='utf-8', errors='replace') as f:
            return any(line.startswith('vendor_id') and 'AuthenticAMD' in line for line in f)
    except OSError:
        return False


def usable_cores():
    """Number of cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


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
