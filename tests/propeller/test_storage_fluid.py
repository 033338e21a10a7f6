"""Variable files of fluid 1.x: against those of a real fluid, against paddle's own writer, and malformed ones."""

import importlib.util
import os
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from propeller.errors import UserError
from propeller.storage import fluid, open_tensors

TYPES = ['?', 'i2', 'i4', 'i8', 'f2', 'f4', 'f8', 'u1', 'i1']
# uint32 0, uint64 0 levels, uint32 0, int32 6, FP32 [2, 3].
HEAD = struct.pack('<IQIi', 0, 0, 0, 6) + bytes([8, 5, 16, 2, 16, 3])


def write(path, data):
    path.write_bytes(data)
    return str(path)


def descriptor_file(path, descriptor, values=b''):
    return write(path, struct.pack('<IQIi', 0, 0, 0, len(descriptor)) + bytes(descriptor) + values)


def test_layout_is_the_documented_one(tmp_path):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    path = write(tmp_path / 'w', HEAD + struct.pack('<6f', *range(6)))
    np.testing.assert_array_equal(fluid.read_variable(path), values)
    fluid.write_variable(tmp_path / 'copy', values)
    assert (tmp_path / 'copy').read_bytes() == HEAD + struct.pack('<6f', *range(6))


def test_files_of_a_real_fluid_are_rewritten_byte_identical(tmp_path):
    spec = importlib.util.find_spec('jieba')
    if spec is None:
        pytest.skip('jieba is not installed')
    folder = os.path.join(os.path.dirname(spec.origin), 'lac_small', 'model_baseline')
    tensors = open_tensors(folder)
    assert tensors.source == 'fluid' and len(tensors) == 20
    assert tensors.shape('word_emb') == (20941, 128) and tensors.shape('crfw') == (59, 57)
    for name in tensors:
        fluid.write_variable(tmp_path / name, tensors[name])
        with open(os.path.join(folder, name), 'rb') as f:
            assert f.read() == (tmp_path / name).read_bytes(), name


@pytest.mark.parametrize('kind', TYPES)
def test_paddle_writes_the_same_bytes_and_reads_ours(tmp_path, kind):
    core = pytest.importorskip('paddle').base.core
    values = (np.random.default_rng(3).standard_normal((3, 1, 7)) * 9).astype(kind)
    tensor = core.DenseTensor()
    tensor.set(values, core.CPUPlace())
    core.save_dense_tensor(tensor, str(tmp_path / 'theirs'))
    fluid.write_variable(tmp_path / 'ours', values)
    assert (tmp_path / 'ours').read_bytes() == (tmp_path / 'theirs').read_bytes()
    back = core.DenseTensor()
    core.load_dense_tensor(back, str(tmp_path / 'ours'))
    np.testing.assert_array_equal(np.array(back), values)


@settings(max_examples=60)
@given(st.data())
def test_any_array_comes_back(tmp_path_factory, data):
    kind = data.draw(st.sampled_from(TYPES))
    array = data.draw(hnp.arrays(np.dtype(kind), hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)))
    path = tmp_path_factory.mktemp('any') / 'x'
    fluid.write_variable(path, array)
    back = fluid.read_variable(path)
    assert back.shape == array.shape and back.dtype == array.dtype and back.tobytes() == array.tobytes()


def test_layout_in_memory_does_not_matter(tmp_path):
    array = np.arange(35, dtype='>i4').reshape(5, 7)
    for view in (array.T, array[::2, ::-3], np.asfortranarray(array)):
        fluid.write_variable(tmp_path / 'x', view)
        np.testing.assert_array_equal(fluid.read_variable(tmp_path / 'x'), view)


def test_sequence_levels_are_counted_and_skipped(tmp_path):
    levels = struct.pack('<QQ2q', 2, 16, 0, 3) + struct.pack('<Q4q', 32, 0, 1, 2, 3)
    path = write(tmp_path / 'x', HEAD[:4] + levels + HEAD[12:] + np.arange(6, dtype='<f4').tobytes())
    array, count = fluid.read_variable_with_levels(path)
    assert count == 2
    np.testing.assert_array_equal(array, np.arange(6, dtype='f4').reshape(2, 3))


