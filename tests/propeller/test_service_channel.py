"""Messages between the front and a worker: what is put in comes out, in whatever pieces it arrives."""

import socket

import numpy as np
import pytest

from propeller.errors import UserError
from propeller.service import channel, slots

ARRAYS = [
    np.arange(21, dtype=np.int64).reshape(3, 7),
    np.array(2.5, np.float32),
    np.zeros((0, 12), np.float32),
    np.array([True, False, True]),
    np.linspace(0, 1, 5),
    np.arange(12, dtype=np.int32).reshape(3, 4).T,
    np.arange(3, dtype='>i2'),
]


def same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.shape == other.shape and one.dtype == other.dtype.newbyteorder('=')


@pytest.mark.parametrize('code', slots.TYPES.values())
def test_arrays_of_every_type(code):
    array = np.array([[0, 1, 2], [3, 4, 5]]).astype(code)
    same(channel.read_outputs(channel.outputs(7, [array])[channel.HEAD.size :]), [array])


@pytest.mark.parametrize('alone', [False, True])
def test_batch(alone):
    message = channel.batch(9, 3, ARRAYS, alone)
    assert channel.HEAD.unpack_from(message) == (len(message) - channel.HEAD.size, channel.BATCH, 9)
    model, arrays, found = channel.read_batch(bytearray(message[channel.HEAD.size :]))
    assert (model, found) == (3, alone)
    same(arrays, ARRAYS)
    assert all(array.flags.aligned for array in arrays)


def test_a_type_that_messages_have_not():
    with pytest.raises(UserError, match='array 1: found type complex64'):
        channel.outputs(1, [np.zeros(2, np.float32), np.zeros(2, np.complex64)])


def test_a_blocking_socket():
    front, worker = socket.socketpair()
    with front, worker:
        front.sendall(channel.batch(5, 1, ARRAYS) + channel.message(channel.PING))
        kind, number, content = channel.receive(worker)
        assert (kind, number) == (channel.BATCH, 5)
        same(channel.read_batch(content)[1], ARRAYS)
        assert channel.receive(worker) == (channel.PING, 0, b'')
        front.close()
        with pytest.raises(EOFError):
            channel.receive(worker)


@pytest.mark.parametrize('piece', [1, 15, 16, 17, 1000, 70_000, 1 << 20])
def test_hearing_in_pieces(piece):
    large = np.arange(50_000, dtype=np.float32).reshape(100, 500)  # more than is read at once
    small = [channel.outputs(number, ARRAYS) for number in range(1, 4)]
    sent = b''.join(
        (*small, channel.message(channel.PONG, 4), channel.outputs(5, [large]), channel.outputs(6, [large]))
    )
    sent += small[0]
    told, ended = [], []
    hearing = channel.Hearing(lambda *message: told.append(message), lambda: ended.append(True))
    at = 0
    while at < len(sent):
        room = hearing.get_buffer(-1)
        count = min(len(room), piece, len(sent) - at)
        room[:count] = sent[at : at + count]
        at += count
        hearing.buffer_updated(count)
    hearing.connection_lost(None)
    assert [(kind, number) for kind, number, _ in told] == [
        *((channel.OUTPUTS, number) for number in (1, 2, 3)),
        (channel.PONG, 4),
        (channel.OUTPUTS, 5),
        (channel.OUTPUTS, 6),
        (channel.OUTPUTS, 1),
    ]
    for place in (0, 1, 2, 6):
        same(channel.read_outputs(told[place][2]), ARRAYS)
    for place in (4, 5):
        (found,) = channel.read_outputs(told[place][2])
        same([found], [large])
        assert found.flags.aligned and not found.flags.writeable
    assert ended == [True]
