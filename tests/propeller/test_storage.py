"""Opening tensors of every format, and writing safetensors."""

import json
import os
import pickle
import stat
import struct
import time
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from propeller.errors import UserError
from propeller.storage import open_tensors, write_safetensors
from propeller.storage.values import bfloat16_to_float32

TENSORS = {
    'fc.w_0': np.arange(15, dtype=np.float32).reshape(3, 5),
    'fc.b_0': np.array([1, -2, 3], np.float16),
    'step': np.array(7, np.int64),
    'none': np.zeros((0, 4), np.float64),
    'flags': np.array([True, False]),
}


def assert_equal(tensors, expected):
    assert sorted(tensors) == sorted(expected)
    for name, array in expected.items():
        assert tensors.shape(name) == array.shape and tensors.dtype(name) == array.dtype
        np.testing.assert_array_equal(tensors[name], array)
        assert tensors[name].dtype == array.dtype and tensors[name].shape == array.shape


def raw_safetensors(path, header, data):
    head = json.dumps(header).encode()
    path.write_bytes(struct.pack('<Q', len(head)) + head + data)
    return path


# safetensors


def test_a_name_twice_in_the_header_is_refused(tmp_path):
    entry = b'"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'
    head = b'{' + entry + b', ' + entry + b'}'
    (tmp_path / 'x.safetensors').write_bytes(struct.pack('<Q', len(head)) + head + bytes(4))
    with pytest.raises(UserError, match="x.safetensors.* found 'w' twice in one object"):
        open_tensors(tmp_path / 'x.safetensors')


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    write_safetensors(tmp_path / 'a.safetensors', {'x': np.ones(2), 'y': np.ones(1)})
    write_safetensors(tmp_path / 'b.safetensors', {'z': np.ones(2), 'y': np.zeros(1)})
    where = {'x': 'a.safetensors', 'y': 'a.safetensors', 'z': 'b.safetensors'}
    (tmp_path / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': where}))
    with pytest.raises(UserError, match="found tensor 'y' in a.safetensors and in b.safetensors, expected it once"):
        open_tensors(tmp_path)


def test_safetensors_come_back(tmp_path):
    write_safetensors(tmp_path / 'model.safetensors', TENSORS, {'format': 'np'})
    for place in (tmp_path, tmp_path / 'model.safetensors'):
        tensors = open_tensors(place)
        assert tensors.source == 'safetensors' and tensors.metadata == {'format': 'np'}
        assert_equal(tensors, TENSORS)
    by_library = safetensors.numpy.load_file(tmp_path / 'model.safetensors')
    np.testing.assert_array_equal(by_library['fc.w_0'], TENSORS['fc.w_0'])
    assert os.listdir(tmp_path) == ['model.safetensors']


def test_layout_in_memory_does_not_matter(tmp_path):
    base = np.arange(70, dtype='>f4').reshape(7, 10)
    views = {'t': base.T, 's': base[::2, ::-3], 'f': np.asfortranarray(base), 'zero': np.float32(4)}
    write_safetensors(tmp_path / 'x.safetensors', views)
    tensors = open_tensors(tmp_path / 'x.safetensors')
    for name, view in views.items():
        np.testing.assert_array_equal(tensors[name], view)
        assert tensors.shape(name) == np.shape(view)


def test_the_file_may_be_read_by_others(tmp_path):
    umask = os.umask(0o022)
    try:
        write_safetensors(tmp_path / 'x.safetensors', TENSORS)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(os.stat(tmp_path / 'x.safetensors').st_mode) == 0o644


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'x.safetensors'
    write_safetensors(path, TENSORS)
    before = path.read_bytes()
    with pytest.raises(UserError, match='there/x: cannot be written .No such file'):
        write_safetensors(tmp_path / 'not' / 'there' / 'x', TENSORS)

    def fail(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(UserError, match='x.safetensors: cannot be written .No space left on device'):
        write_safetensors(path, {'other': np.ones(3)})
    assert path.read_bytes() == before and os.listdir(tmp_path) == ['x.safetensors']


@settings(max_examples=40)
@given(hnp.arrays(np.uint16, st.integers(0, 9)))
def test_bfloat16_is_the_upper_half_of_float32(bits):
    values = bfloat16_to_float32(bits)
    sign, exponent, fraction = bits >> 15, (bits >> 7) & 0xFF, (bits & 0x7F).astype(np.float64)
    normal = (exponent > 0) & (exponent < 255)
    expected = (1 - 2.0 * sign) * 2.0 ** (exponent.astype(int) - 127) * (1 + fraction / 128)
    np.testing.assert_array_equal(values[normal].astype(np.float64), expected[normal])
    assert np.all(np.isnan(values) == ((exponent == 255) & (fraction > 0)))
    np.testing.assert_array_equal(values.view(np.uint32) >> 16, bits)


def test_bfloat16_files_are_read_as_float32(tmp_path):
    header = {
        'a': {'dtype': 'F32', 'shape': [1], 'data_offsets': [0, 4]},
        'b': {'dtype': 'BF16', 'shape': [3, 1], 'data_offsets': [4, 10]},
    }
    data = struct.pack('<f3H', 2.5, 0x3F80, 0xC000, 0x3DCD)
    tensors = open_tensors(raw_safetensors(tmp_path / 'x.safetensors', header, data))
    assert tensors.dtype('b') == np.float32 and tensors.shape('b') == (3, 1)
    np.testing.assert_array_equal(tensors['b'], np.float32([[1], [-2], [0.10009765625]]))
    np.testing.assert_array_equal(tensors['a'], np.float32([2.5]))


@pytest.mark.parametrize(
    'header, data',
    [
        ({'a': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]}}, b'1234'),
        ({'a': {'dtype': 'F32', 'shape': [3], 'data_offsets': [0, 8]}}, b'12345678'),
        ({'a': {'dtype': 'F32', 'shape': [1 << 62, 8], 'data_offsets': [0, 8]}}, b'12345678'),
        ({'a': {'dtype': 'F32', 'shape': [1], 'data_offsets': [0, 4]}}, b'1234extra'),
        ({'a': {'dtype': 'F99', 'shape': [1], 'data_offsets': [0, 4]}}, b'1234'),
        ([1], b''),
    ],
)
def test_broken_safetensors_are_refused(tmp_path, header, data):
    with pytest.raises(UserError, match='x.safetensors: found a broken file'):
        open_tensors(raw_safetensors(tmp_path / 'x.safetensors', header, data))


