"""Data sets as inputs and feeds of programs that are written by hand, and of a Learner that goes on."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import propeller.paddle as propeller
from propeller import graph
from propeller.data import background
from propeller.data.dataset import Dataset
from propeller.data.feature_column import FeatureColumns, LabelColumn, TextColumn
from propeller.errors import UserError
from propeller.graph import paddle
from propeller.update import minimize
from tests.propeller.test_dataset_seek import record_files

WIDTH = 3


def lines(count):
    """Batches of `x` [B, 3] and `y` [B, 1], its sum."""
    x = np.random.default_rng(5).normal(size=(count, WIDTH)).astype(np.float32)
    dataset = Dataset.from_list([(row, row.sum(keepdims=True)) for row in x]).padded_batch(4)
    dataset.data_shapes = [[-1, WIDTH], [-1, 1]]
    return dataset


def test_a_program_that_is_written_by_hand_is_trained():
    dataset = lines_named(23, 'train').repeat(30)
    paddle.enable_static()
    main, startup = paddle.static.Program(), paddle.static.Program()
    with paddle.static.program_guard(main, startup), paddle.utils.unique_name.guard():
        x, y = dataset.features()
        assert [v.is_same(w) for v, w in zip(dataset.placeholders(), (x, y), strict=True)] == [True, True]
        assert list(x.shape) == [-1, WIDTH] and x.dtype == paddle.float32
        weight = paddle.create_parameter([WIDTH, 1], 'float32')
        loss = paddle.mean(paddle.square(paddle.matmul(x, weight) - y))
        paddle.optimizer.SGD(0.1).minimize(loss)
    scope, losses = paddle.static.Scope(), []
    executor = paddle.static.Executor(paddle.CPUPlace())
    with paddle.static.scope_guard(scope):
        executor.run(startup)
        feeds = dataset.start()
        for feed in feeds:
            assert list(feed) == ['train_placeholder_0', 'train_placeholder_1']
            losses.append(float(executor.run(main, feed=feed, fetch_list=[loss])[0]))
        assert len(losses) == 6 * 30 and losses[-1] < 1e-3 < losses[0]
        for feed in lines_named(7, 'train').start([paddle.CPUPlace()]):
            assert (
                executor.run(main, feed=feed, fetch_list=[y])[0].shape == np.asarray(feed['train_placeholder_1']).shape
            )
    assert not [thread for thread in threading.enumerate() if thread.name == 'prefetch']


def lines_named(count, name):
    dataset = lines(count)
    dataset.name = name
    return dataset


def test_what_start_and_features_refuse():
    with pytest.raises(UserError, match="found a data set without a name, expected one, .* dataset.name = 'train'"):
        lines(3).features()
    with pytest.raises(UserError, match='start: found 2 places, expected one: in Paddle 3'):
        lines_named(3, 'x').start([paddle.CPUPlace()] * 2)
    with pytest.raises(UserError, match="start: found places 'cpu', expected a place"):
        lines_named(3, 'x').start('cpu')
    feeds = lines_named(8, 'x').map(lambda x, y: (x, y.astype(np.float64) if x.shape else y))
    feeds.data_shapes, feeds.data_types = [[-1, WIDTH], [-1, 1]], ['float32', 'float32']
    with pytest.raises(UserError, match='data set x, element 0, value 1: found float64 .* expected float32'):
        list(feeds.start())


def test_closing_the_feeder_ends_its_thread_and_process():
    dataset = lines(9999).buffered(2)
    dataset.name = 'x'
    feeds = dataset.start()
    next(feeds)
    assert len(background._open) == 1
    feeds.close()
    assert not background._open
    assert not [thread for thread in threading.enumerate() if thread.name == 'prefetch' and thread.is_alive()]


class Sum(propeller.train.Model):
    """Learns from each row once, so that its parameter tells the order of all rows."""

    def forward(self, features):
        return features[0].astype('float32').matmul(graph.parameter('w', [WIDTH, 1], graph.constant(1)))

    def loss(self, predictions, label):
        return (predictions - label).square().mean()

    def backward(self, loss):
        minimize(loss, lambda step: 1e-3)

    def metrics(self, predictions, label):
        return {}


def rows_of_records(folder):
    """Record files -> interleave -> shuffle -> map -> batches, made in another process."""

    def row(record):
        numbers = np.frombuffer(record[:WIDTH], np.uint8).astype(np.int64)
        return numbers, (numbers[:1] % 7).astype(np.float32)

    files = Dataset.from_list(record_files(folder, (9, 14, 6))).repeat().shuffle(3, seed=1)
    rows = files.interleave(Dataset.from_record_file, 2, 2).shuffle(8, seed=2).map(row)
    return rows.padded_batch(3, max_seqlen=WIDTH).map(lambda x, y: (x, y[:, :1])).buffered(2)


def test_a_learner_goes_on_with_the_row_that_comes_next(tmp_path, logged):
    dataset = rows_of_records(tmp_path)
    dataset.data_shapes, dataset.data_types = [[-1, WIDTH], [-1, 1]], ['int64', 'float32']
    seen = {}
    for name, stops in {'whole': [7], 'parts': [3, 7]}.items():
        for stop in stops:
            config = propeller.RunConfig(model_dir=str(tmp_path / name), max_steps=stop, save_steps=3, log_steps=1)
            learner = propeller.Learner(Sum, config, {}, seed=3)
            learner.train(dataset)
        seen[name] = (tmp_path / name / 'model_7/model.safetensors').read_bytes()
    assert seen['whole'] == seen['parts']
    assert dataset.seeded and not any('without a seed' in line for line in logged)
    config = config._replace(max_steps=8)
    propeller.Learner(Sum, config, {}, seed=3).train(dataset.shuffle(2).repeat())
    assert sum('the data are shuffled without a seed' in line for line in logged) == 1


class Words(Sum):
    """Learns a number for each word."""

    def forward(self, features):
        return graph.F.embedding(features[0], graph.parameter('w', [9, 1], graph.constant(1))).sum(1)

    def loss(self, predictions, label):
        return (predictions[:, 0] - label.astype('float32')).square().mean()


def train_on_columns(folder, model_dir, kill_after=None):
    """Seven updates on the two files in `folder`; killed after so many, of which the last checkpoint keeps four."""

    class Kill(propeller.train.RunHook):
        def after_run(self, fetched, state):
            if state.step == kill_after:
                os.kill(os.getpid(), signal.SIGKILL)

    columns = FeatureColumns(
        [TextColumn('text', 0, vocab_dict={w: i for i, w in enumerate('_abcdefgh')}), LabelColumn('y')]
    )
    dataset = columns.build_dataset('train', data_dir=f'{folder}/text', shuffle=True, seed=4).padded_batch(3)
    config = propeller.RunConfig(model_dir=str(model_dir), max_steps=7, save_steps=2, log_steps=1)
    propeller.Learner(Words, config, {}, seed=3).train(dataset, [Kill()])
    return Path(model_dir, 'model_7/model.safetensors').read_bytes()


def test_a_killed_learner_goes_on_over_feature_columns_bit_by_bit(tmp_path):
    (tmp_path / 'text').mkdir()
    for name, count in (('part-0', 7), ('part-1', 12)):
        rows = [f'{" ".join("abcdefgh"[(i * j) % 8] for j in range(1 + i % 4))}\t{i % 5}\n' for i in range(count)]
        (tmp_path / 'text' / name).write_text(''.join(rows))
    call = f'from {__name__} import *; train_on_columns({str(tmp_path)!r}, {str(tmp_path / "killed")!r}, 5)'
    killed = subprocess.run([sys.executable, '-c', call], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / 'killed/ckpt_info').read_text().split() == ['model_2', 'model_4']
    assert train_on_columns(tmp_path, tmp_path / 'killed') == train_on_columns(tmp_path, tmp_path / 'whole')
