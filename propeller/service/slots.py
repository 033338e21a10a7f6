"""The message of 2019: `Slots` of protobuf package `interface`, arrays with type, shape and raw values.

    message Slot  { Type type = 1; repeated int64 dims = 2; bytes data = 3; }
    message Slots { repeated Slot slots = 1; }

A request may have three fields more, which servers of 2019 pass over: 13, bytes: the name of the model; 14, bytes: the
token; 15, varint: milliseconds after which nobody waits for the answer. The answer to a request that names a model has
its field 13 too, by which the client knows that the server heeded it.

Values are row-major and little-endian. Errors are told in a slot of type UINT8 with the shape [1, N] and N bytes of
JSON: clients of 2019 know no UINT8 and raise an exception.
"""

import json
import math
import sys

import numpy as np

from propeller.data import wire
from propeller.errors import UserError
from propeller.service.errors import ServiceError

# Type numbers of `Slot.Type`. SIZE_T (19) is no type of numpy's.
TYPES = {0: '?', 1: '<i2', 2: '<i4', 3: '<i8', 4: '<f2', 5: '<f4', 6: '<f8', 20: 'u1', 21: 'i1'}
NUMBERS = {np.dtype(code): number for number, code in TYPES.items()}
PUBLIC = (2, 3, 5)  # what clients of 2019 send and understand: INT32, INT64, FP32
_ERROR = 20
_MODEL, _TOKEN, _TIMEOUT = 13, 14, 15
_TEXTS = {_MODEL: 'model', _TOKEN: 'token'}
_MOST_DIMS, _LARGEST = 8, (1 << 31) - 1


def encode(arrays, types=PUBLIC):
    """The bytes of a `Slots` message.

    Args:
        arrays: list of numpy arrays.
        types: type numbers that may be used.
    Raises:
        UserError: an array of another type; its place is named.
    """
    out = bytearray()
    for place, array in enumerate(arrays):
        number = NUMBERS.get(array.dtype.newbyteorder('<') if array.dtype.itemsize > 1 else array.dtype)
        if number not in types:
            raise UserError(f'array {place}: type {array.dtype}, expected {_names(types)}')
        _put_slot(out, number, array.shape, np.ascontiguousarray(array, TYPES[number]).data)
    return bytes(out)


def encode_error(error):
    """The bytes of the message that says a `ServiceError`."""
    text = json.dumps(error.to_dict(), ensure_ascii=False).encode()
    out = bytearray()
    _put_slot(out, _ERROR, (1, len(text)), text)
    return bytes(out)


def encode_options(timeout=None, token=None, model=None):
    """What may follow the arrays of a request. timeout: seconds; token: text; model: its name."""
    out = bytearray()
    if model is not None:
        wire.put_bytes(out, _MODEL, model.encode())
    if token is not None:
        wire.put_bytes(out, _TOKEN, token.encode())
    if timeout is not None:
        wire.put_varint(out, _TIMEOUT << 3 | wire.VARINT)
        wire.put_varint(out, max(int(1000 * timeout), 1))
    return bytes(out)


def decode_options(content):
    """What a message says beside its arrays: dict with `timeout` (seconds), `token` and `model` where it has them.

    Raises:
        UserError: it is no such message.
    """
    content = memoryview(content)
    options, at, end = {}, 0, len(content)
    while at < end:
        field, kind, begin = wire.tag(content, at, end)
        at = _skip(content, begin, end, kind)
        if field == _TIMEOUT and kind == wire.VARINT:
            options['timeout'] = max(wire.varint(content, begin, end)[0], 1) / 1000
        elif field in _TEXTS and kind == wire.BYTES:
            begin, at = wire.span(content, begin, end, kind)
            options[_TEXTS[field]] = bytes(content[begin:at]).decode(errors='replace')
    return options


def decode(content, types=PUBLIC, most=64):
    """The arrays of a `Slots` message; read-only views of `content`.

    Nothing is allocated before shape and number of bytes agree.

    Args:
        content: bytes.
        types: type numbers that are taken.
        most: arrays that are taken.
    Returns:
        list of numpy arrays.
    Raises:
        ServiceError: the message tells an error: that one.
        UserError: it is no such message; says what was found.
    """
    content = memoryview(content)
    arrays, at, end = [], 0, len(content)
    while at < end:
        field, kind, at = wire.tag(content, at, end)
        if field != 1:
            at = _skip(content, at, end, kind)
            continue
        begin, at = wire.span(content, at, end, kind)
        if len(arrays) == most:
            raise UserError(f'more than {most} arrays')
        arrays.append(_slot(content, begin, at, types, len(arrays)))
    return arrays


def _put_slot(out, number, shape, data):
    slot = bytearray()
    if number:
        slot += bytes((0x08, number))
    if shape:
        dims = bytearray()
        for size in shape:
            wire.put_varint(dims, size)
        wire.put_bytes(slot, 2, dims)
    data = memoryview(data).cast('B') if memoryview(data).nbytes else b''
    head = bytearray()
    if len(data):
        wire.put_varint(head, 3 << 3 | wire.BYTES)
        wire.put_varint(head, len(data))
    wire.put_varint(out, 1 << 3 | wire.BYTES)
    wire.put_varint(out, len(slot) + len(head) + len(data))
    out += slot
    out += head
    out += data


def _slot(content, at, end, types, place):
    number, dims, data = 0, [], content[:0]
    while at < end:
        field, kind, at = wire.tag(content, at, end)
        if field == 1 and kind == wire.VARINT:
            number, at = wire.varint(content, at, end)
        elif field == 2 and kind == wire.VARINT:
            size, at = wire.varint(content, at, end)
            dims.append(size)
        elif field == 2:
            begin, at = wire.span(content, at, end, kind)
            while begin < at and len(dims) <= _MOST_DIMS:
                size, begin = wire.varint(content, begin, at)
                dims.append(size)
        elif field == 3:
            begin, at = wire.span(content, at, end, kind)
            data = content[begin:at]
        else:
            at = _skip(content, at, end, kind)
        if len(dims) > _MOST_DIMS:
            raise UserError(f'array {place}: more than {_MOST_DIMS} dimensions')
    if number == _ERROR and _ERROR not in types:
        raise _told(data)
    if number not in types:
        raise UserError(f'array {place}: type number {number}, expected {_names(types)}')
    if dims and max(dims) > _LARGEST:  # numpy may refuse it, even where another size is 0
        raise UserError(f'array {place}: a size of {max(dims):,}')
    dtype = np.dtype(TYPES[number])
    needed = math.prod(dims) * dtype.itemsize
    if needed != len(data):
        raise UserError(f'array {place}: {len(data):,} bytes where shape {dims} of {dtype.name} needs {needed:,}')
    array = np.frombuffer(data, dtype).reshape(dims)
    return array if sys.byteorder == 'little' else array.astype(dtype.newbyteorder('='))


def _told(data):
    try:
        fields = json.loads(bytes(data[:65536]))
    except ValueError:
        fields = None
    return ServiceError.from_dict(fields if isinstance(fields, dict) else {})


def _skip(content, at, end, kind):
    """Where a field ends that this reader does not know."""
    if kind == wire.VARINT:
        return wire.varint(content, at, end)[1]
    if kind == wire.BYTES:
        return wire.span(content, at, end, kind)[1]
    size = {wire.FIXED64: 8, wire.FIXED32: 4}.get(kind)
    if size is None or size > end - at:
        raise UserError(f'wire type {kind}, which is none' if size is None else 'a number that ends too early')
    return at + size


def _names(types):
    return ', '.join(f'{np.dtype(TYPES[number]).name} ({number})' for number in types)
