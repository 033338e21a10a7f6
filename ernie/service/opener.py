"""How a worker opens a model of ERNIE. The only part of a server that loads an engine."""

import numpy as np

from ernie.inference.engines import ENGINES, open_engine


def open_served(folder, engine, precision, threads, use_cuda, inputs):
    """A function of the encoder's arrays that gives the outputs of an exported model.

    Args:
        folder: the exported model.
        engine, precision, threads: see `ernie.inference.engines.open_engine`.
        use_cuda: whether a GPU is used; None: where the engine has one.
        inputs: number of arrays that it takes.
    Raises:
        UserError: a package is missing, or the model cannot be loaded.
    """
    kind = ENGINES[engine]
    if use_cuda:
        kind.require_gpu()
    device = 0 if use_cuda or (use_cuda is None and kind.gpus()) else None
    opened = open_engine(engine, folder, precision, threads, device)
    run = opened.run
    # What is made at the first batch is made before the first request.
    ids = np.zeros((1, 8), np.int64)
    mask = np.ones((1, 8), np.float32)
    run([ids, ids, np.arange(8)[None], mask, ids][:inputs])
    return run
