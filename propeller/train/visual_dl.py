"""Numbers of a run in the files that VisualDL 2 reads: `vdlrecords.<seconds>.log`.

A file is a row of records, each with its length before it (8 bytes, little-endian). A record is a protobuf message
`Record` of VisualDL 2 (visualdl/proto/record.proto): field 1 holds a `Value`, of which these fields are written here:
1 id (the step), 2 tag, 3 timestamp (milliseconds), 4 value (float), and of the first record 10 meta_data.
"""

import os
import re
import struct
import time

from propeller.data.wire import VARINT, put_bytes, put_varint, span, tag, varint
from propeller.errors import UserError
from propeller.storage.atomic import output_file

_NAME = re.compile(r'vdlrecords\.([0-9]{10})\.log')
_LENGTH = struct.Struct('<Q')
_META_TAG, _META = 'meta_data_tag', 10
_FLOAT32 = 5


class VisualDlWriter:
    """Scalars for VisualDL 2. Every one is in the file when a method returns.

    VisualDL shows only that file of a folder whose name is the last. A training that goes on therefore writes on in it;
    records of later steps, which will be written again, are removed.

    Args:
        log_dir: folder of the files; made if needed.
        resume_step: global step from which training goes on; None or 0 begins a new file.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(self, log_dir, resume_step=None):
        try:
            os.makedirs(log_dir, exist_ok=True)
            newest = max((int(found[1]) for found in map(_NAME.fullmatch, os.listdir(log_dir)) if found), default=-1)
            kept = _kept(_path(log_dir, newest), resume_step) if resume_step and newest >= 0 else b''
            self.path = _path(log_dir, newest if kept else max(int(time.time()), newest + 1))
            with output_file(self.path, binary=True) as file:
                file.write(kept or _framed(_META_TAG, 0))
            self._file = open(self.path, 'ab')  # noqa: SIM115 (kept open for the whole run)
        except OSError as e:
            raise UserError(f'{log_dir}: files for VisualDL cannot be written ({e.strerror or e}).') from e

    def add_scalar(self, name, value, step):
        """Write one finite number. Raises `OSError`: the disk refuses it.

        name: `%`, which VisualDL does not take, becomes `_`.
        """
        self._file.write(_framed(name.replace('%', '_'), step, value))
        self._file.flush()

    def close(self):
        """Close the file; nothing is written any more. Raises `OSError`: the disk refuses the last of it."""
        self._file.close()


def _path(folder, seconds):
    return os.path.join(folder, f'vdlrecords.{seconds:010d}.log')


def _framed(name, step, value=None):
    """A record with its length. value: None: the first record of a file, which has no number."""
    fields, record = bytearray(), bytearray()
    for number, whole in ((1, int(step)), (3, round(time.time() * 1000))):
        put_varint(fields, number << 3 | VARINT)
        put_varint(fields, whole)
        if number == 1:
            put_bytes(fields, 2, name.encode())
    if value is None:
        put_bytes(fields, _META, b'')
    else:
        put_varint(fields, 4 << 3 | _FLOAT32)
        fields += struct.pack('<f', value)
    put_bytes(record, 1, fields)
    return _LENGTH.pack(len(record)) + record


def _kept(path, step):
    """The records of a file up to a step: bytes; b'' where it is not such a file. A record that was cut is dropped."""
    with open(path, 'rb') as file:
        content = memoryview(file.read())
    kept, at = bytearray(), 0
    while at + _LENGTH.size <= len(content):
        (length,) = _LENGTH.unpack_from(content, at)
        begin, end = at + _LENGTH.size, at + _LENGTH.size + length
        if end > len(content):
            break
        try:
            found = _step(content, begin, end)
        except UserError:
            return b''
        if found <= step:
            kept += content[at:end]
        at = end
    return bytes(kept)


def _step(content, at, end):
    """The step of a record. Raises `UserError`: it does not begin as those that are written here."""
    for field, kind in ((1, 2), (1, VARINT)):
        if at >= end:
            raise UserError('a record that ends too early')
        number, found, at = tag(content, at, end)
        if (number, found) != (field, kind):
            raise UserError(f'field {number} of wire type {found}')
        if kind != VARINT:
            at, end = span(content, at, end, found)
    return varint(content, at, end)[0]
