"""Checkpoints of TensorFlow: files that TensorFlow itself wrote, files that lie, and how a path is understood.

`benchmark/acceptance/tensorflow_golden.py` made those under tests/ernie/golden/tensorflow.
"""

import os
import random
import shutil
import struct
import tracemalloc

import numpy as np
import pytest
from tensorboardX.crc32c import _crc32c

from benchmark.acceptance.mutations import mutate_bytes
from propeller.errors import UserError
from propeller.storage import is_there, open_tensors
from propeller.storage.tensorflow.crc32c import _LONG, _STEP, crc32c
from propeller.storage.tensorflow.messages import slice_key
from propeller.storage.tensorflow.table import read_table
from propeller.tools.ckpt_inspector import entries
from tests.ernie.tensorflow_golden import GOLDEN, arrays_of
from tests.propeller.tensorflow_files import block, checkpoint, entry, header, masked, table

ARRAYS = {
    'b/x': np.arange(6, dtype=np.float32).reshape(2, 3),
    'b/y': np.array(7, np.int64),
    'b/zeros': np.zeros((0, 4), np.float32),
    'c': np.array([True, False]),
}


def refused(path):
    """The message with which reading all of a checkpoint is refused."""
    with pytest.raises(UserError) as e:
        dict(open_tensors(path))
    assert '\n' not in str(e.value)
    return str(e.value)


# ------------------------------------------------------------------------------------------ checksums


def test_checksums_are_those_of_the_standard_and_of_tensorboardx():
    assert crc32c(b'123456789') == 0xE3069283
    ones, falling = b'\xff' * 32, bytes(range(31, -1, -1))
    assert [crc32c(bytes(32)), crc32c(ones), crc32c(falling)] == [0x8A9136AA, 0x62A8AB43, 0x113FDB5C]  # RFC 3720
    rng = np.random.default_rng(0)
    for middle in (5, 2320, 8 * _LONG[0], 8 * _STEP):
        for size in range(middle - 5, middle + 3):
            content = rng.integers(0, 256, size, np.uint8)
            assert crc32c(content) == _crc32c(content.tobytes()) & 0xFFFFFFFF
    assert crc32c(np.zeros(0, np.float32)) == 0


def test_a_flipped_bit_anywhere_changes_the_checksum():
    content = np.random.default_rng(1).integers(0, 256, 8 * (_STEP + _LONG[0]) + 3, np.uint8)
    whole = crc32c(content)
    for at in (0, 1, 70_000, 8 * _STEP, len(content) - 1):
        content[at] ^= 0x10
        assert crc32c(content) != whole
        content[at] ^= 0x10
    assert crc32c(content) == whole


# ------------------------------------------------------------------------------------------ what TensorFlow wrote


@pytest.mark.parametrize(
    'folder, prefix', [('pretrained', 'bert_model.ckpt'), ('classifier', 'model.ckpt-7'), ('parts', 'parts.ckpt')]
)
def test_files_of_tensorflow_are_read_bit_by_bit(folder, prefix):
    tensors, arrays = open_tensors(GOLDEN / folder / prefix), arrays_of(folder)
    assert sorted(tensors) == sorted(arrays) and tensors.source == 'tensorflow'
    for name, array in arrays.items():
        found = tensors[name]
        assert found.dtype == tensors.dtype(name) == array.dtype and found.shape == tensors.shape(name) == array.shape
        assert found.tobytes() == array.tobytes(), name
        assert tensors.is_bfloat16(name) == (name == 'bfloat16')
    assert tensors.ignored == (['text'] if folder == 'parts' else [])


def test_a_checkpoint_of_objects_is_read_too():
    tensors = open_tensors(GOLDEN / 'objects' / 'tf2.ckpt')
    assert {name: tensors.shape(name) for name in tensors} == {'dense/.ATTRIBUTES/VARIABLE_VALUE': (1, 2)}
    assert tensors.ignored == ['_CHECKPOINTABLE_OBJECT_GRAPH']


def test_the_writer_of_the_tests_agrees(tmp_path):
    tensors = open_tensors(checkpoint(tmp_path / 'm.ckpt', ARRAYS))
    assert list(tensors) == list(ARRAYS)
    assert all(np.array_equal(tensors[name], array) for name, array in ARRAYS.items())
    many = {f'layer_{i}/{part}': np.full(i % 7, i, np.float32) for i in range(300) for part in ('kernel', 'bias')}
    tensors = open_tensors(checkpoint(tmp_path / 'many', many))
    assert len(tensors) == 600 and all(np.array_equal(tensors[name], array) for name, array in many.items())


