"""Choice between the fused and the plain form of the operators."""

import contextlib
import contextvars
import ctypes
import functools
from typing import NamedTuple

from propeller import graph
from propeller.environment import FUSED_OPS
from propeller.errors import UsageError
from propeller.graph import paddle
from propeller.log import get_logger
from propeller.ops.build import Unavailable, library, loadable

log = get_logger(__name__)
# Where operators that several processes share find the others: number of a file, rank, processes. Of one that is alone.
ALONE = (-1, 0, 1)
_mode = contextvars.ContextVar('propeller_fused_ops', default='auto')


class Kernels(NamedTuple):
    """What this process has.

    Attributes:
        path: the compiled library; None: there is none.
        why: why not, in a line; None if there is one.
        bf16: whether it multiplies bfloat16 numbers.
        int8: whether it multiplies whole numbers of 8 bits.
        onednn: oneDNN's version, `3.6.2`.
        opened: the library, for calls without Paddle.
    """

    path: object = None
    why: str | None = None
    bf16: bool = False
    int8: bool = False
    onednn: str = ''
    opened: object = None

    def describe(self):
        """A line of text."""
        if self.path is None:
            return f'plain operators: {self.why}'
        products = 'float32 and bfloat16' if self.bf16 else 'float32 (this processor has no bfloat16 products)'
        return f'fused operators: {products}, oneDNN {self.onednn}'


@contextlib.contextmanager
def use(mode):
    """Inside, programs are built with fused operators or without. What is built stays as it is.

    Args:
        mode: `auto`: fused where they can be had; `true`: or an error; `false`: plain ones.
    Raises:
        UsageError: `true`, but they cannot be had here.
        ValueError: another mode.
    """
    if mode not in FUSED_OPS:
        raise ValueError(f'fused operators: found mode {mode!r}, expected one of {", ".join(FUSED_OPS)}')
    if mode == 'true' and kernels().path is None:
        raise UsageError(f'fused operators cannot be had here: {kernels().why}.')
    token = _mode.set(mode)
    try:
        yield
    finally:
        _mode.reset(token)


@contextlib.contextmanager
def portable():
    """Inside, programs are built with plain operators, as those that are to run elsewhere must be."""
    token = _mode.set(None)
    try:
        yield
    finally:
        _mode.reset(token)


def enabled():
    """Whether the program being built gets fused operators. The first call may compile them; a log line says which."""
    mode = _mode.get()
    if mode is None or not graph.building().on_cpu:
        return False
    if mode == 'false':
        _say('plain operators: switched off')
        return False
    _say(kernels().describe())
    return kernels().path is not None


def available(mode='auto'):
    """Whether fused operators would be had on a processor with this mode; see `use`."""
    return mode != 'false' and kernels().path is not None


def best_precision(mode='auto'):
    """`bf16` where a processor multiplies such numbers in fused operators, else `fp32`. mode: see `use`."""
    return 'bf16' if available(mode) and kernels().bf16 else 'fp32'


def can_multiply_bfloat16(mode='auto'):
    """Whether a program with bfloat16 products runs on this processor. Fused operators compute in float32 where they
    must; Paddle's own end with an exception that says nothing. mode: see `use`.
    """
    return available(mode) or paddle.base.core.supports_bfloat16()


def segment_bytes(processes):
    """Bytes of the memory through which so many processes add up (csrc/process_sum.h)."""
    function = kernels().opened.propeller_ops_segment_bytes
    function.restype = ctypes.c_int64
    return function(ctypes.c_int(processes))


@functools.cache
def kernels():
    """The `Kernels` of this process, compiled and loaded by the first call."""
    try:
        path = library(say=log.info)
        return load(path, loadable(path))
    except Unavailable as e:
        return Kernels(why=str(e))


def load(path, place=None):
    """The `Kernels` in a library. Its operators are known to Paddle from here on.

    Args:
        path: of the library.
        place: another path to it, for loading.
    Raises:
        Unavailable: it cannot be loaded.
    """
    place = str(place or path)
    try:
        paddle.utils.cpp_extension.load_op_meta_info_and_register_op(place)
        opened = ctypes.CDLL(place)
        version = opened.propeller_ops_onednn()
        opened.propeller_ops_onednn_fault.restype = ctypes.c_char_p
        fault = opened.propeller_ops_onednn_fault()
    except Exception as e:  # whatever Paddle's loader makes of it
        raise Unavailable(f'{path} cannot be loaded: {str(e).strip().splitlines()[0]}') from e
    if fault:
        raise Unavailable(f'{path} does not fit the oneDNN that is loaded: {fault.decode()}')
    numbers = version // 10000, version // 100 % 100, version % 100
    abilities = bool(opened.propeller_ops_bfloat16()), bool(opened.propeller_ops_int8())
    return Kernels(path, None, *abilities, '.'.join(map(str, numbers)), opened)


@functools.cache
def _say(text):
    log.debug(text)
