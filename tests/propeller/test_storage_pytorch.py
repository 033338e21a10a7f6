"""Files of `torch.save`, made by hand here, and by PyTorch where it is installed."""

import io
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest

from propeller.errors import UserError
from propeller.storage import open_tensors


def op(value):
    """The instructions that make a plain value."""
    return pickle.dumps(value, protocol=2)[2:-1]


def tensor(kind, key, count, offset, shape, strides, module='torch._utils', function='_rebuild_tensor_v2'):
    storage = b'(' + op('storage') + f'ctorch\n{kind}\n'.encode() + op(key) + op('cpu') + op(count) + b'tQ'
    hooks = b'ccollections\nOrderedDict\n)R'
    arguments = storage + op(offset) + op(shape) + op(strides) + op(False) + hooks
    return f'c{module}\n{function}\n'.encode() + b'(' + arguments + b'tR'


def state(entries):
    """The pickle of an OrderedDict with the attribute that `state_dict()` gives it."""
    items = b''.join(op(name) + instructions for name, instructions in entries.items())
    return (
        b'\x80\x02ccollections\nOrderedDict\n)R(' + items + b'u}(' + op('_metadata') + op({'': {'version': 1}}) + b'ub.'
    )


def archive(path, content, storages, order=b'little', root='archive', method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, 'w', method) as z:
        z.writestr(f'{root}/data.pkl', content)
        if order:
            z.writestr(f'{root}/byteorder', order)
        for key, data in storages.items():
            z.writestr(f'{root}/data/{key}', data)
        z.writestr(f'{root}/version', b'3\n')
    return path


def test_tensors_of_all_types_are_views_of_their_storages(tmp_path):
    table = np.arange(12, dtype=np.float32)
    storages = {
        '0': table.tobytes(),
        '1': np.float16([1.5, -2]).tobytes(),
        '2': struct.pack('<3H', 0x3F80, 0xC000, 0x3DCD),
        '3': np.int64([7, 8, 9]).tobytes(),
        '4': b'\x01\x00\x02',
    }
    entries = {
        'whole': tensor('FloatStorage', '0', 12, 0, (3, 4), (4, 1)),
        'turned': tensor('FloatStorage', '0', 12, 0, (4, 3), (1, 4)),
        'part': tensor('FloatStorage', '0', 12, 5, (2, 2), (4, 2)),
        'wide': tensor('FloatStorage', '0', 12, 3, (2, 3), (0, 1)),
        'half': tensor('HalfStorage', '1', 2, 0, (2, 1), (1, 1)),
        'brain': tensor('BFloat16Storage', '2', 3, 0, (3,), (1,)),
        'one': tensor('LongStorage', '3', 3, 1, (), ()),
        'none': tensor('LongStorage', '3', 3, 0, (0, 5), (5, 1)),
        'flags': tensor('BoolStorage', '4', 3, 0, (3,), (1,)),
        'epoch': op(3),
    }
    tensors = open_tensors(archive(tmp_path / 'x.bin', state(entries), storages))
    expected = {
        'whole': table.reshape(3, 4),
        'turned': table.reshape(3, 4).T,
        'part': np.float32([[5, 7], [9, 11]]),
        'wide': np.float32([[3, 4, 5]] * 2),
        'half': np.float16([[1.5], [-2]]),
        'brain': np.float32([1, -2, 0.10009765625]),
        'one': np.int64(8),
        'none': np.zeros((0, 5), np.int64),
        'flags': np.array([True, False, True]),
    }
    assert tensors.source == 'pytorch' and tensors.ignored == ['epoch'] and list(tensors) == list(expected)
    for name, array in expected.items():
        assert tensors.shape(name) == tensors[name].shape == array.shape
        assert tensors.dtype(name) == tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(tensors[name], array)


def test_the_byte_order_of_the_file_counts(tmp_path):
    entries = {'a': tensor('FloatStorage', '0', 2, 0, (2,), (1,))}
    open_tensors(archive(tmp_path / 'old.pt', state(entries), {'0': b'12345678'}, order=None))
    data = np.array([1.5, -2], '>f4').tobytes()
    big = open_tensors(archive(tmp_path / 'x.pt', state(entries), {'0': data}, order=b'big'))
    assert big['a'].tolist() == [1.5, -2] and big['a'].dtype == np.float32
    with pytest.raises(UserError, match="the byte order b'middle'"):
        open_tensors(archive(tmp_path / 'y.pt', state(entries), {'0': data}, order=b'middle'))


FLOATS = ('FloatStorage', '0', 4)


