"""--recompute in the models and programs: same gradients, repeatable runs, exact resume."""

import numpy as np
import pytest

from ernie.config import ErnieConfig
from ernie.model.encoders import LAYERS, POOLED, TOKENS
from ernie.model.ernie import ErnieModel
from ernie.model.task_model import encoder_feeds
from ernie.tasks.classification.graph import ErnieClassifier
from ernie.tasks.mrc.graph import ErnieMrc
from ernie.tasks.sequence_labeling.graph import ErnieSequenceLabeler
from propeller import graph
from propeller.graph import paddle
from propeller.recompute import recomputation
from propeller.session import Session
from propeller.storage import open_tensors
from propeller.types import HParams, RunMode
from propeller.update import backward
from tests.ernie.tiny_model import CONFIG, TASK_CONFIG, records, run, sentences, table, write_model

ROWS, LENGTH = 5, 9
QUIET = {'hidden_dropout_prob': 0.0, 'attention_probs_dropout_prob': 0.0}


def batch():
    """Arrays of the encoder for rows of unequal length."""
    rng = np.random.default_rng(0)
    mask = (np.arange(LENGTH) < np.array([9, 4, 7, 2, 9])[:, None]).astype(np.float32)
    ids = rng.integers(1, CONFIG['vocab_size'], (ROWS, LENGTH)) * mask.astype(np.int64)
    types = np.tile(np.arange(LENGTH) > 1, (ROWS, 1)) * mask.astype(np.int64)
    return [ids, types, np.tile(np.arange(LENGTH), (ROWS, 1)), mask, ids % 3]


def gradients(feeds, arrays, build_loss):
    """-> (loss, dict parameter -> gradient)."""

    def build(*inputs):
        loss = build_loss(*inputs)
        return loss, {p.name: g for p, g in backward(loss)}

    session = Session(seed=1)
    program = session.build(feeds, build)
    session.initialize(program)
    loss, found = program.outputs
    values = session.run(program, arrays, [loss, *found.values()])
    return values[0], dict(zip(found, values[1:], strict=True))


def assert_same(plain, again, count):
    assert len(plain[1]) == count and set(again[1]) == set(plain[1])
    assert float(again[0]) == pytest.approx(float(plain[0]), rel=1e-6)
    for name, value in plain[1].items():
        np.testing.assert_allclose(again[1][name], value, rtol=0, atol=1e-6, err_msg=name)
    assert max(np.abs(value).max() for value in plain[1].values()) > 0.01


ANSWERED = np.array([[1], [0], [1], [0], [1]])
LABELS = {
    'classes': (ErnieClassifier, (-1, 1), 'int64', lambda r: r.integers(0, 3, (ROWS, 1))),
    'multilabel': (ErnieClassifier, (-1, 3), 'float32', lambda r: r.integers(0, 2, (ROWS, 3)).astype(np.float32)),
    'tagging': (ErnieSequenceLabeler, (-1, -1), 'int64', lambda r: r.integers(-1, 3, (ROWS, LENGTH))),
    'crf': (ErnieSequenceLabeler, (-1, -1), 'int64', lambda r: r.integers(0, 3, (ROWS, LENGTH))),
    'reading': (ErnieMrc, (-1, 2), 'int64', lambda r: r.integers(2, 4, (ROWS, 2)) * ANSWERED),
}


@pytest.mark.parametrize('task', LABELS)
@pytest.mark.parametrize('freeze_encoder', [False, True])
def test_gradients_of_the_tasks(task, freeze_encoder, monkeypatch):
    monkeypatch.setattr('ernie.model.heads.HEAD_DROPOUT', 0.0)
    model, shape, dtype, labels = LABELS[task]
    settings = {
        'ernie': ErnieConfig({**TASK_CONFIG, **QUIET}),
        'num_labels': 3,
        'kind': 'multilabel' if task == 'multilabel' else 'classify',
        'use_crf': task == 'crf',
        'learning_rate': 0.1,
        'freeze_encoder': freeze_encoder,
    }

    def loss(recompute):
        def build(*features):
            built = model(HParams(recompute=recompute, **settings), RunMode.TRAIN)
            return built.loss(built.forward(list(features[:-1])), features[-1])

        return build

    feeds = [*encoder_feeds(settings['ernie']), graph.Feed('label', shape, dtype)]
    arrays = [*batch(), labels(np.random.default_rng(1))]
    plain, again = (gradients(feeds, arrays, loss(recompute)) for recompute in (False, True))
    pooled = 2 * (model is ErnieClassifier)
    encoder = 0 if freeze_encoder else 4 + 2 + 2 * 16 + pooled  # tables, first norm, layers
    assert_same(plain, again, encoder + 2 + (task == 'crf'))


