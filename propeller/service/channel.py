"""Messages between the front process and a worker, over a pair of sockets that nobody else can open.

A message: length (uint32), kind (uint8), number of the batch (uint64), content. Of a batch the content is the number
of the model (uint16) and `Slots` with arrays of any type.
"""

import asyncio
import json
import struct

from propeller.service import slots

START, READY, BATCH, OUTPUTS, FAILED, PING, PONG = range(7)
HEAD = struct.Struct('<IBQ')
_MODEL = struct.Struct('<H')
_REST = HEAD.size - 4
ALL_TYPES = tuple(slots.TYPES)
_USUAL = 1 << 16  # bytes that are read at once


def message(kind, number=0, content=b''):
    """The bytes of a message."""
    return HEAD.pack(len(content) + _REST, kind, number) + content


def of_json(kind, fields, number=0):
    """A message whose content is a dict."""
    return message(kind, number, json.dumps(fields).encode())


def batch(number, model, arrays):
    """The message of a batch. model: its number."""
    return message(BATCH, number, _MODEL.pack(model) + slots.encode(arrays, ALL_TYPES))


def outputs(number, arrays):
    """The message of what a model gave."""
    return message(OUTPUTS, number, slots.encode(arrays, ALL_TYPES))


def read_batch(content):
    """(number of the model, list of arrays) of the content of `batch`."""
    return _MODEL.unpack_from(content)[0], read_outputs(memoryview(content)[_MODEL.size :])


def read_outputs(content):
    """List of arrays of the content of `outputs`."""
    return slots.decode(content, ALL_TYPES, most=4096)


def receive(connection):
    """The next message of a blocking socket: (kind, number, content).

    Raises:
        EOFError: the other side has gone.
    """
    length, kind, number = HEAD.unpack(_exactly(connection, HEAD.size))
    return kind, number, _exactly(connection, length - _REST)


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
            size = length + 4
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
