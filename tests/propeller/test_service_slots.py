"""The message of 2019 against protobuf's own encoder, errors in it, and bytes that are no message."""

import contextlib
import functools

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from propeller.errors import UserError
from propeller.service import slots
from propeller.service.errors import ServiceError

_ARRAYS = st.sampled_from(('<i4', '<i8', '<f4')).flatmap(
    lambda code: arrays_of.arrays(code, arrays_of.array_shapes(min_dims=0, min_side=0, max_side=4))
)


@functools.cache
def _message_class():
    """Protobuf's own class of `Slots`, from the table of fields."""
    file = descriptor_pb2.FileDescriptorProto(name='interface.proto', package='interface', syntax='proto3')
    slot, field = file.message_type.add(name='Slot'), descriptor_pb2.FieldDescriptorProto
    kinds = slot.enum_type.add(name='Type')
    for name, number in {'BOOL': 0, 'INT32': 2, 'INT64': 3, 'FP32': 5, 'UINT8': 20}.items():
        kinds.value.add(name=name, number=number)
    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    slot.field.add(name='type', number=1, label=one, type=field.TYPE_ENUM, type_name='.interface.Slot.Type')
    slot.field.add(name='dims', number=2, label=many, type=field.TYPE_INT64)
    slot.field.add(name='data', number=3, label=one, type=field.TYPE_BYTES)
    whole = file.message_type.add(name='Slots')
    whole.field.add(name='slots', number=1, label=many, type=field.TYPE_MESSAGE, type_name='.interface.Slot')
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName('interface.Slots'))


def _protobuf(arrays):
    message = _message_class()()
    for array in arrays:
        slot = message.slots.add()
        slot.type = slots.NUMBERS[array.dtype]
        slot.dims.extend(array.shape)
        slot.data = array.tobytes()
    return message


@given(st.lists(_ARRAYS, max_size=4))
def test_bytes_are_those_of_protobuf_both_ways(arrays):
    theirs = _protobuf(arrays)
    content = slots.encode(arrays)
    assert type(theirs).FromString(content) == theirs
    for source in (content, theirs.SerializeToString()):
        for read, array in zip(slots.decode(source), arrays, strict=True):
            assert read.dtype == array.dtype and read.shape == array.shape and read.tobytes() == array.tobytes()


def test_golden_bytes():
    """Written by hand from the table of fields."""
    content = bytes.fromhex('0a13 0803 12020102 1a08 0500000000000000'.replace(' ', ''))
    with pytest.raises(UserError):
        slots.decode(content)  # [1, 2] of int64 are 16 bytes, not 8
    content = bytes.fromhex('0a18 0803 12020102 1a10 0500000000000000 ffffffffffffffff'.replace(' ', ''))
    assert slots.encode([np.array([[5, -1]])]) == content
    assert slots.decode(content)[0].tolist() == [[5, -1]]
    unpacked = bytes.fromhex('0a0e 0805 1001 1001 1a04 0000803f 2007'.replace(' ', ''))  # dims one by one, a new field
    assert slots.decode(unpacked)[0].tolist() == [[1.0]]


def test_golden_bytes_of_what_a_request_says_beside_its_arrays():
    """Written by hand from the table of fields; readers of 2019 pass over all of them."""
    of_2019 = slots.encode([np.array([[5, -1]])])
    assert of_2019 + slots.encode_options() == of_2019
    options = bytes.fromhex('6a06 e782b9e8af84 7203 746f6b 78c413'.replace(' ', ''))
    assert slots.encode_options(2.5, 'tok') == options[8:]
    assert slots.encode_options(2.5, 'tok', '点评') == options
    assert slots.decode_options(of_2019 + options) == {'model': '点评', 'token': 'tok', 'timeout': 2.5}
    assert slots.decode(of_2019 + options)[0].tolist() == [[5, -1]]
    (slot,) = _message_class().FromString(of_2019 + options).slots
    assert list(slot.dims) == [1, 2]


def test_an_error_is_an_error_to_new_clients_and_of_no_known_type_to_old_ones():
    error = ServiceError('overloaded', '满了。', {'name': 'queue_tokens', 'value': 3, 'found': 4}, 2.5)
    content = slots.encode_error(error)
    with pytest.raises(ServiceError, match='满了') as caught:
        slots.decode(content)
    assert caught.value.to_dict() == error.to_dict() and caught.value.status == 429
    (slot,) = _message_class().FromString(content).slots
    assert slot.type not in (2, 3, 5)


@pytest.mark.parametrize('code', ['?', '<i2', '<f2', '<f8', 'i1', 'u1'])
def test_other_types_are_refused_unless_asked_for(code):
    array = np.zeros((2, 3), code)
    with pytest.raises(UserError, match=r'array 0: type .*, expected int32 \(2\), int64 \(3\), float32 \(5\)'):
        slots.encode([array])
    everything = tuple(slots.TYPES)
    (read,) = slots.decode(slots.encode([array], everything), everything)
    assert read.dtype == array.dtype and read.shape == (2, 3)
    if code != 'u1':
        with pytest.raises(UserError, match='array 0: type number'):
            slots.decode(slots.encode([array], everything))


def test_a_size_that_the_message_has_not_is_refused_before_anything_is_made():
    message = _protobuf([np.zeros((1, 1), '<f4')])
    message.slots[0].dims[:] = [1 << 30, 1 << 30]
    with pytest.raises(UserError, match='4 bytes where shape'):
        slots.decode(message.SerializeToString())
    message.slots[0].dims[:] = [-1, -1]  # 2**64 - 1 on the wire
    with pytest.raises(UserError, match='a size of 18,446,744,073,709,551,615'):
        slots.decode(message.SerializeToString())
    message.slots[0].dims[:] = [1] * 9
    with pytest.raises(UserError, match='more than 8 dimensions'):
        slots.decode(message.SerializeToString())
    message.slots[0].dims[:] = [1 << 40, 0]
    message.slots[0].data = b''
    with pytest.raises(UserError, match='a size of 1,099,511,627,776'):
        slots.decode(message.SerializeToString())
    with pytest.raises(UserError, match='more than 3 arrays'):
        slots.decode(slots.encode([np.zeros(1, '<f4')] * 4), most=3)


@given(st.binary(max_size=200))
def test_any_bytes_are_arrays_or_one_error(content):
    with contextlib.suppress(UserError):
        for array in slots.decode(content):
            assert array.nbytes <= len(content)


@given(st.lists(_ARRAYS, min_size=1, max_size=3), st.data())
def test_mutated_messages_are_arrays_or_one_error(arrays, data):
    content = bytearray(slots.encode(arrays))
    for _ in range(data.draw(st.integers(1, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UserError):
        assert sum(array.nbytes for array in slots.decode(content)) <= len(content)
