"""Fused embeddings with norm and dropout: beside float64 numpy, and inside real programs."""

import functools

import numpy as np
import pytest

from propeller import graph, ops
from propeller.graph import paddle
from propeller.recompute import segment
from propeller.update import backward
from tests.propeller.norm_oracle import (
    EPSILON,
    NormProgram,
    embedding_norm,
    embedding_program,
    embedding_sample,
    mask,
)
from tests.propeller.ops_oracle import (
    TOLERANCE,
    Built,
    Training,
    close,
    difference,
    refused,
    same_for_any_threads,
    same_training,
)

pytestmark = pytest.mark.usefixtures('compiled')
# Rows of each table, shape of the ids, width.
SHAPES = [
    ([5], (1,), 12),
    ([30, 7, 2], (7,), 30),
    ([100, 13, 2, 3], (13,), 384),
    ([30, 7, 2], (0,), 12),
    ([30, 7, 2], (3, 0), 12),
    ([11, 1], (2, 13), 7),
    ([1000, 26, 2], (5, 26), 390),
]


def flat(sample):
    """The arrays that an `embedding_program` is fed."""
    tables, ids, *rest = sample
    return [*tables, *ids, *rest]


# ------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize('probability', [0.0, 0.3])
def test_forward_and_gradients_are_those_of_float64(probability):
    for table_rows, rows, width in SHAPES:
        sample = embedding_sample(table_rows, rows, width)
        found, seed = embedding_program(table_rows, width, len(rows) + 1, probability).run(*flat(sample))
        close(found, embedding_norm(*sample, probability, seed), TOLERANCE['fp32'], table_rows, rows, width)
        for own, gradient in zip(sample[1], found[1:], strict=False):
            assert not np.delete(gradient, own.reshape(-1), 0).any()  # rows that were not used: 0


def test_plain_form_gives_the_same():
    for table_rows, rows, width in (SHAPES[2], SHAPES[5]):
        sample = embedding_sample(table_rows, rows, width)
        found, _ = embedding_program(table_rows, width, len(rows) + 1, mode='false').run(*flat(sample))
        close(found, embedding_norm(*sample), TOLERANCE['fp32'], table_rows, rows, width)


def test_many_rows_of_one_id_are_summed_well():
    """All tokens share a sentence type, and most of a batch is one word."""
    table_rows, rows, width = [3, 2], (64, 127), 12
    tables, ids, scale, bias, dy = embedding_sample(table_rows, rows, width)
    ids = [np.where(np.random.default_rng(1).random(rows) < 0.9, 1, ids[0]), np.zeros(rows, np.int64)]
    sample = tables, ids, scale, bias, dy + np.float32(0.3)
    found, _ = embedding_program(table_rows, width, 3).run(*flat(sample))
    close(found, embedding_norm(*sample), TOLERANCE['fp32'])


def test_dropout_comes_after_the_norm():
    """What is dropped is exactly 0, and gives its word no gradient."""
    probability, rows, width = 0.1, (31, 33), 390
    tables, ids, scale, bias, dy = embedding_sample([2000], rows, width)
    ids[0] = np.arange(np.prod(rows)).reshape(rows)  # each word once
    found, seed = embedding_program([2000], width, 3, probability).run(*tables, *ids, scale, bias, dy)
    dropped = mask((*rows, width), probability, seed) == 0
    np.testing.assert_array_equal(found[0] == 0, dropped)
    assert abs(dropped.mean() - probability) < 4 * np.sqrt(probability * (1 - probability) / dropped.size)
    right = embedding_norm(tables, ids, scale, bias, dy, probability, seed)
    assert difference(found[1], right[1]) < TOLERANCE['fp32']


def test_threads_do_not_change_the_result(threads):
    sample = embedding_sample([1000, 24, 2], (32, 24), 390)
    program = embedding_program([1000, 24, 2], 390, 3, 0.1)
    same_for_any_threads(threads, functools.partial(program.run_again, *flat(sample)))


# ------------------------------------------------------------------------------------------ programs

IDS = graph.Feed('words', (-1, 7), 'int64'), graph.Feed('positions', (-1, 7), 'int64')
BATCH = [np.random.default_rng(3).integers(0, n, size=(5, 7)) for n in (50, 7)]


def embedded(words, positions, probability=0.0):
    tables = [graph.parameter(name, [rows, 12], graph.truncated_normal(0.3)) for name, rows in (('w', 50), ('p', 7))]
    scale = graph.parameter('scale', [12], graph.constant(1))
    bias = graph.parameter('bias', [12], graph.constant(0))
    return ops.embedding_norm(tables, [words, positions], scale, bias, EPSILON, probability)


def train(mode, probability=0.0, **settings):
    """`Training` whose word table has a second use."""

    def loss(words, positions):
        x = embedded(words, positions, probability)
        weight = graph.parameter('weight', [12, 12], graph.truncated_normal(0.3))
        x = segment(lambda y: paddle.tanh(y @ weight) + y, x)
        scores = paddle.matmul(x, graph.parameter('w', [50, 12], None), transpose_y=True)
        return paddle.nn.functional.cross_entropy(scores.reshape([-1, 50]), words.reshape([-1]))

    return Training(IDS, loss, BATCH, mode, **settings)