@pytest.mark.parametrize(
    'instructions, found',
    [
        (tensor(*FLOATS, 1, (4,), (1,)), 'beyond the 4 values of its storage'),
        (tensor(*FLOATS, 0, (2, 2), (4, 1)), 'beyond the 4 values'),
        (tensor(*FLOATS, 0, (1 << 62, 8), (0, 0)), 'a tensor of shape'),
        (tensor(*FLOATS, 0, (2, 2), (-1, 1)), 'an impossible shape'),
        (tensor(*FLOATS, -1, (2,), (1,)), 'an impossible shape'),
        (tensor(*FLOATS, 0, (2, 2), (1,)), '2 dimensions and 1 strides'),
        (tensor(*FLOATS, 0, (10**6,), (0,)), 'tensors of 4,000,000 bytes in a file of'),
        (tensor('FloatStorage', '../1', 4, 0, (4,), (1,)), "a storage with the key '../1'"),
        (tensor('FloatStorage', '7', 4, 0, (4,), (1,)), "nothing for the values of 'a', expected 16 bytes in data/7"),
        (tensor('FloatStorage', '0', 5, 0, (4,), (1,)), "16 bytes for the values of 'a', expected 20 bytes"),
        (tensor('ComplexFloatStorage', '0', 2, 0, (2,), (1,)), "the name 'torch.ComplexFloatStorage'"),
        (tensor(*FLOATS, 0, (4,), (1,), 'os', 'system'), "the name 'os.system'"),
        (tensor(*FLOATS, 0, (4,), (1,), 'torch', 'load'), "the name 'torch.load'"),
        (op('cpu') + b'Q', 'a persistent id that is no storage'),
    ],
)
def test_what_does_not_fit_or_is_no_data_is_refused(tmp_path, instructions, found):
    path = archive(tmp_path / 'x.bin', state({'a': instructions}), {'0': bytes(16)})
    with pytest.raises(UserError) as raised:
        open_tensors(path)
    assert str(path) in str(raised.value) and found in str(raised.value)


def test_other_archives_are_refused_by_name(tmp_path):
    good = state({'a': tensor(*FLOATS, 0, (4,), (1,))})
    path = tmp_path / 'x.bin'
    archive(path, good, {'0': bytes(16)}, method=zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match=r"'archive/\S+' compressed"):
        open_tensors(path)
    with zipfile.ZipFile(path, 'w') as z:
        z.writestr('model/weights', 'x')
    with pytest.raises(UserError, match='a zip archive with 0 files data.pkl'):
        open_tensors(path)
    path.write_bytes(b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.')
    with pytest.raises(UserError, match='found the form that PyTorch wrote before version 1.6, .* Write it anew'):
        open_tensors(path)
    whole = archive(tmp_path / 'y.bin', good, {'0': bytes(16)}).read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:cut])
        with pytest.raises(UserError, match='no zip archive'):
            open_tensors(path)
    path.write_bytes(whole.replace(b'data.pkl', b'data.pkl', 1).replace(good[:40], good[:38] + b'??', 1))
    with pytest.raises(UserError, match='data.pkl. that is damaged'):
        open_tensors(path)


def test_folders_and_parts(tmp_path):
    for i in (1, 2):
        content = state({f'w{i}': tensor(*FLOATS, 0, (4,), (1,))})
        archive(tmp_path / f'part-{i}.bin', content, {'0': np.full(4, i, np.float32).tobytes()}, root=f'part-{i}')
    where = {'w1': 'part-1.bin', 'w2': 'part-2.bin'}
    (tmp_path / 'pytorch_model.bin.index.json').write_text(json.dumps({'metadata': {}, 'weight_map': where}))
    tensors = open_tensors(tmp_path)
    assert tensors.source == 'pytorch' and list(tensors) == ['w1', 'w2'] and tensors['w2'].tolist() == [2] * 4
    (tmp_path / 'part-1.bin').rename(tmp_path / 'pytorch_model.bin')
    assert list(open_tensors(tmp_path)) == ['w1']


def test_files_that_pytorch_writes(tmp_path):
    torch = pytest.importorskip('torch')
    layer = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.LayerNorm(5))
    content = layer.state_dict()
    content['tied'] = content['0.weight']
    content['turned'] = content['0.weight'].t()
    content['parameter'] = layer[0].bias
    for kind in (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int8, torch.bool):
        content[str(kind)] = torch.arange(6).reshape(2, 3).to(kind)[:, 1:]
    torch.save(content, tmp_path / 'x.bin')
    tensors = open_tensors(tmp_path / 'x.bin')
    assert list(tensors) == list(content)
    for name, value in content.items():
        value = value.detach()
        expected = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        np.testing.assert_array_equal(tensors[name], expected)
        assert tensors.dtype(name) == expected.dtype and tensors.shape(name) == expected.shape
    old = io.BytesIO()
    torch.save(content, old, _use_new_zipfile_serialization=False)
    (tmp_path / 'old.bin').write_bytes(old.getvalue())
    with pytest.raises(UserError, match='the form that PyTorch wrote before'):
        open_tensors(tmp_path / 'old.bin')
