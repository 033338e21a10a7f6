"""Weights that are packed for products once for all processes of a machine (csrc/shared_weights.h)."""

import contextlib
import ctypes
import os
import weakref

from propeller.errors import UserError
from propeller.graph import np
from propeller.log import get_logger
from propeller.ops.choice import kernels
from propeller.shared_memory import anonymous_file

log = get_logger(__name__)


class SharedWeights:
    """Those of one training program, of whose parameters each process updates its share.

    Each process packs what it has updated, into memory that all have. Where that cannot be had, each packs all of them
    itself, which gives the same numbers.

    Args:
        world: `propeller.distribution.World`, all of whose processes run on this machine.
    """

    def __init__(self, world):
        self._world, self._asked = world, False
        new = _function('new', ctypes.c_void_p)
        self._weights = ctypes.c_void_p(new())
        weakref.finalize(self, _function('delete', None), self._weights)

    @contextlib.contextmanager
    def in_use(self):
        """Inside, operators find what is packed, and an update packs. For runs of the program alone."""
        use = _function('use', None)
        use(self._weights)
        try:
            yield
        finally:
            use(None)

    def found(self):
        """How often an operator has found a weight packed."""
        return _function('found', ctypes.c_int64)(self._weights)

    def forget(self):
        """Somebody else may have changed parameters: until the next update each process packs them itself."""
        _function('forget', None)(self._weights)

    def share(self):
        """Ask for the memory, once, after an update that has changed parameters. All processes must do so.

        Raises:
            UserError: a process cannot open it.
        """
        if self._asked:
            return
        self._asked = True
        size, mark = (_function(name, ctypes.c_int64)(self._weights) for name in ('bytes', 'mark'))
        plans = [tuple(plan) for (plan,) in self._world.all_gather([np.array([size, mark])])]
        if not size or len(set(plans)) > 1:
            return
        file, why = anonymous_file(self._world, size)
        if file is None:
            if why:
                log.warning('each process packs all weights for itself: they can share no more memory: %s', why)
            return
        opened = _function('open', ctypes.c_int)(self._weights, ctypes.c_int(file))
        os.close(file)
        if self._world.any_process(not opened):
            raise UserError('the processes cannot open memory for weights that they share. Give the job more memory.')


def _function(name, result):
    function = getattr(kernels().opened, f'propeller_ops_weights_{name}')
    function.restype = result
    return function
