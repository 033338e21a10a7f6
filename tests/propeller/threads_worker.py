"""`python -m tests.propeller.threads_worker FILE`: trains a small ERNIE with fused operators and dropout.

Writes `FILE` (npz): by update the loss, outputs of the model and the masks; the parameters at the end; the number of
threads, which `OMP_NUM_THREADS` decides, as `--cpu_threads` does by setting it.
"""

import ctypes
import sys

import numpy as np

from ernie.config import ErnieConfig
from ernie.model.ernie import ErnieModel
from propeller import graph, ops
from propeller.graph import F, paddle
from propeller.update import minimize
from tests.ernie.tiny_model import CONFIG, sentences
from tests.propeller.ops_oracle import Built

UPDATES, ROWS, DROPOUT, WIDTH = 10, 29, 0.1, 33
# More words than a block of the update has numbers: threads share that work too.
MODEL = ErnieConfig({**CONFIG, 'vocab_size': 3001})
MASKED = 4
FEEDS = [graph.Feed(name, (-1, -1), 'int64') for name in ('ids', 'types', 'positions')]
FEEDS += [graph.Feed('mask', (-1, -1), 'float32')]
FEEDS += [graph.Feed(name, (-1,), 'int64') for name in ('label', 'place')]
OUTPUTS = ('loss', 'tokens', 'pooled', 'units', 'weights')


def batch(seed):
    """Arrays for `FEEDS`: rows as long as sentences are, a seventh of whose tokens are masked."""
    rng = np.random.default_rng(seed)
    lengths = np.array([len(text) + 2 for text, _ in sentences(ROWS, seed, most=14)])
    ids = rng.zipf(1.2, (ROWS, lengths.max())) % MODEL.vocab_size
    positions = np.tile(np.arange(ids.shape[1]), (ROWS, 1))
    mask = (positions < lengths[:, None]).astype(np.float32)
    place = np.sort(rng.choice(np.flatnonzero(mask), lengths.sum() // 7, replace=False))
    label = ids.reshape(-1)[place]
    ids.reshape(-1)[place] = MASKED
    return [ids, ids * 0, positions, mask, label, place]


def masks(ids, positions, mask):
    """What dropout makes of ones, [tokens, WIDTH], and of weights of attention that are equal, [tokens, columns]."""
    layout = ops.token_layout(mask)
    table = graph.parameter('any', [MODEL.vocab_size, WIDTH], graph.constant(1))
    units = ops.embedding_norm(
        [table], [layout.pack_ids(ids)], paddle.zeros([WIDTH]), paddle.ones([WIDTH]), 1e-5, DROPOUT
    )
    values = F.one_hot(positions, MODEL.max_position_embeddings)  # the j-th token of a row has its 1 at j
    same = paddle.zeros_like(values)
    return units, ops.attention(layout.pack(paddle.concat([same, same, values], axis=-1)), layout, 1, DROPOUT)


def build(ids, types, positions, mask, label, place):
    model = ErnieModel(ids, positions, types, None, mask, MODEL, training=True)
    pooled = model.get_pooled_output()
    loss = model.get_lm_output(label, place) + pooled.square().mean()
    outputs = [loss, model.get_tokens(place), pooled, *masks(ids, positions, mask)]
    minimize(loss, lambda step: 0.01, weight_decay=0.01, clip_norm=1.0)
    return outputs


def main(file):
    built, found = Built(FEEDS, build, seed=3), {}
    for update in range(UPDATES):
        values = built.session.step(built.program, batch(update), built.program.outputs)
        found |= {f'{name} {update}': value for name, value in zip(OUTPUTS, values, strict=True)}
    found |= {f'parameter {name}': built.session.read(name) for name in built.program.parameters()}
    np.savez(file, threads=ctypes.CDLL('libiomp5.so').omp_get_max_threads(), **found)


if __name__ == '__main__':
    main(sys.argv[1])
