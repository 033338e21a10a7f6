"""The encoder of prediction as one operator, with weights that are packed once.

Shapes: B rows, T columns of a batch, H hidden, F feed-forward width, V rows of a table.
"""

import ctypes
import itertools
import weakref
from typing import NamedTuple

import numpy as np

from propeller import graph
from propeller.errors import UserError
from propeller.graph import paddle
from propeller.ops.checks import describe
from propeller.ops.choice import kernels

FORMS = ('fp32', 'bf16', 'int8')  # in the order of csrc/packed.h
_ACTIVATIONS = (None, 'gelu', 'gelu_new', 'relu')  # in the order of csrc/linear.h
_OF_A_LAYER = 16
_numbers = itertools.count(1)


class EncoderSizes(NamedTuple):
    """Of an encoder (Vaswani et al. 2017, norms after each half of a layer).

    tables: of which rows are summed for a token. activation: `gelu`, `gelu_new` or `relu`. Others as their names say.
    """

    tables: int
    hidden: int
    inner: int
    heads: int
    layers: int
    epsilon: float
    activation: str


class PackedEncoder:
    """The weights of an encoder in this process, in the order in which products read them. A program may be built with
    it before `pack`, and run after it, as long as the object lives.

    Args:
        sizes: `EncoderSizes`.
        threads: of its products; None: those that the process has.
    """

    def __init__(self, sizes, threads=None):
        self.sizes, self.threads, self._number, self._tables = sizes, threads or 0, next(_numbers), None

    def pack(self, values, precision, library=None):
        """Take the weights.

        Args:
            values: list of float32 arrays: tables [V, H], scale and bias [H] of their norm; of each layer weight [H, H]
                and bias [H] of queries, of keys, of values and of what follows attention, scale and bias of the norm
                after it, weight [H, F] and bias [F], weight [F, H] and bias [H] of what feeds forward, scale and bias
                of the last norm. The tables are kept as they are.
            precision: `fp32`; `bf16`: products of bfloat16 numbers with sums in float32; `int8`: of whole numbers of 8
                bits, a scale for each output of a weight and for each token. Whatever else is computed, in float32; in
                `int8` with attention as in `bf16`.
            library: `Kernels.opened`; None: that of this process.
        Raises:
            ValueError: wrong shapes.
            UserError: no memory.
        """
        _check(self.sizes, values)
        values = [np.ascontiguousarray(value, np.float32) for value in values]
        sizes, tables = self.sizes, values[: self.sizes.tables]
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        numbers = (ctypes.c_int64 * 5)(sizes.tables, sizes.hidden, sizes.inner, sizes.heads, sizes.layers)
        rows = (ctypes.c_int64 * sizes.tables)(*(len(table) for table in tables))
        library = library or kernels().opened
        fault = library.propeller_encoder_put(
            ctypes.c_int64(self._number),
            numbers,
            ctypes.c_float(sizes.epsilon),
            ctypes.c_int(_ACTIVATIONS.index(sizes.activation)),
            ctypes.c_int(FORMS.index(precision)),
            pointers,
            ctypes.c_int64(len(values)),
            rows,
        )
        assert fault < 2, fault
        if fault:
            raise UserError('no memory for the weights of the model.')
        self._tables = tables  # which the kernels read where they are
        weakref.finalize(self, _remove, library.propeller_encoder_remove, self._number, tables)

    def __call__(self, mask, ids, firsts=False):
        """What the last layer gives for a batch, in the program being built.

        Args:
            mask: float32 value [B, T], 1 on tokens and 0 on padding, which may be anywhere and is not computed.
            ids: list of int64 values [B, T], of each table.
            firsts: the first column alone is wanted: the last layer computes nothing else.
        Returns:
            float32 value [B, T, H], with `firsts` [B, H]; zeros on padding.
        Raises:
            ValueError: wrong types or shapes.
        """
        for value, kind in ((mask, 'float32'), *((own, 'int64') for own in ids)):
            if value.dtype != getattr(paddle, kind) or len(value.shape) != 2:
                raise ValueError(f'ops.PackedEncoder: found {describe(value)}, expected {kind} [rows, columns].')
        if len(ids) != self.sizes.tables:
            raise ValueError(f'ops.PackedEncoder: found ids of {len(ids)} tables, expected {self.sizes.tables}.')
        with graph.full_precision():
            return self.run(mask, ids, firsts)

    def run(self, mask, ids, firsts=False):
        """The same without any check, on values of a graph or on tensors."""
        settings = self._number, self.sizes.hidden, firsts, self.threads
        return paddle._C_ops._run_custom_op('propeller_encoder', mask, list(ids), *settings)[0]


def _remove(remove, number, _tables):
    remove(ctypes.c_int64(number))


def _check(sizes, values):
    hidden, inner = sizes.hidden, sizes.inner
    square, norm = [(hidden, hidden), (hidden,)], [(hidden,)] * 2
    layer = [*square * 4, *norm, (hidden, inner), (inner,), (inner, hidden), (hidden,), *norm]
    assert len(layer) == _OF_A_LAYER
    expected = [*norm, *layer * sizes.layers]
    found = [tuple(value.shape) for value in values]
    if any(len(shape) != 2 or shape[1] != hidden for shape in found[: sizes.tables]):
        raise ValueError(f'ops.PackedEncoder: tables have shapes {found[: sizes.tables]}, expected [rows, {hidden}].')
    if found[sizes.tables :] != expected:
        raise ValueError(f'ops.PackedEncoder: found shapes {found[sizes.tables :]}, expected {expected}.')