def test_keys_of_parts_are_those_of_tensorflow():
    assert slice_key(b'table', ((34, 34), (0, 3))) in read_table(GOLDEN / 'parts' / 'parts.ckpt.index')
    # ordered_code_test.cc: numbers of one byte to ten
    assert slice_key(b'a\0\xff', ((-1, 64), (2**62, -(2**63)))) == (
        b'\0' b'a\0\xff\xff\0\0\1' b'\1\2' b'\x7f' b'\xc0\x40' b'\xff\xc0' + (2**62).to_bytes(8, 'big') +
        bytes.fromhex('003f8000000000000000')
    )  # fmt: skip


# ------------------------------------------------------------------------------------------ which one is meant


def test_every_way_to_name_a_checkpoint(tmp_path, monkeypatch):
    prefix = checkpoint(tmp_path / 'bert_model.ckpt', ARRAYS)
    (tmp_path / 'bert_model.ckpt.meta').write_bytes(b'graph')
    for end in ('', '.index', '.meta', '.data-00000-of-00001'):
        assert open_tensors(f'{prefix}{end}').path == str(prefix)
    assert open_tensors(tmp_path).path == str(prefix)
    assert is_there(prefix) and not is_there(tmp_path / 'bert_model')
    monkeypatch.chdir(tmp_path)
    assert open_tensors('bert_model.ckpt').path == 'bert_model.ckpt'


def test_of_several_the_newest_is_meant(tmp_path):
    for step in (3, 7, 20):
        checkpoint(tmp_path / f'model.ckpt-{step}', {'step': np.array(step)})
    assert refused(tmp_path) == (
        f"{tmp_path}: found 3 TensorFlow checkpoints and no file 'checkpoint', expected one of "
        f'{tmp_path}/model.ckpt-20, {tmp_path}/model.ckpt-3, {tmp_path}/model.ckpt-7.'
    )
    state = tmp_path / 'checkpoint'
    # The folder of the training, on another machine.
    state.write_text('model_checkpoint_path: "/home/u/out/model.ckpt-7"\nall_model_checkpoint_paths: "model.ckpt-3"\n')
    assert open_tensors(tmp_path)['step'] == 7 and open_tensors(state)['step'] == 7
    state.write_text('model_checkpoint_path: "model.ckpt-8"\n')
    assert "checkpoint: found 'model.ckpt-8' as the newest checkpoint, whose .index is not here" in refused(tmp_path)
    state.write_text('model_checkpoint_path: "\\351\\205\\222.ckpt-1"\n')
    checkpoint(tmp_path / '酒.ckpt-1', {'step': np.array(1)})
    assert open_tensors(tmp_path)['step'] == 1


def test_a_prefix_that_is_none_gets_the_nearest(tmp_path):
    checkpoint(tmp_path / 'bert_model.ckpt', ARRAYS)
    for wrong in ('bert_mode.ckpt', 'bert_model.ckp.index'):
        assert refused(tmp_path / wrong).endswith(f'no such file or folder. Did you mean {tmp_path}/bert_model.ckpt?')
    assert 'Did you mean' not in refused(tmp_path / 'other' / 'x.ckpt')


def test_missing_files_are_named(tmp_path):
    prefix = checkpoint(tmp_path / 'm.ckpt', ARRAYS)
    values = tmp_path / 'm.ckpt.data-00000-of-00001'
    shutil.move(values, tmp_path / 'away')
    for given in (prefix, tmp_path):
        assert f'{values}: found no such file, expected the values of the checkpoint {prefix}.index' in refused(given)
    shutil.move(tmp_path / 'away', values)
    (tmp_path / 'm.ckpt.index').unlink()
    for given in (values, tmp_path):
        assert refused(given) == f'{values}: found no m.ckpt.index beside it, expected a TensorFlow checkpoint.'
    shards = tmp_path / 'two'
    shutil.copytree(GOLDEN / 'parts', shards)
    (shards / 'parts.ckpt.data-00001-of-00002').unlink()
    assert 'parts.ckpt.data-00001-of-00002: found no such file' in refused(shards)