@pytest.mark.parametrize('settings', [{}, {'recompute': True}, {'frozen': ['w']}, {'frozen': ['p', 'scale', 'bias']}])
def test_training_is_that_of_the_plain_form(settings):
    fused = train('true', **settings)
    assert any('propeller_embedding_norm' in name for name in fused.operators())
    same_training(train('false', **settings), fused, rel=1e-5, atol=1e-4, fall=0.99)


def test_dropout_under_recomputation_has_the_same_masks():
    plain, again = train('true', 0.3).losses, train('true', 0.3, recompute=True).losses
    assert again == pytest.approx(plain, rel=1e-6)
    assert abs(plain[0] - train('true').losses[0]) > 0.001


def test_gradients_of_frozen_tables_are_not_computed():
    def build(words, positions):
        with graph.parameter_rules(frozen=lambda name: name == 'w'):
            return [g for _, g in backward(embedded(words, positions).square().sum())]

    program = Built(IDS, build, seed=4)
    assert [g.shape for g in program.run(*BATCH)] == [(7, 12), (12,), (12,)]
    operators = program.program.main.global_block().ops
    (gradient,) = [op for op in operators if 'embedding_norm' in op.name() and 'grad' in op.name()]
    assert gradient.attrs()['wanted'] == [0, 1]


# ------------------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(('k', 'wrong'), [(0, 30), (0, -1), (1, 7), (2, 2**40)])
def test_an_id_outside_its_table_is_named(k, wrong):
    table_rows = [30, 7, 2]
    tables, ids, scale, bias, dy = embedding_sample(table_rows, (3, 5), 12)
    ids[k][1, 2] = wrong
    n = table_rows[k]
    text = rf'embedding_norm: ids {k} hold {wrong} \(element 7\), expected 0 to {n - 1}: table {k} has {n} rows'
    with pytest.raises(ValueError, match=text):
        embedding_program(table_rows, 12, 3).run(*tables, *ids, scale, bias, dy)


def refuse(match, tables=((30, 12), (7, 12)), ids=((-1, 5), (-1, 5)), width=12, types=None, dropout=0.0):
    table_type, ids_type = types or ('float32', 'int64')
    feeds = [graph.Feed(f't{k}', shape, table_type) for k, shape in enumerate(tables)]
    feeds += [graph.Feed(f'i{k}', shape, ids_type) for k, shape in enumerate(ids)]
    feeds += [graph.Feed(name, (width,), 'float32') for name in ('scale', 'bias')]
    count = len(tables)

    def build(*values):
        return ops.embedding_norm(values[:count], values[count:-2], *values[-2:], EPSILON, dropout)

    refused(match, feeds, build)


def test_wrong_shapes_types_and_numbers_are_refused_in_both_forms():
    refuse(r'ops.embedding_norm: found 2 tables and ids for 1, expected 1 to 4 tables', ids=((-1, 5),))
    refuse(r'ops.embedding_norm: found 0 tables and ids for 0', tables=(), ids=())
    refuse(r'ops.embedding_norm: found 5 tables and ids for 5', tables=((7, 12),) * 5, ids=((-1, 5),) * 5)
    refuse(r'table 1 has shape \[7, 13\], expected \[rows, 12\]', tables=((30, 12), (7, 13)))
    refuse(r'table 0 has shape \[30\], expected \[rows, width\]', tables=((30,), (7, 12)))
    refuse(r'input 1 of ids has shape \[-1, 6\], expected \[-1, 5\], that of input 0', ids=((-1, 5), (-1, 6)))
    refuse(r'input 0 of ids is int32 \[-1, 5\], expected int64', types=('float32', 'int32'))
    refuse(r'table 0 is float64 \[30, 12\], expected float32', types=('float64', 'int64'))
    refuse(r'scale has shape \[13\], expected \[12\] for tables 12 wide', width=13)
    refuse(r'dropout is 1.5, expected 0 or more and less than 1', dropout=1.5)


def test_shapes_that_show_only_at_run_time_are_refused_by_the_kernel():
    feeds = [graph.Feed('table', (-1, -1), 'float32'), graph.Feed('other', (-1, -1), 'float32')]
    feeds += [graph.Feed('ids', (-1,), 'int64'), graph.Feed('others', (-1,), 'int64')]
    feeds += [graph.Feed(name, (12,), 'float32') for name in ('scale', 'bias')]

    def apply(inputs, _):
        return ops.embedding_norm(inputs[:2], inputs[2:4], *inputs[4:], EPSILON)

    program = NormProgram(feeds, apply)

    def run_with(other=(7, 12), others=(5,), width=12):
        arrays = [np.ones((30, width), np.float32), np.ones(other, np.float32)]
        arrays += [np.zeros(5, np.int64), np.zeros(others, np.int64), np.ones(12, np.float32), np.ones(12, np.float32)]
        return program.run(*arrays, np.ones((5, 12), np.float32))[0]

    assert run_with()[0].shape == (5, 12)
    for match, wrong in {
        r'embedding_norm: table 1 has shape \[7, 13\], expected \[rows, width\], as table 0': {'other': (7, 13)},
        r'embedding_norm: ids 1 have shape \[6\], expected \[5\]': {'others': (6,)},
        r'embedding_norm: scale has shape \[12\], expected \[13\]': {'other': (7, 13), 'width': 13},
    }.items():
        with pytest.raises(ValueError, match=match):
            run_with(**wrong)
