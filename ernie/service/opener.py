"""How a worker opens a model of ERNIE. The only part of a server that loads an engine."""

import functools
import time

import numpy as np

from ernie.inference.engines import ENGINES, open_engine

_FEW = 8  # rows of a batch by which the time of a larger one is told
_PATIENCE = 10.0  # seconds that the largest batch may take before the first request


def open_served(folder, engine, precision, threads, use_cuda, inputs, largest=None):
    """A function of the encoder's arrays that gives the outputs of an exported model, with `description` for the front.

    Args:
        folder: the exported model.
        engine, precision, threads: see `ernie.inference.engines.open_engine`.
        use_cuda: whether a GPU is used; None: where the engine has one.
        inputs: number of arrays that it takes.
        largest: [rows, length] of the largest batch; None: not known.
    Raises:
        UserError: a package is missing, or the model cannot be loaded.
    """
    kind = ENGINES[engine]
    if use_cuda:
        kind.require_gpu()
    device = 0 if use_cuda or (use_cuda is None and kind.gpus()) else None
    opened = open_engine(engine, folder, precision, threads, device)
    # What is made at the first batch is made before the first request.
    opened.run(_batch(1, 8, inputs))
    if largest is not None:
        _reserve(opened.run, *largest, inputs)
    run = functools.partial(opened.run)
    run.description = {'padding_cost': opened.padding_cost}
    return run


def _reserve(run, rows, length, inputs):
    """Compute a batch of the largest size: engines keep the memory that it takes, 65 MB of a small encoder.

    A worker has it from the beginning then, and does not grow when many wait for the first time. A model that would
    take long gets it with its first such batch.
    """
    few = min(_FEW, rows)
    began = time.monotonic()
    run(_batch(few, length, inputs))
    if few < rows and (time.monotonic() - began) * rows / few <= _PATIENCE:
        run(_batch(rows, length, inputs))


def _batch(rows, length, inputs):
    """Arrays of a batch of the padding token, list of `inputs`."""
    zeros = np.zeros((rows, length), np.int64)  # positions too: padding may be longer than the model's table of them
    return [zeros, zeros, zeros, np.ones((rows, length), np.float32), zeros][:inputs]
