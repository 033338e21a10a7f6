"""The engine of our own kernels: no padding, weights packed once, in float32, bfloat16 or 8 bits, on the processor.

It needs no export: it reads the parameters of a checkpoint. An export for it (`--export_format fused`) is these
parameters with what prediction needs beside them, for those who have a path alone: servers and clusters.
"""

import os

from ernie.inference.engines import Engine
from ernie.inference.folder import ModelFolder
from ernie.inference.saved_precision import INT8
from ernie.inference.vectors import VectorFolder
from ernie.run.exported import FUSED, VECTORS
from ernie.run.source import Source
from propeller.errors import UsageError
from propeller.log import get_logger
from propeller.storage import open_tensors, write_safetensors

log = get_logger(__name__)

WEIGHTS_FILE = 'model.safetensors'
INSTEAD = 'Take --engine predictor.'


class FusedEngine(Engine):
    """Our own operators (`propeller.ops.encoder`), compiled at first use.

    Args:
        graph: `Graph` or `VectorGraph` with `Packing`.
    """

    name = format = FUSED
    precisions = ('fp32', 'bf16', INT8)
    quantizes, needs_export, padding_cost = True, False, 0.0

    def __init__(self, graph):
        self._graph = graph
        self.shapes = graph.shapes()

    @classmethod
    def open(cls, folder, precision, threads, device):
        tensors = open_tensors(os.path.join(folder, WEIGHTS_FILE))
        is_vectors = VECTORS in Source(folder, takes_exported=True).exported
        return cls._of((VectorFolder if is_vectors else ModelFolder)(folder), precision, threads, tensors)

    @classmethod
    def of(cls, folder, precision=None, threads=None, device=None):
        return cls._of(folder, precision, threads, folder.tensors)

    @classmethod
    def _of(cls, folder, precision, threads, tensors):
        """The engine for a model. tensors: the parameters by name.

        Raises:
            UserError: the parameters do not fit, or the encoder is of a kind that has no such form.
            UsageError: the operators cannot be had here, or this processor lacks what `int8` needs.
        """
        from ernie.model.packed import Packing  # paddle is loaded where it is used

        packing = Packing(usable_precision(precision or 'fp32'), threads)
        if isinstance(folder, VectorFolder):
            from ernie.inference.vector_graph import VectorGraph

            return cls(VectorGraph(folder, packing, tensors))
        from ernie.inference.export import Graph

        return cls(Graph(folder, None, packing, tensors))

    def run(self, arrays):
        return self._graph.run(arrays)

    def write(self, tensors, folder):
        """Write the parameters that it has, of a mapping of names to arrays, into a folder: an export."""
        names = dict.fromkeys([*self._graph.program.parameters(), *self._graph.packing.shapes()])
        write_safetensors(os.path.join(folder, WEIGHTS_FILE), {name: tensors[name] for name in names})


def usable_precision(precision):
    """The precision in which this processor computes what is asked for in `precision`.

    Raises:
        UsageError: the operators cannot be had here, or 8 bits would be no faster than float32.
    """
    from propeller.ops.choice import kernels

    found = kernels()
    if found.path is None:
        raise UsageError(f'--engine fused: the fused operators cannot be had here: {found.why}. {INSTEAD}')
    if precision == INT8 and not found.int8:
        raise UsageError(
            f'--engine fused --precision int8: this processor has no products of 8 bits (avx512_vnni). {INSTEAD}'
        )
    if precision == 'bf16' and not found.bf16:
        log.warning('this processor has no bf16 (avx512_bf16): the fused engine computes in fp32')
        return 'fp32'
    return precision