def test_packed_dimensions_are_read(tmp_path):
    path = descriptor_file(tmp_path / 'x', [8, 2, 18, 3, 2, 128 + 2, 0], np.arange(4, dtype='<i4').tobytes())
    np.testing.assert_array_equal(fluid.read_variable(path), [[0, 1], [2, 3]])


VALUES = np.arange(6, dtype='<f4').tobytes()
NEGATIVE = [16] + [255] * 9 + [1]
MALFORMED = {
    'empty': (b'', '0 bytes where the version'),
    'text': (b'word_embedding\n', 'version 1685221239'),
    'levels': (struct.pack('<IQ', 0, 1 << 40), '1099511627776 sequence levels'),
    'level size': (struct.pack('<IQQ', 0, 1, 1 << 60) + b'123', '1152921504606846976 bytes'),
    'tensor version': (struct.pack('<IQIi', 0, 0, 7, 6), 'tensor version 7'),
    'descriptor length': (struct.pack('<IQIi', 0, 0, 0, 1 << 30), '1073741824 bytes'),
    'descriptor negative': (struct.pack('<IQIi', 0, 0, 0, -5), '-5 bytes'),
    'descriptor cut': (HEAD[:-3], 'the descriptor'),
    'values cut': (HEAD + VALUES[:-1], '23 bytes of values, expected 24'),
    'trailing': (HEAD + VALUES + b'\0', '25 bytes of values, expected 24'),
    'negative dim': (struct.pack('<IQIi', 0, 0, 0, 13) + bytes([8, 5] + NEGATIVE), 'dimension -1'),
    'huge dims': (struct.pack('<IQIi', 0, 0, 0, 22) + bytes([8, 5] + ([16] + [255] * 8 + [127]) * 2), 'shape'),
    'unknown type': (struct.pack('<IQIi', 0, 0, 0, 4) + bytes([8, 7, 16, 1]), 'data type 7'),
    'no type': (struct.pack('<IQIi', 0, 0, 0, 2) + bytes([16, 1]), 'no data type'),
    'two types': (struct.pack('<IQIi', 0, 0, 0, 4) + bytes([8, 5, 8, 5]), 'two data types'),
    'unknown field': (struct.pack('<IQIi', 0, 0, 0, 4) + bytes([8, 5, 24, 1]), 'unknown tag 24'),
    'endless number': (struct.pack('<IQIi', 0, 0, 0, 13) + bytes([8, 5] + [255] * 11), 'more than 10 bytes'),
    'open number': (struct.pack('<IQIi', 0, 0, 0, 4) + bytes([8, 5, 16, 255]), 'runs over the end'),
    'packed too long': (struct.pack('<IQIi', 0, 0, 0, 5) + bytes([8, 5, 18, 9, 1]), '9 bytes of dimensions'),
    'rank': (struct.pack('<IQIi', 0, 0, 0, 102) + bytes([8, 5] + [16, 1] * 50), '50 dimensions'),
    'bool': (struct.pack('<IQIi', 0, 0, 0, 4) + bytes([8, 0, 16, 2]) + b'\x01\x02', 'bytes above 1'),
}


@pytest.mark.parametrize('case', MALFORMED)
def test_malformed_files_are_refused_by_name(tmp_path, case):
    data, text = MALFORMED[case]
    path = write(tmp_path / 'broken', data)
    with pytest.raises(UserError, match='broken: found') as e:
        fluid.read_variable(path)
    assert text in str(e.value)


@settings(max_examples=300)
@given(st.binary(max_size=80), st.integers(0, 24))
def test_random_bytes_never_crash(tmp_path_factory, data, keep):
    path = write(tmp_path_factory.mktemp('random') / 'x', HEAD[:keep] + data)
    try:
        array = fluid.read_variable(path)
    except UserError as e:
        assert path in str(e)
    else:
        assert array.nbytes <= len(HEAD[:keep] + data)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match='nothing: found no such file'):
        fluid.read_variable(tmp_path / 'nothing')