def test_other_formats_of_tensorflow_are_named(tmp_path):
    v1 = tmp_path / 'model.ckpt'
    v1.write_bytes(table([(b'', b'meta'), (b'\0a', b'b')]))
    (tmp_path / 'checkpoint').write_text('model_checkpoint_path: "model.ckpt"')
    for given in (v1, tmp_path):
        text = refused(given)
        assert text.startswith(f'{v1}: found a TensorFlow checkpoint of format V1, one file, expected format V2')
        assert 'tf.compat.v1.train.Saver(write_version=2)' in text
    saved = tmp_path / 'saved'
    checkpoint(saved / 'variables' / 'variables', ARRAYS)
    (saved / 'saved_model.pb').write_bytes(b'x')
    assert f'{saved}: found a SavedModel of TensorFlow or Keras (saved_model.pb), expected' in refused(saved)
    assert 'found a TensorFlow graph file' in refused(saved / 'saved_model.pb')
    (tmp_path / 'm.keras').write_bytes(b'x')
    assert 'found a Keras file' in refused(tmp_path / 'm.keras')


def test_the_inspector_shows_it(tmp_path):
    shutil.copytree(GOLDEN / 'classifier', tmp_path / 'out')
    arrays = {entry.name: entry for entry in entries(str(tmp_path))}
    found = arrays['out/model.ckpt-7/output_bias']
    assert len(arrays) == 2 * len(arrays_of('classifier')) and (found.kind, found.shape) == ('FP32', (3,))
    assert np.array_equal(found.read(), arrays_of('classifier')['output_bias'])
    assert [
        entry.shape for entry in entries(str(tmp_path / 'out' / 'model.ckpt-3')) if entry.name.endswith('step')
    ] == [()]


# ------------------------------------------------------------------------------------------ damage and lies


def test_damage_is_named(tmp_path):
    prefix = checkpoint(tmp_path / 'm.ckpt', ARRAYS)
    index, values = tmp_path / 'm.ckpt.index', tmp_path / 'm.ckpt.data-00000-of-00001'
    whole, data = index.read_bytes(), values.read_bytes()
    values.write_bytes(data[:-1])
    assert f"{values}: found {len(data) - 1} bytes, expected at least {len(data)}, where 'c' ends. The file is cut" in (
        refused(prefix)
    )
    values.write_bytes(data[:3] + b'\xff' + data[4:])
    assert f"{values}: found a wrong checksum of 'b/x', expected the values as written. The file" in refused(prefix)
    values.write_bytes(data)
    for content in (b'', whole[:-1], whole[:30], b'x' * 100):
        index.write_bytes(content)
        assert 'bytes without the end of a table, expected the index of a TensorFlow checkpoint.' in refused(prefix)
    index.write_bytes(whole[:20] + b'\xff' + whole[21:])
    assert f'{index}: found a wrong checksum of the block at byte 0, expected' in refused(prefix)
    index.write_bytes(table([(b'', header())], kind=1))
    assert 'found a block compressed with snappy, expected' in refused(prefix)


@pytest.mark.parametrize(
    'entries, text',
    [
        ([], 'found 0 files of data'),
        ([(b'', b'\x0a')], 'found a number that ends too early in the header'),
        ([(b'', header(shards=1 << 40))], 'found 1,099,511,627,776 files of data'),
        ([(b'', header(endianness=1))], 'found values of a big-endian machine'),
        ([(b'', header(min_consumer=2))], 'found a file for readers of version 2, expected version 1'),
        ([(b'', header()), (b'a', b'\xff')], "in b'a'"),
        ([(b'', header()), (b'\xff', entry())], "found the name b'\\xff'"),
        ([(b'', header()), (b'b', entry()), (b'a', entry())], "found the key b'a' behind b'b'"),
        ([(b'', header()), (b'a' * 5000, entry())], 'found an entry of 0, 5,000 and'),
        ([(b'', header()), (b'a', entry(shape=(-1,)))], 'found a shape of 1 dimensions, the least -1'),
        ([(b'', header()), (b'a', entry(shape=(1,) * 33))], 'found a shape of 33 dimensions'),
        ([(b'', header()), (b'a', entry(shape=(1 << 30, 1 << 30)))], 'of shape (1073741824, 1073741824)'),
        ([(b'', header()), (b'a', entry(shape=(2,), size=7))], "'a' of shape (2,) in 7 bytes"),
        ([(b'', header()), (b'a', entry(shape=(1,), size=4, shard=1))], "'a' in file 1 of 1"),
        ([(b'', header()), (b'a', entry(shape=(2,), size=8, offset=99))], 'expected at least 107, where'),
        ([(b'', header()), (b'a', entry(size=4)), (b'b', entry(size=4))], "'a' and 'b' at the same bytes"),
        ([(b'', header()), (b'a', entry(shape=(4,), slices=[[(0, 2)]]))], 'found no part ((0, 2),)'),
    ],
)
def test_an_index_that_lies_is_refused(tmp_path, entries, text):
    checkpoint(tmp_path / 'm.ckpt', ARRAYS)
    (tmp_path / 'm.ckpt.index').write_bytes(table(entries, 50))
    assert text in refused(tmp_path / 'm.ckpt')