@pytest.mark.parametrize(
    'entry',
    [
        {'dtype': 'F32', 'shape': [0, 2**62], 'data_offsets': [0, 0]},
        {'dtype': 'F32', 'shape': [0] * 100, 'data_offsets': [0, 0]},
        {'dtype': 'F32', 'shape': [10**30], 'data_offsets': [0, 0]},
        {'dtype': 'F32', 'shape': [True], 'data_offsets': [0, 4]},
        {'dtype': 'F32', 'shape': [1], 'data_offsets': [0, 4], 'dtype2': 1},
        {'dtype': ['F32'], 'shape': [1], 'data_offsets': [0, 4]},
        {'dtype': 'F32', 'shape': [1], 'data_offsets': [4, 8]},
    ],
)
def test_shapes_that_numpy_cannot_have_are_refused(tmp_path, entry):
    with pytest.raises(UserError, match='x.safetensors: found (a broken file|the number)'):
        open_tensors(raw_safetensors(tmp_path / 'x.safetensors', {'a': entry}, b'1234'))


@pytest.mark.parametrize(
    'name', ['model.safetensors', 'model.safetensors.index.json', 'x.pdparams', 'pytorch_model.bin']
)
def test_what_would_block_is_refused_at_once(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match=f'{name}: found a FIFO'):
        open_tensors(tmp_path)
    os.unlink(tmp_path / name)
    os.symlink(name, tmp_path / name)
    with pytest.raises(UserError, match='levels of symbolic links|no such file'):
        open_tensors(tmp_path)
    (tmp_path / 'model.safetensors.index.json').unlink(missing_ok=True)
    (tmp_path / 'model.safetensors.index.json').write_text('{"weight_map": {"a": "part"}}')
    os.mkfifo(tmp_path / 'part')
    if name == 'model.safetensors.index.json':
        with pytest.raises(UserError, match='part: found a FIFO'):
            open_tensors(tmp_path)


def test_reading_many_bfloat16_tensors_takes_linear_time(tmp_path):
    count = 5000
    header = {f't{i}': {'dtype': 'BF16', 'shape': [1], 'data_offsets': [2 * i, 2 * i + 2]} for i in range(count)}
    tensors = open_tensors(raw_safetensors(tmp_path / 'x.safetensors', header, b'\x80\x3f' * count))
    started = time.monotonic()
    assert all(tensors[name] == 1 for name in tensors)
    assert time.monotonic() - started < 5  # 0.1 s; it was 100 s when each tensor parsed the header anew


