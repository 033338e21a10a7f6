"""`python -m tests.propeller.shared_weights_worker FOLDER`: one process of a job that trains layers in bfloat16.

Writes `FOLDER/{rank}.npz`: parameters after each update, and how many weights it found packed; once with weights that
all processes share, once (`alone/`) where each packs all of them.
"""

import sys

import numpy as np

from propeller import graph, ops
from propeller.distribution import join
from propeller.graph import paddle
from propeller.ops.shared_weights import SharedWeights
from propeller.session import Session
from propeller.update import minimize

WIDE, INNER, ROWS, STEPS = 64, 96, 24, 9
# Before which updates something else comes: another program, a variable that is written, one that is written secretly.
EVALUATED, WRITTEN, SECRET = 3, 5, 7
FEEDS = [graph.Feed('x', (-1, WIDE), 'float32')]


def layers(x):
    """Of each kind: three side by side, one whose transpose multiplies, one that is too narrow to be shared."""
    shapes = {'q': (WIDE, WIDE), 'k': (WIDE, WIDE), 'v': (WIDE, WIDE), 'w': (3 * WIDE, INNER), 't': (WIDE, INNER)}
    shapes['narrow'] = (WIDE, 5)
    rng = np.random.default_rng(3)
    w = {n: graph.parameter(n, s, graph.values(0.1 * rng.standard_normal(s))) for n, s in shapes.items()}
    zeros = {n: paddle.zeros([n]) for n in (WIDE, INNER, 5)}
    x = ops.linear_side_by_side(x, [w['q'], w['k'], w['v']], [zeros[WIDE]] * 3)
    x = ops.linear(x, w['w'], zeros[INNER], 'gelu')
    x = ops.linear(x, w['t'], zeros[WIDE], transposed=True)
    return ops.linear(x, w['narrow'], zeros[5])


def train(world):
    session = Session(seed=3, world=world, precision='bf16')

    def build(x):
        loss = ((layers(x) - 1.0) ** 2).mean()
        minimize(loss, 0.01, 0.1, clip_norm=1.0)
        return loss

    program, evaluation = session.build(FEEDS, build), session.build(FEEDS, layers)
    session.initialize(program)
    rng, found, results = np.random.default_rng(world.rank), [], {}
    for step in range(STEPS):
        x = rng.standard_normal((ROWS, WIDE)).astype(np.float32)
        if step == EVALUATED:
            session.run(evaluation, [x], [evaluation.outputs])
        new = session.read('w') - 0.25
        world.barrier()  # all have read what all write
        if step == WRITTEN:
            session.write('w', new)
        if step == SECRET:
            session.scope.find_var('w').get_tensor().set(new, session.place)
        world.barrier()
        before = program.update.weights.found() if program.update.weights else 0
        session.step(program, [x], [])
        found.append(program.update.weights.found() - before)
        results |= {f'{step}/{name}': session.read(name) for name in program.parameters()}
    return {**results, 'found': np.array(found)}


if __name__ == '__main__':
    joined = join()
    shared = train(joined)
    SharedWeights.share = lambda self: None
    alone = train(joined)
    np.savez(f'{sys.argv[1]}/{joined.rank}.npz', **shared, **{f'alone/{name}': value for name, value in alone.items()})
