import random
import struct

import numpy as np
import pytest

from benchmark.acceptance.mutations import mutate_bytes
from propeller.data import example, example_pb2, feature_pb2, wire
from propeller.data.example import (
    BytesList,
    Example,
    Feature,
    FeatureList,
    FeatureLists,
    Features,
    FloatList,
    Int64List,
    SequenceExample,
)
from propeller.errors import UserError

ENDS = [0, 1, 127, 128, 300, 2**14 - 1, 2**14, 2**35, 2**63 - 1, -1, -128, -(2**63)]


@pytest.fixture(scope='module')
def protobuf():
    pytest.importorskip('google.protobuf')
    from tests.propeller.protobuf_messages import messages

    return messages()


def some_feature(rng):
    kind, count = rng.randrange(4), rng.choice((0, 1, 5, 40))
    if kind == 0:
        return Feature(bytes_list=BytesList(value=[rng.randbytes(rng.choice((0, 3, 200))) for _ in range(count)]))
    if kind == 1:
        return Feature(float_list=FloatList(value=[rng.gauss(0, 1e6) for _ in range(count)]))
    if kind == 2:
        return Feature(int64_list=Int64List(value=[rng.choice(ENDS) >> rng.randrange(60) for _ in range(count)]))
    return Feature()


def some_example(rng):
    names = rng.sample(['text', '文字', '글', 'label', 'x' * 200], rng.randrange(5))
    return Example(features=Features(feature={name: some_feature(rng) for name in names}))


def test_the_bytes_are_those_of_protobuf(protobuf):
    for seed in range(100):
        made = some_example(random.Random(seed))
        theirs = protobuf['Example'].FromString(made.SerializeToString())
        assert made.SerializeToString() == theirs.SerializeToString(deterministic=True)
        assert made.SerializeToString() == Example.FromString(theirs.SerializeToString()).SerializeToString()
        assert set(theirs.features.feature) == set(made.features.feature)
        for name, feature in made.features.feature.items():
            other = theirs.features.feature[name]
            assert feature.WhichOneof('kind') == other.WhichOneof('kind')
            for kind in ('bytes_list', 'float_list', 'int64_list'):
                assert list(getattr(feature, kind).value) == list(getattr(other, kind).value)
                assert feature.HasField(kind) == other.HasField(kind)
        assert Example.FromString(made.SerializeToString()) == made


def test_a_sequence_example_too(protobuf):
    rng = random.Random(3)
    lists = {name: FeatureList(feature=[some_feature(rng) for _ in range(3)]) for name in ('b', '甲')}
    made = SequenceExample(
        context=some_example(rng).features, feature_lists=FeatureLists(feature_list={**lists, 'empty': FeatureList()})
    )
    content = made.SerializeToString()
    assert content == protobuf['SequenceExample'].FromString(content).SerializeToString(deterministic=True)
    assert SequenceExample.FromString(content) == made
    assert SequenceExample().SerializeToString() == b''
    assert (
        Example(features=Features()).SerializeToString()
        == protobuf['Example'](features=protobuf['Features']()).SerializeToString()
    )


def test_it_is_filled_as_protobuf_is():
    made = Example()
    made.features.feature['text'].int64_list.value.extend([3, 4])
    made.features.feature['label'].CopyFrom(Feature(int64_list=Int64List(value=np.array([7]))))
    made.features.feature['x'].bytes_list.value.append('好'.encode())
    assert made.features.feature['text'].WhichOneof('kind') == 'int64_list'
    again = example_pb2.Example()
    assert again.ParseFromString(made.SerializeToString()) == made.ByteSize()
    assert again == made and again != Example() and again.features.feature['x'].bytes_list.value == ['好'.encode()]
    assert 'array' in repr(again) and feature_pb2.Feature is Feature is example.Feature
    assert np.array(again.features.feature['text'].int64_list.value).tolist() == [3, 4]
    with pytest.raises(ValueError, match='expected one of bytes_list'):
        Feature(int64_list=Int64List(), float_list=FloatList())
    with pytest.raises(UserError, match='found the number 9223372036854775808, expected one of 64 bits'):
        Int64List(value=[0, 2**63])


