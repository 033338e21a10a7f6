"""Messages between the front process and a worker, over a pair of sockets that nobody else can open.

A message: length of the content (uint32), kind (uint8), number of the batch (uint64), content. Of a batch and of what a
model gave the content is: number of the model (uint16), number of arrays (uint16), whether the batch is alone (uint8);
of each array its type (uint8), how many sizes (uint8), its sizes (int64); then the values, those of each array at a
multiple of 16 bytes.
"""

import asyncio
import json
import math
import struct

import numpy as np

from propeller.errors import UserError
from propeller.service import slots

START, READY, BATCH, OUTPUTS, FAILED, PING, PONG = range(7)
HEAD = struct.Struct('<IB3xQ')  # of 16 bytes, so that values are where numbers of 8 bytes should be
_ARRAYS = struct.Struct('<HH?')
_TYPES = {number: np.dtype(code) for number, code in slots.TYPES.items()}
_ALIGNED = 16
_USUAL = 1 << 16  # bytes that are read at once


def message(kind, number=0, content=b''):
    """The bytes of a message."""
    return HEAD.pack(len(content), kind, number) + content


def of_json(kind, fields, number=0):
    """A message whose content is a dict."""
    return message(kind, number, json.dumps(fields).encode())


def batch(number, model, arrays, alone=False):
    """The message of a batch. model: its number; alone: whether nothing else waits or is being computed."""
    return _of_arrays(BATCH, number, arrays, model, alone)


def outputs(number, arrays):
    """The message of what a model gave. Raises `UserError`: an array of a type that messages have not."""
    return _of_arrays(OUTPUTS, number, arrays)


def read_batch(content):
    """(number of the model, list of arrays, alone) of the content of `batch`; the arrays are views of it."""
    model, count, alone = _ARRAYS.unpack_from(content)
    at, forms, arrays = _ARRAYS.size, [], []
    for _ in range(count):
        number, sizes = content[at], content[at + 1]
        forms.append((_TYPES[number], struct.unpack_from(f'<{sizes}q', content, at + 2)))
        at += 2 + 8 * sizes
    for dtype, shape in forms:
        at += -at % _ALIGNED
        arrays.append(np.ndarray(shape, dtype, content, at))
        at += math.prod(shape) * dtype.itemsize
    return model, arrays, alone


def read_outputs(content):
    """List of arrays of the content of `outputs`, views of it."""
    return read_batch(content)[1]


def _of_arrays(kind, number, arrays, model=0, alone=False):
    arrays = [_plain(array, place) for place, array in enumerate(arrays)]
    forms = [struct.pack(f'<BB{array.ndim}q', slots.NUMBERS[array.dtype], array.ndim, *array.shape) for array in arrays]
    content = [_ARRAYS.pack(model, len(arrays), alone), *forms]
    size = sum(map(len, content))
    for array in arrays:
        content += bytes(-size % _ALIGNED), array
        size += -size % _ALIGNED + array.nbytes
    return b''.join((HEAD.pack(size, kind, number), *content))


def _plain(array, place):
    """The array with its values in a row, in the order of bytes of this machine."""
    if array.dtype not in slots.NUMBERS:
        if array.dtype.newbyteorder() not in slots.NUMBERS:
            raise UserError(f'array {place}: found type {array.dtype}, expected one of a message')
        array = array.astype(array.dtype.newbyteorder())
    return np.ascontiguousarray(array).reshape(array.shape)


def receive(connection):
    """The next message of a blocking socket: (kind, number, content).

    Raises:
        EOFError: the other side has gone.
    """
    length, kind, number = HEAD.unpack(_exactly(connection, HEAD.size))
    return kind, number, _exactly(connection, length)


def _exactly(connection, size):
    content = bytearray(size)
    view = memoryview(content)
    while view:
        try:
            count = connection.recv_into(view)
        except OSError:
            count = 0
        if not count:
            raise EOFError
        view = view[count:]
    return content


class Hearing(asyncio.BufferedProtocol):
    """The front's ear at a worker: messages are told as soon as their last byte is there, without a task in between.

    Args:
        take: function (kind, number, content), content: read-only memoryview.
        ended: function that is called when the other side has gone, or what it said could not be taken.
    """

    def __init__(self, take, ended):
        self._take, self._ended = take, ended
        self._usual = self._buffer = memoryview(bytearray(_USUAL))
        self._filled = 0

    def get_buffer(self, sizehint):
        return self._buffer[self._filled :]

    def buffer_updated(self, nbytes):
        self._filled += nbytes
        buffer, end, at, size = self._buffer, self._filled, 0, HEAD.size
        while end - at >= HEAD.size:
            length, kind, number = HEAD.unpack_from(buffer, at)
            size = HEAD.size + length
            if end - at < size:
                break
            content = buffer[at + HEAD.size : at + size]
            # What was read into a buffer of its own is not copied.
            self._take(kind, number, (memoryview(bytes(content)) if buffer is self._usual else content).toreadonly())
            at, size = at + size, HEAD.size
        self._filled = end - at
        if at or size > len(buffer):
            self._buffer = self._usual if size <= _USUAL else memoryview(bytearray(size))
            self._buffer[: self._filled] = bytes(buffer[at:end])

    def connection_lost(self, exc):
        self._ended()