def test_types_without_a_code_are_refused_and_leave_nothing(tmp_path):
    with pytest.raises(UserError, match='cannot hold complex64'):
        fluid.write_variable(tmp_path / 'x', np.zeros(3, np.complex64))
    assert os.listdir(tmp_path) == []


def test_a_folder_reads_lazily_and_lists_what_is_no_tensor(tmp_path):
    fluid.write_variable(tmp_path / 'a.w_0', np.ones((2, 5)))
    fluid.write_variable(tmp_path / '@LR_DECAY_COUNTER@', np.array([3]))
    for name in ('__model__', 'meta', '.hidden', 'vocab.txt'):
        (tmp_path / name).write_text('no tensor')
    (tmp_path / 'folder').mkdir()
    tensors = open_tensors(tmp_path)
    assert list(tensors) == ['@LR_DECAY_COUNTER@', 'a.w_0']
    assert tensors.ignored == ['.hidden', '__model__', 'meta', 'vocab.txt']
    assert tensors.shape('a.w_0') == (2, 5) and tensors.dtype('a.w_0') == np.float64
    fluid.write_variable(tmp_path / 'a.w_0', np.full((2, 5), 7.0))
    assert tensors['a.w_0'][1, 4] == 7


def test_a_broken_file_in_a_folder_stops(tmp_path):
    fluid.write_variable(tmp_path / 'good', np.ones(3))
    (tmp_path / 'half').write_bytes((tmp_path / 'good').read_bytes()[:-2])
    with pytest.raises(UserError, match='half: found 22 bytes of values, expected 24'):
        open_tensors(tmp_path)


def test_master_copies_are_the_value_of_float16_variables_only(tmp_path):
    exact = np.array([1 / 3, 2 / 3], np.float32)
    fluid.write_variable(tmp_path / 'fc.w_0', exact.astype(np.float16))
    fluid.write_variable(tmp_path / 'fc.w_0.master', exact)
    fluid.write_variable(tmp_path / 'norm', exact)
    fluid.write_variable(tmp_path / 'norm.master', np.zeros(2, np.float32))
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    tensors = open_tensors(tmp_path)
    assert list(tensors) == ['fc.w_0', 'norm'] and tensors.dtype('fc.w_0') == np.float32
    np.testing.assert_array_equal(tensors['fc.w_0'], exact)
    np.testing.assert_array_equal(tensors['norm'], exact)
    assert before == {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}


def test_a_master_of_another_shape_is_refused(tmp_path):
    fluid.write_variable(tmp_path / 'w', np.zeros((2, 3), np.float16))
    fluid.write_variable(tmp_path / 'w.master', np.zeros((3, 2), np.float32))
    with pytest.raises(UserError, match=r'w.master: found shape \[3, 2\], expected \[2, 3\]'):
        open_tensors(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    fluid.write_variable(tmp_path / 'x', np.ones(3))

    def fail(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(UserError, match='x: cannot be written .No space left on device.'):
        fluid.write_variable(tmp_path / 'x', np.zeros(3))
    assert os.listdir(tmp_path) == ['x']
    np.testing.assert_array_equal(fluid.read_variable(tmp_path / 'x'), np.ones(3))


def test_a_file_of_many_variables_is_walked_through(tmp_path):
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((0, 4), np.int64), np.float16([1, 2])]
    whole = b''.join(fluid.encode_variable(array) + array.tobytes() for array in arrays)
    path = tmp_path / 'model.pdiparams'
    path.write_bytes(whole)
    fluid.check_combined(path)
    for broken in (
        whole[:-1],
        whole + b'\0',
        whole.replace(b'\x10\x02\x10\x03', b'\x10\x7f\x10\x7f', 1),
        b'\x01' + whole,
    ):
        path.write_bytes(broken)
        with pytest.raises(UserError, match='model.pdiparams: found'):
            fluid.check_combined(path)
