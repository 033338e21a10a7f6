"""`python -m tests.propeller.distribution_worker FOLDER`: one process of a job that tries everything out.

Writes `FOLDER/{rank}.npz`. Alone, it makes the updates that two processes share.
"""

import sys
from types import SimpleNamespace

import numpy as np

from ernie.config import ErnieConfig
from ernie.model.ernie import ErnieModel
from propeller import graph
from propeller.data.batching import BatchStream
from propeller.data.padding import pad_rows
from propeller.distribution import join
from propeller.session import Session
from propeller.train.loop import evaluation_pass
from propeller.update import minimize
from tests.ernie.tiny_model import CONFIG

STEPS, BATCH = 50, 16
PLAIN = {**CONFIG, 'hidden_dropout_prob': 0.0, 'attention_probs_dropout_prob': 0.0}
FEEDS = [graph.Feed(name, (-1, -1), 'int64') for name in ('ids', 'types', 'positions')]
FEEDS += [graph.Feed('mask', (-1, -1), 'float32'), graph.Feed('label', (-1,), 'int64')]
FEEDS += [graph.Feed('where', (-1,), 'int64')]


def masked_lm(ids, types, positions, mask, label, where):
    """Loss over the masked tokens, of which a batch has any number."""
    model = ErnieModel(ids, positions, types, None, mask, ErnieConfig(PLAIN), True)
    graph.set_loss_weight(graph.paddle.shape(label)[:1].astype('float32'))
    return model.get_lm_output(label, where)


def sentence_loss(ids, types, positions, mask, label, where):
    """Of the first token alone: words are read once, so that their table is trained by rows."""
    model = ErnieModel(ids, positions, types, None, mask, ErnieConfig(PLAIN), True)
    return ((model.get_pooled_output() - 0.5) ** 2).mean()


class Sentences:
    """Random sentences of unequal length; a quarter of the tokens, at least one, is masked."""

    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.ids = [rng.integers(5, 60, rng.integers(3, 16)) for _ in range(count)]
        self.masked = [rng.permutation(len(ids))[: max(len(ids) // 4, 1)] for ids in self.ids]
        self.lengths = np.array([len(ids) for ids in self.ids])

    def arrays(self, rows):
        hidden, labels, where = [], [], []
        width = int(self.lengths[rows].max())
        for line, row in enumerate(rows):
            ids, places = self.ids[row].copy(), self.masked[row]
            labels += ids[places].tolist()
            where += (line * width + places).tolist()
            ids[places] = 4
            hidden.append(ids)
        ids = pad_rows(hidden)
        mask = (np.arange(width) < self.lengths[rows][:, None]).astype(np.float32)
        positions = np.broadcast_to(np.arange(width), ids.shape)
        return [ids, np.zeros_like(ids), positions, mask, np.array(labels), np.array(where)]


def train(world, optimizer, loss_of=masked_lm, batch_size=BATCH, weight_decay=0.0):
    """Parameters, moments and losses after `STEPS` updates."""
    session, rows = Session(seed=3, world=world), Sentences(101, 7)

    def build(*inputs):
        loss = loss_of(*inputs)
        rate = {'adamw': 1e-3, 'sgd': 0.05}[optimizer]
        minimize(loss, lambda step: rate, weight_decay, clip_norm=1.0, optimizer=optimizer)
        return loss

    program = session.build(FEEDS, build)
    session.initialize(program)
    replica = {'replica_id': world.rank, 'num_replicas': world.size}
    stream = iter(BatchStream(rows, rows.arrays, batch_size // world.size, epochs=None, seed=5, **replica))
    losses = []
    for _ in range(STEPS):
        batch = next(stream)
        outcome = session.update(program, [(p.arrays, p.counted) for p in batch.parts], [program.outputs])
        losses.append(float(outcome.fetched[0][0]))
    found = {name: session.read(name) for name in program.parameters()}
    found |= {name: session.read(name) for name in program.optimizer_state() if name.startswith('word_embedding')}
    return {**found, 'losses': np.array(losses), 'by_rows': np.array(sorted(program.row_tables))}


def trainings(world):
    """All of them: each result under the name of its training."""
    found = {
        'sgd': train(world, 'sgd'),
        'adamw': train(world, 'adamw'),
        'rows': train(world, 'adamw', sentence_loss, batch_size=2, weight_decay=0.1),
    }
    return {f'{kind}/{name}': value for kind, results in found.items() for name, value in results.items()}


def exchange(world):
    """What `World` is for."""
    own = [np.arange(world.rank + 2, dtype=np.int16), np.float32(world.rank / 3), np.ones((world.rank, 2), bool)]
    everyone = world.all_gather(own)
    assert [arrays[0].tolist() for arrays in everyone] == [list(range(r + 2)) for r in range(world.size)]
    assert [arrays[1] for arrays in everyone] == [np.float32(r / 3) for r in range(world.size)]
    assert [arrays[2].shape for arrays in everyone] == [(r, 2) for r in range(world.size)]
    assert all(a.dtype == b.dtype for arrays in everyone for a, b in zip(arrays, own, strict=True))
    assert world.all_gather([]) == [[]] * world.size
    assert world.broadcast_object({'rank': world.rank, '题': [1.5, None]}) == {'rank': 0, '题': [1.5, None]}
    assert world.any_process(world.rank == world.size - 1) and not world.any_process(False)
    session = SimpleNamespace(world=world, run=lambda program, arrays, fetch: [np.array(arrays) * 2, np.array(arrays)])
    computed = []

    def arrays_of(batch):
        computed.append(batch)
        return batch

    pairs = list(evaluation_pass(session, None, range(75), ['double', 'same'], arrays_of))
    assert [(batch, int(a), int(b)) for batch, (a, b) in pairs] == [(i, 2 * i, i) for i in range(75)]
    assert computed == [i for start in (0, 32, 64) for i in range(start, min(start + 32, 75))][world.rank :: world.size]


def have_in_common(world):
    """What AdamW changes is in the memory of all; a variable that was given other memory is told."""
    session = Session(seed=3, world=world)
    program = session.build(
        FEEDS[:1], lambda ids: minimize(loss := graph.parameter('w', [5], graph.constant(1.0)).sum(), 0.1) or loss
    )
    session.initialize(program)
    session.step(program, [np.ones((1, 1), np.int64)], [])
    world.barrier()
    if world.rank == 1:
        session.write('w', np.arange(5, dtype=np.float32))
    world.barrier()
    assert session.read('w').tolist() == [0, 1, 2, 3, 4] and program.update.in_common[0] == 'w'
    world.barrier()
    session.write('w', np.full(5, 3, np.float32))
    session.step(program, [np.ones((1, 1), np.int64)], [])
    assert np.allclose(session.read('w'), 2.9)
    tensor = session.scope.find_var('w').get_tensor()
    tensor.set(np.full(5, 3, np.float32), session.place, True)
    try:
        session.step(program, [np.ones((1, 1), np.int64)], [])
    except AssertionError as e:
        assert str(e) == 'w is no longer in the memory of all processes'
        return
    raise AssertionError('other memory was not seen')


if __name__ == '__main__':
    joined = join()
    if joined.size > 1:
        exchange(joined)
        have_in_common(joined)
    np.savez(f'{sys.argv[1]}/{joined.rank}.npz', **trainings(joined))
