"""Prediction: one line a row, in the order of the file, whatever the batches; the loss of the graph against numpy."""

import re

import numpy as np
import pytest

from ernie.config import ErnieConfig
from ernie.model.task_model import encoder_feeds
from ernie.programs import CLASSIFY
from ernie.run.predictor import Predictor
from ernie.tasks.classification.graph import ErnieClassifier
from ernie.tasks.classification.training import ClassificationTask
from ernie.tokenization import FullTokenizer
from propeller.session import Session
from propeller.train.model import build_model_spec
from propeller.types import HParams, RunMode
from tests.ernie.tiny_model import (
    CONFIG,
    SETTINGS,
    TASK_CONFIG,
    flags,
    random_parameters,
    sentences,
    write_model,
    write_table,
)

BATCH = 5


class Kind:
    """A task of one kind with random parameters in a session, made once for many predictions."""

    def __init__(self, folder, config=CONFIG, **values):
        write_model(folder, config=config)
        settings = {**SETTINGS, 'task_id': 1 if config is TASK_CONFIG else 0, **values}
        args = CLASSIFY.build_parser().parse_args(flags(**settings))
        vocabulary = str(folder / 'vocab.txt')
        self.task = ClassificationTask(args, ErnieConfig(config), FullTokenizer(vocabulary), {})
        self.session = Session(seed=3)
        self.predictor, self.single = (Predictor(self.session, self.task, size) for size in (BATCH, 1))
        self.session.initialize(self.predictor.program(labelled=False))
        for name, value in random_parameters(config).items():
            self.session.write(name, value)
        head = self.session.read('_cls_out_w')
        self.session.write('_cls_out_w', np.random.default_rng(1).normal(size=head.shape).astype(np.float32))

    def predict(self, path, target):
        rows = self.task.read(str(path), labelled=False)
        self.task.write_predictions(self.task.predict(self.predictor, rows), rows, str(target))
        expected = [self.single.collect(_Part(rows, [i]), labelled=False)[0][0] for i in range(len(rows))]
        return [line.split('\t') for line in target.read_text(encoding='utf-8').split('\n')[:-1]], np.array(expected)


class _Part:
    """Some rows of a `TokenizedSet`, as a set of their own."""

    def __init__(self, rows, indices):
        self._rows, self._indices = rows, np.asarray(indices)
        self.lengths, self.qids = rows.lengths[self._indices], None

    def __len__(self):
        return len(self._indices)

    def padded(self, indices):
        return self._rows.padded(self._indices[indices])


def numbers(text):
    assert re.fullmatch(r'\[\S+( \S+)*\]', text)
    return [float(x) for x in text[1:-1].split(' ')]


@pytest.fixture(scope='module')
def classes(tmp_path_factory):
    return Kind(tmp_path_factory.mktemp('classes') / 'm', num_labels=3)


@pytest.mark.parametrize('count', range(1, 3 * BATCH + 2))
def test_one_line_a_row_in_order(classes, tmp_path, count):
    data = write_table(tmp_path / 'test.tsv', ['text_a'], [(text,) for text, _ in sentences(count, count)])
    cells, expected = classes.predict(data, tmp_path / 'out')
    assert len(cells) == count == len(expected)
    for (prediction, text), probabilities in zip(cells, expected, strict=True):
        assert prediction == f'{float(probabilities.argmax())}'
        np.testing.assert_allclose(numbers(text), probabilities, atol=1e-5)
    if count > 3:
        assert np.ptp(expected[:, 0]) > 1e-3  # rows differ, or the order would prove nothing


