"""The heads of the pre-training tasks, together and alone."""

import numpy as np
import pytest

from ernie.config import ErnieConfig
from ernie.model.ernie import ErnieModel
from ernie.pretrain.model import PretrainModel, feeds, loss_scales
from ernie.pretrain.tasks import TASKS, make_tasks
from propeller.errors import UsageError
from propeller.graph import paddle
from propeller.session import Session
from propeller.train.model import build_model_spec
from propeller.types import HParams, RunMode
from tests.ernie.tiny_model import TASK_CONFIG

CONFIG = ErnieConfig({**TASK_CONFIG, 'hidden_dropout_prob': 0.0, 'attention_probs_dropout_prob': 0.0})
CHOSEN = ('next_sentence', 'knowledge_masking', 'capitalization', 'sentence_reordering')
ROWS, LENGTH = 5, 7


def hparams(tasks, **more):
    settings = {'rate': lambda update: 0.01, 'weight_decay': 0.0, 'weight_sharing': True}
    return HParams(ernie=CONFIG, tasks=tasks, **{**settings, **more})


def encoder_arrays(seed=0):
    ids = np.random.default_rng(seed).integers(5, 60, (ROWS, LENGTH))
    mask = (np.arange(LENGTH) < np.array([[7], [3], [5], [7], [2]])).astype(np.float32)
    return [ids, ids % 2, np.broadcast_to(np.arange(LENGTH), ids.shape), mask, np.full_like(ids, 2)]


def labels_of(tasks, seed=0, absent=()):
    """(arrays of the labels, number of labels of each task); a third of the labels is missing."""
    rng, arrays, counts = np.random.default_rng(seed), [], []
    for task in tasks:
        size = ROWS if task.level == 'sequence' else 9
        label = rng.integers(0, task.num_classes or 61, size)
        label[rng.random(size) < 1 / 3] = -1
        if task.name in absent:
            label[:] = -1
        arrays.append(label)
        if task.level == 'token':
            arrays.append(rng.choice(ROWS * LENGTH, size, replace=False))
        counts.append(int((label >= 0).sum()))
    return arrays, counts


def build(tasks, mode, seed=3, **more):
    session = Session(seed=seed)
    program = session.build(
        feeds(CONFIG, tasks), lambda *x: build_model_spec(PretrainModel, x, mode, hparams(tasks, **more), None)
    )
    session.initialize(program)
    return session, program


def test_statistics_are_those_of_each_task_alone():
    tasks = make_tasks(CHOSEN)
    assert [task.id for task in tasks] == [0, 1, 3, 7]
    session, program = build(tasks, RunMode.EVAL)
    labels, counts = labels_of(tasks)
    spec = program.outputs
    scales = loss_scales(counts)
    found, loss = session.run(program, [*encoder_arrays(), *labels, scales], [*spec.predictions, spec.loss])
    assert found[:, 1].tolist() == counts
    assert loss == pytest.approx(sum(s / c for (s, _, _), c in zip(found, counts, strict=True)), rel=1e-5)

    def all_logits(*x):
        ids, types, positions, mask, task_ids = x
        model = ErnieModel(ids, positions, types, task_ids, mask, CONFIG)
        positions = paddle.assign(np.arange(ROWS * LENGTH))
        pooled = model.get_pooled_output()
        return [
            model.get_lm_logits(positions),
            model.get_task_logits(model.get_tokens(positions), 'capitalization_fc', 2),
            model.get_task_logits(pooled, 'sentence_reordering_fc', 9),
            model.get_task_logits(pooled, 'next_sent_fc', 2),
        ]

    plain = session.build(feeds(CONFIG, [])[:5], all_logits)
    logits = session.run(plain, encoder_arrays(), plain.outputs)
    remaining = list(labels)
    for task, scores, row in zip(tasks, logits, found, strict=True):
        label = remaining.pop(0)
        scores = scores[remaining.pop(0)] if task.level == 'token' else scores
        scores, label = scores[label >= 0].astype(np.float64), label[label >= 0]
        top = scores.max(1, keepdims=True)
        losses = np.log(np.exp(scores - top).sum(1)) + top[:, 0] - scores[np.arange(len(label)), label]
        assert row[0] == pytest.approx(losses.sum(), rel=1e-5)
        assert row[2] == (scores.argmax(1) == label).sum()


def test_absent_tasks_add_nothing():
    tasks = make_tasks(CHOSEN)
    session, program = build(tasks, RunMode.TRAIN)
    before = {name: session.read(name) for name in program.parameters()}
    labels, counts = labels_of(tasks, absent=('capitalization', 'next_sentence'))
    assert counts[1] == counts[3] == 0
    loss = program.outputs.loss
    values = [
        float(session.step(program, [*encoder_arrays(), *labels, loss_scales(counts)], [loss])[0]) for _ in range(5)
    ]
    assert np.isfinite(values).all() and values[-1] < values[0]
    for name, value in before.items():
        moved = not np.array_equal(session.read(name), value)
        assert moved != name.startswith(('capitalization_fc', 'next_sent_fc')), name


@pytest.mark.parametrize('recompute', [False, True])
def test_parts_of_an_update_make_the_whole(recompute):
    tasks = make_tasks(CHOSEN)
    labels = [labels_of(tasks, seed) for seed in (1, 2, 3)]
    together = np.sum([counts for _, counts in labels], 0)
    session, program = build(tasks, RunMode.EVAL)
    sums = np.zeros(len(tasks))
    for seed, (arrays, _) in enumerate(labels):
        inputs = [*encoder_arrays(seed), *arrays, loss_scales(together)]
        sums += session.run(program, inputs, program.outputs.predictions)[0][:, 0]
    session = Session(seed=3)
    program = session.build(
        feeds(CONFIG, tasks),
        lambda *x: build_model_spec(PretrainModel, x, RunMode.TRAIN, hparams(tasks, recompute=recompute), None),
        parts=3,
    )
    session.initialize(program)
    scales = loss_scales(together, parts=3)
    parts = [([*encoder_arrays(seed), *arrays, scales], True) for seed, (arrays, _) in enumerate(labels)]
    outcome = session.update(program, parts, [program.outputs.loss])
    assert outcome.fetched[0][0] == pytest.approx((sums / together).sum(), rel=1e-5)


def test_every_task_has_its_own_name_number_and_head():
    made = make_tasks(TASKS)
    assert [task.id for task in made] == list(range(9)) and len({task.head for task in made}) == 9
    assert make_tasks(['discourse_relation'], {'discourse_relation': 11})[0].num_classes == 11
    for names, classes, words in (
        (['masking'], {}, "task 'masking'"),
        ([], {'x': 3}, "task 'x'"),
        ([], {'sentence_distance': 1}, 'found 1 classes'),
        ([], {'knowledge_masking': 9}, 'found 9 classes, expected'),
    ):
        with pytest.raises(UsageError, match=words):
            make_tasks(names, classes)
