"""Files for VisualDL 2: read by protobuf's own code with the fields of VisualDL's record.proto, and by VisualDL."""

import struct

import numpy as np
import pytest

from propeller.errors import UserError
from propeller.train.record import EventWriter
from propeller.train.visual_dl import VisualDlWriter


def record_class():
    """`Record` of visualdl/proto/record.proto, as far as it is written here, made by protobuf."""
    descriptor_pb2 = pytest.importorskip('google.protobuf.descriptor_pb2')
    from google.protobuf import descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name='record.proto', package='test.vdl', syntax='proto3')
    record = file.message_type.add(name='Record')
    value, meta = record.nested_type.add(name='Value'), record.nested_type.add(name='MetaData')
    kinds = descriptor_pb2.FieldDescriptorProto
    value.oneof_decl.add(name='one_value')
    for name, number, kind in (('id', 1, 'INT64'), ('tag', 2, 'STRING'), ('timestamp', 3, 'INT64')):
        value.field.add(name=name, number=number, type=getattr(kinds, f'TYPE_{kind}'), label=kinds.LABEL_OPTIONAL)
    one = {'label': kinds.LABEL_OPTIONAL, 'oneof_index': 0}
    value.field.add(name='value', number=4, type=kinds.TYPE_FLOAT, **one)
    value.field.add(name='meta_data', number=10, type=kinds.TYPE_MESSAGE, type_name='.test.vdl.Record.MetaData', **one)
    meta.field.add(name='display_name', number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    of_record = {'type': kinds.TYPE_MESSAGE, 'type_name': '.test.vdl.Record.Value', 'label': kinds.LABEL_REPEATED}
    record.field.add(name='values', number=1, **of_record)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName('test.vdl.Record'))


def points(path):
    """(tag, step, value) of a file, without its first record; that one must be what VisualDL looks for."""
    kind, content, values = record_class(), path.read_bytes(), []
    while content:
        (length,) = struct.unpack('<Q', content[:8])
        (value,) = kind.FromString(content[8 : 8 + length]).values
        values.append(value)
        content = content[8 + length :]
    assert values[0].tag == 'meta_data_tag' and values[0].WhichOneof('one_value') == 'meta_data'
    assert all(value.WhichOneof('one_value') == 'value' and value.timestamp > 1.6e12 for value in values[1:])
    return [(value.tag, value.id, value.value) for value in values[1:]]


def test_scalars_lie_beside_the_event_files(tmp_path):
    with EventWriter(tmp_path) as writer:
        writer.add_scalar('train/损失', np.float32(0.5), 0)
        writer.add_scalar('dev 50%/acc', 0.75, np.int64(1 << 40))
        writer.add_scalar('never', float('nan'), 5)
        writer.add_histogram('weights', np.arange(3.0), 5)
        (path,) = tmp_path.glob('vdlrecords.*.log')
        # On the disk already.
        assert points(path) == [('train/损失', 0, 0.5), ('dev 50_/acc', 1 << 40, 0.75)]


def test_a_training_that_goes_on_writes_on_in_the_file_that_is_shown(tmp_path):
    first = EventWriter(tmp_path)
    for step in (5, 10, 15):
        first.add_scalar('loss', step / 4, step)
    first.close()
    (path,) = tmp_path.glob('vdlrecords.*.log')
    whole = path.read_bytes()
    for cut in range(len(whole) - 30, len(whole) + 1):
        path.write_bytes(whole[:cut])  # a kill
        with EventWriter(tmp_path, resume_step=10) as writer:
            writer.add_scalar('loss', 2.75, 11)
        assert list(tmp_path.glob('vdlrecords.*.log')) == [path]
        assert points(path) == [('loss', 5, 1.25), ('loss', 10, 2.5), ('loss', 11, 2.75)]


@pytest.mark.parametrize(
    'content', [b'x' * 40, b'', struct.pack('<Q', 2) + b'\x0a\x00', struct.pack('<Q', 1) + b'\x0a']
)
def test_a_new_run_and_a_broken_file_begin_one_that_is_shown(tmp_path, content):
    old = tmp_path / 'vdlrecords.9000000000.log'
    old.write_bytes(content)
    for step, place in ((0, 1), (7, 2)):
        if place == 2:
            newest = tmp_path / 'vdlrecords.9000000001.log'
            newest.write_bytes(content)
        VisualDlWriter(tmp_path, step).close()
        assert points(tmp_path / f'vdlrecords.900000000{place}.log') == [] and old.read_bytes() == content


def test_a_folder_that_cannot_be_is_one_line(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='files for VisualDL cannot be written'):
        VisualDlWriter(tmp_path / 'file')


def test_visualdl_reads_them(tmp_path):
    pytest.importorskip('visualdl')
    from visualdl.reader.reader import LogReader
    from visualdl.server.lib import get_scalar

    with EventWriter(tmp_path) as writer:
        for step in range(3):
            writer.add_scalar('dev/acc', step / 4, step)
    found = get_scalar(LogReader(str(tmp_path)), str(tmp_path), 'dev/acc')
    assert [point[1:] for point in found] == [[0, 0.0], [1, 0.25], [2, 0.5]]