@pytest.mark.parametrize('layers', [1, 2])
@pytest.mark.parametrize(('recompute', 'read'), [(True, LAYERS), (True, TOKENS), (False, TOKENS)])
def test_gradients_with_the_word_table_as_output(recompute, read, layers):
    """It gets gradients from both ends of the layers. Two readers share the last layer: some tokens, and the first."""
    config = ErnieConfig({**TASK_CONFIG, **QUIET, 'num_hidden_layers': layers})

    def loss(recompute, read):
        def build(ids, types, positions, mask, task_ids, masked):
            with recomputation(recompute):
                model = ErnieModel(ids, positions, types, task_ids, mask, config, training=True, read=read)
            words = model.get_lm_output(paddle.gather(ids.reshape([-1]), masked), masked)
            return words + model.get_next_sentence_output(types[:, 2] % 2)[0]

        return build

    feeds = [*encoder_feeds(config), graph.Feed('masked', (-1,), 'int64')]
    arrays = [*batch(), np.array([0, 3, 10, 44])]
    both = (gradients(feeds, arrays, loss(*choice)) for choice in ((False, LAYERS), (recompute, read)))
    assert_same(*both, 4 + 2 + layers * 16 + 5 + 2 + 2)


@pytest.mark.parametrize('layers', [1, 2])
@pytest.mark.parametrize('recompute', [True, False])
def test_gradients_of_the_pooled_output_alone(recompute, layers):
    config = ErnieConfig({**TASK_CONFIG, **QUIET, 'num_hidden_layers': layers})

    def loss(recompute, read):
        def build(ids, types, positions, mask, task_ids):
            with recomputation(recompute):
                model = ErnieModel(ids, positions, types, task_ids, mask, config, training=True, read=read)
            return model.get_next_sentence_output(types[:, 2] % 2)[0]

        return build

    feeds, arrays = encoder_feeds(config), batch()
    both = (gradients(feeds, arrays, loss(*choice)) for choice in ((False, LAYERS), (recompute, POOLED)))
    assert_same(*both, 4 + 2 + layers * 16 + 2 + 2)


# ------------------------------------------------------------------------------------------ the programs


@pytest.fixture
def train(tmp_path):
    """Function (folder, flags) -> dict of the parameters after 40 rows in five steps, with dropout."""
    settings = {
        'init_pretraining_params': write_model(tmp_path / 'm'),
        'train_set': table(tmp_path / 't.tsv', sentences(40, 1)),
        'do_val': False,
        'do_test': False,
        'epoch': 1,
        'lr_scheduler': 'constant',  # --max_steps shortens a schedule that decays
        'save_steps': 3,
        'skip_steps': 1,
    }

    def start(folder, **values):
        run(**{**settings, 'checkpoints': tmp_path / folder, **values})
        last = sorted((tmp_path / folder).glob('step_*'))[-1]
        tensors = open_tensors(str(last))
        return {name: tensors[name] for name in tensors}

    return start


def same(a, b):
    return list(a) == list(b) and all(np.array_equal(a[name], b[name]) for name in a)


def test_one_seed_gives_one_result_and_resume_is_exact(tmp_path, train):
    whole = train('whole', recompute=True)
    assert same(train('again', recompute=True), whole)
    assert not same(train('other', recompute=True, random_seed=2), whole)
    assert not same(train('parts', recompute=True, max_steps=3), whole)
    assert same(train('parts', recompute=True, resume=True), whole)
    losses = [[r['loss'] for r in records(tmp_path / folder, 'train')] for folder in ('whole', 'parts')]
    assert losses[0] == losses[1] and len(losses[0]) == 5


def test_off_nothing_is_built_twice(monkeypatch, train):
    """And on, each attention is built a second time, and nothing a third time."""
    built = []
    original = 'ernie.model.transformer_encoder.projection_parameters'
    from ernie.model.transformer_encoder import projection_parameters

    def parameters(config, name):
        built.append(name)
        return projection_parameters(config, name)

    monkeypatch.setattr(original, parameters)
    names = [f'encoder_layer_{i}_multi_head_att' for i in range(CONFIG['num_hidden_layers'])]
    train('off', max_steps=1)
    assert built == names
    built.clear()
    train('on', max_steps=1, recompute=True)
    assert built == [*names, *reversed(names)]
