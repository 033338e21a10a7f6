"""Dropout masks of the fused operators: the generator beside numpy, the seed of a run, the sites of a program."""

import ctypes

import numpy as np
import pytest

from propeller import graph, ops
from propeller.graph import paddle
from propeller.recompute import recomputation, segment
from propeller.update import backward
from tests.propeller import philox
from tests.propeller.ops_oracle import Built


@pytest.fixture(scope='module')
def keep_factors(compiled):
    """Function (probability, seed, site, first, count) -> float32 [count], the library's own."""
    function = ctypes.CDLL(str(compiled.path)).propeller_ops_keep_factors
    integer, real = ctypes.c_int64, ctypes.c_float
    function.argtypes = [real, integer, integer, ctypes.c_uint64, integer, ctypes.POINTER(real)]

    def call(probability, seed, site, first, count):
        out = np.full(count + 1, 7, np.float32)
        function(probability, seed, site, first, count, out.ctypes.data_as(ctypes.POINTER(real)))
        assert out[-1] == 7  # nothing is written behind the end
        return out[:-1]

    return call


@pytest.mark.parametrize(
    ('counter', 'key', 'words'),
    [  # the known answers that Random123 publishes for philox4x32-10
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_oracle_gives_the_published_answers(counter, key, words):
    assert philox.philox(counter, key).tolist() == words


@pytest.mark.parametrize('probability', [0.0, 0.1, 0.5, 0.999])
def test_factors_are_those_of_numpy(keep_factors, probability):
    for seed, site, first, count in [
        (0, 0, 0, 4),
        (1, 0, 0, 1),
        (2**62 - 1, 2**31 - 1, 4, 7),
        (0x299F31D0A4093822, 3, 12, 130),
        (5, 1, 2**34 - 256, 1031),  # the counter's first word overflows
        (6, 2, 2**40, 513),
        (7, 3, 0, 0),
    ]:
        found = keep_factors(probability, seed, site, first, count)
        np.testing.assert_array_equal(found, philox.keep_factors(probability, seed, site, first, count), str(seed))


def test_rate_mean_and_independence(keep_factors):
    count, p = 2**20, 0.1
    one = keep_factors(p, 11, 0, 0, count)
    deviation = np.sqrt(p * (1 - p) / count)
    assert abs((one == 0).mean() - p) < 4 * deviation
    assert set(np.unique(one)) == {np.float32(0), np.float32(1 / (1 - np.float64(np.float32(p))))}
    others = [keep_factors(p, 12, 0, 0, count), keep_factors(p, 11, 1, 0, count), keep_factors(p, 11, 0, count, count)]
    others += [np.roll(one, shift) for shift in (1, 2, 3, 4, 384)]
    for other in others:
        both = ((one == 0) & (other == 0)).mean()
        assert abs(both - p * p) < 4 * np.sqrt(p * p * (1 - p * p) / count)


# ------------------------------------------------------------------------------------------ seeds and sites


def test_a_program_has_one_seed_and_numbers_its_dropouts():
    def build():
        masks = [ops.dropout_seed() for _ in range(3)]
        assert [mask.site for mask in masks] == [0, 1, 2]
        return [mask.seed for mask in masks]

    Built([], build, 'auto')  # what another program has does not count
    program = Built([], build, 'auto', seed=3)
    assert program.operators().count('randint') == 1
    runs = [[int(seed) for (seed,) in program.run()] for _ in range(4)]
    assert all(len(set(seeds)) == 1 for seeds in runs)
    drawn = [seeds[0] for seeds in runs]
    assert len(set(drawn)) == 4 and max(drawn) > 2**27 and all(0 <= seed < 2**31 for seed in drawn)


def test_seed_follows_from_the_state_that_checkpoints_hold():
    def drawn(program):
        return int(program.run()[0][0])

    program = Built([], lambda: ops.dropout_seed().seed, 'auto', seed=3)
    drawn(program)
    state = program.session.random_state()
    following = [drawn(program) for _ in range(3)]
    program.session.set_random_state(state)
    assert [drawn(program) for _ in range(3)] == following
    assert drawn(Built([], lambda: ops.dropout_seed().seed, 'auto', seed=4)) not in following


def test_no_dropout_draws_nothing():
    program = Built([], lambda: paddle.zeros([1]), 'auto')
    state = program.session.random_state()
    program.run()
    assert program.session.random_state() == state
    assert 'randint' not in program.operators()


def test_second_pass_of_a_segment_has_the_masks_of_the_first():
    masks = []

    def layer(x):
        masks.append(ops.dropout_seed())
        return paddle.tanh(x @ graph.parameter('w', [7, 7], graph.constant(0.1)))

    def build():
        with recomputation():
            x = segment(layer, segment(layer, paddle.ones([3, 7])))
            loss = x.sum()
            assert ops.dropout_seed().site == 2
        return [gradient for _, gradient in backward(loss)]

    program = Built([], build, 'auto')
    assert [mask.site for mask in masks] == [0, 1, 1, 0]
    assert len({mask.seed.hash() for mask in masks}) == 1
    assert program.run()[0].shape == (7, 7)
