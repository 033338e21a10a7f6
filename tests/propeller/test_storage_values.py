"""Types and values of tensors: bfloat16 in every format, what is not finite, what cannot stand for a parameter."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from propeller import graph
from propeller.errors import UserError
from propeller.graph import paddle
from propeller.session import Session
from propeller.storage import open_tensors, write_safetensors
from propeller.storage.fluid import encode_variable, read_variable
from propeller.storage.values import load_values, not_finite, read_finite

VALUES = np.float32([[1, -2, 0.10009765625], [3e38, -0.0, 1e-40]])
BITS = (VALUES.view(np.uint32) >> 16).astype(np.uint16)
EXACT = (BITS.astype(np.uint32) << 16).view(np.float32)


def assert_bits(array, expected):
    assert array.dtype == np.float32 and array.shape == expected.shape
    np.testing.assert_array_equal(array.view(np.uint32), expected.view(np.uint32))


# ------------------------------------------------------------------------------------------ bfloat16


def test_bfloat16_that_paddle_saves(tmp_path):
    with paddle.base.dygraph.guard():
        tensor = paddle.to_tensor(VALUES).astype('bfloat16')
        paddle.save({'w': tensor, 'b': paddle.to_tensor(VALUES)}, str(tmp_path / 'x.pdparams'))
        expected = paddle.load(str(tmp_path / 'x.pdparams'))['w'].astype('float32').numpy()
    tensors = open_tensors(tmp_path / 'x.pdparams')
    assert tensors.dtype('w') == np.float32
    assert_bits(tensors['w'], expected)
    assert_bits(tensors['b'], VALUES)


@pytest.mark.parametrize('value', [BITS, BITS.astype('>u2'), ('name', BITS), BITS.T, BITS[0, 0]])
def test_every_uint16_in_pdparams_is_bfloat16(tmp_path, value):
    (tmp_path / 'x.pdparams').write_bytes(pickle.dumps({'w': value}, protocol=2))
    bits = np.asarray(value[1] if isinstance(value, tuple) else value)
    exact = np.asarray(bits.astype(np.uint32) << 16, np.uint32).view(np.float32)
    assert_bits(open_tensors(tmp_path / 'x.pdparams')['w'], exact)


def test_bfloat16_in_fluid_files(tmp_path):
    head = bytearray(encode_variable(BITS.view(np.int16)))
    head[head.index(bytes([8, 1]), 16) + 1] = 22
    (tmp_path / 'w').write_bytes(bytes(head) + BITS.tobytes())
    assert_bits(read_variable(tmp_path / 'w'), EXACT)
    folder = open_tensors(tmp_path)
    assert folder.dtype('w') == np.float32 and folder.shape('w') == (2, 3)
    (tmp_path / 'w.master').write_bytes(encode_variable(VALUES) + VALUES.tobytes())
    assert_bits(open_tensors(tmp_path)['w'], VALUES)


@pytest.mark.parametrize('written', ['np', 'pd', 'paddle'])
def test_uint16_in_safetensors_of_paddle_is_bfloat16(tmp_path, written):
    write_safetensors(tmp_path / 'x.safetensors', {'w': BITS}, {'format': written})
    tensors = open_tensors(tmp_path / 'x.safetensors')
    assert tensors.dtype('w') == np.float32
    assert_bits(tensors['w'], EXACT)


def test_uint16_of_others_stays_what_it_is(tmp_path):
    for metadata in (None, {'format': 'pt'}):
        write_safetensors(tmp_path / 'x.safetensors', {'w': BITS}, metadata)
        tensors = open_tensors(tmp_path / 'x.safetensors')
        assert tensors.dtype('w') == tensors['w'].dtype == np.uint16


# ------------------------------------------------------------------------------------------ not finite

FLOATS = st.sampled_from([np.float16, np.float32, np.float64])


@given(FLOATS.flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))))
def test_exactly_what_is_not_finite_is_found(array):
    wrong = [index for index in np.ndindex(array.shape) if not np.isfinite(array[index])]
    text = not_finite(array)
    if not wrong:
        assert text is None
    else:
        first = list(wrong[0])
        assert text == f'{array[wrong[0]]} at {first}, the first of {len(wrong)} such values of {array.size}'


@pytest.mark.parametrize('array', [np.full(999, 6e4, np.float16), np.full((3, 7), 3e38, np.float32), np.arange(5)])
def test_large_numbers_and_whole_ones_are_finite(array):
    assert not_finite(array) is None


# ------------------------------------------------------------------------------------------ loading and saving


@pytest.fixture
def session():
    session = Session(seed=3)
    program = session.build(
        [graph.Feed('x', (-1, 2), 'float32')],
        lambda x: [x + graph.parameter('w', [2], graph.constant(7)) + graph.parameter('v', [2], graph.constant(5))],
    )
    session.initialize(program)
    return session


def test_floating_point_numbers_are_converted(session, capsys):
    half, double = np.float16([0.1, -6e4]), np.array([0.1, 1 / 3])
    load_values(session, ['w', 'v'], {'w': half, 'v': double}, 'folder')
    assert session.read('w').dtype == np.float32
    np.testing.assert_array_equal(session.read('w'), half.astype(np.float32))
    np.testing.assert_array_equal(session.read('v'), double.astype(np.float32))
    assert 'folder: 1 tensors rounded to fewer digits: v (float64 to float32)' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('array', 'text'),
    [
        (np.int64([1, 2]), 'folder: w is int64, expected float32'),
        (np.uint16([1, 2]), 'uint16 may be bits of bfloat16'),
        (np.array([True, False]), 'w is bool, expected float32'),
        (np.float32([1, np.nan]), r'w with nan at \[1\], the first of 1 such values of 2'),
        (np.float32([-np.inf, np.nan]), r'w with -inf at \[0\], the first of 2'),
        (np.array([1, 1e39]), 'w with values too large for float32'),
    ],
)
def test_what_cannot_be_a_parameter_is_refused(session, array, text):
    with pytest.raises(UserError, match=text):
        load_values(session, ['w'], {'w': array}, 'folder')
    np.testing.assert_array_equal(session.read('w'), np.float32([7, 7]))


def test_a_variable_keeps_its_type(session):
    with pytest.raises(UserError, match='w: found type int64, expected float32'):
        session.write('w', np.int64([1, 2]))
    assert session.read('w').dtype == np.float32


def test_what_is_not_finite_is_not_saved(session):
    session.write('v', np.float32([1, np.inf]))
    assert list(read_finite(session, ['w'], 'folder')) == ['w']
    with pytest.raises(UserError, match=r'folder: not saved, because v has inf at \[1\].*lower learning rate'):
        read_finite(session, ['w', 'v'], 'folder')