def varint(number):
    out = bytearray()
    wire.put_varint(out, number)
    return bytes(out)


def test_numbers_are_read_one_by_one_and_packed_in_several_pieces(protobuf):
    one_by_one = b''.join(b'\x08' + varint(number % 2**64) for number in ENDS)
    packed = b''.join(varint(number % 2**64) for number in ENDS[:5])
    content = b'\x0a' + varint(len(packed)) + packed + one_by_one + b'\x0a\x00'
    assert list(Int64List.FromString(content).value) == ENDS[:5] + ENDS
    assert list(protobuf['Int64List'].FromString(content).value) == ENDS[:5] + ENDS
    floats = b'\x0d' + struct.pack('<f', 1.5) + b'\x0a\x08' + struct.pack('<2f', -2, 0.25)
    assert list(FloatList.FromString(floats).value) == [1.5, -2, 0.25]
    long_zero = b'\x08' + b'\x80' * 9 + b'\x00'  # more bytes than it needs
    assert list(Int64List.FromString(long_zero).value) == [0]


@pytest.mark.parametrize(
    ('made', 'content', 'found'),
    [
        (Int64List, b'\x08\x80\x80', 'a number that ends too early'),
        (Int64List, b'\x08' + b'\xff' * 10 + b'\x01', 'a number of more than 10 bytes'),
        (Int64List, b'\x08' + b'\xff' * 9 + b'\x02', 'a number of more than 64 bits'),
        (Int64List, b'\x0a\x02\x80\x80', 'a number that ends too early'),
        (Int64List, b'\x0a\x0b' + b'\xff' * 10 + b'\x01', 'a number of more than 10 bytes'),
        (Int64List, b'\x0a\x0a' + b'\xff' * 9 + b'\x7f', 'a number of more than 64 bits'),
        (Int64List, b'\x09' + bytes(8), 'wire type 1 where'),
        (Int64List, b'\x0b\x0c', 'wire type 3 where'),
        (Int64List, b'\x0a\x05\x01', '5 bytes announced where 1 are left'),
        (Int64List, b'\x0a' + varint(2**64 - 1), '18,446,744,073,709,551,615 bytes announced'),
        (Int64List, b'\x12\x00', 'field 2 of wire type 2 in Int64List'),
        (FloatList, b'\x0a\x05abcde', '5 bytes of floats'),
        (FloatList, b'\x0dabc', 'a float that ends too early'),
        (BytesList, b'\x08\x01', 'wire type 0 where bytes'),
        (Feature, b'\x22\x00', 'field 4 of wire type 2 in Feature'),
        (Features, b'\x0a\x03\x0a\x01\xff', 'which is not UTF-8'),
        (Features, b'\x0a\x02\x1a\x00', 'field 3 of wire type 2 in Features'),
        (Example, b'\x00', 'field 0 of wire type 0 in Example'),
        (Example, b'\x12\x00', 'field 2 of wire type 2 in Example'),
        (FeatureList, b'\x0a\x00' * (2**16 + 1), 'more than 65,536 features'),
    ],
)
def test_what_is_no_message_is_refused(made, content, found):
    with pytest.raises(UserError, match=found):
        made.FromString(content)


def test_what_changed_bytes_mean_is_what_protobuf_says(protobuf):
    """It takes more: fields it does not know. What both take is the same."""
    taken = 0
    for seed in range(600):
        rng = random.Random(seed)
        content = mutate_bytes(some_example(rng).SerializeToString(), rng)
        try:
            made = Example.FromString(content)
        except UserError:
            continue
        taken += 1
        theirs, ours = (protobuf['Example'].FromString(x) for x in (content, made.SerializeToString()))
        assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)
    assert taken > 60