def test_types_that_numpy_has_not_are_refused(tmp_path):
    header = {'a': {'dtype': 'F8_E4M3', 'shape': [4], 'data_offsets': [0, 4]}}
    with pytest.raises(UserError, match='found type F8_E4M3 of a, expected one of BOOL'):
        open_tensors(raw_safetensors(tmp_path / 'x.safetensors', header, b'1234'))


def test_sharded_folders_are_one(tmp_path):
    names = list(TENSORS)
    write_safetensors(tmp_path / 'model-1.safetensors', {n: TENSORS[n] for n in names[:2]})
    write_safetensors(tmp_path / 'model-2.safetensors', {n: TENSORS[n] for n in [*names[2:]]} | {'extra': np.ones(1)})
    where = {name: f'model-{1 + (i > 1)}.safetensors' for i, name in enumerate(names)}
    index = tmp_path / 'model.safetensors.index.json'
    index.write_text(json.dumps({'metadata': {'total_size': 1}, 'weight_map': where}))
    tensors = open_tensors(tmp_path)
    assert_equal(tensors, TENSORS)
    assert tensors.ignored == ['extra']


@pytest.mark.parametrize(
    'text, found',
    [
        ('{', 'bad JSON'),
        ('{"weight_map": [1]}', 'weight_map [1]'),
        ('{"weight_map": {"a": "x.safetensors", "a": "x.safetensors"}}', "'a' twice"),
        ('{"weight_map": {"a": "../x.safetensors"}}', "the file name '../x.safetensors'"),
        ('{"weight_map": {"a": 3}}', 'the file name 3'),
        ('{"weight_map": {"b": "x.safetensors"}}', 'tensor b in x.safetensors'),
        ('{"weight_map": {"b": "y.safetensors"}}', 'y.safetensors'),
    ],
)
def test_broken_indexes_are_refused(tmp_path, text, found):
    write_safetensors(tmp_path / 'x.safetensors', {'a': np.ones(2)})
    (tmp_path / 'model.safetensors.index.json').write_text(text)
    with pytest.raises(UserError) as e:
        open_tensors(tmp_path)
    assert found in str(e.value)


# .pdparams


@pytest.fixture(scope='module')
def paddle():
    return pytest.importorskip('paddle')


@pytest.mark.parametrize('protocol', [2, 3, 4])
def test_state_dict_of_a_layer(tmp_path, paddle, protocol):
    paddle.disable_static()
    layer = paddle.nn.Linear(3, 5, weight_attr=paddle.ParamAttr(name=f'fc_{protocol}.w_0'))
    paddle.save(layer.state_dict(), str(tmp_path / 'x.pdparams'), protocol=protocol)
    tensors = open_tensors(tmp_path / 'x.pdparams')
    assert tensors.source == 'pdparams' and tensors.ignored == []
    assert_equal(tensors, {'weight': layer.weight.numpy(), 'bias': layer.bias.numpy()})
    assert tensors.parameter_names['weight'] == f'fc_{protocol}.w_0'


@pytest.mark.parametrize('protocol', [2, 3, 4])
def test_tensors_saved_one_by_one(tmp_path, paddle, protocol):
    paddle.disable_static()
    x = paddle.to_tensor(np.arange(6, dtype=np.int64).reshape(2, 3))
    paddle.save({'x': x, 'epoch': 3, 'nested': {'y': x}}, str(tmp_path / 'x.pdparams'), protocol=protocol)
    tensors = open_tensors(tmp_path)
    assert_equal(tensors, {'x': x.numpy()})
    assert tensors.ignored == ['epoch', 'nested']


def test_parameters_of_a_static_program(tmp_path, paddle):
    paddle.enable_static()
    try:
        program, startup = paddle.static.Program(), paddle.static.Program()
        with paddle.static.program_guard(program, startup), paddle.static.scope_guard(paddle.static.Scope()):
            w = paddle.static.create_parameter([3, 5], 'float32', name='fc.w_0')
            paddle.static.Executor().run(startup)
            expected = np.array(paddle.static.global_scope().find_var(w.name).get_tensor())
            paddle.static.save(program, str(tmp_path / 'whole'))
            paddle.save(program.state_dict(), str(tmp_path / 'state.pdparams'))
            # Beside other values a tensor is written as a call of eval that stands for itself.
            paddle.save({**program.state_dict(), 'epoch': 3}, str(tmp_path / 'mixed.pdparams'))
    finally:
        paddle.disable_static()
    assert b'eval' in (tmp_path / 'mixed.pdparams').read_bytes()
    for name in ('whole.pdparams', 'state.pdparams', 'mixed.pdparams'):
        assert_equal(open_tensors(tmp_path / name), {'fc.w_0': expected})


def pickled(path, value, protocol=4):
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