@pytest.mark.parametrize(
    'slices, text',
    [
        ([[(0, 2)], [(3, 1)]], 'not side by side'),
        ([[(0, 2)], [(1, 3)]], 'not side by side'),
        ([[(0, 2)], [(2, 1)]], 'not all of it'),
        ([[(1, None)]], 'not side by side'),
        ([[(0, 2), (0, 1)], [(2, 2), (0, 1)]], 'does not fit'),
    ],
)
def test_parts_that_are_not_the_whole_are_refused(tmp_path, slices, text):
    values, entries, at = np.arange(40, dtype=np.float32).tobytes(), [(b'', header())], 0
    entries.append((b'a', entry(shape=(4,), slices=slices)))
    for extents in slices:
        size = 4 * (4 if extents[0][1] is None else extents[0][1])
        part = entry(shape=(size // 4,), offset=at, size=size, crc=masked(values[at : at + size]))
        entries.append((slice_key(b'a', [(s, -1 if n is None else n) for s, n in extents]), part))
        at += size
    checkpoint(tmp_path / 'm.ckpt', ARRAYS)
    (tmp_path / 'm.ckpt.index').write_bytes(table(sorted(entries), 50))
    (tmp_path / 'm.ckpt.data-00000-of-00001').write_bytes(values)
    assert text in refused(tmp_path / 'm.ckpt')


def test_blocks_that_expand_or_share_bytes_are_refused(tmp_path):
    """What the index of an index says costs no more than the file is long."""
    path = tmp_path / 'x.index'
    whole = table([(b'', header()), (b'a', entry())])
    empty = block([])
    one = empty + b'\0' + struct.pack('<I', masked(empty + b'\0'))
    many = block([(b'%05d' % i, b'\0' + bytes([len(empty)])) for i in range(2000)])
    content = one + many + b'\0' + struct.pack('<I', masked(many + b'\0'))
    place = b'\0' + bytes([len(empty)]) + bytes([len(one)]) + bytes([len(many) & 127 | 128, len(many) >> 7 & 127 | 128])
    path.write_bytes(content + (place + bytes([len(many) >> 14])).ljust(40, b'\0') + whole[-8:])
    with pytest.raises(UserError, match='found a block without entries'):
        read_table(path)
    name = b'n' * 4000
    growing = [(name + b'%06d' % i, b'') for i in range(9000)]
    path.write_bytes(table(growing, 9000, every=9000))
    assert os.path.getsize(path) < 1 << 18
    with pytest.raises(UserError, match='found keys of more than 33,554,432 bytes'):
        read_table(path)


def test_changed_files_are_refused_or_read_right(tmp_path):
    """The whole of it, a thousand and more, is `python -m benchmark.acceptance.hostile_inputs --only tensorflow`."""
    right, rng = arrays_of('parts'), random.Random(4)
    names = ('parts.ckpt.index', 'parts.ckpt.data-00000-of-00002', 'parts.ckpt.data-00001-of-00002')
    whole = {name: (GOLDEN / 'parts' / name).read_bytes() for name in names}
    said = 0
    tracemalloc.start()
    for i in range(90):
        for name in names:
            (tmp_path / name).write_bytes(whole[name])
        changed = names[i % 3]
        (tmp_path / changed).write_bytes(mutate_bytes(whole[changed], rng))
        try:
            found = dict(open_tensors(tmp_path / 'parts.ckpt'))
        except UserError as e:
            assert '\n' not in str(e)
            said += 1
        else:
            assert found.keys() == right.keys()
            assert all(found[name].tobytes() == array.tobytes() for name, array in right.items())
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()
    assert said > 60
