"""Ray (package ray): processes of this machine or of a cluster."""

import contextlib
import importlib
import os
import sys

from propeller.data.parallel import available_cpus
from propeller.errors import UserError


def imported(asked_by, modules=('ray',), package=None):
    """The first of the modules, all of which are imported.

    Args:
        asked_by: the flag that asks for them, for the message.
        modules: `ray`, and perhaps `ray.data`.
        package: name of what to install; None: `ray`, or `ray[data]` for several modules.
    Raises:
        UserError: one of them cannot be; tells what to install.
    """
    try:
        ray, *_ = [importlib.import_module(name) for name in modules]
    except ImportError as e:
        package = package or ('ray' if len(modules) == 1 else 'ray[data]')
        quote = '"' if '[' in package else ''
        what = f'{asked_by} needs the package {package}, which is not there ({e}).'
        raise UserError(f'{what} Run: pip install {quote}{package}{quote}') from None
    return ray


@contextlib.contextmanager
def ray_session(asked_by, processes=0, address=None, modules=('ray',)):
    """Joins a cluster of Ray, or starts one on this machine that ends with the block.

    The nodes of a cluster need this package under the same path, or installed, and what it needs.

    Args:
        asked_by: the flag that asks for it, for messages.
        processes: of a cluster that is started here; 0: one for each processor.
        address: of a cluster; None: that of RAY_ADDRESS, else one is started.
        modules: see `imported`.
    Yields:
        the module ray.
    Raises:
        UserError: Ray is not installed, or cannot be started or reached.
    """
    ray = imported(asked_by, modules)
    started_here = not ray.is_initialized()
    if started_here:
        _start(ray, processes, address)
    try:
        yield ray
    finally:
        if started_here:
            ray.shutdown()


def _start(ray, processes, address):
    # Its core writes remarks on how Ray Data uses it to standard error; what fails comes as an exception.
    for name, value in {'RAY_USAGE_STATS_ENABLED': '0', 'RAY_BACKEND_LOG_LEVEL': 'fatal'}.items():
        os.environ.setdefault(name, value)
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    options = {'log_to_driver': False, 'logging_level': 'ERROR', 'runtime_env': {'env_vars': {'PYTHONPATH': paths}}}
    if address:
        options['address'] = address
    elif not os.environ.get('RAY_ADDRESS'):
        options |= {'num_cpus': processes or available_cpus(), 'include_dashboard': False}
    try:
        with _silent():  # it also says which level it has
            ray.init(**options)
    except (ConnectionError, RuntimeError, OSError, ValueError) as e:
        raise UserError(f'Ray cannot be started or reached ({e}).') from None


@contextlib.contextmanager
def _silent():
    """Inside, what is written to standard error below Python goes nowhere."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