def test_old_forms(tmp_path):
    w = np.arange(12, dtype=np.float32)
    content = OrderedDict(
        [
            ('tuple', ('fc.w_0', w)),
            ('scalar', np.float32(2)),
            ('w@@.0', w[:7]),
            ('w@@.1', w[7:]),
            ('UnpackBigParamInfor@@', {'w': {'OriginShape': (3, 4), 'slices': ['w@@.0', 'w@@.1']}}),
        ]
    )
    tensors = open_tensors(pickled(tmp_path / 'x.pdparams', content))
    assert_equal(tensors, {'tuple': w, 'scalar': np.float32(2), 'w': w.reshape(3, 4)})


@pytest.mark.parametrize(
    'value, text',
    [
        ([np.ones(2)], 'found a list'),
        ({'epoch': 3}, 'no tensor among 1'),
        ({}, 'no tensor among 0'),
        ({'a': np.ones(2), 'StructuredToParameterName@@': [1]}, 'no mapping of text'),
        ({'a': np.ones(2), 'UnpackBigParamInfor@@': {'w': {'OriginShape': [2], 'slices': ['b']}}}, "parts of 'w'"),
        ({'a': np.ones(2), 'UnpackBigParamInfor@@': {'w': {'OriginShape': [3], 'slices': ['a']}}}, "parts of 'w'"),
        ({'a': np.ones(2), 'UnpackBigParamInfor@@': 7}, 'UnpackBigParamInfor@@'),
        ({'a': print}, 'Nothing in it was executed'),
    ],
)
def test_other_pdparams_are_refused(tmp_path, value, text):
    with pytest.raises(UserError) as e:
        open_tensors(pickled(tmp_path / 'x.pdparams', value))
    assert text in str(e.value) and 'x.pdparams' in str(e.value)


@pytest.mark.parametrize(
    'split',
    [
        {'OriginShape': (float('inf'), 2), 'slices': ['a']},
        {'OriginShape': (2**70, 2), 'slices': ['a']},
        {'OriginShape': (2,), 'slices': ['nested']},
        {'OriginShape': (2,), 'slices': 'a'},
        {'OriginShape': 2, 'slices': ['a']},
    ],
)
def test_parts_that_cannot_be_joined_are_refused(tmp_path, split):
    content = {'a': np.ones(2), 'nested': [[1.0, 2.0]] * 3, 'UnpackBigParamInfor@@': {'w': split}}
    with pytest.raises(UserError, match="parts of 'w' that do not fit"):
        open_tensors(pickled(tmp_path / 'x.pdparams', content))


def test_a_large_tensor_under_many_names_is_refused(tmp_path):
    large = np.zeros(1000)
    assert len(open_tensors(pickled(tmp_path / 'x.pdparams', {'a': large, 'b': large}))) == 2
    content = {f'n{i}': large for i in range(50)}
    with pytest.raises(UserError, match=r'tensors of 400,000 bytes in a file of \S+, expected each tensor once'):
        open_tensors(pickled(tmp_path / 'x.pdparams', content))
    content['UnpackBigParamInfor@@'] = {'w': {'OriginShape': (50_000,), 'slices': list(content)}}
    with pytest.raises(UserError, match=r'tensors of 400,000 bytes in a file of'):
        open_tensors(pickled(tmp_path / 'x.pdparams', content))


# places


def test_what_is_no_tensor_file_is_refused_with_advice(tmp_path):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'torch').mkdir()
    (tmp_path / 'torch' / 'pytorch_model.bin').write_bytes(b'PK')
    (tmp_path / 'two').mkdir()
    for name in 'ab':
        pickled(tmp_path / 'two' / f'{name}.pdparams', {'a': np.ones(1)})
    (tmp_path / 'pictures').mkdir()
    (tmp_path / 'pictures' / 'b.png').write_bytes(b'\x89PNG\r\n\x1a\n')
    (tmp_path / 'notes.txt').write_text('x')
    (tmp_path / 'x.pt').write_bytes(b'PK')
    for place, text in [
        ('nowhere', 'there is no such file or folder'),
        ('empty', 'no fluid variable file in this folder'),
        ('pictures', 'no fluid variable file in this folder. b.png is none.'),
        ('torch', 'pytorch_model.bin: found no zip archive, expected a file of PyTorch'),
        ('two', 'found 2 .pdparams files, expected one'),
        ('notes.txt', 'a file of an unknown kind'),
        ('x.pt', 'found no zip archive'),
    ]:
        with pytest.raises(UserError) as e:
            open_tensors(tmp_path / place)
        assert text in str(e.value) and str(tmp_path / place) in str(e.value)