def test_qids_and_labels_in_any_column(classes, tmp_path):
    rows = [(7 - i // 2, text, 'a word', y) for i, (text, y) in enumerate(sentences(13, 4))]
    data = write_table(tmp_path / 'test.tsv', ['qid', 'text_a', 'note', 'label'], rows)
    cells, expected = classes.predict(data, tmp_path / 'out')
    assert [row[0] for row in cells] == [str(q) for q, *_ in rows]
    np.testing.assert_allclose([numbers(row[2]) for row in cells], expected, atol=1e-5)


def test_the_file_replaces_an_older_one_and_makes_its_folder(classes, tmp_path):
    target = tmp_path / 'new/folder/out'
    for count in (7, 2):
        data = write_table(tmp_path / 'test.tsv', ['text_a'], [(text,) for text, _ in sentences(count, count)])
        cells, _ = classes.predict(data, target)
        assert len(cells) == count
    assert [p.name for p in target.parent.iterdir()] == ['out']


def test_many_classes_stay_on_one_line_in_full(tmp_path):
    kind = Kind(tmp_path / 'm', num_labels=1203)
    data = write_table(tmp_path / 'test.tsv', ['text_a'], [(text,) for text, _ in sentences(7, 1)])
    cells, expected = kind.predict(data, tmp_path / 'out')
    found = np.array([numbers(text) for _, text in cells])
    assert found.shape == (7, 1203)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert [float(p) for p, _ in cells] == expected.argmax(1).tolist()


def test_task_ids_reach_the_model(tmp_path):
    data = write_table(tmp_path / 'test.tsv', ['text_a'], [(text,) for text, _ in sentences(7, 1)])
    found = [
        np.array(
            [numbers(c[-1]) for c in Kind(tmp_path / f'm{i}', TASK_CONFIG, task_id=i).predict(data, tmp_path / 'o')[0]]
        )
        for i in (1, 2)
    ]
    assert np.abs(found[0] - found[1]).max() > 1e-4


@pytest.mark.parametrize('count', [1, 4, 5, 6, 16])
def test_scores_do_not_depend_on_the_batches(classes, tmp_path, count):
    data = write_table(tmp_path / 'dev.tsv', ['text_a', 'label'], sentences(count, count))
    rows = classes.task.read(data, labelled=True)
    outputs, loss = classes.predictor.collect(rows, labelled=True)
    assert outputs.shape == (count, 3)
    expected = -np.log(outputs[np.arange(count), rows.labels].astype(np.float64)).mean()
    assert loss == pytest.approx(expected, rel=1e-5)
    values, line, report, _ = classes.task.evaluate(classes.predictor, rows, data)
    assert values['data_num'] == count and values['acc'] == pytest.approx((outputs.argmax(1) == rows.labels).mean())
    assert f'data_num: {count}, ' in line and sum(row['support'] for row in report['classes']) == count


@pytest.mark.parametrize('kind', ['classify', 'regression', 'multilabel'])
@pytest.mark.parametrize('weights', [None, [0.2, 1.0, 7.0]])
@pytest.mark.parametrize('mode', [RunMode.TRAIN, RunMode.EVAL])
def test_losses(kind, weights, mode):
    """The loss of given logits; class weights count in training only."""
    logits = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    if kind == 'regression':
        logits, weights = logits[:, :1], None
    labels = {
        'classify': np.array([[2], [0], [2], [1]]),
        'regression': np.array([[0.5], [-2.0], [0.0], [3.25]], np.float32),
        'multilabel': np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]], np.float32),
    }[kind]
    config = HParams(ernie=ErnieConfig(CONFIG), kind=kind, num_labels=logits.shape[1], class_weights=weights)
    session = Session(seed=0)
    label_feed = ErnieClassifier.label_feed(config)
    inputs = [label_feed._replace(name='logits', shape=(-1, logits.shape[1]), dtype='float32'), label_feed]
    program = session.build(inputs, lambda z, y: [ErnieClassifier(config, mode).loss([z], y)])
    (found,) = session.run(program, [logits, labels], program.outputs)
    z, table = logits.astype(np.float64), np.array(weights if weights and mode == RunMode.TRAIN else [1.0] * 3)
    if kind == 'classify':
        chosen = labels[:, 0]
        per_row = np.log(np.exp(z).sum(1)) - z[np.arange(4), chosen]
        expected = (table[chosen] * per_row).sum() / table[chosen].sum()
    elif kind == 'multilabel':
        expected = (table * (np.log1p(np.exp(z)) - labels * z)).mean()
    else:
        expected = ((z - labels) ** 2).mean()
    assert found.shape == () and float(found) == pytest.approx(expected, rel=1e-5)


def test_training_and_evaluation_share_the_parameters():
    config = HParams(
        ernie=ErnieConfig(CONFIG),
        kind='classify',
        num_labels=2,
        learning_rate=0.01,
        num_train_steps=9,
        warmup_steps=0,
        weight_decay=0.0,
        lr_scheduler='constant',
        decay_without_warmup=False,
        clip_norm=1.0,
        head_learning_rate=None,
        freeze_encoder=False,
        class_weights=None,
    )
    session = Session(seed=0)

    def program(mode, labelled):
        inputs = [*encoder_feeds(config.ernie), *([ErnieClassifier.label_feed(config)] if labelled else [])]
        return session.build(inputs, lambda *f: build_model_spec(ErnieClassifier, f, mode, config, None))

    training = program(RunMode.TRAIN, True)
    session.initialize(training)
    evaluation, prediction = program(RunMode.EVAL, True), program(RunMode.PREDICT, False)
    assert training.parameters() == evaluation.parameters() == prediction.parameters()
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 40, (6, 9))
    arrays = [ids, np.zeros_like(ids), np.tile(np.arange(9), (6, 1)), np.ones((6, 9), np.float32)]
    labels = rng.integers(0, 2, (6, 1))
    before = session.run(evaluation, [*arrays, labels], [evaluation.outputs.loss])[0]
    for _ in range(20):
        session.step(training, [*arrays, labels], [training.outputs.loss])
    after = session.run(evaluation, [*arrays, labels], [evaluation.outputs.loss])[0]
    probabilities = session.run(prediction, arrays, prediction.outputs.predictions)[1]
    assert float(after) < float(before)
    assert float(after) == pytest.approx(-np.log(probabilities[np.arange(6), labels[:, 0]]).mean(), rel=1e-4)
