"""The rows that calibrate a model in int8, and those that it is scored on."""

import logging
from types import SimpleNamespace

import pytest

from ernie.inference.folder import ModelFolder
from ernie.inference.int8 import data as int8_data
from ernie.inference.int8.data import check_count, read_data, recorded_of, scoring_task, spread
from propeller.errors import UserError
from tests.ernie.int8_run import write_run
from tests.ernie.tiny_inference import LABELS, texts, write_checkpoint
from tests.ernie.tiny_model import write_table


def labelled(path, count, seed):
    """A file of texts with labels of the model, whatever it would answer."""
    labels = LABELS['classify']
    rows = [(text + '好', labels[i % len(labels)]) for i, text in enumerate(texts(count, seed))]
    return write_table(path, ['text_a', 'label'], rows)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A run whose files are there: `checkpoint`, `train`, `dev`."""
    root = tmp_path_factory.mktemp('int8')
    checkpoint = write_run(root, train_set=str(root / 'train.tsv'), dev_set=str(root / 'dev.tsv'))
    train, dev = labelled(root / 'train.tsv', 120, 1), labelled(root / 'dev.tsv', 60, 2)
    return SimpleNamespace(checkpoint=str(checkpoint), train=train, dev=dev)


def test_rows_of_the_training(run, tmp_path):
    found = read_data(ModelFolder(run.checkpoint))
    assert (found.source, len(found.calibration), found.scores.name) == (run.train, 120, run.dev)
    assert [len(arrays[0][0]) for arrays in found.calibration] == found.lengths
    assert all((arrays[3] == 1).all() for arrays in found.calibration)  # no padding
    assert len(found.scores.rows) == 60
    lone = ModelFolder(str(write_checkpoint(tmp_path / 'lone', 'classify')))
    assert recorded_of(lone.path) == ({}, {})
    for given, text in (
        ({'calibration_set': run.train}, r'no record of its training, and nothing to score .*Give --dev_set FILE'),
        ({'dev_set': run.dev}, r'no record of its training, and nothing to calibrate .*Give --calibration_set FILE'),
        ({'calibration_set': 'no.tsv'}, r'--calibration_set: no.tsv: no such file'),
        ({'dev_set': 'no.tsv'}, r'--dev_set: no.tsv: no such file'),
    ):
        with pytest.raises(UserError, match=text):
            read_data(lone, **given)
    found = read_data(lone, run.train, run.dev)
    assert len(found.calibration) == 120
    assert read_data(lone, None, run.dev, calibrates=False).calibration == []


def test_rows_that_are_held_out_are_not_calibrated_with(run, tmp_path):
    checkpoint = write_run(tmp_path, train_set=run.train, dev_share=0.25)
    found = read_data(ModelFolder(str(checkpoint)))
    assert found.scores.name == 'train_dev'
    assert 15 < len(found.scores.rows) < 45 and len(found.calibration) + len(found.scores.rows) == 120


def test_a_training_file_that_has_changed_is_not_used(run, tmp_path, caplog):
    checkpoint = write_run(tmp_path, train_set=run.train, dev_share=0.25)
    folder = ModelFolder(str(checkpoint))
    task = scoring_task(folder, {})
    recorded = int8_data.Recorded({'train_set': run.train, 'dev_share': 0.25}, {'train_file': 'another'})
    logging.getLogger('ernie').propagate = True
    assert int8_data._of_training(task, recorded, 'm') == (None, None)
    logging.getLogger('ernie').propagate = False
    assert 'has changed since m was trained on it' in caplog.text


def test_files_of_a_training_that_are_gone_are_named(tmp_path):
    checkpoint = write_run(tmp_path, train_set='gone/train.tsv', dev_set='gone/dev.tsv')
    with pytest.raises(UserError, match=r'the files of its training \(gone/train.tsv, gone/dev.tsv\) not there'):
        read_data(ModelFolder(str(checkpoint)))


def test_calibration_rows(run, tmp_path, caplog):
    assert len(spread(1000)) == 300 and spread(1000).tolist() == spread(1000).tolist()
    assert spread(7).tolist() == list(range(7))
    logging.getLogger('ernie').propagate = True
    check_count('f', 100)
    assert not caplog.text
    check_count('f', 99)
    logging.getLogger('ernie').propagate = False
    assert 'f: 99 rows calibrate the model' in caplog.text
    with pytest.raises(UserError, match='f: found 19 rows, expected at least 20 to calibrate with, better 300'):
        check_count('f', 19)
    other = write_table(tmp_path / 'other.tsv', ['zzz', 'x'], [('是', '好')] * 30)
    with pytest.raises(UserError, match='other.tsv'):
        read_data(ModelFolder(run.checkpoint), other)
    pairs = write_table(tmp_path / 'unlabelled.tsv', ['text_a'], [('好',)] * 30)
    with pytest.raises(UserError, match='unlabelled.tsv'):
        read_data(ModelFolder(run.checkpoint), run.train, pairs)
